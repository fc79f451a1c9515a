"""GOES classes: the letters and numbers that stand for a flare's peak flux.

A class is only a way to write the peak 1-8 Å flux in W m-2 (A, B, C, M, X = 1e-8, 1e-7, 1e-6, 1e-5, 1e-4).
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sunaug.errors import UsageError

__all__ = ["CLASS_FLUX", "GOES_CLASS", "GREATEST_FLUX", "class_letters", "format_goes_class", "parse_goes_class"]

CLASS_FLUX = {"A": 1e-8, "B": 1e-7, "C": 1e-6, "M": 1e-5, "X": 1e-4}
GREATEST_FLUX = 0.1
"""W m-2, X1000: no flare comes near (the strongest measured, of 2003-11-04, was about X45)."""
GOES_CLASS = re.compile(r"^\s*([ABCMX])\s*(\d+(?:\.\d*)?|\.\d+)?\s*\+?\s*$", re.IGNORECASE)


def parse_goes_class(text: str) -> float:
    """Peak flux of a GOES class.

    Parameters
    ----------
    text : str
        ``M1.0``, ``x13``, ``C`` (read as C1.0), ``M5+``.

    Returns
    -------
    float
        Peak 1-8 Å flux in W m-2.

    Raises
    ------
    UsageError
        If `text` is not a GOES class, or one of which there is no flare.
    """
    match = GOES_CLASS.match(str(text))
    number = float(match[2]) if match and match[2] else 1.0
    if not match or number <= 0:
        raise UsageError(f"{text!r} is not a GOES class: write a letter A, B, C, M or X and a number, as M1.0.")
    flux = number * CLASS_FLUX[match[1].upper()]
    if flux > GREATEST_FLUX:
        raise UsageError(f"{text!r} is no class of a flare: the strongest that was ever measured was about X45.")
    return flux


def format_goes_class(flux: float) -> str:
    """Write a flux as a GOES class, cut after one decimal: 1e-5 gives ``M1.0``, 9.99e-6 ``C9.9``.

    ``quiet`` stands for 0 (no flare listed) and ``unknown`` for NaN. Digits are cut, not rounded, so that writing never
    lifts a flare over a class border.
    """
    flux = float(flux)
    if np.isnan(flux):
        return "unknown"
    if flux <= 0:
        return "quiet"
    letter = class_letters([flux])[0] or "A"
    return f"{letter}{np.floor(flux / CLASS_FLUX[letter] * 10 * (1 + 1e-6)) / 10:.1f}"


def class_letters(flux: ArrayLike) -> NDArray[np.str_]:
    """Letter of each flux (W m-2): ``A`` to ``X``, and an empty text for 0, NaN and anything below A1.0."""
    # A catalogue's "M1.0" is 10 * 1e-6 in some files and 1e-5 in others; half an ulp must not change its class.
    values = np.nan_to_num(np.asarray(flux, dtype=np.float64), posinf=np.inf) * (1 + 1e-6)
    borders = np.array(list(CLASS_FLUX.values()))
    letters = np.array(["", *CLASS_FLUX])
    return letters[np.searchsorted(borders, values, side="right")]
