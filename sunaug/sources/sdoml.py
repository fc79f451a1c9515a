"""SDOML v2: AIA and HMI at 512 x 512 pixels in Zarr 2, ready for machine learning.

A store is a folder: ``{year}/{channel}`` with the channels ``94A`` to ``1700A``, or ``Bx``, ``By`` and ``Bz``, each an
array (N, 512, 512) of float32 in chunks of 15 frames. Its attributes hold the keywords of the N FITS headers, in upper
case, as lists; for a year that is some hundred megabytes of JSON, of which five lists are kept. Frames stand in the
order of the files they came from, which need not be that of time.

What was done to the images (SDOML's ``aia_fits_to_zarr.py`` and ``hmi_fits_to_zarr.py``):

- level 1.5, north up and the south at row 0, enlarged about the middle of the image until the Sun's radius RSUN_OBS is
  976 arcsec of 4.8 arcsec per pixel, so 203.33 pixels; the disk stays within 0.02 pixels of the middle. CRPIX in the
  attributes is half of what it was at 1024 pixels, 256.25 for 256.5, and is not used;
- AIA: divided by EXPTIME (no less than 0.01 s) and by the degradation factor DEG_COR; the mean of 2 x 2 pixels, DN/s.
  A pixel without data is 0, like one of no brightness;
- HMI: the components of the magnetic field in gauss.

References
----------
Galvez, R. et al. 2019, ApJS 242, 7 (version 1); https://registry.opendata.aws/sdoml-fdl/ (version 2).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from upath import UPath

from sunaug.errors import UsageError
from sunaug.lexicon import CHANNELS, channel
from sunaug.sources import DiskGeometry, FileReference, Observation
from sunaug.sources.headers import SUN_RADII, read_quality
from sunaug.sources.plausibility import plausible
from sunaug.sources.rejected import RejectedFile
from sunaug.sources.times import is_missing_time, parse_time
from sunaug.storage import is_remote, network_errors, zarr_location

SUFFIXES = (".zarr",)
INTENSITY_SCALE = "physical"

SIZE = 512
PLATE_SCALE = 4.8
"""arcsec per pixel at 512 x 512 pixels."""
SUN_RADIUS = 976.0
"""arcsec; every disk was enlarged to this radius."""
FRAMES_PER_CHUNK = 15

_CACHED_CHUNKS = 12  # the channels of AIA and HMI: frames are read time by time, 15 MiB of each channel are kept
_CACHED_ARRAYS = 32

_UNITS = {"dn/s": "DN s-1", "gauss": "gauss"}
_NO_FRAMES = "holds no frames."
_MARGIN = np.timedelta64(1, "D")


@dataclass(frozen=True)
class _Series:
    """The frames of one channel in one year: the array, and what its attributes say of each frame."""

    array: zarr.Array[Any]
    times: NDArray[np.datetime64]
    """UTC; not a time where T_OBS cannot be read."""
    unreadable: dict[int, str]
    """Why not."""
    exposure_times: NDArray[np.float64]
    quality: list[Any]
    degradation: NDArray[np.float64]
    radii: NDArray[np.float64]
    """RSUN_OBS, from which the disk was enlarged."""
    units: NDArray[np.str_]


def utc_times(texts: Sequence[str]) -> NDArray[np.datetime64]:
    """Times from the keyword T_OBS, in the form of AIA or of HMI.

    Parameters
    ----------
    texts : sequence of str, length n
        ``2012-03-07T00:00:00.34Z`` (UTC, with or without Z) or ``2012.03.07_00:00:00_TAI``.

    Returns
    -------
    ndarray of datetime64[ns], shape (n,)
        UTC; not a time where a text is of neither form, or its time not within the life of SDO.
    """
    times = np.full(len(texts), np.datetime64("NaT"), dtype="datetime64[ns]")
    for number, text in enumerate(texts):
        try:
            times[number] = parse_time(text) or np.datetime64("NaT")
        except RejectedFile:
            continue
    return times


def _why_no_time(text: str) -> str:
    if is_missing_time(text):
        return f"T_OBS {text[:11]} is JSOC's mark for a missing time."
    try:
        parse_time(text)
    except RejectedFile as error:
        return f"T_OBS {error.reason}"
    return f"T_OBS {text!r} is no time that can be read."


def _numbers(values: Any, count: int) -> NDArray[np.float64]:
    """One number a frame; NaN where the attribute is missing or says something else."""
    numbers = np.full(count, np.nan)
    if isinstance(values, list) and len(values) == count:
        for place, value in enumerate(values):
            try:
                numbers[place] = float(value)
            except (TypeError, ValueError):
                continue
    return numbers


def _listed(values: Any, count: int) -> list[Any]:
    """One value a frame; None where the attribute is missing."""
    return values if isinstance(values, list) and len(values) == count else [None] * count


def _raise_unless_damage(error: Exception, path: Path | UPath) -> None:
    """Raise again what tells nothing of the file: no memory, a lost connection, a disk that fails."""
    lost = network_errors() if is_remote(path) else OSError
    number = getattr(error, "errno", None) if isinstance(error, OSError) else 0
    gone = isinstance(error, FileNotFoundError)
    if isinstance(error, MemoryError) or (isinstance(error, lost) and number is not None and not gone):
        raise error


@lru_cache(maxsize=_CACHED_ARRAYS)
def _series(path: Path | UPath, name: str) -> _Series:
    """Open ``{year}/{channel}`` and keep of its attributes what is needed."""
    try:
        array = zarr.open_array(**zarr_location(path), path=name, mode="r", zarr_format=2)
        attributes = dict(array.attrs)
    except Exception as error:  # Zarr and JSON raise what they like on damaged metadata
        _raise_unless_damage(error, path)
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RejectedFile(f"damaged Zarr metadata ({reason}); download it again.", member=name) from error
    if array.ndim != 3 or array.shape[1] != array.shape[2]:
        raise RejectedFile(f"an array of shape {array.shape} holds no square frames.", member=name)
    if "SYNTHET" in attributes:
        raise RejectedFile("synthetic frames, not observations; leave the store out.", member=name)
    count = array.shape[0]
    if not count:
        raise RejectedFile(_NO_FRAMES, member=name)
    texts = attributes.get("T_OBS")
    if not isinstance(texts, list) or len(texts) != count:
        found = f"{len(texts)} times" if isinstance(texts, list) else "no list of times"
        raise RejectedFile(f"the attribute T_OBS has {found} for {count} frames.", member=name)
    units = attributes.get("PIXLUNIT")
    if not isinstance(units, list) or len(units) != count:
        units = [""] * count
    time_texts = [str(text).strip() for text in texts]
    times = utc_times(time_texts)
    # The headers of a year fill most of a gigabyte of memory, and Zarr would keep them as long as the array.
    array.metadata.attributes.clear()
    return _Series(
        array,
        times,
        {number: _why_no_time(time_texts[number]) for number in np.flatnonzero(np.isnat(times)).tolist()},
        _numbers(attributes.get("EXPTIME"), count),
        _listed(attributes.get("QUALITY"), count),
        _numbers(attributes.get("DEG_COR"), count),
        _numbers(attributes.get("RSUN_OBS"), count),
        np.array([str(unit).strip() for unit in units], dtype=np.str_),
    )


@lru_cache(maxsize=_CACHED_CHUNKS)
def _chunk(path: Path | UPath, name: str, number: int) -> NDArray[np.float32]:
    array = _series(path, name).array
    length = array.chunks[0]
    return np.asarray(array[number * length : (number + 1) * length], dtype=np.float32)


def _members(path: Path | UPath, channels: tuple[str, ...] | None) -> list[tuple[str, str]]:
    """``{year}/{channel}`` of the store with the lexicon name, in the order of years and wavelengths."""
    if not path.is_dir():
        raise RejectedFile("not a folder, and so not a Zarr store.")
    if (path / "zarr.json").exists():
        raise RejectedFile(_what_it_is((path / "zarr.json").read_bytes()))
    order = list(CHANNELS)
    found, others = [], set()
    for year in sorted(folder.name for folder in path.iterdir() if re.fullmatch(r"\d{4}", folder.name)):
        here = {}
        for folder in (path / year).iterdir():
            try:
                here[channel(folder.name).name] = f"{year}/{folder.name}"
            except UsageError:
                continue  # .zgroup, and whatever else lies there
        wanted = [name for name in sorted(here, key=order.index) if channels is None or name in channels]
        others |= set(here) - set(wanted)
        found += [(here[name], name) for name in wanted]
    if not found:
        raise RejectedFile(
            f"holds {', '.join(sorted(others, key=order.index))}, none of the channels wanted."
            if others
            else "not an SDOML v2 store: it has no channel in a folder of a year, like 2012/171A."
        )
    return found


def _what_it_is(metadata: bytes) -> str:
    try:
        attributes = json.loads(metadata).get("attributes", {})
    except (ValueError, AttributeError):
        attributes = {}
    if "sunaug_version" in attributes:
        return "a sunaug cube, which is ready for use and not a source of frames: leave it out."
    return "a Zarr 3 store; SDOML v2 is in Zarr 2, with years and channels like 2012/171A."


def refer(path: Path | UPath, channels: tuple[str, ...] | None = None) -> list[FileReference | RejectedFile]:
    """Times and channels of all frames in a store, from its attributes.

    Parameters
    ----------
    path : pathlib.Path or upath.UPath
        Folder of the store.
    channels : tuple of str, optional
        Lexicon names of the channels wanted; the attributes of others are not read.

    Returns
    -------
    list of FileReference or RejectedFile
        One for each frame, with the member ``{year}/{channel}/{number}``; a frame without time, and a channel that
        cannot be read, as `RejectedFile`.

    Raises
    ------
    RejectedFile
        If this is no SDOML v2 store, or has none of the channels wanted.
    """
    references: list[FileReference | RejectedFile] = []
    # The store may have grown since it was last looked at.
    _series.cache_clear()
    _chunk.cache_clear()
    for name, lexicon_name in _members(path, channels):
        try:
            series = _series(path, name)
        except RejectedFile as error:
            references.append(error)
            continue
        year = np.datetime64(name[:4], "Y")
        span = year.astype("datetime64[D]") - _MARGIN, (year + 1).astype("datetime64[D]") + _MARGIN
        for number, time in enumerate(series.times):
            member = f"{name}/{number}"
            if np.isnat(time):
                references.append(RejectedFile(series.unreadable[number], member=member))
            elif not span[0] <= time <= span[1]:
                reason = f"T_OBS is {time.astype('datetime64[s]')}, in the folder of {name[:4]}."
                references.append(RejectedFile(reason, member=member))
            else:
                references.append(FileReference(path, "sdoml", time, (lexicon_name,), member))
    if all(isinstance(one, RejectedFile) and one.reason == _NO_FRAMES for one in references):
        raise RejectedFile(_NO_FRAMES)
    return references


def read(reference: FileReference) -> list[Observation]:
    """One frame of a store, DN/s or gauss. The chunk it lies in is kept for the next ones.

    Raises
    ------
    RejectedFile
        If the frame's chunk is damaged or missing (it reads as zeros), its unit is unknown or another channel's, or its
        keywords tell what no observation of SDO has.
    """
    name, _, text = reference.member.rpartition("/")
    number = int(text)
    series = _series(reference.path, name)
    length = series.array.chunks[0]
    try:
        # A copy: a view would keep the chunk in memory, and let it be written to.
        image = _chunk(reference.path, name, number // length)[number % length].copy()
    except Exception as error:  # the decompressors raise what they like on damaged bytes
        _raise_unless_damage(error, reference.path)
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RejectedFile(f"damaged chunk ({reason}); download it again.", reference.time, reference.member) from error
    unit = str(series.units[number])
    signed = CHANNELS[reference.channels[0]].signed
    if unit and unit.lower() in _UNITS and signed == (unit.lower() == "dn/s"):
        message = f"PIXLUNIT is {unit!r}, which {CHANNELS[reference.channels[0]].label} is not measured in."
        raise RejectedFile(message, reference.time, reference.member)
    if unit and unit.lower() not in _UNITS:
        message = f"PIXLUNIT {unit!r} is neither DN/s nor Gauss."
        raise RejectedFile(message, reference.time, reference.member)
    radius = float(series.radii[number])
    if not np.isnan(radius) and not SUN_RADII[0] <= radius <= SUN_RADII[1]:
        usual = f"{SUN_RADII[0]:g} to {SUN_RADII[1]:g} arcsec"
        message = f"RSUN_OBS is {radius:.6g} arcsec, by which the disk was enlarged; from SDO it is {usual}."
        raise RejectedFile(message, reference.time, reference.member)
    return [
        plausible(
            Observation(
                channel=reference.channels[0],
                time=reference.time,
                image=image,
                geometry=disk_geometry(image.shape[0]),
                unit=_UNITS[unit.lower()] if unit else CHANNELS[reference.channels[0]].unit,
                exposure_time=float(series.exposure_times[number]),
                quality=read_quality(series.quality[number]),
                sun_radius=SUN_RADIUS,
                degradation=float(series.degradation[number]),
            )
        )
    ]


def disk_geometry(size: int = SIZE) -> DiskGeometry:
    """Where the disk lies on a frame of `size` pixels: in the middle, 203.33 pixels in radius at 512."""
    radius = SUN_RADIUS / PLATE_SCALE * size / SIZE
    return DiskGeometry(((size - 1) / 2, (size - 1) / 2), np.eye(2) * radius)
