"""Brightness: the distribution of the pixels, the frame's total, and the level of the quiet disk."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sunaug.fidelity.physics.columns import Column, Table
from sunaug.fidelity.physics.planes import Plane
from sunaug.measures.limb import Geometry
from sunaug.measures.regions import centre_distance

__all__ = ["BINS", "QUIET_RADII", "intensity"]

BINS = 256
QUIET_RADII = 0.8
"""Radii within which the quiet level is taken: the brightened limb and the corona stay out."""

PEAK_SHARE, PEAK_RADII = 0.001, 1.1

# Field strengths pile up at zero: bins grow from this many gauss (metres a second) on, as an asinh does.
_SOFTENING = 10.0


def intensity(planes: Sequence[Plane]) -> Table:
    """Brightness of each channel CH.

    - ``total CH`` (scalar): mean intensity of the frame, missing pixels filled in. Not for magnetograms.
    - ``quiet_level CH`` (scalar): median of the pixels within 0.8 radii that are there, NaN without any. More than
      half of the disk is quiet Sun at any time, so the median follows the channel's level (its calibration, its wear, a
      wrong gain), not its active regions. Not for magnetograms.
    - ``peak CH`` (scalar): mean of the brightest 0.1 % of the pixels within 1.1 radii, which goes with a flare as the
      total hardly does. Not for magnetograms.
    - ``intensity CH`` (histogram): all pixels of the frame that are there, in 256 bins. In a browse cube over 0 to 255;
      in a physical cube over log10 of the channel's range and one decade more at the bright end; of a magnetogram over
      its range, bins growing outwards from zero. What lies beyond is in the outermost bin.

    Parameters
    ----------
    planes : sequence of Plane

    Returns
    -------
    dict of str to Column
        ``total``, ``quiet_level`` and ``peak`` in counts / 255 or dex, means taken before the logarithm.
    """
    table: Table = {}
    for plane in planes:
        if plane.channel.signed:
            continue
        mean = plane.intensity.mean(axis=(1, 2), dtype=np.float64)
        table[f"total {plane.name}"] = plane.scalar(plane.level(mean), plane.unit, "intensity")
    for plane in planes:
        if plane.channel.signed:
            continue
        table[f"quiet_level {plane.name}"] = plane.scalar(quiet_level(plane), plane.unit, "intensity")
    for plane in planes:
        if plane.channel.signed:
            continue
        near = _within(plane.geometry, PEAK_RADII)
        brightest = max(1, int(np.ceil(near.sum() * PEAK_SHARE)))
        top = np.partition(plane.intensity[:, near], -brightest, axis=1)[:, -brightest:]
        mean = top.mean(axis=1, dtype=np.float64)
        table[f"peak {plane.name}"] = plane.scalar(plane.level(mean), plane.unit, "intensity")
    for plane in planes:
        table[f"intensity {plane.name}"] = _histogram(plane)
    return table


def quiet_level(plane: Plane) -> NDArray[np.float64]:
    """Median of the disk within 0.8 radii, in the plane's unit, shape (n,); NaN for a frame that has no pixel there."""
    near = _within(plane.geometry, QUIET_RADII)
    pixels = plane.intensity[:, near]
    median = np.median(pixels, axis=1).astype(np.float64)
    if plane.there is not None:
        there = plane.there[:, near]
        for index in np.flatnonzero(~there.all(axis=1)):
            median[index] = np.median(pixels[index][there[index]]) if there[index].any() else np.nan
    return np.asarray(plane.level(median), np.float64)


@cache
def _within(geometry: Geometry, radii: float) -> NDArray[np.bool_]:
    return np.asarray(centre_distance(geometry) <= radii)


def _histogram(plane: Plane) -> Column:
    count = len(plane.intensity)
    begin, end = value_range(plane)
    values = plane.values
    stretched = plane.channel.signed and not plane.browse
    if stretched:
        values = np.arcsinh(values / np.float32(_SOFTENING))
        begin, end = (float(np.arcsinh(limit / _SOFTENING)) for limit in (begin, end))
    bins = ((values - np.float32(begin)) * np.float32(BINS / (end - begin))).astype(np.int32)
    np.clip(bins, 0, BINS - 1, out=bins)
    bins += (np.arange(count, dtype=np.int32) * BINS)[:, None, None]
    chosen = bins.ravel() if plane.there is None else bins[plane.there]
    counts = np.bincount(chosen, minlength=count * BINS).reshape(count, BINS)
    edges = np.linspace(begin, end, BINS + 1)
    centres = (edges[1:] + edges[:-1]) / 2
    if stretched:
        centres = np.sinh(centres) * _SOFTENING
    axis = f"intensity ({plane.unit})"
    return Column(counts.astype(np.float32), "histogram", plane.unit, centres, axis, family="intensity")


def value_range(plane: Plane) -> tuple[float, float]:
    """Range of the histogram in the plane's unit."""
    if plane.browse:
        return 0.0, 1.0
    low, high = plane.channel.clip
    return (low, high) if plane.channel.signed else (float(np.log10(low)), float(np.log10(high)) + 1)
