"""Saturation: how much of an image is clipped. Measured on raw counts, before anything scales or averages them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def saturated_fraction(image: NDArray[np.float32], level: float) -> float:
    """Share of the valid pixels of an image (y, x) at or above `level`; NaN where no pixel is valid."""
    valid = int(np.count_nonzero(~np.isnan(image)))
    return float(np.count_nonzero(image >= level) / valid) if valid else float("nan")
