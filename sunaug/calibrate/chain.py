"""The steps in their order: from an observation, as the archive holds it, to one channel of a frame.

What is linear (exposure, degradation) is divided out after registration, on the small frame: the result is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sunaug.calibrate.exposure import per_second
from sunaug.calibrate.quality import check_quality
from sunaug.calibrate.registration import Resampled, resample
from sunaug.errors import UsageError
from sunaug.lexicon import CHANNELS
from sunaug.sources import Observation, RejectedFile

if TYPE_CHECKING:
    from sunaug.calibrate.pointing import PointingTable
    from sunaug.calibrate.psf import PsfStore

__all__ = ["MOST_MISSING", "Calibration", "calibrate", "missing_share"]

MOST_MISSING = 0.2
"""Share of the disk beyond which a frame is no use to anyone."""
_DISK_SHARE = 0.95
"""Part of the disk's radius that is looked at: HMI's images end at the limb."""


@dataclass(frozen=True)
class Calibration:
    """What is done to each image between file and cube.

    Attributes
    ----------
    size : int
        Width and height of a frame in pixels.
    disk_radius : float, optional
        Radius of the photosphere in the frame's pixels, the same on all frames.
    plate_scale : float, optional
        In place of `disk_radius`: arcsec in a frame's pixel, so that the Sun keeps the size that it appears in.
    lenient_quality : bool
        Take images whose QUALITY spoils them only in part.
    degradation : pathlib.Path or str, optional
        Tables to divide AIA intensities by: a folder, a response table, or ``aiapy``.
    pointing : PointingTable, optional
        Master pointing for level-1 images of AIA.
    psf : PsfStore, optional
        Point spread functions to deconvolve level-1 images of AIA with.
    undo_stretch : bool
        Turn display counts of browse images back into approximate DN/s.
    saturation_mask : bool
        Tell for each pixel which share of its footprint is saturated.

    Raises
    ------
    UsageError
        If not exactly one of `disk_radius` and `plate_scale` is given, or one is not above zero.
    """

    size: int
    disk_radius: float | None = None
    plate_scale: float | None = None
    lenient_quality: bool = False
    degradation: Path | str | None = None
    pointing: PointingTable | None = None
    psf: PsfStore | None = None
    undo_stretch: bool = False
    saturation_mask: bool = False

    def __post_init__(self) -> None:
        given = [value for value in (self.disk_radius, self.plate_scale) if value is not None]
        if len(given) != 1 or given[0] <= 0:
            raise UsageError("a calibration needs a disk radius or a plate scale above zero: give one of the two.")

    def frame_radius(self, observation: Observation) -> float:
        """Radius of the photosphere in pixels of the observation's frame.

        Raises
        ------
        RejectedFile
            If the frame keeps the apparent radius and the observation does not tell it.
        """
        if self.plate_scale is None:
            assert self.disk_radius is not None
            return self.disk_radius
        if not observation.sun_radius > 0:
            raise RejectedFile("the angular radius of the Sun is not known, so the plate scale cannot be kept.")
        return observation.sun_radius / self.plate_scale

    def steps(self, intensity_scale: str) -> list[dict[str, Any]]:
        """The processing steps with their parameters, as they are written into the cube's attributes (JSON types)."""
        physical = intensity_scale == "physical"
        steps: list[dict[str, Any]] = []
        if physical:
            accepted = "no fatal bit" if self.lenient_quality else "QUALITY == 0"
            steps.append({"step": "quality", "accepted": accepted})
        if physical and self.pointing is not None:
            table = self.pointing
            steps.append({"step": "pointing", "of": "AIA level 1", "table": table.source, "obtained": table.date})
        steps.append({"step": "saturation", "measured_on": "raw counts", "mask": self.saturation_mask})
        if physical and self.psf is not None:
            steps.append({"step": "psf", "of": "AIA level 1", "method": "aiapy", "iterations": self.psf.iterations})
        if self.undo_stretch and not physical:
            from sunaug.calibrate.stretch import stretch_step

            steps.append(stretch_step())
        geometry = (
            {"disk_radius": self.disk_radius} if self.plate_scale is None else {"arcsec_per_pixel": self.plate_scale}
        )
        method = "mean over each pixel's footprint, one resampling"
        steps.append({"step": "registration", "method": method, "size": self.size, **geometry})
        if physical:
            steps.append({"step": "exposure", "of": "DN", "divided_by": "EXPTIME"})
        if physical and self.degradation is not None:
            tables = Path(self.degradation).name
            steps.append({"step": "degradation", "of": "AIA", "divided_by": "table", "tables": tables})
        return steps


def calibrate(
    observation: Observation, plan: Calibration, intensity_scale: str
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """One observation as a frame's channel: the image and what the cube keeps beside it.

    Parameters
    ----------
    observation : Observation
    plan : Calibration
    intensity_scale : str
        Of the source: where it is not ``physical``, only bits of QUALITY that no science image has are refused.

    Returns
    -------
    frame : ndarray of float32, shape (size, size)
        In DN/s, or in the observation's unit where that is a field, a velocity or display counts. NaN where missing.
    facts : dict
        ``exposure_time`` (s), ``quality``, ``saturated_fraction``, ``pixel_area`` (source pixels), ``observed_at`` (ns
        since 1970, UTC), ``disk_radius`` (pixels of this frame), ``degradation_factor`` (what the intensity was divided
        by, here or by the source; NaN if it was not) and, where the plan asks for it, ``saturated_share`` (size, size).

    Raises
    ------
    RejectedFile
        If a step cannot be done: QUALITY, no exposure time, outside the degradation or pointing table; or if more than
        `MOST_MISSING` of the disk is missing.
    """
    # Display pictures are made of quicklook data, so that QUALITY is never 0; an eclipse is one in them too.
    lenient = plan.lenient_quality or intensity_scale != "physical"
    check_quality(observation.quality, lenient=lenient, instrument=CHANNELS[observation.channel].instrument)
    if plan.pointing is not None and observation.level == 1:
        from sunaug.calibrate.pointing import update_pointing

        observation = update_pointing(observation, plan.pointing)
    radius = plan.frame_radius(observation)
    prepared = _prepare(observation, plan)
    found = _resample(prepared, plan, radius)
    # Deconvolution and the inverse stretch change counts, so what is saturated is asked of the image before them.
    raw = found if prepared.image is observation.image else _resample(observation, plan, radius)
    frame = found.frame.astype(np.float32)
    if np.isnan(frame).all():
        raise RejectedFile("no valid pixel is left on the frame.")
    missing = missing_share(frame, radius)
    if missing > MOST_MISSING:
        raise RejectedFile(f"incomplete: {missing:.0%} of the disk is missing.")
    if prepared.unit == "DN":
        frame = per_second(frame, observation.exposure_time)
    factor = observation.degradation
    if plan.degradation is not None and observation.unit in ("DN", "DN s-1") and np.isnan(factor):
        from sunaug.calibrate.degradation import correct_degradation, degradation_factor

        factor = degradation_factor(plan.degradation, observation.channel, observation.time)
        frame = correct_degradation(frame, factor)
    facts = {
        "exposure_time": observation.exposure_time,
        "quality": observation.quality,
        "saturated_fraction": raw.saturated / raw.valid if raw.valid else np.nan,
        "pixel_area": found.area,
        "observed_at": observation.time.astype("datetime64[ns]").astype(np.int64),
        "disk_radius": radius,
        "degradation_factor": factor,
    }
    if raw.saturated_share is not None:
        facts["saturated_share"] = raw.saturated_share.astype(np.float32)
    return frame, facts


def missing_share(frame: NDArray[np.floating], disk_radius: float) -> float:
    """Share of the pixels on the disk of a frame (y, x) that are missing."""
    away = np.arange(len(frame)) - (len(frame) - 1) / 2
    disk = np.hypot(away[:, None], away) < _DISK_SHARE * disk_radius
    return float(np.isnan(frame[disk]).mean()) if disk.any() else 0.0


def _prepare(observation: Observation, plan: Calibration) -> Observation:
    """The steps that work on the source's pixels; the same object where there are none."""
    if plan.psf is not None and observation.level == 1:
        from sunaug.calibrate.psf import deconvolve

        observation = deconvolve(observation, plan.psf)
    if plan.undo_stretch and observation.unit == "counts":
        from sunaug.calibrate.stretch import undo_stretch

        observation = undo_stretch(observation)
    return observation


def _resample(observation: Observation, plan: Calibration, radius: float) -> Resampled:
    geometry = observation.geometry
    return resample(
        observation.image,
        geometry.centre,
        geometry.to_pixels / radius,
        plan.size,
        blank=observation.blank,
        saturation_level=observation.saturation_level,
        saturation_share=plan.saturation_mask,
    )
