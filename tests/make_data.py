"""Tiny files with the layout of the real ones: FITS as JSOC writes them, browse JPEGs as SDO's site has them."""

from pathlib import Path

import numpy as np
from astropy.io import fits
from PIL import Image

RSUN_ARCSEC = 960.0


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
) -> Path:
    """A Rice-compressed AIA level-1.5 file; `image` in DN replaces the made-up disk."""
    centre = centre or ((size - 1) / 2, (size - 1) / 2)
    pixels = disk_image(size, centre, radius, seed) if image is None else image
    header = fits.Header(
        {
            "TELESCOP": "SDO/AIA",
            "INSTRUME": "AIA_2",
            "WAVELNTH": wavelength,
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
            # As in JSOC's synoptic files: the radius in level-1 pixels, wrong for this image.
            "R_SUN": 1600.0,
        }
    )
    if exposure is not None:
        header["EXPTIME"] = exposure
    units = [fits.PrimaryHDU(), fits.CompImageHDU(np.round(pixels).astype(np.int32), header, compression_type="RICE_1")]
    fits.HDUList(units).writeto(path)
    return path


def write_rgb(path: Path, planes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Path:
    """An RGB browse image; planes with row 0 in the south."""
    stacked = np.stack(planes, axis=-1).clip(0, 255).astype(np.uint8)[::-1]
    Image.fromarray(stacked).save(path, quality=95, subsampling=0)
    return path
