"""The guard: no forecaster is evaluated on days that the generator has seen.

A generator remembers something of every frame it was trained on. Where a forecaster's validation or test times lie
within the generator's training ranges, its synthetic samples carry those days into the training, and the score tells
nothing. The ranges travel from the bundle with every synthetic cube (attribute ``training_ranges``), so that this can
be checked: against times, or against a published split by its name (`PUBLISHED_SPLITS`), whose validation and test
months are those of every year.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sunaug.errors import SunaugError, UsageError

__all__ = [
    "PUBLISHED_SPLITS",
    "LeakageError",
    "PublishedSplit",
    "TimeRange",
    "check_leakage",
    "check_timestamps",
    "evaluation_times",
    "overlapping_ranges",
    "parse_ranges",
]

TimeRange = tuple[str, str]
"""Start and end, ISO 8601, UTC, half-open: the end is no longer part of it."""


@dataclass(frozen=True)
class PublishedSplit:
    """Months of every year on which a published project validates and tests.

    Attributes
    ----------
    title : str
        What messages name.
    validation, test : tuple of int
        Months, 1 to 12.
    """

    title: str
    validation: tuple[int, ...]
    test: tuple[int, ...]

    @property
    def months(self) -> tuple[int, ...]:
        """All months that nothing may be trained on."""
        return self.validation + self.test


PUBLISHED_SPLITS: dict[str, PublishedSplit] = {
    # Defaults of SDOMLDataModule in sdofm/datasets/SDOML.py.
    "sdofm": PublishedSplit("SDO-FM", validation=(10, 1), test=(11, 12)),
    # configs/pretrain/*.yaml. Its downstream tasks hold out other months each: give their times.
    "sdofmv2": PublishedSplit("sdofmv2 (pre-training)", validation=(11,), test=(12,)),
}
"""Splits that go by months, by name; see `check_leakage` and `check_timestamps`."""


class LeakageError(SunaugError):
    """The generator has seen times that a forecaster is evaluated on.

    Attributes
    ----------
    ranges : list of tuple of str
        The training ranges that overlap, each with start and end; empty where the ranges are not known.
    """

    def __init__(self, message: str, ranges: Iterable[TimeRange] = ()) -> None:
        super().__init__(message)
        self.ranges = list(ranges)


def parse_ranges(ranges: Iterable[Sequence[str]]) -> NDArray[np.datetime64]:
    """Read training ranges as they are written in a bundle or a cube.

    Parameters
    ----------
    ranges : iterable of (start, end)
        ISO 8601; a time without a zone is UTC.

    Returns
    -------
    ndarray of datetime64[ns], shape (n, 2)
        Start and end of each range, UTC.

    Raises
    ------
    SunaugError
        If one of them is no pair of times, or ends before it starts.
    """
    parsed = []
    for one in ranges:
        try:
            start, end = (pd.to_datetime(text, utc=True).tz_localize(None).as_unit("ns") for text in one)
        except (ValueError, TypeError, AttributeError):
            raise SunaugError(
                f"training range {one!r}: not a pair of ISO times; the bundle or cube that holds it is damaged, make "
                "it again."
            ) from None
        # NaT compares false with everything and is refused here too.
        if not start < end:
            raise SunaugError(
                f"training range {start} to {end}: does not end after its start; the bundle or cube that holds it is "
                "damaged, make it again."
            )
        parsed.append((start.to_datetime64(), end.to_datetime64()))
    return np.array(parsed, dtype="datetime64[ns]").reshape(-1, 2)


def overlapping_ranges(ranges: Iterable[Sequence[str]], times: ArrayLike) -> list[tuple[TimeRange, int]]:
    """Training ranges that hold any of `times`, each with the number of times in it.

    Parameters
    ----------
    ranges : iterable of (start, end)
        ISO 8601, UTC, half-open.
    times : array_like of datetime64, shape (n,)
        UTC, in any order.
    """
    moments = np.sort(np.asarray(times, dtype="datetime64[ns]").reshape(-1))
    found: list[tuple[TimeRange, int]] = []
    for start, end in parse_ranges(ranges):
        first, last = np.searchsorted(moments, [start, end], side="left")
        if last > first:
            found.append(((_iso(start), _iso(end)), int(last - first)))
    return found


def check_leakage(
    ranges: Iterable[Sequence[str]] | None, times: ArrayLike | str, *, source: str = "the generator"
) -> None:
    """Refuse to evaluate on times that the generator was trained on.

    Only the exact ranges count. A forecast label looks 24 h ahead, so frames of the last day before a split may carry
    a label from the other side: `sunaug.cube.select_split` leaves those frames out, and a generator trained on one of
    its splits has not seen them.

    Parameters
    ----------
    ranges : iterable of (start, end), or None
        The generator's training ranges, ISO 8601, UTC, half-open; None or nothing where they are not known.
    times : array_like of datetime64, shape (n,), or str
        Times of the frames that the forecaster is validated or tested on, UTC; or the name of a published split
        (`PUBLISHED_SPLITS`), whose validation and test months of every year are meant.
    source : str
        What the message names: the synthetic cube.

    Raises
    ------
    LeakageError
        If a range holds any of the times, or times are given and the ranges are not known.
    UsageError
        If there is no such split.
    """
    known = list(ranges or ())
    split = _published(times) if isinstance(times, str) else None
    moments = np.empty(0, "datetime64[ns]") if split else np.asarray(times, dtype="datetime64[ns]").reshape(-1)
    if split is None and not len(moments):
        return
    if not known:
        raise LeakageError(
            f"{source}: does not say what its generator was trained on (attribute training_ranges), so no evaluation "
            "beside it can be trusted; make it again from a bundle that does, or pass allow_leakage=True to have it "
            "recorded."
        )
    if split is not None:
        overlaps = [(one, f"in {_months(months)}") for one, months in _ranges_in_months(known, split.months)]
        on = f"validation and test months of {split.title} ({_months(split.months)} of every year)"
    else:
        overlaps = [(one, f"{count} of the times") for one, count in overlapping_ranges(known, moments)]
        on = "times that the forecaster is evaluated on"
    if overlaps:
        named = "; ".join(f"{start} to {end} ({what})" for (start, end), what in overlaps)
        raise LeakageError(
            f"{source}: its generator was trained on {on}, {named}; evaluate on other times, take a bundle that was "
            "not trained on them, or pass allow_leakage=True to have it recorded.",
            [one for one, _ in overlaps],
        )


def check_timestamps(times: ArrayLike, *, source: str) -> None:
    """Refuse to give synthetic frames times that a published split would validate or test on.

    Parameters
    ----------
    times : array_like of datetime64, shape (n,)
        Times that an export puts on synthetic samples, UTC.
    source : str
        What the message names: the export.

    Raises
    ------
    LeakageError
        If one falls into a validation or test month of any of `PUBLISHED_SPLITS`.
    """
    index = pd.DatetimeIndex(np.asarray(times, dtype="datetime64[ns]").reshape(-1))
    for split in PUBLISHED_SPLITS.values():
        inside = index[index.month.isin(split.months)]
        if len(inside):
            allowed = sorted(set(range(1, 13)) - set(split.months))
            raise LeakageError(
                f"{source}: {len(inside)} of {len(index)} synthetic frames bear times in validation and test months of "
                f"{split.title}, the first {_iso(inside[0].to_datetime64())}; give them times in {_months(allowed)}."
            )


def evaluation_times(evaluation: Any) -> list[NDArray[np.datetime64] | str]:
    """What a forecaster is evaluated on, one by one, as `check_leakage` takes it.

    Parameters
    ----------
    evaluation : str, array_like of datetime64, or an iterable of these
        Names of published splits, times, or datasets that have ``times``.
    """
    single = isinstance(evaluation, str | np.ndarray) or hasattr(evaluation, "times")
    given: list[Any] = [evaluation] if single else list(evaluation)
    return [one if isinstance(one, str) else _times_of(one) for one in given]


def _times_of(one: Any) -> NDArray[np.datetime64]:
    """Times of a dataset, or times as they are."""
    return np.asarray(getattr(one, "times", one), dtype="datetime64[ns]").reshape(-1)


def _published(name: str) -> PublishedSplit:
    if name not in PUBLISHED_SPLITS:
        raise UsageError(f"unknown published split {name!r}: choose one of {', '.join(PUBLISHED_SPLITS)}.")
    return PUBLISHED_SPLITS[name]


def _ranges_in_months(ranges: Iterable[Sequence[str]], months: Sequence[int]) -> list[tuple[TimeRange, list[int]]]:
    """Ranges that reach into any of these months, each with those months."""
    found = []
    for start, end in parse_ranges(ranges):
        # The end is no longer part of the range.
        touched = pd.period_range(pd.Timestamp(start), pd.Timestamp(end) - pd.Timedelta(1, "ns"), freq="M").month
        if inside := [month for month in months if month in touched]:
            found.append(((_iso(start), _iso(end)), inside))
    return found


def _months(months: Iterable[int]) -> str:
    return ", ".join(f"{pd.Timestamp(2000, month, 1):%B}" for month in months)


def _iso(moment: np.datetime64) -> str:
    return str(np.datetime_as_string(moment, unit="s"))
