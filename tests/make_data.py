"""Tiny files with the layout of the real ones: FITS as JSOC writes them, browse JPEGs as SDO's site has them."""

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from PIL import Image
from scipy.ndimage import affine_transform

RSUN_ARCSEC = 960.0
TELESCOPES = {94: 4, 131: 1, 171: 3, 193: 2, 211: 2, 304: 4, 335: 1, 1600: 3, 1700: 3, 4500: 3}
DSUN_METRES = 6.96e8 / np.sin(np.deg2rad(RSUN_ARCSEC / 3600))


def disk_image(size: int, centre: tuple[float, float], radius: float, seed: int = 0) -> np.ndarray:
    """A disk of 100 with a sharp limb and active regions, corona of 10; row 0 in the south. `centre` is (x, y)."""
    y, x = np.indices((size, size))
    distance = np.hypot(x - centre[0], y - centre[1]) / radius
    image = np.where(distance < 1, 100.0, 10 * np.exp(-3 * (distance - 1).clip(0)))
    random = np.random.default_rng(seed)
    for _ in range(25):
        angle, away = random.uniform(0, 2 * np.pi), random.uniform(0, 0.85) * radius
        spot = np.hypot(x - centre[0] - away * np.cos(angle), y - centre[1] - away * np.sin(angle))
        image += random.uniform(20, 120) * np.exp(-((spot / (0.04 * radius)) ** 2))
    return image


def write_fits(
    path: Path,
    *,
    time: str = "2012-03-07T00:00:00.00",
    size: int = 128,
    radius: float = 50.0,
    centre: tuple[float, float] | None = None,
    exposure: float | None = 2.0,
    quality: int = 0,
    wavelength: int = 193,
    seed: int = 0,
    roll: float = 0.0,
    image: np.ndarray | None = None,
    compression: str | None = "RICE_1",
    dtype: Any = np.int32,
    keywords: dict[str, Any] | None = None,
) -> Path:
    """A Rice-compressed AIA level-1.5 file; `image` in DN replaces the made-up disk, and `keywords` the header's.

    Keywords with the value None are left out.
    """
    centre = centre or ((size - 1) / 2, (size - 1) / 2)
    pixels = disk_image(size, centre, radius, seed) if image is None else image
    header = fits.Header(
        {
            "TELESCOP": "SDO/AIA",
            "INSTRUME": f"AIA_{TELESCOPES.get(wavelength, 2)}",
            "WAVELNTH": wavelength,
            "WAVEUNIT": "angstrom",
            "T_OBS": time + "Z",
            "DATE-OBS": time,
            "QUALITY": quality,
            "CTYPE1": "HPLN-TAN",
            "CTYPE2": "HPLT-TAN",
            "CUNIT1": "arcsec",
            "CUNIT2": "arcsec",
            "CRVAL1": 0.0,
            "CRVAL2": 0.0,
            "CDELT1": RSUN_ARCSEC / radius,
            "CDELT2": RSUN_ARCSEC / radius,
            "CRPIX1": centre[0] + 1,
            "CRPIX2": centre[1] + 1,
            "CROTA2": roll,
            "RSUN_OBS": RSUN_ARCSEC,
            "DSUN_OBS": DSUN_METRES,
            "HGLN_OBS": 0.0,
            "HGLT_OBS": -7.25,
            # As in JSOC's synoptic files: the radius in level-1 pixels, wrong for this image.
            "R_SUN": 1600.0,
        }
    )
    if exposure is not None:
        header["EXPTIME"] = exposure
    return _write(
        path,
        (np.round(pixels) if np.issubdtype(dtype, np.integer) else pixels).astype(dtype),
        header,
        compression,
        keywords,
    )


def _write(
    path: Path, pixels: np.ndarray, header: fits.Header, compression: str | None, keywords: dict[str, Any] | None
) -> Path:
    for keyword, value in (keywords or {}).items():
        if value is None:
            header.remove(keyword)
        else:
            header[keyword] = value
    units = [fits.PrimaryHDU(pixels, header)]
    if compression:
        units = [fits.PrimaryHDU(), fits.CompImageHDU(pixels, header, compression_type=compression)]
    for unit in units:
        # What astropy takes out of a header that it is given with pixels: these tell how the pixels are meant.
        for keyword in ("BSCALE", "BLANK"):
            if unit.data is not None and keyword in (keywords or {}):
                unit.header[keyword] = keywords[keyword]
    fits.HDUList(units).writeto(path)
    return path


def write_magnetogram(
    path: Path,
    field: np.ndarray,
    *,
    centre: tuple[float, float],
    radius: float,
    roll: float = 180.0,
    keywords: dict[str, Any] | None = None,
) -> Path:
    """An HMI line-of-sight magnetogram as in hmi.M_45s: tenths of a gauss in int32, nothing beyond the limb."""
    y, x = np.indices(field.shape)
    blank = -(2**31)
    tenths = np.round(field * 10).astype(np.int32)
    tenths[np.hypot(x - centre[0], y - centre[1]) > radius] = blank
    header = fits.Header(
        {
            "TELESCOP": "SDO/HMI",
            "INSTRUME": "HMI_FRONT2",
            "WAVELNTH": 6173.0,
            "CONTENT": "MAGNETOGRAM",
            "BUNIT": "Gauss",
            "T_OBS": "2012.03.07_00:00:34_TAI",
            "DATE-OBS": "2012-03-06T23:59:37.10",
            "QUALITY": 0,
            "CTYPE1": "HPLN-TAN",
            "CTYPE2": "HPLT-TAN",
            "CUNIT1": "arcsec",
            "CUNIT2": "arcsec",
            "CRVAL1": 0.0,
            "CRVAL2": 0.0,
            "CDELT1": RSUN_ARCSEC / radius,
            "CDELT2": RSUN_ARCSEC / radius,
            "CRPIX1": centre[0] + 1,
            "CRPIX2": centre[1] + 1,
            "CROTA2": roll,
            "RSUN_OBS": RSUN_ARCSEC,
            "DSUN_OBS": DSUN_METRES,
            "HGLN_OBS": 0.0,
            "HGLT_OBS": -7.25,
        }
    )
    return _write(path, tenths, header, "RICE_1", {"BSCALE": 0.1, "BLANK": blank} | (keywords or {}))


def roll_matrix(roll: float) -> np.ndarray:
    """Takes (west, north) to (columns, rows) of an image with CROTA2 `roll` in degrees."""
    turn = np.deg2rad(roll)
    return np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])


def turned(
    image: np.ndarray,
    place: tuple[tuple[float, float], float],
    size: int,
    to: tuple[tuple[float, float], float],
    roll: float,
) -> np.ndarray:
    """An image of the Sun seen by another detector: smoothly interpolated, its disk laid elsewhere and rolled.

    `place` and `to` are the disk's centre (x, y) and radius on the image and on the result of `size` pixels squared.
    """
    (centre, radius), (new_centre, new_radius) = place, to
    # Rows and columns change places between (x, y) and scipy's order.
    matrix = (np.linalg.inv(roll_matrix(roll)) * radius / new_radius)[::-1, ::-1]
    offset = np.array(centre[::-1]) - matrix @ np.array(new_centre[::-1])
    return affine_transform(image, matrix, offset, (size, size), order=3, output=np.float32)


def write_rgb(path: Path, planes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Path:
    """An RGB browse image; planes with row 0 in the south."""
    stacked = np.stack(planes, axis=-1).clip(0, 255).astype(np.uint8)[::-1]
    Image.fromarray(stacked).save(path, quality=95, subsampling=0)
    return path
