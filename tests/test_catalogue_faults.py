"""Catalogues with faults: a label is that of the faultless list, or unknown, and never a lesser one in silence."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import event, given, note
from hypothesis import strategies as st

from sunaug.catalogues import read_catalogue
from sunaug.errors import SunaugError
from sunaug.flares import forecast_flux, nowcast_flux

FIRST, DAYS = datetime(2012, 3, 1), 24
TIMES = np.datetime64("2012-02-29T13:00", "ns") + np.arange(0, (DAYS + 2) * 24 * 60, 97) * np.timedelta64(1, "m")
HEADER = "start,peak,end,class,region\n"
FORMS = {
    "iso": "%Y-%m-%dT%H:%MZ",
    "seconds": "%Y-%m-%d %H:%M:%S",
    "slashes": "%Y/%m/%d %H:%M",
    "compact": "%Y%m%d_%H%M%S",
    "month": "%Y-%b-%d %H:%M",
    "day first": "%d/%m/%Y %H:%M",
    "month first": "%m/%d/%Y %I:%M %p",
    "short": "%d-%b-%y %H:%M",
}


@dataclass(frozen=True)
class Flare:
    """A flare as it was, and how its row is written."""

    start: datetime
    peak: datetime
    end: datetime
    goes_class: str
    form: str = "iso"
    faults: tuple[tuple[str, str], ...] = ()
    twice: bool = False

    def row(self) -> str:
        # As in the published lists, what comes after midnight carries the start's date.
        written = {
            name: moment.replace(year=self.start.year, month=self.start.month, day=self.start.day)
            for name, moment in (("start", self.start), ("peak", self.peak), ("end", self.end))
        }
        cells = {name: moment.strftime(FORMS[self.form]) for name, moment in written.items()}
        return ",".join([*(cells | {"class": self.goes_class} | dict(self.faults)).values(), "11429"])


@st.composite
def flares(draw: st.DrawFn) -> Flare:
    start = FIRST + timedelta(minutes=draw(st.integers(0, DAYS * 24 * 60)))
    peak = start + timedelta(minutes=draw(st.integers(1, 30) | st.integers(1, 360)))
    end = peak + timedelta(minutes=draw(st.integers(1, 30) | st.integers(1, 300)))
    letter = draw(st.sampled_from("BCMX"))
    return Flare(start, peak, end, f"{letter}{draw(st.integers(10, 99)) / 10}")


def _early(flare: Flare, minutes: int) -> str:
    """A peak before its start that no midnight explains."""
    peak = flare.start - timedelta(minutes=minutes)
    explained = peak.date() == flare.start.date() and flare.start <= peak + timedelta(days=1) <= flare.end
    return "" if explained else peak.strftime(FORMS["iso"])


@st.composite
def faulty(draw: st.DrawFn, flare: Flare) -> Flare:
    day = flare.start.strftime("%Y-%m-%d")
    unread = st.sampled_from(["", "?", "T//://Z", "1331316000", "2012-13-40T00:00Z", "11:20", "Unk"])
    # An hour and minute without their date are a time of the day that its own cell names.
    no_clock = st.sampled_from([f"{day}T//://Z", day, f"{day}T10:91Z", f"{day} B0056"])
    starts = unread | no_clock | st.just(flare.start.strftime(FORMS["day first"]))
    late = (flare.end + timedelta(minutes=draw(st.integers(1, 60)))).strftime(FORMS["iso"])
    peaks = unread | no_clock | st.just(late) | st.integers(1, 700).map(lambda minutes: _early(flare, minutes))
    ends = unread | st.just(flare.start.replace(hour=0, minute=0).strftime(FORMS["iso"]))
    classes = st.sampled_from(
        ["", "?", flare.goes_class[0], "Z1.0", "M0", "X99999", "M54", "-", flare.goes_class + "+"]
    )
    kinds = draw(st.sets(st.sampled_from(["start", "peak", "end", "class"]), min_size=1))
    # A peak that is not to be had leaves the end to say how late it may be: then the end is right, or says nothing.
    ends = unread if "peak" in kinds else ends
    drawn = {"start": starts, "peak": peaks, "end": ends, "class": classes}
    faults = {name: draw(drawn[name]) for name in sorted(kinds)}
    if faults.get("peak") == late:  # without its end, nothing tells that it is late
        faults.pop("end", None)
    return replace(flare, faults=tuple(faults.items()))


@st.composite
def lists(draw: st.DrawFn) -> tuple[list[Flare], list[Flare]]:
    """A faultless list, and the same with faults."""
    true = draw(st.lists(flares(), min_size=4, max_size=14))
    true = sorted(true, key=lambda one: one.start)
    form = draw(st.sampled_from(sorted(FORMS)) | st.just("iso"))
    broken = [replace(one, form=form, twice=draw(st.integers(0, 9)) == 0) for one in true]
    for place in draw(st.sets(st.integers(0, len(true) - 1), max_size=4)):
        broken[place] = draw(faulty(broken[place]))
    return true, broken


def _labels(path, rows: list[str]):
    path.write_text(HEADER + "\n".join(rows) + "\n")
    catalogue = read_catalogue(path)
    return forecast_flux(TIMES, catalogue), nowcast_flux(TIMES, catalogue)


@given(lists(), st.booleans())
def test_a_label_is_that_of_the_faultless_list_or_unknown(tmp_path, pair, falling):
    true, broken = pair
    rows = [row for one in broken for row in [one.row()] * (1 + one.twice)]
    note("\n".join(rows))
    right = _labels(tmp_path / "true.csv", [one.row() for one in true])
    try:
        told = _labels(tmp_path / "broken.csv", rows[::-1] if falling else rows)
    except SunaugError as error:
        event(f"refused: {str(error).partition('broken.csv: ')[2][:24]}")
        return
    event("read")
    for known, values in zip(right, told, strict=True):
        # Outside of what the faultless list covers, nothing is known of the other one either.
        said = np.isfinite(values)
        np.testing.assert_array_equal(values[said], known[said])


@given(st.data(), flares(), st.integers(5, 40))
def test_one_fault_in_an_ordered_list_is_not_the_end_of_it(tmp_path, data, flare, rows):
    step = timedelta(days=DAYS) / rows
    minute = timedelta(minutes=1)
    quiet = [Flare(at, at + 5 * minute, at + 9 * minute, "C1.0") for at in (FIRST + step * n for n in range(rows + 1))]
    broken = data.draw(faulty(flare))
    note(broken.row())
    true, told = (
        _labels(tmp_path / "list.csv", [each.row() for each in sorted([*quiet, one], key=lambda each: each.start)])
        for one in (flare, broken)
    )
    for known, values in zip(true, told, strict=True):
        said = np.isfinite(values)
        np.testing.assert_array_equal(values[said], known[said])
        # The flare's own days are in doubt, and as many where a date has two readings.
        doubted = np.isfinite(known) & ~said
        assert (doubted.sum() * (TIMES[1] - TIMES[0])) < 2 * max(np.timedelta64(6, "D"), 4 * np.timedelta64(step))


def test_a_month_that_is_missing_from_an_active_list_is_unknown(tmp_path):
    starts = np.arange("2012-01-01T05:00", "2012-12-01T00:00", np.timedelta64(5, "h"), "datetime64[m]")
    kept = starts[(starts < np.datetime64("2012-06-01")) | (starts >= np.datetime64("2012-07-01"))]
    path = tmp_path / "list.csv"
    path.write_text(HEADER + "".join(f"{one}Z,{one}Z,{one}Z,C1.0,0\n" for one in kept))
    catalogue = read_catalogue(path)
    times = np.array(["2012-05-20", "2012-06-15", "2012-07-10"], "datetime64[ns]")
    np.testing.assert_array_equal(forecast_flux(times, catalogue), [1e-6, np.nan, 1e-6])
    np.testing.assert_array_equal(np.isnan(nowcast_flux(times, catalogue)), [False, True, False])
    assert catalogue.repairs == {"gaps in an active list, unknown": 1}


def test_the_end_of_an_active_list_that_says_to_reach_further_is_unknown(tmp_path):
    starts = np.arange("2012-01-01T05:00", "2012-06-01T00:00", np.timedelta64(5, "h"), "datetime64[m]")
    path = tmp_path / "list.csv"
    path.write_text(
        "# covers 2012-01-01T00:00Z to 2013-01-01T00:00Z\n"
        + HEADER
        + "".join(f"{one}Z,{one}Z,{one}Z,C1.0,0\n" for one in starts)
    )
    told = forecast_flux(np.array(["2012-05-20", "2012-10-15"], "datetime64[ns]"), read_catalogue(path))
    np.testing.assert_array_equal(told, [1e-6, np.nan])


@pytest.mark.parametrize("year", ["2013", "2011"])
def test_a_row_of_another_year_in_a_long_ordered_list_is_in_doubt_where_it_stands(tmp_path, year):
    starts = np.arange("2012-01-01T05:00", "2012-12-01T00:00", np.timedelta64(20, "h"), "datetime64[m]")
    rows = [f"{one}Z,{one}Z,{one}Z,C1.0,0" for one in starts]
    at = starts[200]
    rows[200] = f"{at}Z,{at}Z,{at}Z,X5.0,0".replace("2012-", f"{year}-")
    path = tmp_path / "list.csv"
    path.write_text(HEADER + "\n".join(rows) + "\n")
    catalogue = read_catalogue(path)
    times = np.array([at - np.timedelta64(3, "h"), at + np.timedelta64(30, "D")], "datetime64[ns]")
    np.testing.assert_array_equal(forecast_flux(times, catalogue) > 0, [False, True])
    assert np.isnan(forecast_flux(times, catalogue)[0])
    assert catalogue.repairs == {"out of order, time unknown": 1}
    assert catalogue.coverage[1] < np.datetime64("2013-01-01"), "a wrong year does not stretch what the list covers"
