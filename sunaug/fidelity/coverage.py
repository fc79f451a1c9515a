"""Fidelity and variety, told apart: precision, recall, density and coverage of two sets of feature vectors.

A Fréchet distance cannot say whether samples look wrong or whether kinds of frames are missing. Around each vector lies
a ball that reaches to its k-th nearest neighbour in its own set; together the balls stand for the set. Precision and
recall are those of Kynkäänniemi et al. 2019 (arXiv 1904.06991, eq. 1 and 2), density and coverage those of Naeem et al.
2020 (arXiv 2002.09797, eq. 3 and 4), which one outlier with its large ball cannot spoil. Coverage is the figure that
falls when a generator makes few kinds of frames.

All four depend on the number of vectors; the two sets must have the same one for a comparison with a floor.

Both papers take the vectors of a set to be independent. Observed frames are not: at a cadence of two hours the nearest
neighbours of a frame are those of the hours around it, and its ball is so small that no frame of another month is in it
(695 validation frames of 2012: coverage by train months 0.00 in FID-768). Where times are given, the neighbours that
a ball reaches to are therefore frames of other days, `APART` or more away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sunaug.errors import UsageError

__all__ = ["APART", "NEIGHBOURS", "Overlap", "overlap"]

NEIGHBOURS = 5
"""k of the balls: the value that Naeem et al. recommend for density and coverage."""

APART = np.timedelta64(3, "D")
"""Frames this far apart count as different ones: the Sun has turned by 40 degrees."""

_ROWS = 512


@dataclass(frozen=True)
class Overlap:
    """How two sets of feature vectors overlap.

    Attributes
    ----------
    precision : float
        Share of the synthetic vectors inside the ball of any real one.
    recall : float
        Share of the real vectors inside the ball of any synthetic one.
    density : float
        Real balls that a synthetic vector lies in, over k, on average; about 1 for two sets of one distribution, and
        more where samples crowd where real frames are dense.
    coverage : float
        Share of the real vectors whose ball holds a synthetic one.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def _squares(first: NDArray[np.float64], second: NDArray[np.float64]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Squared distances of a few rows of `first` to all of `second`, and which rows they are."""
    lengths = np.square(second).sum(axis=1)
    for start in range(0, len(first), _ROWS):
        rows = slice(start, min(start + _ROWS, len(first)))
        part = first[rows]
        yield rows, np.maximum(np.square(part).sum(axis=1)[:, None] + lengths - 2 * part @ second.T, 0)


def _radii(values: NDArray[np.float64], k: int, times: NDArray[np.datetime64] | None) -> NDArray[np.float64]:
    """Squared distance of each vector to its k-th nearest neighbour in its set, of other days where there are k."""
    radii = np.empty(len(values))
    for rows, squares in _squares(values, values):
        # The vector itself is not its neighbour; a copy of it is.
        squares[np.arange(len(squares)), np.arange(rows.start, rows.stop)] = np.inf
        radii[rows] = np.partition(squares, k - 1, axis=1)[:, k - 1]
        if times is not None:
            squares[np.abs(times[rows, None] - times) < APART] = np.inf
            apart = np.partition(squares, k - 1, axis=1)[:, k - 1]
            radii[rows] = np.where(np.isfinite(apart), apart, radii[rows])
    return radii


def overlap(
    real: NDArray[np.floating],
    synthetic: NDArray[np.floating],
    *,
    k: int = NEIGHBOURS,
    real_times: NDArray[np.datetime64] | None = None,
    synthetic_times: NDArray[np.datetime64] | None = None,
) -> Overlap:
    """Precision, recall, density and coverage.

    Parameters
    ----------
    real : ndarray, shape (n, dims)
    synthetic : ndarray, shape (m, dims)
    k : int
        Neighbours that a ball reaches to.
    real_times : ndarray of datetime64, shape (n,), optional
        When the frames were observed. A frame's ball then reaches to the k-th nearest of those `APART` or more away;
        where there are fewer than k of them, to the k-th of all.
    synthetic_times : ndarray of datetime64, shape (m,), optional
        The same for observed frames that stand in for synthetic ones.

    Raises
    ------
    UsageError
        If a set has no k neighbours for each of its vectors.
    """
    if k < 1 or min(len(real), len(synthetic)) <= k:
        raise UsageError(
            f"coverage with {k} neighbours needs {k + 1} images a side at least, not {min(len(real), len(synthetic))}."
        )
    # Distances do not change with the origin; near the vectors they are rounded least.
    origin = real.astype(np.float64).mean(axis=0)
    ours, theirs = real.astype(np.float64) - origin, synthetic.astype(np.float64) - origin
    # A ball holds its border, which rounding must not decide.
    slack = 1e-12 * max(np.square(ours).sum(axis=1).max(), np.square(theirs).sum(axis=1).max())
    real_radii, synthetic_radii = _radii(ours, k, real_times) + slack, _radii(theirs, k, synthetic_times) + slack
    held_by = np.zeros(len(theirs), np.int64)
    recalled, covered = np.empty(len(ours), bool), np.empty(len(ours), bool)
    for rows, squares in _squares(ours, theirs):
        inside = squares <= real_radii[rows, None]
        held_by += inside.sum(axis=0)
        covered[rows] = inside.any(axis=1)
        recalled[rows] = (squares <= synthetic_radii).any(axis=1)
    return Overlap(
        precision=float((held_by > 0).mean()),
        recall=float(recalled.mean()),
        density=float(held_by.mean() / k),
        coverage=float(covered.mean()),
    )
