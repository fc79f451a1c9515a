"""An SDOML v2 store as its authors write one: Zarr 2, ``{year}/{channel}``, chunks of 15 frames, keywords as lists."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zarr
from astropy.time import Time
from erfa import ErfaWarning
from numcodecs import Blosc
from numpy.typing import NDArray

from sunaug.lexicon import CHANNELS
from sunaug.sources.sdoml import FRAMES_PER_CHUNK, PLATE_SCALE, SIZE, SUN_RADIUS

__all__ = ["ARRAY_NAMES", "DISK_RADIUS", "Series", "create_series", "keywords"]

DISK_RADIUS = SUN_RADIUS / PLATE_SCALE

ARRAY_NAMES = {
    f"aia{wavelength}": f"{wavelength}A" for wavelength in (94, 131, 171, 193, 211, 304, 335, 1600, 1700)
} | {"hmi_bx": "Bx", "hmi_by": "By", "hmi_bz": "Bz"}
"""SDOML's name of each lexicon channel."""


@dataclass
class Series:
    """The frames of one channel in one year: how many they are, and the array that they are written to.

    Chunks whose number is in `whole` are there already and stay.
    """

    array: zarr.Array[Any]
    count: int
    whole: frozenset[int] = frozenset()
    waiting: list[NDArray[np.float32]] = field(default_factory=list)
    written: int = 0

    def add(self, image: NDArray[np.float32]) -> None:
        """Take the next frame; whole chunks are written, so that none is compressed twice."""
        self.waiting.append(image)
        if len(self.waiting) == FRAMES_PER_CHUNK or self.written + len(self.waiting) == self.count:
            if self.written // FRAMES_PER_CHUNK not in self.whole:
                self.array[self.written : self.written + len(self.waiting)] = np.stack(self.waiting)
            self.written += len(self.waiting)
            self.waiting.clear()


def create_series(year: zarr.Group, channel: str, count: int) -> Series:
    """Make the array of one channel in the group of a year, for `count` frames."""
    array = year.create_array(
        ARRAY_NAMES[channel],
        shape=(count, SIZE, SIZE),
        chunks=(FRAMES_PER_CHUNK, SIZE, SIZE),
        dtype="float32",
        compressors=Blosc(cname="zstd", clevel=5, shuffle=Blosc.BITSHUFFLE),
        fill_value=0.0,
    )
    return Series(array, count)


def keywords(name: str, times: NDArray[np.datetime64], own: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """The FITS keywords of one channel's frames, upper case, a list for each.

    Parameters
    ----------
    name : str
        Lexicon name.
    times : ndarray of datetime64, shape (n,)
        UTC; those of HMI are rounded to whole seconds, as SDOML writes them.
    own : mapping of str to sequence of length n
        Further ones; they replace those of the same name.
    """
    channel = CHANNELS[name]
    if channel.instrument == "AIA":
        # One number of decimals for all: pandas takes the form of the first for that of the rest.
        texts = [f"{text}Z" for text in np.datetime_as_string(times, unit="us")]
    else:
        with warnings.catch_warnings():
            # Leap seconds of years to come are not known yet; those known today will do for frames of no day.
            warnings.simplefilter("ignore", ErfaWarning)
            tai = Time(times, scale="utc").tai.to_value("datetime64").astype("datetime64[ns]")
        seconds = np.datetime_as_string((tai + np.timedelta64(500, "ms")).astype("datetime64[s]"))
        texts = [f"{text.replace('-', '.').replace('T', '_')}_TAI" for text in seconds]
    same: dict[str, Any] = {
        "PIXLUNIT": "DN/s" if channel.instrument == "AIA" else "Gauss",
        "TELESCOP": f"SDO/{channel.instrument}",
        "WAVELNTH": channel.wavelength,
        "NAXIS": 2,
        "NAXIS1": SIZE,
        "NAXIS2": SIZE,
        "CTYPE1": "HPLN-TAN",
        "CTYPE2": "HPLT-TAN",
        "CUNIT1": "arcsec",
        "CUNIT2": "arcsec",
        "CRVAL1": 0.0,
        "CRVAL2": 0.0,
        "CRPIX1": (SIZE + 1) / 2,
        "CRPIX2": (SIZE + 1) / 2,
        "CDELT1": PLATE_SCALE,
        "CDELT2": PLATE_SCALE,
        "CROTA2": 0.0,
        "R_SUN": DISK_RADIUS,
        "RSUN_OBS": SUN_RADIUS,
    }
    return {
        "T_OBS": texts,
        **{keyword: [value] * len(times) for keyword, value in same.items()},
        **{keyword: list(values) for keyword, values in own.items()},
    }
