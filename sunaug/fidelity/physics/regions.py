"""Active regions and coronal holes: how many, how large, and where on the disk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sunaug.fidelity.physics.columns import Column, Table
from sunaug.fidelity.physics.planes import Plane
from sunaug.measures.frame import HOLE_CHANNELS, REGION_CHANNELS
from sunaug.measures.regions import ActiveRegions, active_regions, coronal_hole_area

__all__ = ["BELT", "regions"]

BELT = 5.0
"""Width of a bin of latitude or longitude, degrees."""


def regions(planes: Sequence[Plane]) -> Table:
    """Active regions on the best channel there is for them (`REGION_CHANNELS`), holes on theirs (`HOLE_CHANNELS`).

    - ``region_number``, and ``region_area``: the share of the disk that they cover together, as seen (their filling
      factor);
    - ``region_largest``: share of the disk of the largest one, 0 without any;
    - ``region_latitude``: mean of |latitude|, weighted by the excess over the quiet disk; degrees, NaN without regions;
    - ``region_latitude_spread``: standard deviation of |latitude| over the regions, weighted by area; NaN with fewer
      than two. Both follow Spoerer's law through the cycle (Hathaway 2015, Living Rev. Sol. Phys. 12, 4, sect. 3.3);
    - ``region_longitude``: mean of the signed longitude;
    - ``region_belts`` (histogram): area over latitude, and ``region_meridians`` (histogram): over longitude, in bins of
      5 degrees, each region at its centre, in shares of the disk;
    - ``hole_area``: share of the disk within 0.9 radii under large dark patches.

    Parameters
    ----------
    planes : sequence of Plane

    Notes
    -----
    The names carry no channel, since there is one of each per frame; the channel follows from the cube's. See
    `sunaug.measures.regions` for the thresholds and what they are worth.
    """
    bright = {plane.name: plane for plane in planes if not plane.channel.signed}
    table: Table = {}
    if best := _first(REGION_CHANNELS, bright):
        plane = bright[best]
        found = active_regions(
            _missing(plane, plane.values), plane.geometry, threshold=REGION_CHANNELS[best][0 if plane.browse else 1]
        )
        table |= _columns(found, plane)
    if best := _first(HOLE_CHANNELS, bright):
        plane = bright[best]
        area = coronal_hole_area(
            _missing(plane, plane.intensity), plane.geometry, darkness=HOLE_CHANNELS[best][0 if plane.browse else 1]
        )
        table["hole_area"] = plane.scalar(area, "share of the disk within 0.9 radii", "regions")
    return table


def _columns(found: ActiveRegions, plane: Plane) -> Table:
    frame = np.repeat(np.arange(len(found.regions)), [len(each) for each in found.regions])
    frames = len(found.regions)
    latitude, longitude, area = (
        np.array([(one.latitude, one.longitude, one.area) for each in found.regions for one in each]).reshape(-1, 3).T
    )
    largest = np.zeros(frames)
    np.maximum.at(largest, frame, area)

    number = np.bincount(frame, minlength=frames)
    weight = np.where(number > 1, np.bincount(frame, area, frames), np.nan)
    mean = np.bincount(frame, area * np.abs(latitude), frames) / weight
    spread = np.sqrt(np.bincount(frame, area * (np.abs(latitude) - mean[frame]) ** 2, frames) / weight)

    table = {
        "region_number": plane.scalar(found.number, "1", "regions"),
        "region_area": plane.scalar(found.area, "share of the disk", "regions"),
        "region_largest": plane.scalar(largest, "share of the disk", "regions"),
        "region_latitude": plane.scalar(found.latitude, "degrees", "regions"),
        "region_latitude_spread": plane.scalar(spread, "degrees", "regions"),
        "region_longitude": plane.scalar(found.longitude, "degrees", "regions"),
    }
    for name, angle, axis in (
        ("region_belts", latitude, "latitude (degrees, north positive)"),
        ("region_meridians", longitude, "longitude (degrees, west positive)"),
    ):
        bins = int(180 / BELT)
        place = np.clip(((angle + 90) / BELT).astype(int), 0, bins - 1)
        shares = np.bincount(frame * bins + place, area, frames * bins).reshape(frames, bins)
        centres = (np.arange(bins, dtype=np.float64) + 0.5) * BELT - 90
        table[name] = Column(shares.astype(np.float32), "histogram", "degrees", centres, axis, family="regions")
    return table


def _missing(plane: Plane, values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values if plane.there is None else np.where(plane.there, values, np.float32(np.nan))


def _first(preferred: dict[str, tuple[float, float]], there: dict[str, Plane]) -> str | None:
    return next((name for name in preferred if name in there), None)
