"""Times of observation: what archives write, as UTC in nanoseconds, within the life of SDO.

`numpy.datetime64` knows no leap seconds: a moment within one, as 2012-06-30T23:59:60.62, becomes the midnight that
follows, at most a second late. Beyond 1677 and 2262 nanoseconds overflow without a word, so a time is checked before it
is turned into them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numpy as np
from astropy.utils.iers import LeapSeconds
from numpy.typing import NDArray

from sunaug.sources.rejected import RejectedFile

__all__ = ["EARLIEST", "check_time", "is_missing_time", "parse_time"]

EARLIEST = np.datetime64("2010-02-11T00:00:00", "s")
"""SDO's launch: nothing before it is an observation of AIA or HMI."""
_AHEAD = np.timedelta64(1, "D")
"""How far clocks of archives and of this machine may be apart."""

_TIME = re.compile(
    r"(\d{4})[-./](\d\d)[-./](\d\d)[T _](\d\d):(\d\d)(?::(\d\d)(?:\.(\d*))?)?(Z|[ _]?(?:UTC?|TAI))?", re.IGNORECASE
)
_MISSING_YEAR = "-4712"
"""Year of Julian day 0, which JSOC writes where it has no time."""


def is_missing_time(value: Any) -> bool:
    """Whether a keyword holds JSOC's mark for a missing time, -4712-01-01."""
    return str(value).strip().startswith(_MISSING_YEAR)


@lru_cache(maxsize=1)
def _leap_seconds() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The midnights (seconds since 1970, UTC) from which TAI is ahead by so many seconds, and these."""
    table = [row for row in LeapSeconds.from_erfa() if row["year"] >= 1972]
    midnights = np.array([f"{row['year']:04d}-{row['month']:02d}-01" for row in table], dtype="datetime64[s]")
    return midnights.astype(np.int64), np.array([int(row["tai_utc"]) for row in table], dtype=np.int64)


def _utc_of_tai(time: np.datetime64) -> np.datetime64:
    midnights, ahead = _leap_seconds()
    tai = int(time.astype("datetime64[ns]").astype(np.int64))
    place = int(np.searchsorted(midnights + ahead, tai // 10**9, side="right"))
    utc = tai - int(ahead[max(place - 1, 0)]) * 10**9
    if place < len(midnights):
        # Within the leap second before the next entry: its midnight, as for 23:59:60 in UTC.
        utc = min(utc, int(midnights[place]) * 10**9)
    return np.datetime64(utc, "ns")


def parse_time(value: Any, scale: str = "UTC") -> np.datetime64 | None:
    """A time as it stands in a header, in UTC.

    Parameters
    ----------
    value : object
        ``2012-03-07T00:00:00.34Z`` or ``2012.03.07_00:00:00.34_TAI``: to the minute or finer, in UTC or TAI where it
        ends so, else in `scale`. A day alone is no time.
    scale : {"UTC", "TAI"}
        That of a time without a mark of its own.

    Returns
    -------
    numpy.datetime64 or None
        In nanoseconds, UTC; None where the value is no time.

    Raises
    ------
    RejectedFile
        If it is a time, but not of SDO: before the launch or in the future. The reason begins with the value.
    """
    text = str(value).strip()
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, digits, mark = match.groups()
    of_tai = (mark or scale).upper().endswith("TAI")
    leaps = second == "60"
    try:
        whole = np.datetime64(f"{year}-{month}-{day}T{hour}:{minute}:{'59' if leaps else second or '00'}", "s")
    except ValueError:
        return None
    if leaps:
        whole += np.timedelta64(1, "s")
        if of_tai or int(whole.astype(np.int64)) not in _leap_seconds()[0][1:]:
            return None
        digits = ""
    _require_life(whole, text)
    time = whole.astype("datetime64[ns]") + np.timedelta64(int((digits or "")[:9].ljust(9, "0")), "ns")
    time = _utc_of_tai(time) if of_tai else time
    _require_life(time, text)
    return time


def check_time(time: np.datetime64) -> None:
    """Raise `RejectedFile` unless a time lies within the life of SDO."""
    if np.isnat(time):
        raise RejectedFile("the time of observation is not known.")
    _require_life(time, str(time.astype("datetime64[s]")))


def _require_life(time: np.datetime64, text: str) -> None:
    if time < EARLIEST:
        raise RejectedFile(f"{text} is before SDO's launch ({EARLIEST.astype('datetime64[D]')}).")
    if time > np.datetime64("now", "s") + _AHEAD:
        raise RejectedFile(f"{text} is in the future.")
