"""Time ranges that a generator was trained on: read, joined, and as whole days.

A range is a pair (start, end) of ISO 8601 times, UTC and half-open: the end is no longer part of it. Frames minutes
apart show the same Sun, and a forecast label looks a day ahead. So what counts as seen are whole days, and the day
before and after them (`seen_days`), whatever the cadence of the frames was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sunaug.errors import SunaugError

__all__ = [
    "PURGE",
    "TimeRange",
    "as_text",
    "join_ranges",
    "parse_ranges",
    "ranges_in_words",
    "seen_days",
    "time_ranges",
    "widened",
    "within",
]

TimeRange = tuple[str, str]
"""Start and end, ISO 8601, UTC, half-open."""

PURGE = np.timedelta64(1, "D")
"""Time on either side of a day trained on that counts as seen, too: the window of a forecast label is a day long, so
that labels of the day before are made of flares of that day, and those of that day of flares of the day after."""

_DAY = np.timedelta64(1, "D")


def parse_ranges(ranges: Iterable[Sequence[str]]) -> NDArray[np.datetime64]:
    """Read ranges as they are written in a bundle or a cube.

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
            start, end = (_utc(text) for text in one)
        except (ValueError, TypeError, AttributeError) as error:
            raise SunaugError(
                f"training range {one!r}: not a pair of ISO times; the bundle or cube that holds it is damaged, make "
                "it again."
            ) from error
        # NaT compares false with everything and is refused here too.
        if not start < end:
            raise SunaugError(
                f"training range {start} to {end}: does not end after its start; the bundle or cube that holds it is "
                "damaged, make it again."
            )
        parsed.append((start.to_datetime64(), end.to_datetime64()))
    return np.array(parsed, dtype="datetime64[ns]").reshape(-1, 2)


def _utc(moment: str) -> pd.Timestamp:
    # Not pd.to_datetime, which takes a hundred times as long for a single one.
    stamp = pd.Timestamp(moment)
    return (stamp if stamp.tz is None else stamp.tz_convert("UTC").tz_localize(None)).as_unit("ns")


def widened(pairs: NDArray[np.datetime64], purge: np.timedelta64 = PURGE) -> NDArray[np.datetime64]:
    """Each of some ranges (n, 2) as the whole days that it touches, and `purge` on either side of them."""
    starts = pairs[:, 0].astype("datetime64[D]")
    # The end is no longer part of the range: one at midnight touches nothing of its day.
    ends = (pairs[:, 1] - np.timedelta64(1, "ns")).astype("datetime64[D]") + _DAY
    return np.stack([starts - purge, ends + purge], axis=1).astype("datetime64[ns]")


def seen_days(ranges: Iterable[Sequence[str]], purge: np.timedelta64 = PURGE) -> NDArray[np.datetime64]:
    """The whole days that ranges touch and `purge` on either side of them, in order and joined.

    Returns
    -------
    ndarray of datetime64[ns], shape (n, 2)
        Half-open.
    """
    days = widened(parse_ranges(ranges), purge)
    joined: list[NDArray[np.datetime64]] = []
    for pair in days[np.argsort(days[:, 0], kind="stable")]:
        if joined and pair[0] <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], pair[1])
        else:
            joined.append(pair.copy())
    return np.array(joined, dtype="datetime64[ns]").reshape(-1, 2)


def within(times: ArrayLike, pairs: NDArray[np.datetime64]) -> NDArray[np.bool_]:
    """Which times lie in any of some ranges (n, 2)."""
    moments = np.asarray(times, dtype="datetime64[ns]")
    inside = np.zeros(moments.shape, bool)
    for start, end in pairs:
        inside |= (moments >= start) & (moments < end)
    return inside


def time_ranges(times: NDArray[np.datetime64]) -> list[list[str]]:
    """Half-open ranges of whole days that hold `times` (ascending); days that follow each other are one range."""
    days = np.unique(np.asarray(times).astype("datetime64[D]"))
    parts = np.split(days, np.flatnonzero(np.diff(days) > _DAY) + 1)
    return [[f"{part[0]}T00:00:00Z", f"{part[-1] + _DAY}T00:00:00Z"] for part in parts]


def join_ranges(ranges: Iterable[Sequence[str]]) -> list[list[str]]:
    """The whole days that ranges touch, as `time_ranges` writes them; those that overlap or touch become one.

    A bundle that was made before ranges were days, and one that goes on from it, are written alike.
    """
    days = seen_days(ranges, np.timedelta64(0, "D"))
    return [[f"{as_text(start)}Z", f"{as_text(end)}Z"] for start, end in days]


def ranges_in_words(ranges: Sequence[Sequence[str]], listed: int) -> str:
    """All ranges, or the first `listed` of them and how many more there are."""
    told = "; ".join(f"{start} to {end}" for start, end in ranges[:listed])
    more = len(ranges) - listed
    return told if more <= 0 else f"{told}; and {more} more until {ranges[-1][1]}"


def as_text(moment: np.datetime64) -> str:
    """A time to the second, ISO 8601."""
    return str(np.datetime_as_string(moment, unit="s"))
