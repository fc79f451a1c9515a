"""SuryaBench (core-sdo): thirteen channels of AIA and HMI at 4096 x 4096 pixels, one NetCDF file every twelve minutes.

Files are named ``YYYYMMDD_HHMM.nc`` after the slot they belong to, rounded from AIA's UTC and HMI's TAI. Each variable
(``aia94`` to ``hmi_v``, dimensions y and x, float32) has the attributes ``unit``, ``t_obs``, ``qflag``, and as JSON the
FITS headers before (``meta_0``) and after (``meta_1``) the processing; where they are missing, the slot's time and the
nominal geometry are taken.

What was done to the images (SuryaBench's ``core_sdo/helio.py``):

- AIA: pointing updated, registered to 0.6 arcsec per pixel with the north up and the south at row 0, divided by the
  exposure time and by the degradation (aiapy's factor, which the file does not tell), clipped to 0 to 16,383 DN/s;
- HMI: reprojected on AIA's pixels; gauss, and m/s for the velocity, positive away from the observer;
- all: enlarged about pixel (2048, 2048), by the nearest pixel, until the Sun's radius RSUN_OBS is 976 arcsec, so
  1626.67 pixels. A pixel without data is 0, like one of no brightness or field, and off the disk HMI is 0.

Only times at which every channel has QUALITY 0 were kept.

References
----------
Roy, S. et al. 2025, SuryaBench, arXiv:2508.14107; https://github.com/NASA-IMPACT/SuryaBench.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from upath import UPath

from sunaug.errors import UsageError
from sunaug.lexicon import CHANNELS
from sunaug.sources import DiskGeometry, FileReference, Observation, RejectedFile
from sunaug.sources.sdoml import utc_times

SUFFIXES = (".nc",)
INTENSITY_SCALE = "physical"

VARIABLES = (
    "aia94",
    "aia131",
    "aia171",
    "aia193",
    "aia211",
    "aia304",
    "aia335",
    "aia1600",
    "hmi_m",
    "hmi_bx",
    "hmi_by",
    "hmi_bz",
    "hmi_v",
)
"""The variables of a file, which are lexicon names too."""
FULL_SIZE = 4096
PLATE_SCALE = 0.6
"""arcsec per pixel at 4096 x 4096 pixels."""
SUN_RADIUS = 976.0
"""arcsec; every disk was enlarged to this radius."""
SATURATION_LEVEL = 16383.0
"""DN/s at which AIA's intensities were clipped."""

_NAME = re.compile(r"^(\d{4})(\d{2})(\d{2})_(\d{2})(\d{2})$")
_UNITS = {"dn/s": "DN s-1", "gauss": "gauss", "m/s": "m s-1"}


@contextmanager
def _opened(path: Path | UPath) -> Iterator[Any]:
    """The file through h5netcdf; what HDF5 raises on the way becomes a rejection."""
    try:
        import h5netcdf
        import h5py  # noqa: F401  (h5netcdf does not ask for it, and cannot open a file without)
        import hdf5plugin  # noqa: F401  (registers LZ4, in which the files are compressed)
    except ImportError as error:
        raise UsageError(f"{path}: NetCDF files need {error.name}; pip install 'sunaug[netcdf]'.") from None
    size = path.stat().st_size
    if size == 0:
        raise RejectedFile("an empty file; download it again.")
    with path.open("rb") as file:
        start = file.read(15)
        if not start.startswith(b"\x89HDF"):
            text = re.sub(r"[^\x20-\x7e]+", " ", start.decode("latin-1")).strip()
            raise RejectedFile(f'not a NetCDF 4 file (starts with "{text}"); download it again.')
        file.seek(0)
        try:
            with h5netcdf.File(file, "r") as opened:
                yield opened
        except RejectedFile:
            raise
        except Exception as error:  # HDF5 and its filters raise what they like on damaged bytes
            reason = " ".join(str(error).split()) or type(error).__name__
            raise RejectedFile(f"damaged NetCDF ({reason}); download it again.") from None


def _slot(path: Path | UPath) -> np.datetime64:
    match = _NAME.match(path.stem)
    if match is None:
        raise RejectedFile("the file name tells no time; expected YYYYMMDD_HHMM.nc.")
    text = "{}-{}-{}T{}:{}".format(*match.groups())
    try:
        return np.datetime64(text, "ns")
    except ValueError:
        raise RejectedFile(f"the file name holds no time ({text}).") from None


def _header(attributes: Any, name: str) -> dict[str, Any]:
    """One of the FITS headers of a variable; empty where it is missing or is no JSON."""
    try:
        header = json.loads(attributes[name])
    except (KeyError, TypeError, ValueError):
        return {}
    return header if isinstance(header, dict) else {}


def _number(header: dict[str, Any], keyword: str, default: float) -> float:
    try:
        number = float(header[keyword])
    except (KeyError, TypeError, ValueError):
        return default
    return number if np.isfinite(number) else default


def _geometry(header: dict[str, Any], size: int) -> DiskGeometry:
    """Where the disk lies: the header gives its place before the enlargement about pixel (2048, 2048)."""
    enlarged = SUN_RADIUS / _number(header, "rsun_obs", SUN_RADIUS)
    middle = (FULL_SIZE + 1) / 2
    place = [_number(header, keyword, middle) - 1 for keyword in ("crpix1", "crpix2")]
    binned = FULL_SIZE / size
    column, row = (((FULL_SIZE / 2 + enlarged * (at - FULL_SIZE / 2)) + 0.5) / binned - 0.5 for at in place)
    return DiskGeometry((column, row), np.eye(2) * (SUN_RADIUS / (PLATE_SCALE * binned)))


def refer(path: Path | UPath, channels: tuple[str, ...] | None = None) -> list[FileReference | RejectedFile]:
    """Time and channels of a file, from its name and the list of its variables.

    Parameters
    ----------
    path : pathlib.Path or upath.UPath
    channels : tuple of str, optional
        Lexicon names of the channels wanted; by default all.

    Raises
    ------
    RejectedFile
        If the name tells no time, the file is damaged or synthetic, or it has none of the channels.
    UsageError
        If h5netcdf, h5py or hdf5plugin is not installed.
    """
    time = _slot(path)
    try:
        with _opened(path) as file:
            if "SYNTHETIC" in file.attrs:
                raise RejectedFile("a synthetic frame, not an observation; leave it out of the folder.")
            here = tuple(name for name in VARIABLES if name in file.variables)
    except RejectedFile as error:
        raise RejectedFile(error.reason, time) from None
    names = tuple(name for name in here if channels is None or name in channels)
    if not here:
        raise RejectedFile("holds none of SuryaBench's variables, like aia193 or hmi_m.", time)
    if not names:
        raise RejectedFile(f"holds {', '.join(here)}, none of the channels wanted.", time)
    return [FileReference(path, "suryabench", time, names)]


def read(reference: FileReference) -> list[Observation]:
    """The channels of a reference, each in its unit; 64 MiB a channel at full size.

    Raises
    ------
    RejectedFile
        If the file is damaged, or a variable is not square or has another unit.
    UsageError
        If h5netcdf, h5py or hdf5plugin is not installed.
    """
    with _opened(reference.path) as file:
        return [_observation(file.variables[name], name, reference.time) for name in reference.channels]


def _observation(variable: Any, name: str, slot: np.datetime64) -> Observation:
    attributes = variable.attrs
    if len(variable.shape) != 2 or variable.shape[0] != variable.shape[1]:
        raise RejectedFile(f"{name} has the shape {variable.shape}, which is no square image.", slot)
    unit = str(attributes.get("unit", "")).strip()
    if unit and _UNITS.get(unit.lower()) != CHANNELS[name].unit:
        raise RejectedFile(f"{name} is in {unit!r}, not in {CHANNELS[name].unit}.", slot)
    geometry = _geometry(_header(attributes, "meta_1"), variable.shape[0])
    if not geometry.covers_disk(variable.shape):
        raise RejectedFile(f"not full disk: the header of {name} puts the Sun's centre at {geometry.centre}.", slot)
    original = _header(attributes, "meta_0")
    (time,) = utc_times([str(attributes.get("t_obs", ""))])
    return Observation(
        channel=name,
        time=slot if np.isnat(time) else time,
        image=np.asarray(variable[...], dtype=np.float32),
        geometry=geometry,
        unit=CHANNELS[name].unit,
        exposure_time=_number(original, "exptime", np.nan),
        quality=int(_number(original, "quality", 0)),
        saturation_level=np.inf if CHANNELS[name].signed else SATURATION_LEVEL,
        sun_radius=SUN_RADIUS,
        level=1.5,
    )
