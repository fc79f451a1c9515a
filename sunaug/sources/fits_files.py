"""AIA FITS files, level 1 and 1.5, full disk, plain or tile-compressed, with JSOC headers.

The disk's radius is taken from RSUN_OBS / CDELT. R_SUN is not used: JSOC's synoptic files are binned to 1024 x 1024
pixels and still carry the radius in pixels of level 1.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.time import Time
from astropy.utils.exceptions import AstropyWarning
from upath import UPath

from sunaug.errors import UsageError
from sunaug.lexicon import channel
from sunaug.sources import DiskGeometry, FileReference, Observation, RejectedFile

SUFFIXES = (".fits", ".fts", ".fit", ".fits.gz")
INTENSITY_SCALE = "physical"

SATURATION_DN = 15000.0
"""The converter ends at 2**14 - 1, but dark subtraction and flat field spread full wells down to about 15,000 DN."""

_ARCSEC = {"arcsec": 1.0, "arcsecond": 1.0, "deg": 3600.0, "degree": 3600.0}


def _check_content(path: Path | UPath) -> None:
    size = path.stat().st_size
    if size == 0:
        raise RejectedFile("an empty file; download it again.")
    with path.open("rb") as file:
        start = file.read(32)
    if start.startswith((b"SIMPLE", b"\x1f\x8b")):
        return
    text = re.sub(r"[^\x20-\x7e]+", " ", start.decode("latin-1")).strip()[:14]
    web_page = text.lower().startswith(("<!doc", "<html"))
    advice = "the archive answered with a web page; download it again" if web_page else "leave it out of the folder"
    raise RejectedFile(f'not a FITS file (starts with "{text}"): {advice}.')


@contextmanager
def _image_hdu(path: Path | UPath) -> Iterator[Any]:
    """The first image with two axes; whatever astropy raises on the way becomes a rejection."""
    _check_content(path)
    size = path.stat().st_size
    try:
        with warnings.catch_warnings():
            # JSOC writes NaN keywords as text, and astropy announces each; truncation is measured below.
            warnings.simplefilter("ignore", AstropyWarning)
            with fits.open(path, memmap=False, lazy_load_hdus=True) as units:
                for unit in units:
                    span = unit.fileinfo() or {}
                    end = span.get("datLoc", 0) + span.get("datSpan", 0)
                    if path.suffix != ".gz" and end > size:
                        raise RejectedFile(f"truncated: {size:,} of {end:,} bytes; download it again.")
                    if unit.header.get("NAXIS", 0) == 2 and unit.header.get("XTENSION", "IMAGE").strip() == "IMAGE":
                        yield unit
                        return
                raise RejectedFile("holds no image with two axes, or is cut off before it; download it again.")
    except RejectedFile:
        raise
    except Exception as error:  # astropy, zlib and the decompressors raise what they like on damaged bytes
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise RejectedFile(f"damaged FITS ({line}); download it again.") from None


def _number(header: fits.Header, *keywords: str, default: float | None = None) -> float:
    for keyword in keywords:
        try:
            number = float(header[keyword])
        except (KeyError, TypeError, ValueError):
            continue
        if np.isfinite(number):
            return number
    if default is None:
        raise RejectedFile(f"the header has no usable {' or '.join(keywords)}.")
    return default


def _time(header: fits.Header) -> np.datetime64:
    for keyword in ("T_OBS", "DATE-OBS"):
        text = str(header.get(keyword, "")).strip()
        try:
            if text.endswith("_TAI"):
                date, clock = text.removesuffix("_TAI").split("_")
                return np.datetime64(Time(f"{date.replace('.', '-')}T{clock}", scale="tai").utc.isot, "ns")
            return np.datetime64(text.removesuffix("Z"), "ns") if text else _missing_time()
        except ValueError:
            continue
    raise RejectedFile("the header has no readable T_OBS or DATE-OBS.")


def _missing_time() -> np.datetime64:
    raise ValueError("no time")


def _channel(header: fits.Header) -> str:
    instrument = str(header.get("TELESCOP", "")) + str(header.get("INSTRUME", ""))
    if "AIA" not in instrument.upper():
        raise RejectedFile(f"not an AIA image (TELESCOP {header.get('TELESCOP', 'missing')!r}).")
    try:
        return channel(f"aia{int(_number(header, 'WAVELNTH'))}").name
    except UsageError as error:
        raise RejectedFile(str(error)) from None


def _geometry(header: fits.Header) -> DiskGeometry:
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
    radius = _number(header, "RSUN_OBS", "RSUN")
    from_world = np.linalg.inv(to_world)
    reference = np.array([_number(header, "CRVAL1", default=0.0), _number(header, "CRVAL2", default=0.0)]) * unit
    corner = np.array([_number(header, "CRPIX1"), _number(header, "CRPIX2")]) - 1
    centre = corner - from_world @ reference
    return DiskGeometry((float(centre[0]), float(centre[1])), from_world * radius)


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
    """The image of a FITS file, DN, with BLANK pixels as NaN.

    Raises
    ------
    RejectedFile
        If the file is damaged, the header lacks the pointing, or the disk is not wholly on the image.
    """
    with _image_hdu(reference.path) as unit:
        header = unit.header
        geometry = _geometry(header)
        shape = (int(header["NAXIS2"]), int(header["NAXIS1"]))
        if not geometry.covers_disk(shape):
            raise RejectedFile(
                f"not full disk: {shape[1]} x {shape[0]} pixels of a Sun {2 * geometry.radius:,.0f} pixels wide; "
                "sunaug needs the whole disk."
            )
        image = np.asarray(unit.data, dtype=np.float32)
        return [
            Observation(
                channel=reference.channels[0],
                time=reference.time,
                image=image,
                geometry=geometry,
                unit="DN",
                exposure_time=_number(header, "EXPTIME", default=np.nan),
                quality=int(_number(header, "QUALITY", default=0)),
                saturation_level=SATURATION_DN,
                sun_radius=_number(header, "RSUN_OBS", "RSUN"),
                level=_number(header, "LVL_NUM", default=np.nan),
            )
        ]
