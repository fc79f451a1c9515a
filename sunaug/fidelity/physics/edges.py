"""Straight edges: cuts along rows and columns, which the Sun does not have and networks and broken files make.

The limb is a circle, active regions have ragged borders, bleeding and lost rows are lines rather than edges: a line
ends after a few pixels, an edge has another level on its far side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sunaug.fidelity.physics.columns import Table
from sunaug.fidelity.physics.planes import Plane
from sunaug.measures.limb import Geometry
from sunaug.measures.regions import centre_distance

__all__ = ["LONGEST_WEIGHT", "RUNS", "straight_edges"]

RUNS = (1 / 4, 1 / 2, 7 / 8)
"""Lengths of the runs of pixels that an edge is looked for over, as shares of the frame's width."""

LONGEST_WEIGHT = 1.25
"""What the figure of the longest runs is multiplied by: real frames reach less over them, by this factor."""

_LIMB = 0.05
_LIMB_PIXELS = 2.0
# Rows on either side between which the step has to persist: bleeding of 128-pixel frames is up to three pixels wide.
_REACH = 3
# Rows and columns whose roughness a step is compared with, as a share of the frame's width.
_AROUND = 1 / 16
_MOST = 2.0
# Rows on either side whose means are compared over the whole frame, as a share of its height, and the most that one
# column adds: so that a single bright region is not taken for an edge across the frame.
_DEPTH = 3 / 128
_MOST_ACROSS = 0.3
_FAINTEST = 4 / 255
# Standard deviation over mean absolute value of a normal distribution.
_NORMAL = np.float32(np.sqrt(np.pi / 2))


@dataclass(frozen=True)
class _Borders:
    """The borders between neighbouring rows r and r + 1 of some frames; `width` pixels each.

    `steps[k - 1]` is the row k above each border less the row k below it, shape (n, borders, width), and `kept[k - 1]`
    tells where both of them count, shape (n or 1, borders, width). Borders near the frame's edges are left out, so that
    all steps have the same ones.
    """

    steps: list[NDArray[np.float32]]
    kept: list[NDArray[np.bool_]]
    roughness: NDArray[np.float32]


@cache
def _off_the_limb(geometry: Geometry) -> NDArray[np.bool_]:
    """Pixels that are not on the limb, whose top and bottom are straight over a dozen pixels."""
    away = np.abs(centre_distance(geometry) - 1) * geometry.disk_radius
    return np.asarray(away > max(_LIMB * geometry.disk_radius, _LIMB_PIXELS))


def straight_edges(planes: Sequence[Plane]) -> Table:
    """Straight edges along the rows and the columns of each channel CH, on frames scaled as they are shown (0 to 1).

    - ``straight_edges CH`` (scalar): the hardest cut. For the border of two neighbouring rows (or columns) and a run of
      pixels along it (a quarter, half and 7/8 of the frame), the sum of the steps across the border, each over the
      roughness of its surroundings and of 2 at most, less what the borders next to it have of the same sign, over the
      square root of the number of pixels; where the rows two and three away differ by less, that. The largest of all
      borders and runs.
    - ``straight_edges_across CH`` (scalar): the largest difference of the mean of three rows (or columns, of 128) and
      that of the next three, no column counting for more than 0.3 either way: structure that ends at the same row all
      over the frame.

    The roughness is the mean absolute step within 1/16 of the frame's width, of the rougher side of the border, and 2
    counts of 255 at least. Missing pixels and those on the limb do not count.

    Parameters
    ----------
    planes : sequence of Plane
    """
    hardest: Table = {}
    across: Table = {}
    for plane in planes:
        cut, step = np.zeros(len(plane.display)), np.zeros(len(plane.display))
        for frames, counted in _both_ways(plane):
            cut = np.maximum(cut, _hardest(_borders(frames, counted)))
            step = np.maximum(step, _widest(frames, counted))
        hardest[f"straight_edges {plane.name}"] = plane.scalar(cut, "standard deviations", "spectrum")
        across[f"straight_edges_across {plane.name}"] = plane.scalar(step, "displayed range", "spectrum")
    return hardest | across


def _both_ways(plane: Plane) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """The frames and the pixels that count, shapes (n, y, x) and (n or 1, y, x); then both transposed."""
    counted = _off_the_limb(plane.geometry)[None]
    if plane.there is not None:
        counted = counted & plane.there
    yield plane.display, counted
    yield np.ascontiguousarray(np.swapaxes(plane.display, 1, 2)), np.ascontiguousarray(np.swapaxes(counted, 1, 2))


def _borders(frames: NDArray[np.float32], counted: NDArray[np.bool_]) -> _Borders:
    size = frames.shape[1]
    steps, kept = [], []
    for distance in range(1, _REACH + 1):
        above = slice(_REACH - 1 + distance, size - _REACH + distance)
        below = slice(_REACH - distance, size - _REACH - distance + 1)
        both = counted[:, above] & counted[:, below]
        kept.append(both)
        steps.append(np.where(both, frames[:, above] - frames[:, below], np.float32(0)))
    return _Borders(steps, kept, _roughness(steps[0], kept[0], max(2, round(_AROUND * size))))


def _roughness(steps: NDArray[np.float32], kept: NDArray[np.bool_], reach: int) -> NDArray[np.float32]:
    """Standard deviation of the steps around each one, on the rougher side of its border, the nearest rows left out."""
    sums = [_around(np.abs(steps), reach), _around(kept.astype(np.float32), reach)]
    borders = steps.shape[1]
    row = np.arange(borders)
    sides = [(row + 2, row + 2 + reach), (row - 1 - reach, row - 1)]
    found = np.zeros_like(steps)
    for first, last in sides:
        first, last = (np.clip(one, 0, borders) for one in (first, last))
        total, number = (one[:, last] - one[:, first] for one in sums)
        np.maximum(found, total / np.maximum(number, 1), out=found)
    return found * _NORMAL + np.float32(_FAINTEST)


def _around(values: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    """Sums over columns up to `reach` away, then cumulated over rows: shape (n, rows + 1, columns)."""
    columns = values.shape[2]
    place = np.arange(columns)
    along = _cumulated(values, 2)
    near = along[:, :, np.minimum(place + reach + 1, columns)] - along[:, :, np.maximum(place - reach, 0)]
    return _cumulated(near, 1)


def _cumulated(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Cumulative sums with a leading zero."""
    shape = list(values.shape)
    shape[axis] += 1
    sums = np.zeros(shape, np.float32)
    inner = [slice(None)] * values.ndim
    inner[axis] = slice(1, None)
    np.cumsum(values, axis=axis, out=sums[tuple(inner)])
    return sums


def _hardest(borders: _Borders) -> NDArray[np.float32]:
    """The hardest cut of each frame, shape (n,)."""
    along = [_cumulated(np.clip(step / borders.roughness, -_MOST, _MOST), 2) for step in borders.steps]
    size = borders.roughness.shape[2]
    numbers = _cumulated(borders.kept[0].astype(np.float32), 2)
    found = np.zeros(len(borders.roughness), np.float32)
    for share in RUNS:
        run = round(share * size)
        number, cut, *beyond = (one[:, :, run:] - one[:, :, :-run] for one in (numbers, *along))
        sign = np.sign(cut)
        # Where brightness grows over several rows the borders next to this one have steps of the same sign.
        beside = np.zeros_like(cut)
        beside[:, 1:] += cut[:, :-1]
        beside[:, :-1] += cut[:, 1:]
        score = np.abs(cut) - np.maximum(sign * beside / 2, 0)
        for further in beyond:
            np.minimum(score, sign * further, out=score)
        score = np.where(2 * number >= run, score / np.sqrt(np.maximum(number, 1)), 0)
        weight = np.float32(LONGEST_WEIGHT if share == max(RUNS) else 1)
        np.maximum(found, weight * score.max(axis=(1, 2)), out=found)
    return found


def _widest(frames: NDArray[np.float32], counted: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The largest mean difference of the rows above and below a border, shape (n,)."""
    size = frames.shape[1]
    deep = max(2, round(_DEPTH * size))
    sums = _cumulated(np.where(counted, frames, np.float32(0)), 1)
    numbers = _cumulated(counted.astype(np.float32), 1)
    step = sums[:, 2 * deep :] - 2 * sums[:, deep:-deep] + sums[:, : -2 * deep]
    number = numbers[:, 2 * deep :] - numbers[:, : -2 * deep]
    step = np.where(number == 2 * deep, np.clip(step / deep, -_MOST_ACROSS, _MOST_ACROSS), 0)
    return np.abs(step.mean(axis=2)).max(axis=1)
