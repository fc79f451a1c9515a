"""Times as flare lists write them, with what is left of a time that cannot be read.

A time is read where its text has one reading: ISO 8601, year first in any separators, or with the month's name. A text
with two readings (9 March or 3 September in ``09/03/2012``) is not guessed; a date without a readable time of day
leaves the day. What remains is kept as intervals, so that a label can say where it is unknown.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

__all__ = ["Interval", "clipped", "read_listed_times", "read_times"]

Interval = tuple[np.datetime64, np.datetime64]
"""First and last moment that a time may have, both included."""

_ISO = r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?\s*(?:Z|[+-]\d{2}:?\d{2})?"
_SEPARATED = re.compile(r"^(\d{1,4}|[a-z]{3,9})[-/. ,_]+(\d{1,2}|[a-z]{3,9})[-/. ,_]+(\d{4}|\d{1,2})(?!\d)(.*)$")
_COMPACT = re.compile(r"^(\d{4})(\d{2})(\d{2})(.*)$")
_ZONE = r"\s*(?:z|utc?|gmt|(?P<sign>[+-])(?P<zone_hour>\d{2}):?(?P<zone_minute>\d{2}))?$"
_SECOND = r"(?P<second>\d{2})(?:\.(?P<fraction>\d+))?"
_CLOCK = re.compile(rf"^[t _,:]*(?P<hour>\d{{1,2}}):(?P<minute>\d{{2}})(?::{_SECOND})?\s*(?P<half>am|pm)?{_ZONE}")
_CLOCK_COMPACT = re.compile(rf"^[t _,:]*(?P<hour>\d{{2}})(?P<minute>\d{{2}})(?:{_SECOND})?{_ZONE}")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FIRST_YEAR = 1974
"""GOES and SMS have measured X-rays since then."""
_DAY = np.timedelta64(1, "D")
_TICK = np.timedelta64(1, "ns")
_ONE_WAY = "year, month and day"
_NUMERIC_ORDERS = ("day/month/year", "month/day/year")


def read_times(column: pd.Series) -> pd.Series:
    """Read ISO times as naive UTC, NaT for what is not a time (as the catalogue's ``T//://Z``)."""
    return pd.to_datetime(column, utc=True, errors="coerce", format="ISO8601").dt.tz_localize(None)


def clipped(intervals: Iterable[Interval], first: np.datetime64, last: np.datetime64) -> list[Interval]:
    """The parts of `intervals` between two moments."""
    parts = [(max(begin, first), min(end, last)) for begin, end in intervals]
    return [(begin, end) for begin, end in parts if begin <= end]


def read_listed_times(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, dict[int, list[Interval]]], str]:
    """Read the times of a list.

    Parameters
    ----------
    table : pandas.DataFrame
        Text, one column for each kind of time, a row for each flare, rows numbered from 0.

    Returns
    -------
    times : pandas.DataFrame
        The same columns as datetime64, UTC; NaT where a text has no reading or several.
    left : dict of str to dict of int to list of Interval
        By column and row, when the time may have been where `times` is NaT and the text says something of it.
    order : str
        ``day/month/year`` or ``month/day/year`` where other rows of the list decided on dates of two readings.
    """
    times, readings = {}, {}
    shapes = set()
    for name in table.columns:
        column = table[name]
        plain = column.str.strip().str.fullmatch(_ISO).fillna(False).astype(bool)
        known = read_times(column.where(plain))
        known = known.where(known.dt.year.between(_FIRST_YEAR, _last_year()))
        rest = known.isna() & column.notna()
        readings[name] = {int(row): _readings(text) for row, text in column[rest].items()}
        shapes |= {"iso"} if known.notna().any() else set()
        shapes |= {_shape(column[row]) for row, ways in readings[name].items() if ways}
        times[name] = known.astype("datetime64[ns]")
    # A list that writes some dates in another way has no one order to go by.
    order = _order(readings) if len(shapes) == 1 else ""
    left: dict[str, dict[int, list[Interval]]] = {}
    for name, cells in readings.items():
        left[name] = {}
        values = times[name].to_numpy(copy=True)
        for row, ways in cells.items():
            chosen = [ways[order]] if order in ways else list(dict.fromkeys(ways.values()))
            if len(chosen) == 1 and chosen[0][0] == chosen[0][1]:
                values[row] = chosen[0][0]
            elif chosen:
                left[name][row] = chosen
        times[name] = pd.Series(values, index=table.index)
    decided = any(len(ways) > 1 and order in ways for cells in readings.values() for ways in cells.values())
    return pd.DataFrame(times, index=table.index), left, order if decided else ""


def _last_year() -> int:
    return datetime.datetime.now(datetime.UTC).year + 1


def _shape(text: str) -> str:
    """How a time is written: digits as signs, the number of those of a year kept apart."""
    digits = re.sub(r"\d+", lambda found: "y" if len(found[0]) == 4 else "0", text.strip().lower())
    return re.sub(r"\b[ap]m\b", "m", digits)


def _order(readings: dict[str, dict[int, dict[str, Interval]]]) -> str:
    """The one order of day and month that all dates of the list allow and some of them prove."""
    ways = [set(cell) for cells in readings.values() for cell in cells.values() if cell]
    if not all(one <= set(_NUMERIC_ORDERS) for one in ways):
        return ""
    proven = {next(iter(one)) for one in ways if len(one) == 1}
    return proven.pop() if len(proven) == 1 else ""


def _readings(text: str) -> dict[str, Interval]:
    """What a text may mean, by the order in which its date is read."""
    text = str(text).strip().lower()
    match = _COMPACT.match(text) or _SEPARATED.match(text)
    if match is None:
        return {}
    *parts, rest = match.groups()
    found = {}
    for order, (year, month, day) in _dates(*parts).items():
        try:
            midnight = np.datetime64(datetime.date(year, month, day), "ns")
        except ValueError:
            continue
        if _FIRST_YEAR <= year <= _last_year():
            clock = _clock(rest)
            found[order] = (midnight, midnight + _DAY - _TICK) if clock is None else (midnight + clock,) * 2
    return found


def _dates(first: str, second: str, third: str) -> dict[str, tuple[int, int, int]]:
    """Year, month and day in each order that the three parts allow."""
    if third.isdigit() and len(first) == 4 and first.isdigit():
        return {_ONE_WAY: (int(first), _month(second), int(third))}
    if first.isalpha():
        return {_ONE_WAY: (_year(third), _month(first), int(second))} if second.isdigit() else {}
    if second.isalpha():
        ways = {_ONE_WAY: (_year(third), _month(second), int(first))}
        if len(third) < 4:
            ways["year-month-day"] = (_year(first), _month(second), int(third))
        return ways
    ways = {
        "day/month/year": (_year(third), int(second), int(first)),
        "month/day/year": (_year(third), int(first), int(second)),
    }
    if len(third) < 4:
        ways["year/month/day"] = (_year(first), int(second), int(third))
    return ways


def _year(text: str) -> int:
    year = int(text)
    return year if len(text) > 2 else year + (1900 if year >= _FIRST_YEAR % 100 else 2000)


def _month(text: str) -> int:
    """Number of a month, 0 for what is none."""
    return int(text) if text.isdigit() else (_MONTHS.index(text[:3]) + 1 if text[:3] in _MONTHS else 0)


def _clock(text: str) -> np.timedelta64 | None:
    """Time since midnight UTC; None for what is no time of day."""
    match = _CLOCK.match(text) or _CLOCK_COMPACT.match(text)
    if match is None:
        return None
    part = match.groupdict()
    hour, minute, second = (int(part[name] or 0) for name in ("hour", "minute", "second"))
    if half := part.get("half"):
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "pm" else 0)
    whole_day = (hour, minute, second) == (24, 0, 0)
    if not (hour < 24 or whole_day) or minute > 59 or second > 60:
        return None
    zone = (int(part["zone_hour"] or 0) * 60 + int(part["zone_minute"] or 0)) * (-1 if part["sign"] == "-" else 1)
    nanoseconds = int((part["fraction"] or "0")[:9].ljust(9, "0"))
    return np.timedelta64(((hour * 60 + minute - zone) * 60 + second) * 10**9 + nanoseconds, "ns")
