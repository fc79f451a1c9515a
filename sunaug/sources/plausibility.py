"""What no observation of SDO can be: the same rules for every source, which each reader's observations pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sunaug.lexicon import CHANNELS
from sunaug.sources import Observation
from sunaug.sources.disk_edge import check_edge
from sunaug.sources.headers import SUN_RADII
from sunaug.sources.rejected import RejectedFile
from sunaug.sources.times import check_time

__all__ = ["plausible"]

EXPOSURE_TIMES = (1e-3, 100.0)
"""Seconds. AIA's automatic exposure goes down to a few hundredths, its ordinary ones are 0.5 to 3."""
LARGEST_VALUE = 1e9
"""Beyond what any detector reads (2**14 DN) divided by the shortest exposure: fill values of other software."""
SMALLEST_DISK = 0.5
"""Share of the image's width: 0.77 for AIA, 0.9 for HMI."""


def plausible(observation: Observation) -> Observation:
    """An observation that may become a frame.

    Parameters
    ----------
    observation : Observation
        As a reader finds it.

    Returns
    -------
    Observation
        The same; pixels that are infinite or beyond any detector's reach are missing, and an exposure that cannot be is
        unknown where nothing is divided by it.

    Raises
    ------
    RejectedFile
        If time, solar radius, exposure, plate scale or the place of the disk cannot be, the image does not hold the
        whole disk, no pixel of it holds anything, or the limb is not where the header puts it.
    """
    check_time(observation.time)
    observation = replace(observation, exposure_time=_exposure(observation))
    if not np.isnan(observation.sun_radius) and not SUN_RADII[0] <= observation.sun_radius <= SUN_RADII[1]:
        usual = f"{SUN_RADII[0]:g} to {SUN_RADII[1]:g} arcsec"
        raise RejectedFile(f"a solar radius of {observation.sun_radius:.6g} arcsec; from SDO it is {usual}.")
    height, width = observation.image.shape
    observation.geometry.require_disk((height, width))
    if height != width:
        raise RejectedFile(f"wrong shape: {width} x {height} pixels; images of the whole disk are square.")
    if 2 * observation.geometry.radius < SMALLEST_DISK * width:
        disk = 2 * observation.geometry.radius
        raise RejectedFile(f"a Sun {disk:.3g} pixels wide on an image of {width}: the plate scale is not that of SDO.")
    observation = _with_missing(observation)
    _require_content(observation.image, observation.blank)
    signed = CHANNELS[observation.channel].signed
    check_edge(observation.image, observation.geometry, blank=observation.blank, signed=signed)
    return observation


def _exposure(observation: Observation) -> float:
    """Seconds, NaN where unknown; what cannot be is a reason, but for fields and velocities, which no one divides."""
    seconds = observation.exposure_time
    if np.isnan(seconds) or EXPOSURE_TIMES[0] <= seconds <= EXPOSURE_TIMES[1]:
        return seconds
    if CHANNELS[observation.channel].signed:
        return np.nan
    wanted = "above zero" if seconds <= 0 else f"of {EXPOSURE_TIMES[0]:g} to {EXPOSURE_TIMES[1]:g} s"
    raise RejectedFile(f"EXPTIME is {seconds:g} s; a frame needs an exposure {wanted}.")


def _with_missing(observation: Observation) -> Observation:
    """The observation with pixels that are infinite, or beyond `LARGEST_VALUE`, as missing ones."""
    image, blank = observation.image, observation.blank
    if image.dtype.itemsize < 4:
        return observation  # neither can be
    if not np.issubdtype(image.dtype, np.integer):
        # Two passes without a copy clear every good image; fmin and fmax pass over NaN.
        if np.fmin.reduce(image, axis=None) < -LARGEST_VALUE or np.fmax.reduce(image, axis=None) > LARGEST_VALUE:
            image = np.where(np.abs(image) <= LARGEST_VALUE, image, image.dtype.type(np.nan))
        return replace(observation, image=image)
    if image.min() >= -LARGEST_VALUE and image.max() <= LARGEST_VALUE:
        return observation
    strange = (image < -LARGEST_VALUE) | (image > LARGEST_VALUE)
    blank = int(np.iinfo(image.dtype).min) if blank is None else blank
    return replace(observation, image=np.where(strange, image.dtype.type(blank), image), blank=blank)


def _require_content(image: NDArray[Any], blank: int | None) -> None:
    # The middle row alone clears every good image, in no time.
    for pixels in (image[len(image) // 2], image):
        present = ~np.isnan(pixels) if blank is None else pixels != blank
        if (present & (pixels != 0)).any():
            return
    raise RejectedFile("nothing but zeros." if present.any() else "every pixel is missing (NaN or BLANK).")
