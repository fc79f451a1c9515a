"""How precisely a cube keeps its intensity: rounded to what the photons can tell, so that it compresses."""

from __future__ import annotations

import math

import numpy as np
from numcodecs import BitRound
from numpy.typing import NDArray

__all__ = ["photon_noise_bits", "round_bits"]

FULL_WELL_DN = 16383.0
"""End of the 14-bit converter; in the EUV channels a count stands for about one photon."""
LEVEL_1_RADIUS = 1600.0
"""Radius of the photosphere in pixels of level 1 (960 arcsec at 0.6 arcsec per pixel)."""


def photon_noise_bits(disk_radius: float, intensity_scale: str) -> int:
    """Mantissa bits that photon noise leaves worth keeping in a cube's intensity.

    A pixel of the cube averages (1600 / disk_radius)^2 pixels of level 1. Where these are brightest, just below their
    full well, counting statistics leave them the smallest relative error sigma. Rounding to k bits errs by 2^-(k+1) at
    most; k is the smallest for which that is below sigma / 2, so that rounding adds at most a twelfth of sigma^2 to
    the variance of the brightest pixels and less to all others.

    Parameters
    ----------
    disk_radius : float
        In pixels of the cube.
    intensity_scale : str
        Browse counts are known to one in 255 in the source, whatever the photons were.
    """
    area = max((LEVEL_1_RADIUS / disk_radius) ** 2, 1.0)
    smallest = 1 / (255 * math.sqrt(area)) if intensity_scale == "browse" else 1 / math.sqrt(FULL_WELL_DN * area)
    return min(max(math.ceil(-math.log2(smallest)), 1), 23)


def round_bits(values: NDArray[np.floating], bits: int) -> NDArray[np.float32]:
    """Round to `bits` bits of mantissa, to the nearest, ties to even; NaN stays NaN (Klower et al. 2021)."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    if bits >= 23:
        return values
    rounded = np.frombuffer(BitRound(bits).encode(values), dtype=np.float32).reshape(values.shape)
    return np.where(np.isfinite(values), rounded, values)
