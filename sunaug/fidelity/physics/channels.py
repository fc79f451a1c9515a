"""How the channels of a frame go together: the same loops seen at different temperatures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from sunaug.fidelity.physics.columns import Column, Table
from sunaug.fidelity.physics.planes import FAINTEST, Plane
from sunaug.measures.frame import COOL_CHANNEL, HOT_CHANNELS
from sunaug.measures.regions import centre_distance

__all__ = ["BINS", "channels"]

BINS = 16
ALL_PAIRS_UP_TO = 4
"""Channels of which every pair has histograms; of more, each with the next, so that the table stays small."""


def channels(planes: Sequence[Plane]) -> Table:
    """Relations of every two channels A and B that are not magnetograms, on the pixels of the disk that both have.

    - ``joint A/B`` (curve): two-dimensional histogram of the pixels, 16 by 16 bins of the displayed range (0 to 1), the
      bins of A one after the other, as shares of the frame's pixels times half the number of bins. So the mean absolute
      difference of two curves is the total variation distance of the two distributions, between 0 and 1.
    - ``conditional_mean B|A`` (curve): mean displayed value of B over the pixels in each of 16 bins of A; NaN for bins
      without a pixel.
    - ``correlation A/B`` (scalar): Pearson's, of the displayed values of one frame; NaN if one is constant.
    - ``hot_to_cool HOT/aia171`` (scalar): total of 131 Å or 94 Å over that of 171 Å, log10 in a physical cube.

    Of more than four channels, only the correlation is of every pair; the histograms and means are of each with the
    next.

    Parameters
    ----------
    planes : sequence of Plane
    """
    bright = [plane for plane in planes if not plane.channel.signed]
    if not bright:
        return {}
    detailed = set(combinations(range(len(bright)), 2))
    if len(bright) > ALL_PAIRS_UP_TO:
        detailed = set(pairwise(range(len(bright))))
    disk = np.flatnonzero(centre_distance(bright[0].geometry).ravel() <= 1)
    shown = {plane.name: plane.display.reshape(len(plane.display), -1)[:, disk] for plane in bright}
    bins = {name: np.minimum((values * BINS).astype(np.int32), BINS - 1) for name, values in shown.items()}
    centres = (np.arange(BINS) + 0.5) / BINS

    joint: Table = {}
    conditional: Table = {}
    correlation: Table = {}
    for numbers in combinations(range(len(bright)), 2):
        first, second = (bright[number] for number in numbers)
        a, b = first.name, second.name
        there = None
        if first.there is not None or second.there is not None:
            there = np.ones((len(disk),), bool)
            for plane in (first, second):
                if plane.there is not None:
                    there = there & plane.there.reshape(len(plane.there), -1)[:, disk]
            there = np.broadcast_to(there, shown[a].shape)
        correlation[f"correlation {a}/{b}"] = Column(
            _correlation(shown[a], shown[b], there).astype(np.float32), "scalar", "1", family="channels"
        )
        if numbers not in detailed:
            continue
        share, mean = _joint(bins[a], bins[b], shown[b], there)
        joint[f"joint {a}/{b}"] = Column(
            (share * (BINS * BINS / 2)).astype(np.float32),
            "curve",
            "total variation",
            np.arange(BINS * BINS, dtype=np.float64),
            f"bin: {BINS} of {a} times {BINS} of {b}",
            family="channels",
        )
        conditional[f"conditional_mean {b}|{a}"] = Column(
            mean.astype(np.float32), "curve", f"displayed {b}", centres, f"displayed {a}", family="channels"
        )
    return joint | conditional | correlation | _hot_to_cool({plane.name: plane for plane in bright})


def _joint(
    first: NDArray[np.int32], second: NDArray[np.int32], values: NDArray[np.float32], there: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares of the pixels in each pair of bins, and the mean of `values` in each bin of the first channel."""
    frames = len(first)
    cell = first * BINS + second + (np.arange(frames, dtype=np.int32) * (BINS * BINS))[:, None]
    row = first + (np.arange(frames, dtype=np.int32) * BINS)[:, None]
    if there is None:
        cell, row, values = cell.ravel(), row.ravel(), values.ravel()
    else:
        cell, row, values = cell[there], row[there], values[there]
    counts = np.bincount(cell, minlength=frames * BINS * BINS).reshape(frames, BINS * BINS).astype(np.float64)
    sums = np.bincount(row, values, frames * BINS).reshape(frames, BINS)
    number = counts.reshape(frames, BINS, BINS).sum(axis=2)
    total = counts.sum(axis=1, keepdims=True)
    return counts / np.where(total > 0, total, np.nan), sums / np.where(number > 0, number, np.nan)


def _correlation(
    first: NDArray[np.float32], second: NDArray[np.float32], there: NDArray[np.bool_] | None
) -> NDArray[np.float64]:
    if there is not None:
        number = np.maximum(there.sum(axis=1, keepdims=True), 1)
        first, second = (
            np.where(there, one - np.where(there, one, 0).sum(axis=1, keepdims=True) / number, 0)
            for one in (first, second)
        )
    else:
        first, second = (one - one.mean(axis=1, keepdims=True) for one in (first, second))
    together, own, other = (
        np.einsum("np,np->n", one, two).astype(np.float64)
        for one, two in ((first, second), (first, first), (second, second))
    )
    norm = np.sqrt(own * other)
    return together / np.where(norm > 1e-6 * first.shape[1], norm, np.nan)


def _hot_to_cool(planes: dict[str, Plane]) -> Table:
    table: Table = {}
    cool = planes.get(COOL_CHANNEL)
    for hot in (planes[name] for name in HOT_CHANNELS if name in planes):
        if cool is None:
            break
        above, below = (
            np.maximum(plane.intensity.mean(axis=(1, 2), dtype=np.float64), FAINTEST) for plane in (hot, cool)
        )
        ratio = above / below if hot.browse else np.log10(above / below)
        column = hot.scalar(
            np.where(cool.blank(), np.nan, ratio), "ratio of counts" if hot.browse else "dex", "channels"
        )
        table[f"hot_to_cool {hot.name}/{COOL_CHANNEL}"] = column
    return table
