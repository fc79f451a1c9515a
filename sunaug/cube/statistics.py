"""Statistics of a cube's intensity, channel by channel: what a normalisation, or a look at the data, needs.

They are made of sums over blocks of frames, so that Dask can make them side by side in flat memory, and quantiles are
read off a fine histogram: exact to its bin width (0.01 dex, 2 gauss or m/s, a quarter of a browse count). The time
ranges that they came from are stored with them, for statistics of the wrong months leak as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sunaug.lexicon import CHANNELS

__all__ = ["QUANTILES", "Tally", "summarise", "tally"]

QUANTILES = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 0.9999)
_COARSE = 10
"""Fine bins in a bin of the histogram that is stored."""


def _edges(channel: str, intensity_scale: str) -> NDArray[np.float64]:
    if intensity_scale == "browse":
        return np.linspace(0, 256, 1025)
    if CHANNELS[channel].signed:
        return np.linspace(-6000, 6000, 6001)
    return np.logspace(-4, 6, 1001)


@dataclass(frozen=True)
class Tally:
    """Sums over the finite pixels of some frames, one channel.

    Attributes
    ----------
    counts : ndarray of int64
        Pixels in each fine bin, the first below and the last above the bins.
    pixels, missing, positive : int
        Finite pixels, those that are not, and those above zero.
    total, squares, log_total, log_squares : float
        Sums of I, I^2, log10 I and (log10 I)^2, the last two over positive pixels.
    low, high : float
        Extremes.
    """

    counts: NDArray[np.int64]
    pixels: int
    missing: int
    positive: int
    total: float
    squares: float
    log_total: float
    log_squares: float
    low: float
    high: float


def tally(images: NDArray[np.float32], channel: str, intensity_scale: str) -> Tally:
    """Sums over images (n, y, x) of one channel."""
    edges = _edges(channel, intensity_scale)
    decades = intensity_scale != "browse" and not CHANNELS[channel].signed
    low, high = (np.log10(edges[[0, -1]]) if decades else edges[[0, -1]]).tolist()
    counts = np.zeros(len(edges) + 1, dtype=np.int64)
    sums = np.array([0.0, 0.0, 0.0, 0.0, np.inf, -np.inf])
    positive = _add_up(np.ascontiguousarray(images, np.float32).reshape(-1), decades, low, high, counts, sums)
    pixels = int(counts.sum())
    return Tally(counts, pixels, images.size - pixels, positive, *sums.tolist())


@njit(nogil=True, cache=True)
def _add_up(
    values: NDArray[np.float32],
    decades: bool,
    low: float,
    high: float,
    counts: NDArray[np.int64],
    sums: NDArray[np.float64],
) -> int:
    """Count finite values in bins that are even from `low` to `high` (in log10 with `decades`), and add up their sums.

    `sums` holds I, I^2, log10 I, (log10 I)^2, the least and the largest value; the number of positive ones is returned.
    """
    bins, positive = len(counts) - 2, 0
    for value in values:
        intensity = float(value)
        if not np.isfinite(intensity):
            continue
        sums[0] += intensity
        sums[1] += intensity * intensity
        sums[4], sums[5] = min(sums[4], intensity), max(sums[5], intensity)
        place = -np.inf if decades else intensity
        if intensity > 0:
            positive += 1
            logarithm = np.log10(intensity)
            sums[2] += logarithm
            sums[3] += logarithm * logarithm
            if decades:
                place = logarithm
        if place < low:
            counts[0] += 1
        elif place >= high:
            counts[bins + 1] += 1
        else:
            counts[1 + min(int((place - low) / (high - low) * bins), bins - 1)] += 1
    return positive


def _spread(total: float, squares: float, count: int) -> tuple[float | None, float | None]:
    if not count:
        return None, None
    mean = total / count
    return mean, float(np.sqrt(max(squares / count - mean**2, 0.0)))


def summarise(parts: Sequence[Tally], channel: str, intensity_scale: str) -> dict[str, Any]:
    """Statistics of a channel from the sums of its blocks.

    Returns
    -------
    dict
        JSON values: ``pixels``, ``missing``, ``not_positive``, ``minimum``, ``maximum``, ``mean``, ``std``,
        ``log10_mean``, ``log10_std`` (of positive pixels), ``quantiles`` (share to value) and ``histogram`` (``edges``,
        ``counts``); None where there is no pixel.
    """
    edges = _edges(channel, intensity_scale)
    counts = np.sum([part.counts for part in parts], axis=0)
    pixels, positive = (sum(getattr(part, name) for part in parts) for name in ("pixels", "positive"))
    mean, std = _spread(sum(part.total for part in parts), sum(part.squares for part in parts), pixels)
    log_mean, log_std = _spread(
        sum(part.log_total for part in parts), sum(part.log_squares for part in parts), positive
    )
    low, high = min(part.low for part in parts), max(part.high for part in parts)
    quantiles: dict[str, float | None] = {}
    # Below and above the bins the extremes close the first and the last one.
    borders = np.concatenate([[min(low, edges[0])], edges, [max(high, edges[-1])]])
    reached = np.concatenate([[0], np.cumsum(counts)]) / max(pixels, 1)
    for share in QUANTILES:
        value = float(np.clip(np.interp(share, reached, borders), low, high)) if pixels else None
        quantiles[f"{share:g}"] = value
    inner = np.add.reduceat(counts[1:-1], np.arange(0, len(edges) - 1, _COARSE))
    return {
        "pixels": pixels,
        "missing": sum(part.missing for part in parts),
        "not_positive": pixels - positive,
        "minimum": low if pixels else None,
        "maximum": high if pixels else None,
        "mean": mean,
        "std": std,
        "log10_mean": log_mean,
        "log10_std": log_std,
        "quantiles": quantiles,
        "histogram": {
            "edges": [float(f"{edge:.6g}") for edge in [*edges[:-1:_COARSE], edges[-1]]],
            "counts": inner.tolist(),
            "below": int(counts[0]),
            "above": int(counts[-1]),
        },
    }
