"""Times for frames that nobody has observed.

Loaders order frames by time and split them by it, so each synthetic frame gets one. It lies in a year after every
observed one, and in the months February to September: SDO-FM validates on October and January and tests on November and
December of every year, so that a loader of its that is pointed at real and synthetic frames together trains on the
synthetic ones and never judges a model by them. SuryaBench tests on every time from 2020 on, and leaves no such month:
its frames are in training tables of their own, which must not be split by date.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecasting_adapters.leakage import check_timestamps, parse_ranges
from sunaug.errors import UsageError

__all__ = ["DEFAULT_START", "assign_times"]

DEFAULT_START = "2031-02-01"
FIRST_MONTH, END_MONTH = 2, 10
"""A season is the part of a year from the first of FIRST_MONTH to the first of END_MONTH, not included."""

_LAST_YEAR = 2261  # the last whole one that datetime64[ns] can hold


def assign_times(
    count: int,
    start: str,
    cadence: np.timedelta64,
    reach: np.timedelta64,
    *,
    training_ranges: Iterable[Sequence[str]] = (),
    source: str = "the export",
) -> NDArray[np.datetime64]:
    """Rising times at one cadence, from season to season.

    Parameters
    ----------
    count : int
    start : str
        ISO 8601, UTC if it names no zone; the first time is the first one from there on that lies in a season.
    cadence : timedelta64
    reach : timedelta64
        Each time lies at least this far from both ends of its season.
    training_ranges : iterable of (start, end)
        Times that the generator has seen.
    source : str
        What messages name.

    Returns
    -------
    ndarray of datetime64[ns], shape (count,)
        UTC, whole minutes.

    Raises
    ------
    UsageError
        If `start` is no time, lies in a year that has been observed, or leaves no room for so many times.
    LeakageError
        If `start` lies in a month that a published split holds out; SuryaBench's, which holds out all, is passed over.
    """
    first = _parse(start)
    seen = [pd.Timestamp(end).year for _, end in parse_ranges(training_ranges)]
    observed = max([pd.Timestamp.now("UTC").year, *seen])
    if first.year <= observed:
        raise UsageError(
            f"--start {start}: the Sun of {first.year} is or will be observed, and synthetic frames must not be taken "
            f"for it; start in {observed + 1} or later."
        )
    check_timestamps([first.to_datetime64()], source=source)
    pieces: list[NDArray[np.datetime64]] = []
    missing, year = count, first.year
    while missing:
        if year > _LAST_YEAR:
            raise UsageError(f"{source}: {count} frames from {start} on run past the year {_LAST_YEAR}; start earlier.")
        begin = np.datetime64(f"{year}-{FIRST_MONTH:02d}-01", "m") + reach
        end = np.datetime64(f"{year}-{END_MONTH:02d}-01", "m") - reach
        if year == first.year:
            begin = max(begin, first.to_datetime64().astype("datetime64[m]"))
        season = np.arange(begin, end, cadence)[:missing]
        pieces.append(season)
        missing -= len(season)
        year += 1
    times = np.concatenate([*pieces, np.empty(0, "datetime64[m]")]).astype("datetime64[ns]")
    check_timestamps(np.concatenate([times - reach, times, times + reach]), source=source)
    return times


def _parse(start: str) -> pd.Timestamp:
    try:
        moment = pd.to_datetime(start, utc=True).tz_localize(None)
        if pd.isna(moment):
            raise ValueError
    except (ValueError, TypeError, OverflowError):
        raise UsageError(f"--start {start}: not a time; give one as {DEFAULT_START} or 2031-02-01T06:00.") from None
    return moment.floor("min")
