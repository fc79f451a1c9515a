"""The steps in their order: from an observation, as the archive holds it, to one channel of a frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sunaug.calibrate.degradation import correct_degradation, degradation_factor
from sunaug.calibrate.exposure import per_second
from sunaug.calibrate.quality import check_quality
from sunaug.calibrate.registration import register
from sunaug.calibrate.saturation import saturated_fraction
from sunaug.lexicon import CHANNELS
from sunaug.sources import Observation, RejectedFile

__all__ = ["Calibration", "calibrate"]


@dataclass(frozen=True)
class Calibration:
    """What is done to each image between file and cube."""

    size: int
    disk_radius: float
    lenient_quality: bool = False
    degradation: Path | None = None

    def steps(self, intensity_scale: str) -> list[dict[str, Any]]:
        """The processing steps with their parameters, as they are written into the cube's attributes."""
        physical: list[dict[str, Any]] = [
            {"step": "quality", "accepted": "no fatal bit" if self.lenient_quality else "QUALITY == 0"},
            {"step": "saturation", "measured_on": "raw counts"},
            {"step": "exposure", "divided_by": "EXPTIME"},
        ]
        if self.degradation is not None:
            physical.append({"step": "degradation", "divided_by": "table", "tables": self.degradation.name})
        registration = {
            "step": "registration",
            "method": "mean over each pixel's footprint, one resampling",
            "size": self.size,
            "disk_radius": self.disk_radius,
        }
        return [*(physical if intensity_scale == "physical" else []), registration]


def calibrate(
    observation: Observation, plan: Calibration, intensity_scale: str
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """One observation as a frame's channel: the image (y, x) and what the cube keeps beside it.

    Raises
    ------
    RejectedFile
        If a step cannot be done: QUALITY, no exposure time, outside the degradation table.
    """
    physical = intensity_scale == "physical"
    if physical:
        check_quality(observation.quality, lenient=plan.lenient_quality)
    image = observation.image
    saturated = saturated_fraction(image, observation.saturation_level)
    if physical and not CHANNELS[observation.channel].signed:
        image = per_second(image, observation.exposure_time)
        if plan.degradation is not None:
            factor = degradation_factor(plan.degradation, observation.channel, observation.time)
            image = correct_degradation(image, factor)
    frame, area = register(image, observation.geometry, plan.size, plan.disk_radius)
    if np.isnan(frame).all():
        raise RejectedFile("no valid pixel is left on the frame.")
    return frame, {
        "exposure_time": observation.exposure_time,
        "quality": observation.quality,
        "saturated_fraction": saturated,
        "pixel_area": area,
        "observed_at": observation.time.astype("datetime64[ns]").astype(np.int64),
    }
