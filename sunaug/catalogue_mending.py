"""What published flare lists have wrong: put right where there is one way to, unknown otherwise.

Nothing that stands in a list is dropped in silence. A row that cannot be read in part leaves *doubts*: when its flare
may have started or peaked, and how strong it may have been. Labels are unknown wherever a doubt could change them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sunaug.catalogue_times import Interval, clipped, read_listed_times
from sunaug.errors import SunaugError
from sunaug.goes_classes import CLASS_FLUX, GOES_CLASS, GREATEST_FLUX

__all__ = ["DOUBT_COLUMNS", "LONGEST_RISE", "Mended", "doubts_of_gaps", "mend"]

DOUBT_COLUMNS = ("of", "first", "last", "peak_flux")
"""``start`` or ``peak``; the first and last moment that it may have; the most that the peak may be, W m-2."""

LONGEST_RISE = np.timedelta64(8, "h")
"""From start to peak. The longest of 43,084 flares listed from 1996 to 2022 is 6.6 h, misprints left aside."""
_LONGEST_FLARE = np.timedelta64(24, "h")
_LONGEST_OVER_MIDNIGHT = np.timedelta64(12, "h")
_DAY = np.timedelta64(1, "D")
_TICK = np.timedelta64(1, "ns")
_DISORDER = np.timedelta64(2, "D")
"""Lists are ordered by time or grouped by day; the GOES list goes back by 22 h at most."""
_ORDERED_ROWS = 4
_STRANGE_SHARE = 0.02
"""Where all rows but so few are in order, those few have a wrong date."""
_EVER = (np.datetime64("1700-01-01", "ns"), np.datetime64("2200-01-01", "ns"))
_LEAST_FLUX = 1e-9

_RATE_DAYS = np.timedelta64(27, "D")
_MISSED_FLARES = 100.0
"""A stretch without a row is a gap where the lesser of the rates in the solar rotation before and after it makes this
many. The most in the GOES list of 1996 to 2022 is 61, in that of SWPC 44: quiet Sun, not gaps."""


@dataclass
class Mended:
    """A list with its faults told apart.

    Attributes
    ----------
    flares : pandas.DataFrame
        Rows with a known start and flux, in order of their start; NaT where a peak or end is unknown.
    doubts : pandas.DataFrame
        Columns `DOUBT_COLUMNS`.
    repairs : dict of str to int
        What was mended or is unknown, with counts.
    """

    flares: pd.DataFrame
    doubts: pd.DataFrame
    repairs: dict[str, int]


@dataclass
class _Doubts:
    """Doubts as they are found."""

    rows: list[tuple[str, np.datetime64, np.datetime64, float]] = field(default_factory=list)

    def add(self, of: str, intervals: list[Interval], flux: float) -> None:
        self.rows += [(of, first, last, flux) for first, last in intervals]

    def frame(self) -> pd.DataFrame:
        table = pd.DataFrame(self.rows, columns=list(DOUBT_COLUMNS))
        return table.astype({"first": "datetime64[ns]", "last": "datetime64[ns]", "peak_flux": float})


def mend(source: str, table: pd.DataFrame) -> Mended:
    """Read a list's text and tell apart what is known from what is not.

    Parameters
    ----------
    source : str
        The list's name, for errors.
    table : pandas.DataFrame
        As `sunaug.catalogue_tables.uniform_columns` gives it.

    Raises
    ------
    SunaugError
        If a flux is impossible, so that the list is in another unit; if nothing bounds the time of a row.
    """
    repairs: Counter[str] = Counter()
    table = _rows_of_flares(table.reset_index(drop=True), repairs)
    times, left, order = read_listed_times(table[["start", "peak", "end"]])
    if order:
        repairs[f"dates read as {order}, as other rows show"] += len(table)
    flux, most = _fluxes(source, table, repairs)
    flares = times.assign(peak_flux=flux, region=_regions(table))
    if "source" in table:
        flares["source"] = table["source"]
    start, peak, end = (times[name].to_numpy(copy=True) for name in ("start", "peak", "end"))
    regular = ~np.isnan(flux.to_numpy()) & (start <= peak) & ((peak <= end) | np.isnat(end))
    around, strange = _neighbours(start)
    doubts = _Doubts()
    for row in np.flatnonzero(~regular | strange).tolist():
        own = {name: left[name].get(row, []) for name in left}
        if strange[row]:
            repairs["out of order, time unknown"] += 1
            either = [one for one in (around[row], (start[row], start[row])) if one]
            doubts.add("start", either, float(most[row]))
            doubts.add("peak", [(first, last + LONGEST_RISE) for first, last in either], float(most[row]))
            start[row] = np.datetime64("NaT", "ns")
            continue
        listed = _Row(start[row], peak[row], end[row], own, float(most[row]))
        starts = listed.starts(around[row])
        if starts is None:
            raise SunaugError(
                f"{source}: nothing tells when the flare of row {row + 1} ({_shown(table, row)}) was, so any label may "
                "be wrong; mend or remove that row."
            )
        listed.mend(doubts, starts, np.isnan(flux[row]), repairs)
        start[row], peak[row], end[row] = listed.start, listed.peak, listed.end
    flares = flares.assign(start=start, peak=peak, end=end)
    flares = flares[flares["start"].notna() & flares["peak_flux"].notna()]
    duplicated = flares.duplicated()
    repairs["duplicate rows, dropped"] += int(duplicated.sum())
    flares = flares[~duplicated].sort_values("start", kind="stable").reset_index(drop=True)
    return Mended(flares, doubts.frame(), {name: count for name, count in repairs.items() if count})


def _rows_of_flares(table: pd.DataFrame, repairs: Counter[str]) -> pd.DataFrame:
    """Without rows that are empty or repeat the header, as joined files have them."""
    text = table.apply(lambda column: column.str.strip())
    empty = (text.isna() | (text == "")).all(axis=1)
    header = (text["start"].str.lower() == "start") | text["start"].isin(
        ["Start Time", "begin_time", "event_starttime"]
    )
    repairs["empty rows, passed over"] += int(empty.sum())
    repairs["repeated header rows, passed over"] += int(header.sum())
    return table[~empty & ~header].reset_index(drop=True)


def _shown(table: pd.DataFrame, row: int) -> str:
    return (
        ", ".join(str(value) for value in table.iloc[row][["start", "peak", "end"]] if not pd.isna(value)) or "no time"
    )


def _regions(table: pd.DataFrame) -> pd.Series:
    """NOAA numbers; 0 for what is none."""
    if "region" not in table:
        return pd.Series(0, index=table.index)
    region = pd.to_numeric(table["region"], errors="coerce")
    return region.where(region.between(0, 99_999), 0).astype(int)


def _fluxes(source: str, table: pd.DataFrame, repairs: Counter[str]) -> tuple[pd.Series, NDArray[np.float64]]:
    """Peak flux of each row, NaN where it cannot be read, and the most that it may be."""
    unread = pd.Series(np.nan, index=table.index)
    by_class, by_flux, most = unread, unread, pd.Series(np.inf, index=table.index)
    if "class" in table:
        parts = table["class"].astype("string").str.extract(GOES_CLASS)
        letter = parts[0].str.upper().map(CLASS_FLUX).astype(float)
        number = pd.to_numeric(parts[1]).astype(float)
        # "M5+" and a letter alone are limits, and C54 is C5.4 without its dot.
        open_ended = table["class"].astype("string").str.contains("+", regex=False).fillna(False).astype(bool)
        possible = (number <= 10) | (letter == CLASS_FLUX["X"])
        by_class = (letter * number).where(possible & ~open_ended)
        by_class = by_class.where(by_class.between(_LEAST_FLUX, GREATEST_FLUX))
        alone = letter.notna() & number.isna() & ~open_ended & (letter < CLASS_FLUX["X"])
        most = most.where(~alone, 10 * letter)
    if "peak_flux" in table:
        by_flux = pd.to_numeric(table["peak_flux"], errors="coerce")
        impossible = by_flux > GREATEST_FLUX
        if impossible.any():
            row = int(np.flatnonzero(impossible)[0])
            shown = _shown(table, row)
            raise SunaugError(
                f"{source}: peak_flux {table['peak_flux'][row].strip()} (row {row + 1}: {shown}) is no flux "
                "in W m-2; an X5.4 flare is 5.4e-4: write the column in W m-2."
            )
        by_flux = by_flux.where(by_flux >= _LEAST_FLUX)
    disagree = (by_class - by_flux).abs() > 0.11 * by_class
    flux = by_flux.fillna(by_class).where(~disagree)
    repairs["class and peak_flux disagree, unknown"] += int(disagree.sum())
    repairs["unreadable class or flux, unknown"] += int((flux.isna() & ~disagree).sum())
    return flux, flux.fillna(most).to_numpy()


def _neighbours(start: NDArray[np.datetime64]) -> tuple[list[Interval | None], NDArray[np.bool_]]:
    """Between which moments each row lies by its place in an ordered list, and the rows that stand out of order.

    Where the list is not ordered, nothing bounds a row, and none is out of order.
    """
    known = np.flatnonzero(~np.isnat(start))
    days = start[known].astype("datetime64[D]").astype(int)
    rising, falling = _in_order(days), _in_order(-days)
    ordered = max(rising, falling, key=lambda kept: int(kept.sum()))
    strange = np.zeros(len(start), dtype=bool)
    if len(known) < _ORDERED_ROWS or (~ordered).sum() > _STRANGE_SHARE * len(known):
        return [None] * len(start), strange
    strange[known[~ordered]] = True
    turned = slice(None, None, -1 if ordered is falling else 1)
    moments = np.where(strange, np.datetime64("NaT", "ns"), start)[turned]
    before = np.maximum.accumulate(np.where(np.isnat(moments), _EVER[0], moments))
    after = np.minimum.accumulate(np.where(np.isnat(moments), _EVER[1], moments)[::-1])[::-1]
    around = [(one - _DISORDER, other + _DISORDER) for one, other in zip(before, after, strict=True)]
    return list(around[turned]), strange


def _in_order(values: NDArray[np.int_]) -> NDArray[np.bool_]:
    """The most values that rise, or stay, from one to the next."""
    ends: list[int] = []
    places: list[int] = []
    before = np.full(len(values), -1)
    for place, value in enumerate(values.tolist()):
        rank = bisect_right(ends, value)
        before[place] = places[rank - 1] if rank else -1
        ends[rank : rank + 1], places[rank : rank + 1] = [value], [place]
    kept = np.zeros(len(values), dtype=bool)
    place = places[-1] if places else -1
    while place >= 0:
        kept[place] = True
        place = int(before[place])
    return kept


@dataclass
class _Row:
    """A row with something wrong: its times where exact (NaT otherwise), what else their text says, the most flux."""

    start: np.datetime64
    peak: np.datetime64
    end: np.datetime64
    own: dict[str, list[Interval]]
    most: float

    def starts(self, around: Interval | None) -> list[Interval] | None:
        """When the flare may have started; None if nothing tells."""
        if not np.isnat(self.start):
            return [(self.start, self.start)]
        told = self._around()
        if self.own["start"]:
            # Both are kept where they contradict each other: one of them is wrong.
            both = [part for first, last in told for part in clipped(self.own["start"], first, last)]
            return both or [*self.own["start"], *told]
        if told:
            return told
        return None if around is None else [around]

    def _around(self) -> list[Interval]:
        """The days that its peak and end tell of; either may be wrong, or carry the start's date over midnight."""
        exact = [(moment, moment) for moment in (self.peak, self.end) if not np.isnat(moment)]
        told = [*exact, *self.own["peak"], *self.own["end"]]
        if not told:
            return []
        return [(min(first for first, _ in told) - _LONGEST_FLARE, max(last for _, last in told) + _DAY)]

    def mend(self, doubts: _Doubts, starts: list[Interval], no_flux: bool, repairs: Counter[str]) -> None:
        """Put right what can be, and note what cannot."""
        if len(starts) == 1 and starts[0][0] == starts[0][1]:
            self.start = starts[0][0]
        if np.isnat(self.start):
            repairs["unreadable start time, unknown"] += 1
            doubts.add("start", starts, self.most)
            peaks = [(first, last + LONGEST_RISE) for first, last in starts]
            peaks += [] if np.isnat(self.peak) else [(self.peak, self.peak)]
            doubts.add("peak", peaks, self.most)
            return
        self._mend_end(repairs)
        peaks = self._mend_peak(repairs)
        if no_flux:
            doubts.add("start", [(self.start, self.start)], self.most)
            doubts.add("peak", peaks or [(self.peak, self.peak)], self.most)
        else:
            doubts.add("peak", peaks, self.most)

    def _mend_end(self, repairs: Counter[str]) -> None:
        if not self.end < self.start:
            return
        moved = self._over_midnight(self.end)
        if self.start <= moved <= self.start + _LONGEST_OVER_MIDNIGHT:
            self.end = moved
            repairs["end before start, moved by a day"] += 1
        else:
            self.end = np.datetime64("NaT", "ns")
            repairs["end before start, unknown"] += 1

    def _mend_peak(self, repairs: Counter[str]) -> list[Interval]:
        """When the flare may have peaked, where that is not known."""
        latest = self.start + LONGEST_RISE if np.isnat(self.end) else self.end
        if np.isnat(self.peak):
            repairs["unreadable peak time"] += 1
            return [(self.start, latest), *self.own["peak"]] if self._contradicted(latest) else [(self.start, latest)]
        listed = self.peak
        if listed < self.start:
            if self.start <= self._over_midnight(listed) <= self.end:
                self.peak = listed + _DAY
                repairs["peak before start, moved by a day"] += 1
                return []
            repairs["peak before start, unknown"] += 1
        elif listed > self.end:
            repairs["peak after end, unknown"] += 1
        else:
            return []
        self.peak = np.datetime64("NaT", "ns")
        # It is the peak that is wrong, and then it lies between start and end; or it is another of the times.
        over = self._over_midnight(listed)
        after = [(over, over)] if self.start <= over <= self.start + LONGEST_RISE else []
        return [(self.start, latest), (listed, listed), *after]

    def _over_midnight(self, listed: np.datetime64) -> np.datetime64:
        """A time that carries the start's date, on the day after; NaT for another date, which is no such slip."""
        same = listed.astype("datetime64[D]") == self.start.astype("datetime64[D]")
        return listed + _DAY if same else np.datetime64("NaT", "ns")

    def _contradicted(self, latest: np.datetime64) -> bool:
        """Whether what the peak's own text says lies outside of the flare, over midnight or not."""
        own = self.own["peak"]
        return bool(own) and not clipped([*own, *((a + _DAY, b + _DAY) for a, b in own)], self.start, latest)


def doubts_of_gaps(
    starts: NDArray[np.datetime64], covers: tuple[np.datetime64, np.datetime64] | None = None
) -> pd.DataFrame:
    """Stretches without a row in a list that is active before and after them.

    Parameters
    ----------
    starts : ndarray of datetime64, shape (n,)
        Ascending.
    covers : tuple of datetime64, optional
        The range that the list says it covers: then there may be a gap at either end as well.

    Returns
    -------
    pandas.DataFrame
        Doubts of both kinds and any strength.
    """
    doubts = _Doubts()
    edges = np.concatenate([[covers[0]], starts, [covers[1]]]).astype("datetime64[ns]") if covers else starts
    if len(starts) and len(edges) > 1:
        days = np.diff(edges) / _DAY
        before = np.searchsorted(starts, edges[:-1], "right") - np.searchsorted(starts, edges[:-1] - _RATE_DAYS, "left")
        after = np.searchsorted(starts, edges[1:] + _RATE_DAYS, "right") - np.searchsorted(starts, edges[1:], "left")
        if covers:  # there is but one side at either end
            before[0], after[-1] = after[0], before[-1]
        missed = days * np.minimum(before, after) / (_RATE_DAYS / _DAY)
        for place in np.flatnonzero(missed > _MISSED_FLARES):
            first, last = edges[place] + _TICK, edges[place + 1] - _TICK
            doubts.add("start", [(first, last)], np.inf)
            doubts.add("peak", [(first, last + LONGEST_RISE)], np.inf)
    return doubts.frame()
