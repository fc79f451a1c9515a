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
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from upath import UPath

from sunaug.errors import UsageError
from sunaug.lexicon import CHANNELS
from sunaug.sources import DiskGeometry, FileReference, Observation
from sunaug.sources.headers import keyword, known_or_nan, number_or, read_quality, sun_radius
from sunaug.sources.plausibility import plausible
from sunaug.sources.rejected import RejectedFile
from sunaug.sources.times import is_missing_time, parse_time

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

_LONGEST_FROM_SLOT = np.timedelta64(1, "h")

_NAME = re.compile(r"^(\d{4})(\d{2})(\d{2})_(\d{2})(\d{2})$")
_UNITS = {"dn/s": "DN s-1", "gauss": "gauss", "m/s": "m s-1"}


@contextmanager
def _damage() -> Iterator[None]:
    """What HDF5 and its filters raise on damaged bytes as a rejection; nothing of ours belongs in here."""
    try:
        yield
    except (RejectedFile, MemoryError):
        raise
    except Exception as error:  # they raise what they like
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk or the network
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RejectedFile(f"damaged NetCDF ({reason}); download it again.") from error


@contextmanager
def _opened(path: Path | UPath) -> Iterator[Any]:
    """The file through h5netcdf."""
    try:
        import h5netcdf
        import h5py  # noqa: F401  (h5netcdf does not ask for it, and cannot open a file without)
        import hdf5plugin  # noqa: F401  (registers LZ4, in which the files are compressed)
    except ImportError as error:
        raise UsageError(f"{path}: NetCDF files need {error.name}; pip install 'sunaug[netcdf]'.") from error
    size = path.stat().st_size
    if size == 0:
        raise RejectedFile("an empty file; download it again.")
    with ExitStack() as opened:
        file = opened.enter_context(path.open("rb"))
        start = file.read(15)
        if not start.startswith(b"\x89HDF"):
            text = re.sub(r"[^\x20-\x7e]+", " ", start.decode("latin-1")).strip()
            raise RejectedFile(f'not a NetCDF 4 file (starts with "{text}"); download it again.')
        file.seek(0)
        with _damage():
            found = opened.enter_context(h5netcdf.File(file, "r"))
        yield found


def _slot(path: Path | UPath) -> np.datetime64:
    match = _NAME.match(path.stem)
    if match is None:
        raise RejectedFile("the file name tells no time; expected YYYYMMDD_HHMM.nc.")
    text = "{}-{}-{}T{}:{}".format(*match.groups())
    try:
        time = parse_time(text)
    except RejectedFile as error:
        raise RejectedFile(f"the time in the file name, {error.reason}") from error
    if time is None:
        raise RejectedFile(f"the file name holds no time ({text}).")
    return time


def _header(attributes: Any, name: str) -> dict[str, Any]:
    """One of the FITS headers of a variable, upper case; empty where it is missing or is no JSON."""
    try:
        header = json.loads(attributes[name])
    except (KeyError, TypeError, ValueError):
        return {}
    return {name.upper(): value for name, value in header.items()} if isinstance(header, dict) else {}


def _geometry(header: dict[str, Any], size: int) -> DiskGeometry:
    """Where the disk lies: the header gives its place before the enlargement about pixel (2048, 2048)."""
    radius = sun_radius(header) if "RSUN_OBS" in header else SUN_RADIUS
    enlarged = SUN_RADIUS / radius
    middle = (FULL_SIZE + 1) / 2
    place = [number_or(header, name, middle) - 1 for name in ("CRPIX1", "CRPIX2")]
    binned = FULL_SIZE / size
    column, row = (((FULL_SIZE / 2 + enlarged * (at - FULL_SIZE / 2)) + 0.5) / binned - 0.5 for at in place)
    return DiskGeometry((column, row), np.eye(2) * (SUN_RADIUS / (PLATE_SCALE * binned)))


_SYNTHETIC = "a synthetic frame, not an observation; remove it from the folder."


def _is_synthetic(path: Path | UPath) -> bool:
    """Whether a file is there, is whole and says that it is synthetic."""
    if not path.exists():
        return False
    try:
        with _opened(path) as file, _damage():
            return "SYNTHETIC" in file.attrs
    except RejectedFile:
        return False


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
    try:
        time = _slot(path)
    except RejectedFile as error:
        # Synthetic frames have times that no observation has: what they are says more.
        if _is_synthetic(path):
            raise RejectedFile(_SYNTHETIC) from error
        raise
    try:
        with _opened(path) as file:
            with _damage():
                synthetic, variables = "SYNTHETIC" in file.attrs, set(file.variables)
            if synthetic:
                raise RejectedFile(_SYNTHETIC)
            here = tuple(name for name in VARIABLES if name in variables)
    except RejectedFile as error:
        raise RejectedFile(error.reason, time) from error
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
    found = []
    with _opened(reference.path) as file:
        for name in reference.channels:
            with _damage():
                variable = file.variables[name]
                shape, attributes = tuple(variable.shape), dict(variable.attrs)
            if len(shape) != 2 or shape[0] != shape[1]:
                reason = f"{name} has the shape {shape}, which is no square image."
                raise RejectedFile(reason, reference.time)
            with _damage():
                image = np.asarray(variable[...], dtype=np.float32)
            found.append(_observation(image, attributes, name, reference.time))
    return found


def _observation(image: NDArray[np.float32], attributes: dict[str, Any], name: str, slot: np.datetime64) -> Observation:
    unit = str(attributes.get("unit", "")).strip()
    if unit and _UNITS.get(unit.lower()) != CHANNELS[name].unit:
        raise RejectedFile(f"{name} is in {unit!r}, not in {CHANNELS[name].unit}.", slot)
    try:
        geometry = _geometry(_header(attributes, "meta_1"), image.shape[0])
        if not geometry.covers_disk((image.shape[0], image.shape[1])):
            raise RejectedFile(f"not full disk: the header of {name} puts the Sun's centre at {geometry.centre}.")
        original = _header(attributes, "meta_0")
        return plausible(
            Observation(
                channel=name,
                time=_time(attributes, slot),
                image=image,
                geometry=geometry,
                unit=CHANNELS[name].unit,
                exposure_time=known_or_nan(original, "EXPTIME"),
                quality=read_quality(keyword(original, "QUALITY")),
                saturation_level=np.inf if CHANNELS[name].signed else SATURATION_LEVEL,
                sun_radius=SUN_RADIUS,
                level=1.5,
            )
        )
    except RejectedFile as error:
        raise RejectedFile(f"{name}: {error.reason}", slot) from error


def _time(attributes: dict[str, Any], slot: np.datetime64) -> np.datetime64:
    """T_OBS of the variable, or the slot of the file where it has none."""
    text = str(attributes.get("t_obs", "")).strip()
    time = None if is_missing_time(text) else parse_time(text)
    if time is None:
        return slot
    if abs(time - slot) > _LONGEST_FROM_SLOT:
        raise RejectedFile(f"T_OBS {text} lies more than an hour from the slot in the file's name.")
    return time
