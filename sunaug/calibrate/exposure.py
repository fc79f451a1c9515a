"""Exposure: DN to DN/s."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sunaug.sources import RejectedFile


def per_second(image: NDArray[np.float32], exposure_time: float) -> NDArray[np.float32]:
    """Divide an image (y, x) in DN by its exposure time in seconds.

    Automatic exposure shortens the time during flares by a factor of ten and more, so raw counts of a flare look quiet.

    Raises
    ------
    RejectedFile
        If the exposure time is missing (NaN) or not above zero.
    """
    if np.isnan(exposure_time):
        raise RejectedFile("the header has no usable EXPTIME, so counts cannot be turned into DN/s.")
    if exposure_time <= 0:
        raise RejectedFile(f"EXPTIME is {exposure_time:g} s; a frame needs an exposure above zero.")
    return image / np.float32(exposure_time)
