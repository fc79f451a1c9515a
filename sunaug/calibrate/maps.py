"""The calibration steps on sunpy maps: a full-disk AIA or HMI map in, a new map out.

Each is the step of the same name on arrays, with the header kept true to the pixels. The map that is given is never
changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sunaug.calibrate import chain, degradation, exposure, quality, registration, saturation
from sunaug.errors import UsageError
from sunaug.sources import Observation
from sunaug.sources.fits_files import observe
from sunaug.sources.headers import read_quality

if TYPE_CHECKING:
    from sunpy.map import GenericMap

__all__ = [
    "calibrate",
    "check_quality",
    "correct_degradation",
    "normalize_exposure",
    "register",
    "saturated_fraction",
]

_BUNITS = {"DN": "DN", "DN s-1": "DN / s", "gauss": "Gauss", "m s-1": "m / s"}
_ORIENTATION = ("crota1", "crota2", *(f"{kind}{i}_{j}" for kind in ("pc", "cd") for i in (1, 2) for j in (1, 2)))
_OF_THE_FILE = ("bscale", "bzero", "blank", "bitpix", "datamin", "datamax", "checksum", "datasum")
"""Keywords that tell how pixels lie in the file, or their extremes, and are wrong of new pixels."""


def check_quality(smap: GenericMap, *, lenient: bool = False) -> GenericMap:
    """Refuse a map by its QUALITY.

    Parameters
    ----------
    smap : sunpy.map.GenericMap
    lenient : bool
        Let bits pass that spoil an image only in part.

    Returns
    -------
    sunpy.map.GenericMap
        The same map.

    Raises
    ------
    RejectedFile
        Naming the bits that are set, or that QUALITY is no number.
    """
    instrument = "HMI" if "HMI" in str(smap.meta.get("telescop", "")).upper() else "AIA"
    quality.check_quality(read_quality(smap.meta.get("quality")), lenient=lenient, instrument=instrument)
    return smap


def saturated_fraction(smap: GenericMap) -> float:
    """Share of the valid pixels of a map that are saturated; of use on raw counts (levels 1 and 1.5) alone.

    Raises
    ------
    RejectedFile
        If the map is not a full-disk image of AIA or HMI.
    """
    observation = observe(smap.meta, smap.data)
    return saturation.saturated_fraction(observation.image, observation.saturation_level, observation.blank)


def normalize_exposure(smap: GenericMap) -> GenericMap:
    """Divide a map in DN by its exposure time: DN/s. A map in another unit comes back as it is.

    Raises
    ------
    RejectedFile
        If the exposure time is missing or not above zero.
    """
    observation = observe(smap.meta, smap.data)
    if observation.unit != "DN":
        return smap
    image = exposure.per_second(_floats(observation), observation.exposure_time)
    return _map(smap, image, bunit=_BUNITS["DN s-1"])


def correct_degradation(smap: GenericMap, tables: Path | str) -> GenericMap:
    """Divide a map by the degradation factor of its day, which the keyword DEG_COR then holds.

    A map of HMI, or one with DEG_COR, comes back as it is.

    Parameters
    ----------
    smap : sunpy.map.GenericMap
    tables : pathlib.Path or str
        As in `sunaug.calibrate.degradation.degradation_factor`.

    Raises
    ------
    RejectedFile
        If the time of observation is outside the table.
    """
    observation = observe(smap.meta, smap.data)
    if not observation.unit.startswith("DN") or np.isfinite(observation.degradation):
        return smap
    factor = degradation.degradation_factor(tables, observation.channel, observation.time)
    return _map(smap, degradation.correct_degradation(_floats(observation), factor), deg_cor=factor)


def register(smap: GenericMap, size: int, disk_radius: float | None = None) -> GenericMap:
    """Resample a map once: the disk centred, north up and of a given radius.

    Parameters
    ----------
    smap : sunpy.map.GenericMap
    size : int
        Width and height of the new map in pixels.
    disk_radius : float, optional
        Radius of the photosphere in its pixels; by default that of a cube, 7/16 of `size`.

    Raises
    ------
    RejectedFile
        If the map is not a full-disk image of AIA or HMI.
    UsageError
        If the size or the radius is not above zero.
    """
    if disk_radius is None:
        from sunaug.cube.schema import DISK_RADIUS_FRACTION

        disk_radius = DISK_RADIUS_FRACTION * size
    if size < 1 or disk_radius <= 0:
        raise UsageError(f"a frame of {size} pixels with a disk radius of {disk_radius:g} holds no Sun.")
    observation = observe(smap.meta, smap.data)
    frame, _ = registration.register(
        observation.image, observation.geometry, size, disk_radius, blank=observation.blank
    )
    return _map(smap, frame, **_placed(observation, size, disk_radius))


def calibrate(smap: GenericMap, plan: chain.Calibration) -> GenericMap:
    """All steps of a plan at once, as they are done on the way into a cube.

    Parameters
    ----------
    smap : sunpy.map.GenericMap
    plan : Calibration

    Returns
    -------
    sunpy.map.GenericMap
        In DN/s, or in Gauss.

    Raises
    ------
    RejectedFile
        If a step cannot be done: QUALITY, no exposure time, outside a table.
    """
    observation = observe(smap.meta, smap.data)
    frame, facts = chain.calibrate(observation, plan, "physical")
    meta = _placed(observation, plan.size, facts["disk_radius"])
    unit = "DN s-1" if observation.unit == "DN" else observation.unit
    if np.isfinite(facts["degradation_factor"]):
        meta["deg_cor"] = facts["degradation_factor"]
    return _map(smap, frame, bunit=_BUNITS[unit], **meta)


def _floats(observation: Observation) -> NDArray[np.float32]:
    image = observation.image.astype(np.float32)
    if observation.blank is not None:
        image[observation.image == observation.blank] = np.nan
    return image


def _placed(observation: Observation, size: int, disk_radius: float) -> dict[str, Any]:
    """The header of a registered frame; orientation is left out where it is none."""
    scale = observation.sun_radius / disk_radius
    middle = (size + 1) / 2
    return {
        "naxis1": size,
        "naxis2": size,
        "crpix1": middle,
        "crpix2": middle,
        "crval1": 0.0,
        "crval2": 0.0,
        "cdelt1": scale,
        "cdelt2": scale,
        "cunit1": "arcsec",
        "cunit2": "arcsec",
        "crota2": 0.0,
        "r_sun": disk_radius,
        "rsun_obs": observation.sun_radius,
        "lvl_num": 1.5,
    }


def _map(smap: GenericMap, image: NDArray[np.float32], **keywords: Any) -> GenericMap:
    import sunpy.map

    gone = _OF_THE_FILE + (_ORIENTATION if "crota2" in keywords else ())
    meta = {key: value for key, value in smap.meta.items() if key.lower() not in gone}
    return sunpy.map.Map(image, meta | keywords)
