"""Frames of a cube as an SDOML v2 store, for what reads SDOML: SDO-FM, sdofmv2, sdo-cli.

The store is a folder ``{year}/{channel}`` in Zarr 2, as `sunaug.sources.sdoml` describes it. SDOML keeps AIA and HMI in
two stores; a cube with both goes into one, which loaders open under both names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from astropy.time import Time
from numcodecs import Blosc
from numpy.typing import NDArray
from upath import UPath

from sunaug.cube import FrameStatus
from sunaug.errors import SunaugError, UsageError
from sunaug.lexicon import CHANNELS
from sunaug.sources.sdoml import FRAMES_PER_CHUNK, PLATE_SCALE, SIZE, SUN_RADIUS
from sunaug.storage import location, reachable, zarr_location

__all__ = ["write_sdoml"]

DISK_RADIUS = SUN_RADIUS / PLATE_SCALE
_RADIUS_TOLERANCE = 0.01  # pixels; float32 and a radius written with two decimals stay within it

_ARRAY_NAMES = {
    f"aia{wavelength}": f"{wavelength}A" for wavelength in (94, 131, 171, 193, 211, 304, 335, 1600, 1700)
} | {"hmi_bx": "Bx", "hmi_by": "By", "hmi_bz": "Bz"}


@dataclass
class _Series:
    """The frames of one channel in one year: which they are, and the array that they are written to."""

    array: zarr.Array[Any]
    channel: str
    rows: NDArray[np.int64]
    """Frames of the cube."""
    waiting: list[NDArray[np.float32]] = field(default_factory=list)
    written: int = 0

    def add(self, image: NDArray[np.float32]) -> None:
        """Take the next frame; whole chunks are written, so that none is compressed twice."""
        self.waiting.append(image)
        if len(self.waiting) == FRAMES_PER_CHUNK or self.written + len(self.waiting) == len(self.rows):
            self.array[self.written : self.written + len(self.waiting)] = np.stack(self.waiting)
            self.written += len(self.waiting)
            self.waiting.clear()


def write_sdoml(cube: xr.Dataset, path: str | Path | UPath) -> None:
    """Write the frames of an observed cube as an SDOML v2 store.

    Complete and partial frames are written, each channel in the year of its own time; a channel that a frame does not
    have is left out. Keywords which a cube does not keep are not in the attributes. Times of HMI are rounded to whole
    seconds, as SDOML writes them. The attributes come last: a store that was stopped on the way has no times and is
    refused by `sunaug.sources.sdoml`.

    Parameters
    ----------
    cube : xarray.Dataset
        An observed cube in DN/s and gauss, as `sunaug.open_cube` gives it: 512 pixels, disk radius 976 / 4.8 pixels.
    path : str, pathlib.Path or upath.UPath
        Folder of the store to make, a path or URL.

    Raises
    ------
    UsageError
        If the cube is synthetic, in display counts, of another geometry, or has a channel that SDOML has no place for.
    SunaugError
        If something exists at `path`, or no frame of the cube is complete or partial.
    """
    where = cube.encoding.get("source", "the cube")
    _check(cube, where)
    place = location(path)
    if place.exists():
        raise SunaugError(f"{path}: exists already; choose another path or remove it first.")
    usable = np.isin(cube["frame_status"].values, [FrameStatus.COMPLETE, FrameStatus.PARTIAL])
    times = cube["observed_at"].values.astype("datetime64[ns]")
    present = usable[:, None] & ~np.isnat(times)
    if not present.any():
        raise SunaugError(f"{where}: no frame is complete or partial, so there is nothing to write.")

    with reachable(place):
        root = zarr.open_group(**zarr_location(place), mode="w-", zarr_format=2)
        series = _create(root, cube, times, present)
        pending = {(row, one.channel): one for one in series for row in one.rows.tolist()}
        channels = [str(name) for name in cube["channel"].values]
        for row in np.flatnonzero(present.any(axis=1)).tolist():
            # Frame by frame: a chunk of the cube holds all channels of one frame.
            frame = cube["intensity"][row].values
            for number, name in enumerate(channels):
                if (row, name) in pending:
                    pending[row, name].add(frame[number])
        for one in series:
            at = cube.isel(channel=channels.index(one.channel), time=one.rows)
            one.array.attrs.put(_attributes(one.channel, at, times[one.rows, channels.index(one.channel)]))


def _check(cube: xr.Dataset, where: str) -> None:
    if "time" not in cube.dims:
        raise UsageError(f"{where}: a synthetic cube has no times, and SDOML is ordered by them; give an observed one.")
    if cube.attrs["intensity_scale"] != "physical":
        raise UsageError(
            f"{where}: is {cube.attrs['intensity_scale']}, not DN/s as SDOML is; give a cube of physical intensities."
        )
    radii = cube["disk_radius"].values if "disk_radius" in cube else np.empty(0)
    known = radii[np.isfinite(radii)] if np.isfinite(radii).any() else np.array([cube.attrs["solar_radius_pixels"]])
    farthest = float(known[np.abs(known - DISK_RADIUS).argmax()])
    size = cube.sizes["x"]
    if size != SIZE or cube.sizes["y"] != SIZE or abs(farthest - DISK_RADIUS) > _RADIUS_TOLERANCE:
        raise UsageError(
            f"{where}: frames of {size} pixels with a disk radius of {farthest:.2f} are not SDOML's {SIZE} and "
            f"{DISK_RADIUS:.2f}; ingest with --size {SIZE} --disk-radius keep from SDOML itself, or with --size {SIZE} "
            f"--disk-radius {DISK_RADIUS:.4f} from other files."
        )
    strange = [str(name) for name in cube["channel"].values if str(name) not in _ARRAY_NAMES]
    if strange:
        raise UsageError(
            f"{where}: SDOML has no place for {', '.join(strange)}; leave them out with cube.sel(channel=[...])."
        )


def _create(
    root: zarr.Group, cube: xr.Dataset, times: NDArray[np.datetime64], present: NDArray[np.bool_]
) -> list[_Series]:
    years = times.astype("datetime64[Y]")
    compressor = Blosc(cname="zstd", clevel=5, shuffle=Blosc.BITSHUFFLE)
    series = []
    for year in np.unique(years[present]):
        group = root.create_group(str(year))
        for number, name in enumerate(map(str, cube["channel"].values)):
            rows = np.flatnonzero(present[:, number] & (years[:, number] == year))
            if len(rows):
                array = group.create_array(
                    _ARRAY_NAMES[name],
                    shape=(len(rows), SIZE, SIZE),
                    chunks=(FRAMES_PER_CHUNK, SIZE, SIZE),
                    dtype="float32",
                    compressors=compressor,
                    fill_value=0.0,
                )
                series.append(_Series(array, name, rows))
    return series


def _attributes(name: str, at: xr.Dataset, times: NDArray[np.datetime64]) -> dict[str, Any]:
    """The FITS keywords of one channel's frames, upper case, a list for each."""
    channel = CHANNELS[name]
    if channel.instrument == "AIA":
        # One number of decimals for all: pandas takes the form of the first for that of the rest.
        texts = [f"{text}Z" for text in np.datetime_as_string(times, unit="us")]
        factor = at["degradation_factor"].values if "degradation_factor" in at else np.ones(len(times))
        own: Mapping[str, Sequence[Any]] = {
            "EXPTIME": [float(value) if np.isfinite(value) else None for value in at["exposure_time"].values],
            "DEG_COR": np.nan_to_num(factor.astype(np.float64), nan=1.0).tolist(),
            "PIXLUNIT": ["DN/s"] * len(times),
        }
    else:
        tai = Time(times, scale="utc").tai.to_value("datetime64").astype("datetime64[ns]")
        seconds = np.datetime_as_string((tai + np.timedelta64(500, "ms")).astype("datetime64[s]"))
        texts = [f"{text.replace('-', '.').replace('T', '_')}_TAI" for text in seconds]
        own = {"PIXLUNIT": ["Gauss"] * len(times)}
    same: dict[str, Any] = {
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
        "QUALITY": at["quality"].values.astype(np.int64).tolist(),
        **{keyword: list(values) for keyword, values in own.items()},
        **{keyword: [value] * len(times) for keyword, value in same.items()},
    }
