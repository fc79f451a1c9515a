import os
import re
from pathlib import Path

import numpy as np
import pytest

from forecasting_adapters.leakage import (
    PUBLISHED_SPLITS,
    LeakageError,
    check_leakage,
    check_timestamps,
    overlapping_ranges,
    parse_ranges,
)
from sunaug.errors import SunaugError, UsageError

YEAR_2012 = [("2012-01-01T00:00:00", "2012-08-01T00:00:00"), ("2012-10-01", "2012-10-08")]


def test_whole_days_and_the_days_beside_them_are_seen() -> None:
    assert overlapping_ranges(YEAR_2012, ["2011-12-30T23:59:59", "2012-08-02T00:00:00"]) == []
    for near in ("2011-12-31T00:00:00", "2012-01-01T00:00:00", "2012-08-01T23:59:59"):
        assert overlapping_ranges(YEAR_2012, [near]) == [(YEAR_2012[0], 1)]


def test_every_overlapping_range_is_named_with_its_count() -> None:
    times = np.array(["2012-10-07T22:00", "2012-03-07T00:00", "2012-03-07T02:00", "2012-09-01"], "datetime64[ns]")
    with pytest.raises(
        LeakageError, match=r"rare: .* 2012-01-01T00:00:00 to .*\(2 of .*2012-10-01T00:00:00 .*\(1 of"
    ) as e:
        check_leakage(YEAR_2012, times, source="rare")
    assert [start for start, _ in e.value.ranges] == ["2012-01-01T00:00:00", "2012-10-01T00:00:00"]
    assert e.value.exit_code == 1


def test_times_outside_pass() -> None:
    check_leakage(YEAR_2012, ["2012-08-02T00:00:00", "2012-09-29T22:00:00"])


def test_unknown_ranges_are_refused_where_something_is_evaluated() -> None:
    check_leakage(None, [])
    for unknown in (None, []):
        with pytest.raises(LeakageError, match="training_ranges"):
            check_leakage(unknown, ["2012-09-01"])


def test_zones_are_read_as_utc() -> None:
    parsed = parse_ranges([("2012-01-01T00:00:00Z", "2012-01-02T01:00:00+01:00")])
    assert parsed.tolist() == np.array([["2012-01-01", "2012-01-02"]], "datetime64[ns]").tolist()
    assert parse_ranges([]).shape == (0, 2)


@pytest.mark.parametrize(
    "damaged", [("2012-01-01",), ("soon", "later"), ("2012-02-01", "2012-01-01"), ("", "2012-01-01"), 7]
)
def test_damaged_ranges_are_refused(damaged: object) -> None:
    with pytest.raises(SunaugError, match=r"training range .* damaged"):
        parse_ranges([damaged])


@pytest.mark.parametrize(
    ("ranges", "first"),
    [
        ([("2012-01-01", "2012-01-31")], "2012-01-01T00:00:00 to 2012-01-31T00:00:00 \\(30 days\\)"),
        ([("2012-02-01", "2012-10-01")], None),
        ([("2012-02-01", "2012-10-01T00:00:01")], "2012-10-01T00:00:00 to 2012-10-02T00:00:00 \\(1 day\\)"),
        ([("2012-09-01", "2013-02-01")], "2012-10-01T00:00:00 to 2013-02-01T00:00:00 \\(123 days\\)"),
        (
            [("2012-03-01", "2014-03-01")],
            "2012-10-01T00:00:00 to 2013-02-01T00:00:00 .*; 2013-10-01T00:00:00 to 2014-02-01",
        ),
    ],
)
def test_a_published_split_is_known_by_its_name(ranges: list, first: str | None) -> None:
    if first is None:
        check_leakage(ranges, "sdofm")
        return
    with pytest.raises(LeakageError, match=f"held out by SDO-FM, which validates on .*: {first}"):
        check_leakage(ranges, "sdofm", source="rare")


def test_a_message_names_the_first_ranges_and_counts_the_others() -> None:
    days = np.arange("2012-10-01", "2013-02-01", 3, dtype="datetime64[D]")
    ranges = [(f"{day}T12:00:00", f"{day}T12:00:01") for day in days]
    for evaluation in ("sdofm", days.astype("datetime64[ns]")):
        with pytest.raises(LeakageError, match=r"2012-10-01T.*; and 37 more until 2013-01-(29|30)T") as error:
            check_leakage(ranges, evaluation, source="rare")
        assert len(error.value.ranges) == len(days) == 41
        assert len(str(error.value)) < 700


def test_published_splits_that_cannot_be_checked() -> None:
    with pytest.raises(LeakageError, match="does not say what its generator was trained on"):
        check_leakage([], "sdofm")
    with pytest.raises(UsageError, match="unknown published split 'sdo-fm': choose one of suryabench, sdofm, sdofmv2"):
        check_leakage(YEAR_2012, "sdo-fm")
    check_leakage([("2012-01-01", "2012-11-01")], "sdofmv2")


def test_synthetic_times_stay_out_of_everyones_validation_and_test_months() -> None:
    year = np.arange("2031-01", "2032-01", dtype="datetime64[M]").astype("datetime64[ns]")
    for month, time in enumerate(year, start=1):
        if 2 <= month <= 9:
            check_timestamps([time], source="export")
        else:
            with pytest.raises(LeakageError, match=r"export: 1 of 1 .* that SDO-FM holds out, the first 2031-"):
                check_timestamps([time], source="export")
    check_timestamps([], source="export")
    with pytest.raises(LeakageError, match=r"4 of 12 synthetic frames .*; it validates on October, January"):
        check_timestamps(year, source="export")


def test_the_months_of_sdo_fm_are_those_of_its_own_code() -> None:
    peers = os.environ.get("SUNAUG_PEERS")
    code = Path(peers or "") / "SDO-FM" / "sdofm" / "datasets" / "SDOML.py"
    if not peers or not code.is_file():
        pytest.skip("SDO-FM's code is not at $SUNAUG_PEERS/SDO-FM")
    found = dict(re.findall(r"(val|test)_months=\[([\d, ]+)\]", code.read_text()))
    split = PUBLISHED_SPLITS["sdofm"]
    assert {"val": split.validation[0].months, "test": split.test[0].months} == {
        name: tuple(map(int, months.split(","))) for name, months in found.items()
    }
