"""The guard: no forecaster is evaluated on days that the generator has seen.

A generator remembers something of every frame it was trained on. Where a forecaster's validation or test times lie
within the generator's training ranges, its synthetic samples carry those days into the training, and the score tells
nothing. The ranges travel from the bundle with every synthetic cube (attribute ``training_ranges``), so that this can
be checked: against times, or against a published split by its name (`forecasting_adapters.published_splits`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forecasting_adapters.published_splits import PUBLISHED_SPLITS, PublishedSplit, published_split, safe_splits
from sunaug.cube.time_ranges import TimeRange, as_text, parse_ranges, seen_days, widened
from sunaug.errors import SunaugError

__all__ = [
    "PUBLISHED_SPLITS",
    "LeakageError",
    "PublishedSplit",
    "TimeRange",
    "check_evaluation",
    "check_leakage",
    "check_timestamps",
    "describe_leakage",
    "evaluation_times",
    "held_out_days",
    "overlapping_ranges",
    "parse_ranges",
]


_NAMED = 4
"""Ranges that a message names; the others are counted."""


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


def overlapping_ranges(ranges: Iterable[Sequence[str]], times: ArrayLike) -> list[tuple[TimeRange, int]]:
    """Training ranges whose days, or the days beside them, hold any of `times`, each with the number of these.

    Parameters
    ----------
    ranges : iterable of (start, end)
        Training ranges, ISO 8601, UTC, half-open. What counts are whole days and the days beside them, see
        `sunaug.cube.time_ranges.seen_days`.
    times : array_like of datetime64, shape (n,)
        UTC, in any order.
    """
    moments = np.sort(np.asarray(times, dtype="datetime64[ns]").reshape(-1))
    found: list[tuple[TimeRange, int]] = []
    for start, end in parse_ranges(ranges):
        first, last = np.searchsorted(moments, widened(np.array([[start, end]]))[0], side="left")
        if last > first:
            found.append(((as_text(start), as_text(end)), int(last - first)))
    return found


def check_leakage(
    ranges: Iterable[Sequence[str]] | None, times: ArrayLike | str, *, source: str = "the generator"
) -> None:
    """Refuse to evaluate on times that the generator has seen.

    It has seen each day that it was trained on, whatever the cadence of its frames was, and the day before and after
    (`sunaug.cube.time_ranges.PURGE`): a forecast label looks 24 h ahead. `sunaug.cube.select_split` leaves that day
    between splits, so that a generator trained on one of its splits has not seen the others. Where a published split
    is named, its own borders count: what was trained on nothing but the split's training days is as clean as it is.

    Parameters
    ----------
    ranges : iterable of (start, end), or None
        The generator's training ranges, ISO 8601, UTC, half-open; None or nothing where they are not known.
    times : array_like of datetime64, shape (n,), or str
        Times of the frames that the forecaster is validated or tested on, UTC; or the name of a published split
        (`PUBLISHED_SPLITS`), whose validation and test times are meant.
    source : str
        What the message names: the synthetic cube.

    Raises
    ------
    LeakageError
        If the generator has seen any of the times, or times are given and the ranges are not known.
    UsageError
        If there is no such split.
    """
    found = describe_leakage(ranges, times, source=source)
    if found is None:
        return
    sentence, overlaps = found
    raise LeakageError(
        f"{sentence} Evaluate on other times, take a bundle that was not trained on them, or pass allow_leakage=True "
        "to have it recorded.",
        overlaps,
    )


def describe_leakage(
    ranges: Iterable[Sequence[str]] | None, times: ArrayLike | str, *, source: str = "the generator"
) -> tuple[str, list[TimeRange]] | None:
    """What `check_leakage` finds: a sentence without its way out, and the training ranges; None where all is well.

    Raises
    ------
    UsageError
        If there is no such split.
    """
    known = list(ranges or ())
    split = published_split(times) if isinstance(times, str) else None
    moments = np.empty(0, "datetime64[ns]") if split else np.asarray(times, dtype="datetime64[ns]").reshape(-1)
    if split is None and not len(moments):
        return None
    if not known:
        unknown = (
            f"{source}: does not say what its generator was trained on (attribute training_ranges), so no evaluation "
            "beside it can be trusted."
        )
        return unknown, []
    if split is not None:
        overlaps = held_out_days(known, split)
        on = f"times that are held out by {split.title}, which {split.sentence}"
    else:
        overlaps = [(one, f"{count} of the times") for one, count in overlapping_ranges(known, moments)]
        on = "times that the forecaster is evaluated on, or within a day of them"
    if not overlaps:
        return None
    named = "; ".join(f"{start} to {end} ({what})" for (start, end), what in overlaps[:_NAMED])
    more = len(overlaps) - _NAMED
    others = f"; and {more} more until {overlaps[-1][0][1]}" if more > 0 else ""
    sentence = f"{source}: its generator was trained on {on}: {named}{others}."
    return sentence, [one for one, _ in overlaps]


def check_evaluation(
    ranges: Iterable[Sequence[str]] | None, evaluation: Any, *, source: str, allow_leakage: bool = False
) -> str | None:
    """Check every set that a forecaster is evaluated on, as `check_leakage` does.

    Parameters
    ----------
    ranges : iterable of (start, end), or None
        The generator's training ranges.
    evaluation : str, array_like of datetime64, or an iterable of these
        As for `evaluation_times`.
    source : str
        What the message names.
    allow_leakage : bool
        Return what was found in place of raising it.

    Returns
    -------
    str or None
        What was found and allowed.

    Raises
    ------
    LeakageError
        If the generator has seen any of the times, unless `allow_leakage`.
    UsageError
        If there is no such split.
    """
    known = list(ranges or ())
    given = evaluation_times(evaluation)
    moments = [one for one in given if not isinstance(one, str)]
    together = np.concatenate([np.empty(0, "datetime64[ns]"), *moments])
    checked: list[NDArray[np.datetime64] | str] = [together, *(one for one in given if isinstance(one, str))]
    found = []
    for times in checked:
        try:
            check_leakage(known, times, source=source)
        except LeakageError as error:
            if not allow_leakage:
                raise
            found.append(str(error))
    return " ".join(found) or None


def held_out_days(ranges: Iterable[Sequence[str]], split: PublishedSplit) -> list[tuple[TimeRange, str]]:
    """Runs of days that a generator was trained on and a split holds out."""
    found: list[tuple[TimeRange, str]] = []
    # Without the days beside them: what was trained on the split's own training days is as clean as the split is.
    for start, end in seen_days(ranges, np.timedelta64(0, "D")):
        days = np.arange(start, end, np.timedelta64(1, "D"), dtype="datetime64[D]")
        held = days[split.holds(days.astype("datetime64[ns]"))]
        for run in np.split(held, np.flatnonzero(np.diff(held) > np.timedelta64(1, "D")) + 1):
            if len(run):
                last = run[-1] + np.timedelta64(1, "D")
                count = f"{len(run)} day" if len(run) == 1 else f"{len(run)} days"
                found.append(((f"{run[0]}T00:00:00", f"{last}T00:00:00"), count))
    return found


def check_timestamps(times: ArrayLike, *, source: str) -> None:
    """Refuse to give synthetic frames times that a published split would validate or test on.

    Splits that hold out every date from some day on (SuryaBench) leave no time to give, and are passed over: synthetic
    frames go beside them as a table of their own.

    Parameters
    ----------
    times : array_like of datetime64, shape (n,)
        Times that an export puts on synthetic samples, UTC.
    source : str
        What the message names: the export.

    Raises
    ------
    LeakageError
        If one is held out by any other of `PUBLISHED_SPLITS`.
    """
    moments = np.asarray(times, dtype="datetime64[ns]").reshape(-1)
    for split in safe_splits():
        inside = moments[split.holds(moments)]
        if len(inside):
            raise LeakageError(
                f"{source}: {len(inside)} of {len(moments)} synthetic frames bear times that {split.title} holds out, "
                f"the first {as_text(inside[0])}; it {split.sentence}. Start in February of a year to come."
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
