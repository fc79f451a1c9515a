"""The profile from the disk's centre to the limb and beyond."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sunaug.fidelity.physics.columns import Table
from sunaug.fidelity.physics.planes import Plane
from sunaug.measures.limb import Geometry
from sunaug.measures.regions import centre_distance

__all__ = ["profile"]

_STEP = 0.04
_NARROWEST = 1.0
"""Pixels: the least width of a ring."""


def profile(planes: Sequence[Plane]) -> Table:
    """Centre-to-limb profile of each channel CH that is not a magnetogram.

    ``profile CH`` (curve): median of the pixels in rings around the frame's centre, 0.04 radii wide (a pixel where that
    is more), from the centre to the nearest edge of the frame, in counts / 255 or dex. The median over all position
    angles leaves the active regions out. In EUV the corona is optically thin and the disk brightens towards the limb,
    where the line of sight is longest; in the continuum it darkens (Cox 2000, Allen's Astrophysical Quantities,
    chapter 14).

    Parameters
    ----------
    planes : sequence of Plane
    """
    table: Table = {}
    for plane in planes:
        if plane.channel.signed:
            continue
        radii, rings = _rings(plane.geometry)
        flat = plane.values.reshape(len(plane.values), -1)
        median = np.stack([np.median(flat[:, ring], axis=1) for ring in rings], axis=1)
        table[f"profile {plane.name}"] = plane.curve(median, plane.unit, radii, "solar radii", "profile")
    return table


@cache
def _rings(geometry: Geometry) -> tuple[NDArray[np.float64], list[NDArray[np.intp]]]:
    """Middle of each ring in radii, and its pixels in a flat frame."""
    width = max(_STEP, _NARROWEST / geometry.disk_radius)
    number = int(geometry.size / 2 / geometry.disk_radius / width)
    ring = (centre_distance(geometry) / width).astype(int).ravel()
    return (np.arange(number, dtype=np.float64) + 0.5) * width, [np.flatnonzero(ring == one) for one in range(number)]
