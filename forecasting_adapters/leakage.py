"""The guard: no forecaster is evaluated on days that the generator has seen.

A generator remembers something of every frame it was trained on. Where a forecaster's validation or test times lie
within the generator's training ranges, its synthetic samples carry those days into the training, and the score tells
nothing. The ranges travel from the bundle with every synthetic cube (attribute ``training_ranges``), so that this can
be checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sunaug.errors import SunaugError

__all__ = ["LeakageError", "TimeRange", "check_leakage", "overlapping_ranges", "parse_ranges"]

TimeRange = tuple[str, str]
"""Start and end, ISO 8601, UTC, half-open: the end is no longer part of it."""


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


def check_leakage(ranges: Iterable[Sequence[str]] | None, times: ArrayLike, *, source: str = "the generator") -> None:
    """Refuse to evaluate on times that the generator was trained on.

    Only the exact ranges count. A forecast label looks 24 h ahead, so frames of the last day before a split may carry
    a label from the other side: `sunaug.cube.select_split` leaves those frames out, and a generator trained on one of
    its splits has not seen them.

    Parameters
    ----------
    ranges : iterable of (start, end), or None
        The generator's training ranges, ISO 8601, UTC, half-open; None or nothing where they are not known.
    times : array_like of datetime64, shape (n,)
        Times of the frames that the forecaster is validated or tested on, UTC.
    source : str
        What the message names: the synthetic cube.

    Raises
    ------
    LeakageError
        If a range holds any of the times, or times are given and the ranges are not known.
    """
    moments = np.asarray(times, dtype="datetime64[ns]").reshape(-1)
    known = list(ranges or ())
    if not len(moments):
        return
    if not known:
        raise LeakageError(
            f"{source}: does not say what its generator was trained on (attribute training_ranges), so no evaluation "
            "beside it can be trusted; make it again from a bundle that does, or pass allow_leakage=True to have it "
            "recorded."
        )
    if overlaps := overlapping_ranges(known, moments):
        named = "; ".join(f"{start} to {end} ({count} of the times)" for (start, end), count in overlaps)
        raise LeakageError(
            f"{source}: its generator was trained on times that the forecaster is evaluated on, {named}; evaluate on "
            "other times, take a bundle that was not trained on them, or pass allow_leakage=True to have it recorded.",
            [one for one, _ in overlaps],
        )


def _iso(moment: np.datetime64) -> str:
    return str(np.datetime_as_string(moment, unit="s"))
