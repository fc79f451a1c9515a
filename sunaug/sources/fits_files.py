"""FITS files with JSOC headers: AIA level 1 and 1.5 and HMI magnetograms, full disk, plain, gzipped or tile-compressed.

The disk's radius is taken from RSUN_OBS / CDELT. R_SUN is not used: JSOC's synoptic files are binned to 1024 x 1024
pixels and still carry the radius in pixels of level 1.

Images of whole numbers are passed on as they are, with BLANK, where BSCALE and BZERO leave them alone: turning 4096 x
4096 pixels into floats takes as long as calibrating them.
"""

from __future__ import annotations

import gzip
import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.time import Time
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray
from upath import UPath

from sunaug.errors import UsageError
from sunaug.lexicon import CHANNELS, channel
from sunaug.sources import DiskGeometry, FileReference, Observation, RejectedFile
from sunaug.sources.stored import read_stored
from sunaug.storage import is_remote

__all__ = ["INTENSITY_SCALE", "SUFFIXES", "disk_geometry", "observe", "read", "refer", "sun_radius"]

SUFFIXES = (".fits", ".fts", ".fit", ".fits.gz")
INTENSITY_SCALE = "physical"

SATURATION_DN = 15000.0
"""The converter ends at 2**14 - 1, but dark subtraction and flat field spread full wells down to about 15,000 DN."""

RSUN_METRES = 6.96e8
"""JSOC's RSUN_REF: the radius that its RSUN_OBS is computed with."""

_ARCSEC = {"arcsec": 1.0, "arcsecond": 1.0, "deg": 3600.0, "degree": 3600.0}
_HMI_CONTENT = {
    "MAGNETOGRAM": "hmi_m",
    "BX": "hmi_bx",
    "BY": "hmi_by",
    "BZ": "hmi_bz",
    "DOPPLERGRAM": "hmi_v",
}
_GZIP = b"\x1f\x8b"


def _check_content(start: bytes) -> None:
    if not start:
        raise RejectedFile("an empty file; download it again.")
    if start.startswith((b"SIMPLE", _GZIP)):
        return
    text = re.sub(r"[^\x20-\x7e]+", " ", start.decode("latin-1")).strip()[:14]
    web_page = text.lower().startswith(("<!doc", "<html"))
    advice = "the archive answered with a web page; download it again" if web_page else "leave it out of the folder"
    raise RejectedFile(f'not a FITS file (starts with "{text}"): {advice}.')


@contextmanager
def _image_hdu(path: Path | UPath, content: bytes | None = None) -> Iterator[Any]:
    """The first image of a file; whatever astropy raises on the way becomes a rejection.

    Without the file's whole content no more than its headers is fetched.
    """
    with ExitStack() as opened:
        file: Any
        size: int | None
        if content is not None:
            file, start, size = io.BytesIO(content), content[:32], len(content)
        else:
            # A header is small; by default a file system would fetch megabytes ahead.
            options: dict[str, Any] = {"block_size": 2**16} if is_remote(path) else {}
            file = opened.enter_context(path.open("rb", **options))
            start, size = file.read(32), path.stat().st_size
            file.seek(0)
        _check_content(start)
        try:
            if start.startswith(_GZIP):
                file = opened.enter_context(gzip.GzipFile(fileobj=file))
                size = None  # known at its end alone
            # JSOC writes NaN keywords as text, and astropy announces each; truncation is measured below.
            opened.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", AstropyWarning)
            units = opened.enter_context(
                fits.open(file, memmap=False, lazy_load_hdus=True, do_not_scale_image_data=True)
            )
            yield _first_image(units, size)
        except RejectedFile:
            raise
        except Exception as error:  # astropy, zlib and the decompressors raise what they like on damaged bytes
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk or the network; errors of damaged content have no number
            line = (str(error).splitlines() or [type(error).__name__])[0]
            raise RejectedFile(f"damaged FITS ({line}); download it again.") from None


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
        if len(axes) == 1 or any(length != 1 for length in axes[2:]):
            shape = " x ".join(map(str, axes))
            raise RejectedFile(f"wrong shape: an image of {shape} pixels; sunaug reads images of the whole disk.")
        return unit
    raise RejectedFile("holds no image with two axes, or is cut off before it; download it again.")


def _number(header: Mapping[str, Any], *keywords: str, default: float | None = None) -> float:
    for keyword in keywords:
        try:
            number = float(header[keyword])
        except (KeyError, TypeError, ValueError, fits.VerifyError):
            continue
        if np.isfinite(number):
            return number
    if default is None:
        raise RejectedFile(f"the header has no usable {' or '.join(keywords)}.")
    return default


def _time(header: Mapping[str, Any]) -> np.datetime64:
    for keyword in ("T_OBS", "DATE-OBS"):
        text = str(header.get(keyword, "")).strip()
        try:
            if text.endswith("_TAI"):
                date, clock = text.removesuffix("_TAI").split("_")
                time = np.datetime64(Time(f"{date.replace('.', '-')}T{clock}", scale="tai").utc.isot, "ns")
            else:
                time = np.datetime64(text.removesuffix("Z") or "NaT", "ns")
        except ValueError:
            continue
        if not np.isnat(time):
            return time
    raise RejectedFile("the header has no readable T_OBS or DATE-OBS.")


def _channel(header: Mapping[str, Any]) -> str:
    if header.get("SYNTHET"):
        raise RejectedFile("a synthetic image (SYNTHET = T), not an observation; leave it out of the folder.")
    instrument = (str(header.get("TELESCOP", "")) + str(header.get("INSTRUME", ""))).upper()
    if "HMI" in instrument:
        content = str(header.get("CONTENT", "missing")).strip()
        name = _HMI_CONTENT.get(content.upper())
        if name not in CHANNELS:
            raise RejectedFile(f"an HMI file with CONTENT {content!r}; sunaug reads HMI's line-of-sight magnetograms.")
        return name
    if "AIA" not in instrument:
        raise RejectedFile(f"not an AIA or HMI image (TELESCOP {header.get('TELESCOP', 'missing')!r}).")
    try:
        return channel(f"aia{int(_number(header, 'WAVELNTH'))}").name
    except UsageError as error:
        raise RejectedFile(str(error)) from None


def _unit(header: Mapping[str, Any]) -> str:
    keyword = "BUNIT" if str(header.get("BUNIT", "")).strip() else "PIXLUNIT"
    text = str(header.get(keyword, "")).strip()
    words = set(re.findall(r"[a-z]+", text.lower())) - {"pix", "pixel"}
    counts = words & {"dn", "ct", "cts", "count", "counts"}
    if not words or words == counts:
        return "DN"
    if counts and words - counts <= {"s", "sec", "second"} and ("/" in text or "-1" in text):
        return "DN s-1"
    if words in ({"gauss"}, {"g"}):
        return "gauss"
    if words == {"m", "s"} and ("/" in text or "-1" in text):
        return "m s-1"
    raise RejectedFile(f"{keyword} {text!r} is not DN, DN/s or Gauss; sunaug reads AIA intensities and magnetograms.")


def sun_radius(header: Mapping[str, Any]) -> float:
    """Angular radius of the photosphere in arcsec: RSUN_OBS, or what it is computed from (DSUN_OBS).

    Raises
    ------
    RejectedFile
        If the header has neither.
    """
    radius = _number(header, "RSUN_OBS", "RSUN", default=0.0)
    if radius > 0:
        return radius
    distance = _number(header, "DSUN_OBS", default=0.0)
    if distance <= RSUN_METRES:
        raise RejectedFile("the header has no usable RSUN_OBS or DSUN_OBS.")
    reference = _number(header, "RSUN_REF", default=RSUN_METRES)
    return float(np.rad2deg(np.arcsin(reference / distance)) * 3600)


def disk_geometry(header: Mapping[str, Any]) -> DiskGeometry:
    """Where the solar disk lies on an image with this header: a FITS header, or the meta of a sunpy map.

    The linear part of the WCS of Greisen and Calabretta (2002, A&A 395, 1061), with CROTA2 or PCi_j.

    Raises
    ------
    RejectedFile
        If the header lacks CDELT, CRPIX or the solar radius.
    """
    unit = _ARCSEC.get(str(header.get("CUNIT1", "arcsec")).strip().lower())
    if unit is None:
        raise RejectedFile(f"CUNIT1 {header['CUNIT1']!r} is neither arcsec nor deg.")
    scale = np.array([_number(header, "CDELT1"), _number(header, "CDELT2")]) * unit
    if (scale == 0).any():
        raise RejectedFile("the header has a plate scale (CDELT) of zero.")
    if "PC1_1" in header:
        turn = np.array([[_number(header, f"PC{i}_{j}", default=float(i == j)) for j in (1, 2)] for i in (1, 2)])
        to_world = scale[:, None] * turn
    else:
        roll = np.deg2rad(_number(header, "CROTA2", default=0.0))
        # FITS paper II, eq. 189: the rotation acts on the scaled pixel axes.
        to_world = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]]) * scale[None, :]
    if not np.linalg.det(to_world):
        raise RejectedFile("the header's rotation matrix (PCi_j) is singular.")
    from_world = np.linalg.inv(to_world)
    reference = np.array([_number(header, "CRVAL1", default=0.0), _number(header, "CRVAL2", default=0.0)]) * unit
    corner = np.array([_number(header, "CRPIX1"), _number(header, "CRPIX2")]) - 1
    centre = corner - from_world @ reference
    return DiskGeometry((float(centre[0]), float(centre[1])), from_world * sun_radius(header))


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
        If the header lacks time, channel, unit or pointing, the image does not hold the whole disk, or no pixel of it
        holds anything.
    """
    name, unit, geometry = _channel(header), _unit(header), disk_geometry(header)
    signed = CHANNELS[name].signed
    if signed == unit.startswith("DN"):
        raise RejectedFile(f"its unit is {unit}, which {CHANNELS[name].label} is not measured in.")
    height, width = image.shape
    geometry.require_disk((height, width))
    if height != width:
        raise RejectedFile(f"wrong shape: {width} x {height} pixels; images of the whole disk are square.")
    whole = np.issubdtype(image.dtype, np.integer)
    blank = int(_number(header, "BLANK")) if whole and "BLANK" in header else None
    _check_pixels(image, blank)
    exposure_time = _number(header, "EXPTIME", default=np.nan)
    if signed:
        saturation_level = np.inf
    elif unit == "DN":
        saturation_level = SATURATION_DN
    else:
        saturation_level = SATURATION_DN / exposure_time if exposure_time > 0 else np.inf
    return Observation(
        channel=name,
        time=_time(header),
        image=image,
        geometry=geometry,
        unit=unit,
        exposure_time=exposure_time,
        quality=int(_number(header, "QUALITY", default=0)),
        saturation_level=saturation_level,
        blank=blank,
        sun_radius=sun_radius(header),
        level=_number(header, "LVL_NUM", default=np.nan),
        satellite_roll=_number(header, "SAT_ROT", default=np.nan),
        degradation=_number(header, "DEG_COR", default=np.nan),
    )


def _check_pixels(image: NDArray[Any], blank: int | None) -> None:
    # The middle row alone clears every good image, in no time.
    for pixels in (image[len(image) // 2], image):
        present = ~np.isnan(pixels) if blank is None else pixels != blank
        if (present & (pixels != 0)).any():
            return
    raise RejectedFile("nothing but zeros." if present.any() else "every pixel is missing (NaN or BLANK).")


def _pixels(header: Mapping[str, Any], stored: Any) -> NDArray[Any]:
    """Pixels as they are stored where they are whole numbers that BSCALE and BZERO leave alone, else float32."""
    raw = np.asarray(stored)
    raw = raw.reshape(raw.shape[-2:])
    scale, zero = _number(header, "BSCALE", default=1.0), _number(header, "BZERO", default=0.0)
    if scale == 1 and zero == 0 and raw.dtype.newbyteorder("=") in (np.int16, np.int32, np.uint8):
        return raw.astype(raw.dtype.newbyteorder("="), copy=False)
    image = np.empty(raw.shape, dtype=np.float32)
    # In float64 piece by piece: a second image of that width would take 128 MiB.
    np.multiply(raw, scale, out=image, casting="unsafe", dtype=np.float64)
    if zero:
        np.add(image, zero, out=image, casting="unsafe", dtype=np.float64)
    if "BLANK" in header and np.issubdtype(raw.dtype, np.integer):
        image[raw == int(_number(header, "BLANK"))] = np.nan
    return image


def refer(path: Path | UPath, channels: tuple[str, ...] | None = None) -> list[FileReference | RejectedFile]:
    """Time and channel of a FITS file from its header.

    Raises
    ------
    RejectedFile
        If it is no FITS file, is truncated, or the header lacks the time or the channel.
    """
    with _image_hdu(path) as unit:
        time = _time(unit.header)
        try:
            return [FileReference(path, "fits", time, (_channel(unit.header),))]
        except RejectedFile as error:
            raise RejectedFile(error.reason, time) from None


def read(reference: FileReference) -> list[Observation]:
    """The image of a FITS file: whole numbers with BLANK, or float32 with missing pixels as NaN.

    Raises
    ------
    RejectedFile
        If the file is damaged, the header lacks the pointing or tells another unit, or the disk is not wholly on the
        image.
    """
    content = reference.path.read_bytes()
    with _image_hdu(reference.path, content) as unit:
        raw = None if content.startswith(_GZIP) else read_stored(content)
        return [observe(unit.header, _pixels(unit.header, unit.data if raw is None else raw))]
