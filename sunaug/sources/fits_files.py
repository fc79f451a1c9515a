"""FITS files with JSOC headers: AIA level 1 and 1.5 and HMI magnetograms, full disk, plain or compressed.

The disk's radius is taken from RSUN_OBS / CDELT. R_SUN is not used: JSOC's synoptic files are binned to 1024 x 1024
pixels and still carry the radius in pixels of level 1.

Images of whole numbers are passed on as they are, with BLANK, where BSCALE and BZERO leave them alone: turning 4096 x
4096 pixels into floats takes as long as calibrating them.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray
from upath import UPath

from sunaug.lexicon import CHANNELS
from sunaug.sources import FileReference, Observation
from sunaug.sources.headers import (
    aia_channel,
    disk_geometry,
    keyword,
    known_or_nan,
    number,
    number_or,
    observation_time,
    read_quality,
    sun_radius,
)
from sunaug.sources.plausibility import plausible
from sunaug.sources.rejected import RejectedFile
from sunaug.sources.stored import read_stored
from sunaug.storage import is_remote

__all__ = ["INTENSITY_SCALE", "SUFFIXES", "disk_geometry", "observe", "read", "refer", "sun_radius"]

_ENDINGS = ("", ".gz", ".bz2", ".xz", ".fz", ".z", ".zip", ".zst")
SUFFIXES = tuple(f"{name}{ending}" for ending in _ENDINGS for name in (".fits", ".fts", ".fit"))
"""What they hold tells how they are read; compressions that are not are named with the file."""
INTENSITY_SCALE = "physical"

SATURATION_DN = 15000.0
"""The converter ends at 2**14 - 1, but dark subtraction and flat field spread full wells down to about 15,000 DN."""

_HMI_CONTENT = {
    "MAGNETOGRAM": "hmi_m",
    "BX": "hmi_bx",
    "BY": "hmi_by",
    "BZ": "hmi_bz",
    "DOPPLERGRAM": "hmi_v",
}
_HMI_WAVELENGTHS = (6170.0, 6180.0)

_WIDEST = 2**14
"""Pixels: four times the width of SDO's detectors. A header that tells of more is damaged."""

_OPENERS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}
_NOT_OPENED = {b"PK\x03\x04": "zip", b"\x1f\x9d": "compress (.Z)", b"\x28\xb5\x2f\xfd": "Zstandard"}


def _opener(start: bytes) -> Callable[[Any], Any] | None:
    """What decompresses a file that starts so; None where it is plain FITS."""
    if not start:
        raise RejectedFile("an empty file; download it again.")
    if start.startswith(b"SIMPLE"):
        return None
    for signature, opener in _OPENERS.items():
        if start.startswith(signature):
            return opener
    for signature, name in _NOT_OPENED.items():
        if start.startswith(signature):
            raise RejectedFile(f"compressed with {name}; sunaug reads gzip, bzip2, xz and FITS tiles: decompress it.")
    text = re.sub(r"[^\x20-\x7e]+", " ", start.decode("latin-1")).strip()[:14]
    web_page = text.lower().startswith(("<!doc", "<html"))
    advice = "the archive answered with a web page; download it again" if web_page else "leave it out of the folder"
    raise RejectedFile(f'not a FITS file (starts with "{text}"): {advice}.')


@contextmanager
def _damage() -> Iterator[None]:
    """What astropy and the decompressors raise on damaged bytes as a rejection; nothing of ours belongs in here."""
    try:
        # JSOC writes NaN keywords as text, and astropy announces each; truncation is measured below.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            yield
    except (RejectedFile, MemoryError):
        raise
    except Exception as error:  # they raise what they like
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the disk or the network; damage has no number, or sends astropy to a place before the file's start
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise RejectedFile(f"damaged FITS ({line}); download it again.") from error


def _first_image(units: fits.HDUList, size: int | None) -> Any:
    for unit in units:
        span = unit.fileinfo() or {}
        end = span.get("datLoc", 0) + span.get("datSpan", 0)
        if size is not None and end > size:
            raise RejectedFile(f"truncated: {size:,} of {end:,} bytes; download it again.")
        header = unit.header
        axes = [header.get(f"NAXIS{axis}", 0) for axis in range(1, header.get("NAXIS", 0) + 1)]
        if not axes or str(header.get("XTENSION", "IMAGE")).strip() != "IMAGE":
            continue
        if len(axes) == 1 or any(length != 1 for length in axes[2:]) or max(axes) > _WIDEST:
            shape = " x ".join(map(str, axes))
            raise RejectedFile(f"wrong shape: an image of {shape} pixels; sunaug reads images of the whole disk.")
        return unit
    raise RejectedFile("holds no image with two axes, or is cut off before it; download it again.")


def _open_image(opened: ExitStack, file: Any, size: int | None) -> Any:
    """The first image of an open file, for as long as `opened` is."""
    with _damage():
        units = opened.enter_context(fits.open(file, memmap=False, lazy_load_hdus=True, do_not_scale_image_data=True))
        return _first_image(units, size)


def _refuse_synthetic(header: Mapping[str, Any]) -> None:
    # Before the time is looked at, which no synthetic image has.
    if keyword(header, "SYNTHET"):
        raise RejectedFile("a synthetic image (SYNTHET = T), not an observation; remove it from the folder.")


def _channel(header: Mapping[str, Any]) -> str:
    _refuse_synthetic(header)
    telescope = keyword(header, "TELESCOP") or "missing"
    instrument = f"{keyword(header, 'TELESCOP') or ''}{keyword(header, 'INSTRUME') or ''}".upper()
    if "HMI" in instrument and "AIA" in instrument:
        raise RejectedFile(f"TELESCOP is {telescope!r}, and INSTRUME {keyword(header, 'INSTRUME')!r}.")
    if "HMI" in instrument:
        content = str(keyword(header, "CONTENT") or "missing")
        name = _HMI_CONTENT.get(content.upper())
        if name not in CHANNELS:
            raise RejectedFile(f"an HMI file with CONTENT {content!r}; sunaug reads HMI's line-of-sight magnetograms.")
        wavelength = known_or_nan(header, "WAVELNTH")
        if not np.isnan(wavelength) and not any(
            _HMI_WAVELENGTHS[0] <= wavelength * factor <= _HMI_WAVELENGTHS[1] for factor in (1.0, 10.0)
        ):
            raise RejectedFile(f"WAVELNTH is {wavelength:g}, which HMI does not take.")
        return name
    if "AIA" not in instrument:
        raise RejectedFile(f"not an AIA or HMI image (TELESCOP {telescope!r}).")
    return aia_channel(header)


def _unit(header: Mapping[str, Any]) -> str:
    name = "PIXLUNIT" if keyword(header, "BUNIT") is None else "BUNIT"
    text = str(keyword(header, name) or "")
    words = set(re.findall(r"[a-z]+", text.lower())) - {"pix", "pixel"}
    counts = words & {"dn", "ct", "cts", "count", "counts"}
    scaled = re.search(r"\d", text.replace("-1", ""))  # as in "1000 DN"
    if not scaled and (not words or words == counts):
        return "DN"
    if not scaled and counts and words - counts <= {"s", "sec", "second"} and ("/" in text or "-1" in text):
        return "DN s-1"
    if not scaled and words in ({"gauss"}, {"g"}):
        return "gauss"
    if not scaled and words == {"m", "s"} and ("/" in text or "-1" in text):
        return "m s-1"
    raise RejectedFile(f"{name} {text!r} is not DN, DN/s or Gauss; sunaug reads AIA intensities and magnetograms.")


def observe(header: Mapping[str, Any], image: NDArray[Any]) -> Observation:
    """An image with its header as an observation.

    Parameters
    ----------
    header : mapping
        A FITS header, or the meta of a sunpy map.
    image : ndarray, shape (y, x)
        Scaled already; BLANK of the header counts where the image is of whole numbers.

    Raises
    ------
    RejectedFile
        If the header lacks time, channel, unit or pointing, tells one of them in two ways that disagree, or tells what
        no observation of SDO has (see `sunaug.sources.plausibility`), the image does not hold the whole disk, or no
        pixel of it holds anything.
    """
    name, unit, geometry = _channel(header), _unit(header), disk_geometry(header)
    signed = CHANNELS[name].signed
    if signed == unit.startswith("DN"):
        raise RejectedFile(f"its unit is {unit}, which {CHANNELS[name].label} is not measured in.")
    exposure_time = known_or_nan(header, "EXPTIME")
    if signed:
        saturation_level = np.inf
    elif unit == "DN":
        saturation_level = SATURATION_DN
    else:
        saturation_level = SATURATION_DN / exposure_time if exposure_time > 0 else np.inf
    return plausible(
        Observation(
            channel=name,
            time=observation_time(header),
            image=image,
            geometry=geometry,
            unit=unit,
            exposure_time=exposure_time,
            quality=read_quality(keyword(header, "QUALITY")),
            saturation_level=saturation_level,
            blank=_blank(header, image.dtype),
            sun_radius=sun_radius(header),
            level=known_or_nan(header, "LVL_NUM"),
            satellite_roll=known_or_nan(header, "SAT_ROT"),
            degradation=known_or_nan(header, "DEG_COR"),
        )
    )


def _blank(header: Mapping[str, Any], kind: np.dtype[Any]) -> int | None:
    """What stands for a missing pixel in an image of that type; None where nothing does.

    Without BLANK it is the smallest number of a signed type, as in all of JSOC's files: no detector reads that.
    """
    if not np.issubdtype(kind, np.integer):
        return None
    limits = np.iinfo(kind)
    stated = number(header, "BLANK") if keyword(header, "BLANK") is not None else np.nan
    if limits.min <= stated <= limits.max:
        return int(stated)
    return int(limits.min) if limits.min < 0 else None


def _pixels(header: Mapping[str, Any], stored: Any) -> NDArray[Any]:
    """Pixels as they are stored where they are whole numbers that BSCALE and BZERO leave alone, else float32."""
    raw = np.asarray(stored)
    raw = raw.reshape(raw.shape[-2:])
    scale, zero = number_or(header, "BSCALE", 1.0), number_or(header, "BZERO", 0.0)
    if scale <= 0:
        raise RejectedFile(f"BSCALE is {scale:g}; it is above zero in every file of SDO.")
    if scale == 1 and zero == 0 and raw.dtype.newbyteorder("=") in (np.int16, np.int32, np.uint8):
        return raw.astype(raw.dtype.newbyteorder("="), copy=False)
    image = np.empty(raw.shape, dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit is infinite, and so missing
        # In float64 piece by piece: a second image of that width would take 128 MiB.
        np.multiply(raw, scale, out=image, casting="unsafe", dtype=np.float64)
        if zero:
            np.add(image, zero, out=image, casting="unsafe", dtype=np.float64)
    blank = _blank(header, raw.dtype)
    if blank is not None and (zero == 0 or "BLANK" in header):
        image[raw == blank] = np.nan
    return image


def refer(path: Path | UPath, channels: tuple[str, ...] | None = None) -> list[FileReference | RejectedFile]:
    """Time and channel of a FITS file from its header; no more than that is fetched.

    Raises
    ------
    RejectedFile
        If it is no FITS file, is truncated, or the header lacks the time or the channel.
    """
    with ExitStack() as opened:
        # A header is small; by default a file system would fetch megabytes ahead.
        options: dict[str, Any] = {"block_size": 2**16} if is_remote(path) else {}
        file: Any = opened.enter_context(path.open("rb", **options))
        opener, size = _opener(file.read(32)), path.stat().st_size
        file.seek(0)
        if opener is not None:
            with _damage():
                file = opened.enter_context(opener(file))
                start = file.read(32)
                file.seek(0)
            _require_plain(start)
        header = _open_image(opened, file, None if opener else size).header
        _refuse_synthetic(header)
        time = observation_time(header)
        try:
            return [FileReference(path, "fits", time, (_channel(header),))]
        except RejectedFile as error:
            raise RejectedFile(error.reason, time) from error


def read(reference: FileReference) -> list[Observation]:
    """The image of a FITS file: whole numbers with BLANK, or float32 with missing pixels as NaN.

    Raises
    ------
    RejectedFile
        If the file is damaged, the header lacks the pointing or tells another unit, or the disk is not wholly on the
        image.
    """
    content = reference.path.read_bytes()
    opener = _opener(content[:32])
    if opener is not None:
        with _damage():
            content = opener(io.BytesIO(content)).read()
        _require_plain(content[:32])
    with ExitStack() as opened:
        unit = _open_image(opened, io.BytesIO(content), len(content))
        _require_whole(unit, content)
        with _damage():
            raw = read_stored(content)
            raw = unit.data if raw is None else raw
        return [observe(unit.header, _pixels(unit.header, raw))]


def _require_plain(start: bytes) -> None:
    if _opener(start) is not None:
        raise RejectedFile("compressed twice; decompress it once.")


def _require_whole(unit: Any, content: bytes) -> None:
    """Raise `RejectedFile` where the file holds more than its NAXIS tells: its rows are then of another length."""
    if isinstance(unit, fits.CompImageHDU):
        return
    place, header = unit.fileinfo(), unit.header
    end = place["datLoc"] + place["datSpan"]
    axes = [header[f"NAXIS{axis}"] for axis in range(1, header["NAXIS"] + 1)]
    used = abs(header["BITPIX"]) // 8 * int(np.prod(axes)) + header.get("PCOUNT", 0)
    follows = content[end : end + 2880]
    if any(content[place["datLoc"] + used : end]) or (any(follows) and not follows.startswith(b"XTENSION")):
        raise RejectedFile(f"holds more data than its header's {axes[0]} x {axes[1]} pixels; download it again.")
