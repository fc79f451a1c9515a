"""Saturation: how much of an image is clipped. Measured on raw counts, before anything scales or averages them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def saturated_fraction(image: NDArray[Any], level: float, blank: int | None = None) -> float:
    """Share of the valid pixels of an image (y, x) at or above `level`; NaN where no pixel is valid.

    Missing pixels are NaN, or `blank` in integers. Along with registration, `sunaug.calibrate.registration.resample`
    counts the same.
    """
    present = ~np.isnan(image) if blank is None else image != blank
    valid = int(np.count_nonzero(present))
    return float(np.count_nonzero(present & (image >= level)) / valid) if valid else float("nan")
