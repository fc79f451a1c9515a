import numpy as np
import pytest

from forecasting_adapters.leakage import LeakageError, check_leakage, overlapping_ranges, parse_ranges
from sunaug.errors import SunaugError

YEAR_2012 = [("2012-01-01T00:00:00", "2012-08-01T00:00:00"), ("2012-10-01", "2012-10-08")]


def test_ranges_are_half_open() -> None:
    assert overlapping_ranges(YEAR_2012, ["2011-12-31T23:59:59", "2012-08-01T00:00:00"]) == []
    assert overlapping_ranges(YEAR_2012, ["2012-01-01T00:00:00"]) == [(YEAR_2012[0], 1)]


def test_every_overlapping_range_is_named_with_its_count() -> None:
    times = np.array(["2012-10-07T22:00", "2012-03-07T00:00", "2012-03-07T02:00", "2012-09-01"], "datetime64[ns]")
    with pytest.raises(
        LeakageError, match=r"rare: .* 2012-01-01T00:00:00 to .*\(2 of .*2012-10-01T00:00:00 .*\(1 of"
    ) as e:
        check_leakage(YEAR_2012, times, source="rare")
    assert [start for start, _ in e.value.ranges] == ["2012-01-01T00:00:00", "2012-10-01T00:00:00"]
    assert e.value.exit_code == 1


def test_times_outside_pass() -> None:
    check_leakage(YEAR_2012, ["2012-08-01T00:00:00", "2012-09-30T22:00:00"])


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
