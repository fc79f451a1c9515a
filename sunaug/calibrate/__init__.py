"""Calibration: pure functions, one step each, from an image to an image.

The order is that of the AIA pipelines: quality, pointing, saturation (on raw counts), PSF, registration, exposure,
degradation. `chain` puts them together for the frames of a cube; the names exported here do the same for sunpy maps.
After the frames stand in a cube, `consistency` compares them with one another and finds the faulty ones.
"""

from sunaug.calibrate.chain import Calibration
from sunaug.calibrate.maps import (
    calibrate,
    check_quality,
    correct_degradation,
    normalize_exposure,
    register,
    saturated_fraction,
)

__all__ = [
    "Calibration",
    "calibrate",
    "check_quality",
    "correct_degradation",
    "normalize_exposure",
    "register",
    "saturated_fraction",
]
