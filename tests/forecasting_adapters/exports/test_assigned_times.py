import numpy as np
import pandas as pd
import pytest

from forecasting_adapters.exports import NAMES, ecosystem
from forecasting_adapters.exports.times import DEFAULT_START, assign_times
from forecasting_adapters.leakage import LeakageError
from sunaug.errors import UsageError

HOUR, NONE = np.timedelta64(1, "h"), np.timedelta64(0, "m")


@pytest.mark.parametrize("name", NAMES)
def test_no_layout_ever_reaches_into_held_out_months(name):
    found = ecosystem(name)
    times = assign_times(40_000, DEFAULT_START, found.cadence, found.reach)
    assert len(times) == 40_000
    assert (np.diff(times) >= found.cadence).all()
    for moments in (times - found.reach, times, times + found.reach):
        assert set(pd.DatetimeIndex(moments).month) <= set(range(2, 10))


def test_times_go_from_season_to_season_at_the_cadence():
    times = assign_times(6_000, "2031-02-01", HOUR, NONE)
    assert times[0] == np.datetime64("2031-02-01")
    steps = np.diff(times)
    assert (steps == HOUR).sum() == len(steps) - 1
    assert times[242 * 24 - 1] == np.datetime64("2031-09-30T23:00")
    assert times[242 * 24] == np.datetime64("2032-02-01")


def test_the_first_time_is_the_first_that_has_room():
    assert assign_times(1, "2031-09-30T23:30", HOUR, HOUR)[0] == np.datetime64("2032-02-01T01:00")
    assert assign_times(1, "2031-02-01T00:30:59", HOUR, NONE)[0] == np.datetime64("2031-02-01T00:30")
    assert assign_times(1, "2031-03-01T02:00+02:00", HOUR, NONE)[0] == np.datetime64("2031-03-01")
    assert len(assign_times(0, "2031-02-01", HOUR, NONE)) == 0


@pytest.mark.parametrize("month", [1, 10, 11, 12])
def test_a_start_in_held_out_months_is_leakage(month):
    with pytest.raises(LeakageError, match="bear times that SDO-FM holds out"):
        assign_times(1, f"2031-{month:02d}-15", HOUR, NONE)


def test_years_that_are_observed_are_refused():
    with pytest.raises(UsageError, match=r"the Sun of 2040 is or will be observed, .* start in 2046 or later"):
        assign_times(1, "2040-02-01", HOUR, NONE, training_ranges=[["2012-01-01", "2045-06-01"]])
    this_year = pd.Timestamp.now("UTC").year
    with pytest.raises(UsageError, match=f"start in {this_year + 1} or later"):
        assign_times(1, f"{this_year}-05-01", HOUR, NONE)
    with pytest.raises(UsageError, match="run past the year 2261"):
        assign_times(10_000, "2261-02-01", HOUR, NONE)
