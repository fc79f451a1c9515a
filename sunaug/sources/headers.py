"""Keywords of FITS headers, which FITS files, sunpy maps, Helioviewer's XML and SuryaBench's JSON share.

A keyword that is missing has its default where the FITS standard gives one. A keyword that is there and cannot be read
never has: what it meant is not known, so it is unknown (NaN) or the reason of a rejection.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy import units
from astropy.io import fits
from numpy.typing import NDArray

from sunaug.errors import UsageError
from sunaug.lexicon import channel
from sunaug.sources import DiskGeometry
from sunaug.sources.rejected import RejectedFile
from sunaug.sources.times import is_missing_time, parse_time

__all__ = [
    "SUN_RADII",
    "aia_channel",
    "disk_geometry",
    "keyword",
    "known_or_nan",
    "number",
    "number_or",
    "observation_time",
    "read_quality",
    "sun_radius",
]

SUN_RADII = (940.0, 980.0)
"""Angular radius of the Sun in arcsec from SDO, at aphelion and perihelion, with 4 arcsec to spare."""
RSUN_METRES = 6.96e8
"""JSOC's RSUN_REF: the radius that its RSUN_OBS is computed with."""
_RSUN_METRES_RANGE = (6.9e8, 7.0e8)
_RADIUS_TOLERANCE = 0.003
"""Between RSUN_OBS and DSUN_OBS: radii of the photosphere in use differ by 0.07 %."""

_NO_VALUE = "no value of FITS"
_TIME_KEYWORDS = ("T_OBS", "DATE-OBS", "DATE_OBS")
_MATRIX_TOLERANCE = 2e-3
"""Between two ways to tell the same rotation and scale: 0.1 degrees, or 0.2 %."""
_SQUARE_TOLERANCE = 0.01
_ARCSEC = {"arcsec": 1.0, "arcsecond": 1.0, "arcmin": 60.0, "deg": 3600.0, "degree": 3600.0, "rad": 648000.0 / np.pi}
_AXES = (("HPLN", "SOLAR-X", "SOLAR_X", "SOLARX"), ("HPLT", "SOLAR-Y", "SOLAR_Y", "SOLARY"))

_WAVELENGTH_UNITS = {"": 1.0, "a": 1.0, "å": 1.0, "ang": 1.0, "angstroms": 1.0, "-10": 1.0, "-9": 10.0}
_TELESCOPES = {1: (131, 335), 2: (193, 211), 3: (171, 1600, 1700, 4500), 4: (94, 304)}
"""Wavelengths by number of AIA's telescope (Lemen et al. 2012, Sol. Phys. 275, 17)."""


def keyword(header: Mapping[str, Any], name: str) -> Any:
    """The value of a keyword; None where it is missing or empty, and a text where the card holds no value of FITS."""
    try:
        value = header[name]
    except KeyError:
        return None
    except fits.VerifyError:  # as JSOC's nan without quotes
        return _NO_VALUE
    if isinstance(value, fits.card.Undefined) or (isinstance(value, str) and not value.strip()):
        return None
    return value.strip() if isinstance(value, str) else value


def _finite(value: Any) -> float | None:
    if isinstance(value, bool | np.bool_):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if np.isfinite(found) else None


def number(header: Mapping[str, Any], *names: str) -> float:
    """The first finite number among some keywords.

    Raises
    ------
    RejectedFile
        If none has one.
    """
    for name in names:
        found = _finite(keyword(header, name))
        if found is not None:
            return found
    raise RejectedFile(f"the header has no usable {' or '.join(names)}.")


def known_or_nan(header: Mapping[str, Any], name: str) -> float:
    """A keyword's number; NaN where it is missing or no finite number."""
    found = _finite(keyword(header, name))
    return np.nan if found is None else found


def number_or(header: Mapping[str, Any], name: str, default: float) -> float:
    """A keyword's number, or its default where it is missing.

    Raises
    ------
    RejectedFile
        If it is there and no finite number.
    """
    value = keyword(header, name)
    if value is None:
        return default
    found = _finite(value)
    if found is None:
        raise RejectedFile(f"{name} {value!r} is no number.")
    return found


def read_quality(value: Any) -> int:
    """The bits of QUALITY: a number, or its text, decimal or hexadecimal as JSOC's queries give it (``0x00002000``).

    Parameters
    ----------
    value : object
        None where the header has no QUALITY, and nothing is wrong then.

    Raises
    ------
    RejectedFile
        If it is no whole number of 32 bits.
    """
    if value is None:
        return 0
    text = str(value).strip()
    if re.fullmatch(r"[+-]?0[xX][0-9a-fA-F]+", text):
        found: float | None = int(text, 16)
    else:
        found = None if isinstance(value, bool | np.bool_) else _finite(value)
    if found is None or found != int(found) or not -(2**31) <= found < 2**32:
        raise RejectedFile(f"QUALITY {value!r} is no number of 32 bits.")
    # The cube keeps what JSOC's files hold, a signed number.
    return int(found) if found < 2**31 else int(found) - 2**32


def observation_time(header: Mapping[str, Any]) -> np.datetime64:
    """UTC of T_OBS, or of DATE-OBS where that is missing; TIMESYS counts for a time that does not tell its scale.

    Raises
    ------
    RejectedFile
        If neither is a time, one is not within the life of SDO, or TIMESYS is neither UTC nor TAI, or not what a time
        says of itself.

    Notes
    -----
    T_OBS decides where both are given: made and corrected files often carry the DATE-OBS of the file they came from.
    """
    scale = str(keyword(header, "TIMESYS") or "UTC").upper()
    if scale not in ("UTC", "TAI"):
        raise RejectedFile(f"TIMESYS is {scale!r}; sunaug reads times in UTC and TAI.")
    found: dict[str, np.datetime64] = {}
    missing = ""
    for name in _TIME_KEYWORDS:
        value = keyword(header, name)
        if is_missing_time(value):
            missing = missing or f"{name} {str(value)[:11]} is JSOC's mark for a missing time."
            continue
        if scale == "TAI" and str(value).upper().endswith("Z"):
            raise RejectedFile(
                f"{name} {value} is in UTC by its Z, and TIMESYS is TAI; which of them holds is unknown."
            )
        try:
            time = parse_time(value, scale)
        except RejectedFile as error:
            raise RejectedFile(f"{name} {error.reason}") from error
        if time is not None:
            found[name] = time
    if not found:
        raise RejectedFile(missing or "the header has no readable T_OBS or DATE-OBS.")
    return next(iter(found.values()))


def _wavelength(header: Mapping[str, Any]) -> float:
    """WAVELNTH in ångström."""
    stated = number(header, "WAVELNTH")
    unit = str(keyword(header, "WAVEUNIT") or "").replace("\u212b", "å").lower()
    factor = _WAVELENGTH_UNITS.get(unit)
    if factor is None:
        try:
            factor = float(units.Unit(unit).to("angstrom"))
        except (ValueError, TypeError, units.UnitConversionError) as error:
            raise RejectedFile(f"WAVEUNIT {unit!r} is no unit of a wavelength.") from error
    return stated * factor


def aia_channel(header: Mapping[str, Any]) -> str:
    """Lexicon name of the channel of an AIA header.

    Raises
    ------
    RejectedFile
        If WAVELNTH in WAVEUNIT is no channel of AIA, or not one of the telescope or filter that INSTRUME and WAVE_STR
        name.
    """
    wavelength = _wavelength(header)
    whole = round(wavelength)
    shown = f"{wavelength:g}"
    if abs(wavelength - whole) > 0.05 or not 0 < whole < 10000:
        raise RejectedFile(f"WAVELNTH is {shown} Å, which is no channel of AIA.")
    try:
        name = channel(f"aia{whole}").name
    except UsageError as error:
        raise RejectedFile(str(error)) from error
    instrument = str(keyword(header, "INSTRUME") or "")
    telescope = re.fullmatch(r"AIA_(\d)", instrument.upper())
    if telescope and whole not in _TELESCOPES.get(int(telescope[1]), ()):
        raise RejectedFile(f"WAVELNTH is {shown} Å, which INSTRUME {instrument} does not take.")
    filtered = re.match(r"(\d+)_", str(keyword(header, "WAVE_STR") or ""))
    if filtered and int(filtered[1]) != whole:
        raise RejectedFile(f"WAVELNTH is {shown} Å, and WAVE_STR {keyword(header, 'WAVE_STR')}.")
    return name


def sun_radius(header: Mapping[str, Any]) -> float:
    """Angular radius of the photosphere in arcsec: RSUN_OBS, or from the distance DSUN_OBS.

    Parameters
    ----------
    header : mapping
        A FITS header, or the meta of a sunpy map.

    Raises
    ------
    RejectedFile
        If the header has neither, they disagree, or the Sun never has that radius from SDO.
    """
    stated = next((found for name in ("RSUN_OBS", "RSUN") if (found := known_or_nan(header, name)) > 0), np.nan)
    distance = known_or_nan(header, "DSUN_OBS")
    reference = known_or_nan(header, "RSUN_REF")
    reference = reference if _RSUN_METRES_RANGE[0] <= reference <= _RSUN_METRES_RANGE[1] else RSUN_METRES
    followed = np.nan
    if distance > 0:
        followed = float(np.rad2deg(np.arcsin(min(reference / distance, 1.0))) * 3600)
    radius = followed if np.isnan(stated) else stated
    if np.isnan(radius):
        raise RejectedFile("the header has no usable RSUN_OBS or DSUN_OBS.")
    name = "DSUN_OBS gives a solar radius of" if np.isnan(stated) else "RSUN_OBS is"
    against = ""
    if not np.isnan(stated) and abs(followed / stated - 1) > _RADIUS_TOLERANCE:
        against = f", which disagrees with DSUN_OBS ({followed:.1f} arcsec)"
    if against or not SUN_RADII[0] <= radius <= SUN_RADII[1]:
        usual = f"from SDO the Sun is {SUN_RADII[0]:g} to {SUN_RADII[1]:g} arcsec"
        raise RejectedFile(f"{name} {radius:.6g} arcsec{against}; {usual}.")
    return radius


def _units(header: Mapping[str, Any]) -> NDArray[np.float64]:
    """Arcsec in the unit of each axis."""
    found = []
    for name in ("CUNIT1", "CUNIT2"):
        text = keyword(header, name)
        size = _ARCSEC.get(str("arcsec" if text is None else text).lower())
        if size is None:
            raise RejectedFile(f"{name} {text!r} is neither arcsec nor deg.")
        found.append(size)
    return np.array(found)


def _check_axes(header: Mapping[str, Any]) -> None:
    for name, known in zip(("CTYPE1", "CTYPE2"), _AXES, strict=True):
        text = keyword(header, name)
        if text is not None and not str(text).upper().startswith(known):
            raise RejectedFile(f"{name} is {text!r}; sunaug reads images in solar west ({_AXES[0][0]}) and north.")


def _matrix(header: Mapping[str, Any], kind: str) -> NDArray[np.float64] | None:
    """A matrix of keywords like PCi_j, None where none of them is there; missing elements are as the standard says."""
    names = [[f"{kind}{i}_{j}" for j in (1, 2)] for i in (1, 2)]
    if all(keyword(header, name) is None for row in names for name in row):
        return None
    unity = kind == "PC"
    return np.array(
        [
            [number_or(header, name, float(unity and i == j)) for j, name in enumerate(row)]
            for i, row in enumerate(names)
        ]
    )


def _to_world(header: Mapping[str, Any]) -> NDArray[np.float64]:
    """What takes pixels to the units of the axes; every way in which the header tells it has to say the same."""
    full, turn = _matrix(header, "CD"), _matrix(header, "PC")
    roll = keyword(header, "CROTA2")
    said: dict[str, NDArray[np.float64]] = {}
    if full is not None:
        said["CDi_j"] = full
    # Beside CDi_j, CDELT may be missing, or 1, the standard's default.
    steps = [keyword(header, name) for name in ("CDELT1", "CDELT2")]
    if full is None or any(_finite(step) not in (None, 1.0) for step in steps):
        scale = np.array([number(header, "CDELT1"), number(header, "CDELT2")])
        if (scale == 0).any():
            raise RejectedFile("the header has a plate scale (CDELT) of zero.")
        if turn is not None:
            said["PCi_j with CDELT"] = scale[:, None] * turn
        if roll is not None or turn is None:
            degrees = number_or(header, "CROTA2", 0.0)
            if abs(degrees) > 360:
                raise RejectedFile(f"CROTA2 is {degrees:g}, which is no angle in degrees.")
            angle = np.deg2rad(degrees)
            # FITS paper II, eq. 189: the rotation acts on the scaled pixel axes.
            turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale[None, :]
            # Without CROTA2, CDELT beside CDi_j tells the scale alone.
            if roll is not None or full is None:
                said["CROTA2 with CDELT"] = turned
            elif abs(abs(np.linalg.det(turned) / (np.linalg.det(full) or np.nan)) - 1) > 2 * _MATRIX_TOLERANCE:
                raise RejectedFile("CDi_j and CDELT disagree on the plate scale.")
    (first, matrix), *others = said.items()
    size = np.abs(matrix).max()
    for name, other in others:
        if not np.abs(other - matrix).max() <= _MATRIX_TOLERANCE * size:
            raise RejectedFile(f"{first} and {name} disagree on the plate scale or the roll.")
    return matrix


def disk_geometry(header: Mapping[str, Any]) -> DiskGeometry:
    """Where the solar disk lies on an image with this header: a FITS header, or the meta of a sunpy map.

    The linear part of the WCS of Greisen and Calabretta (2002, A&A 395, 1061), with CDi_j, PCi_j or CROTA2.

    Raises
    ------
    RejectedFile
        If the header lacks the scale, CRPIX or the solar radius, tells one of them in two ways that disagree, or its
        pixels are mirrored or not square, which those of SDO never are.
    """
    _check_axes(header)
    unit = _units(header)
    with np.errstate(over="ignore", invalid="ignore"):
        to_world = unit[:, None] * _to_world(header)
        strengths = np.linalg.svd(to_world, compute_uv=False) if np.isfinite(to_world).all() else np.array([np.nan])
        if not strengths[-1] > 1e-9 * strengths[0]:
            raise RejectedFile("the header's matrix of scale and rotation is singular.")
        if np.linalg.det(to_world) < 0:
            raise RejectedFile("the header's matrix mirrors the image; no image of SDO is mirrored.")
        if strengths[0] > (1 + _SQUARE_TOLERANCE) * strengths[-1]:
            sides = f"{strengths[0]:.4g} x {strengths[-1]:.4g}"
            raise RejectedFile(f"the header's pixels are {sides} arcsec; those of SDO are square.")
        from_world = np.linalg.inv(to_world)
        reference = np.array([number_or(header, name, 0.0) for name in ("CRVAL1", "CRVAL2")]) * unit
        corner = np.array([number(header, "CRPIX1"), number(header, "CRPIX2")]) - 1
        centre = corner - from_world @ reference
        to_pixels = np.asarray(from_world * sun_radius(header), dtype=np.float64)
        return DiskGeometry((float(centre[0]), float(centre[1])), to_pixels)
