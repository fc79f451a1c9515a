"""Measures of frames as a table: one row per frame, one column per measure, and the distance of two such columns.

A row is all that is kept of a frame. Any subset of frames (a class, a bootstrap resample, a block of days) is a choice
of rows, so that it is compared without reading a pixel again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sunaug.errors import UsageError

__all__ = ["FAMILIES", "Column", "Table", "count", "distance", "distances", "join", "take", "typical"]

FAMILIES = (
    "intensity",
    "saturation",
    "spectrum",
    "limb",
    "profile",
    "channels",
    "regions",
    "energy",
    "magnetic",
)
"""Kinds of measures, in the order in which they are shown."""

_RESAMPLES_AT_ONCE = 256


@dataclass(frozen=True)
class Column:
    """One measure of some frames.

    Attributes
    ----------
    values : ndarray of float32
        Shape (n,) for a ``scalar``, (n, k) for a ``histogram`` (pixel counts or shares of each frame) and a ``curve``.
        NaN where a frame does not give one; an empty histogram is all zero.
    kind : {"scalar", "histogram", "curve"}
        What a row is, and with it how two columns are compared: see `distance`.
    unit : str
        Of the scalar, of the histogram's abscissa, of the curve's ordinate: the unit of a distance.
    positions : ndarray of float64, shape (k,), optional
        Bin centres of a histogram, growing, or the abscissa of a curve.
    axis : str
        What the positions are, with their unit.
    family : str
        One of `FAMILIES`.
    """

    values: NDArray[np.float32]
    kind: Literal["scalar", "histogram", "curve"]
    unit: str
    positions: NDArray[np.float64] | None = None
    axis: str = ""
    family: str = field(kw_only=True)

    def __post_init__(self) -> None:
        wanted = 1 if self.kind == "scalar" else 2
        fits = self.values.ndim == wanted and (
            wanted == 1 or (self.positions is not None and self.values.shape[1] == len(self.positions))
        )
        if not fits:
            places = "no" if self.positions is None else len(self.positions)
            raise UsageError(f"a {self.kind} with values of shape {self.values.shape} and {places} positions.")


Table = dict[str, Column]
"""Columns by name: the measure and what it was taken on, ``limb_radius aia171``. All have the same frames."""


def count(table: Table) -> int:
    """Number of frames of a table; 0 for one without columns."""
    return len(next(iter(table.values())).values) if table else 0


def join(tables: Sequence[Table]) -> Table:
    """Put the frames of several tables behind each other.

    Raises
    ------
    UsageError
        If there is no table, or their columns differ.
    """
    if not tables:
        raise UsageError("no table of measures to join: give at least one.")
    first = tables[0]
    for table in tables[1:]:
        if table.keys() != first.keys():
            odd = ", ".join(sorted(table.keys() ^ first.keys()))
            raise UsageError(f"tables with different measures cannot be joined: {odd} in one of them only.")
        for name, column in table.items():
            _check_alike(first[name], column, name)
    return {
        name: replace(column, values=np.concatenate([table[name].values for table in tables]))
        for name, column in first.items()
    }


def take(table: Table, rows: ArrayLike) -> Table:
    """The frames that `rows` names: indices, a mask or a slice, as in NumPy; a frame can be named twice."""
    chosen = rows if isinstance(rows, slice) else np.asarray(rows)
    if not isinstance(chosen, slice) and chosen.size == 0:
        chosen = chosen.astype(np.intp)
    return {name: replace(column, values=column.values[chosen]) for name, column in table.items()}


def distance(first: Column, second: Column, first_weights: ArrayLike | None = None) -> float:
    """How far two columns of the same measure are apart, in its unit.

    - ``scalar``: Wasserstein-1 distance of the two distributions of the frames, frames of NaN left out;
    - ``histogram``: Wasserstein-1 distance of the two summed histograms, in the unit of the positions;
    - ``curve``: mean over the positions of the absolute difference of the two mean curves. Means are over the frames
      that have a value there, positions which a side has none at are left out.

    Parameters
    ----------
    first, second : Column
    first_weights : array_like, shape (n,), optional
        How often each frame of `first` counts, as in a bootstrap; by default once.

    Returns
    -------
    float
        NaN if a side has nothing to compare.

    Raises
    ------
    UsageError
        If the columns are not of one measure, or the weights do not fit.

    Notes
    -----
    In one dimension Wasserstein-1 is the area between the two cumulative distributions (Vallender 1974, Theory of
    Probability & Its Applications 18, 784).
    """
    weights = np.ones(len(first.values)) if first_weights is None else np.asarray(first_weights)
    if weights.ndim != 1:
        raise UsageError(f"weights of shape {weights.shape}: give one for each frame, or use distances().")
    return float(distances(first, second, weights[None])[0])


def distances(first: Column, second: Column, first_weights: ArrayLike) -> NDArray[np.float64]:
    """The distance of many resamples of `first` from `second`, as fast as a few of them.

    Parameters
    ----------
    first, second : Column
    first_weights : array_like, shape (resamples, n)
        How often each frame of `first` counts in each resample.

    Returns
    -------
    ndarray of float64, shape (resamples,)
        See `distance`.

    Raises
    ------
    UsageError
        If the columns are not of one measure, or the weights do not fit.
    """
    _check_alike(first, second, f"{first.family} column")
    weights = np.asarray(first_weights)
    if weights.ndim != 2 or weights.shape[1] != len(first.values):
        raise UsageError(f"weights of shape {weights.shape} for {len(first.values)} frames: give (resamples, frames).")
    between = {"scalar": _between_scalars, "histogram": _between_histograms, "curve": _between_curves}[first.kind]
    parts = [
        between(first, second, weights[start : start + _RESAMPLES_AT_ONCE].astype(np.float64))
        for start in range(0, len(weights), _RESAMPLES_AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _between_scalars(first: Column, second: Column, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.isfinite(first.values)
    ours, theirs = first.values[known].astype(np.float64), second.values[np.isfinite(second.values)].astype(np.float64)
    weights = weights[:, known]
    if not len(ours) or not len(theirs):
        return np.full(len(weights), np.nan)
    values = np.concatenate([ours, theirs])
    order = np.argsort(values, kind="stable")
    mass = np.concatenate([weights, np.zeros((len(weights), len(theirs)))], axis=1)[:, order[:-1]]
    other = np.concatenate([np.zeros(len(ours)), np.full(len(theirs), 1 / len(theirs))])[order[:-1]]
    total = weights.sum(axis=1, keepdims=True)
    cumulative = np.cumsum(mass, axis=1) / np.where(total > 0, total, np.nan)
    return np.abs(cumulative - np.cumsum(other)) @ np.diff(values[order])


def _between_histograms(first: Column, second: Column, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    assert first.positions is not None
    sums = weights @ first.values.astype(np.float64)
    other = second.values.sum(axis=0, dtype=np.float64)
    shares = []
    for one in (sums, other[None]):
        total = one.sum(axis=1, keepdims=True)
        shares.append(np.cumsum(one, axis=1) / np.where(total > 0, total, np.nan))
    return np.abs(shares[0] - shares[1])[:, :-1] @ np.diff(first.positions)


def _between_curves(first: Column, second: Column, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    difference = np.abs(_mean_curves(first.values, weights) - _mean_curve(second.values))
    known = np.isfinite(difference)
    number = known.sum(axis=1)
    return np.where(known, difference, 0).sum(axis=1) / np.where(number > 0, number, np.nan)


def _mean_curves(values: NDArray[np.float32], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted means over the frames with a value at the position, shape (resamples, k)."""
    known = np.isfinite(values)
    if known.all():
        total = weights.sum(axis=1, keepdims=True)
        return (weights @ values.astype(np.float64)) / np.where(total > 0, total, np.nan)
    number = weights @ known.astype(np.float64)
    return (weights @ np.where(known, values, 0).astype(np.float64)) / np.where(number > 0, number, np.nan)


def _mean_curve(values: NDArray[np.float32]) -> NDArray[np.float64]:
    return _mean_curves(values, np.ones((1, len(values))))[0]


def typical(column: Column) -> float:
    """One figure for a column, to be shown beside a distance.

    Parameters
    ----------
    column : Column

    Returns
    -------
    float
        ``scalar``: median of the frames. ``histogram``: median of the summed histogram, to a bin. ``curve``: for the
        family ``spectrum``, whose curves are log10 power, the slope of the mean curve over log10 of the frequency; for
        others the mean of the mean curve. NaN if there is nothing.
    """
    if column.kind == "scalar":
        known = column.values[np.isfinite(column.values)]
        return float(np.median(known)) if len(known) else float("nan")
    assert column.positions is not None
    if column.kind == "histogram":
        cumulative = np.cumsum(column.values.sum(axis=0, dtype=np.float64))
        if not cumulative[-1] > 0:
            return float("nan")
        return float(column.positions[np.searchsorted(cumulative, cumulative[-1] / 2)])
    mean = _mean_curve(column.values)
    there = np.isfinite(mean)
    if there.sum() < 2:
        return float("nan")
    if column.family == "spectrum":
        return float(np.polyfit(np.log10(column.positions[there]), mean[there], 1)[0])
    return float(mean[there].mean())


def _check_alike(first: Column, second: Column, name: str) -> None:
    same_places = (first.positions is None) == (second.positions is None) and (
        first.positions is None or second.positions is None or np.array_equal(first.positions, second.positions)
    )
    if (first.kind, first.unit, first.family) != (second.kind, second.unit, second.family) or not same_places:
        raise UsageError(
            f"{name}: a {first.kind} in {first.unit} and a {second.kind} in {second.unit} with other positions or of "
            "another measure cannot be set side by side."
        )
