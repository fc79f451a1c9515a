import numpy as np
import pytest

from sunaug.sources import FileReference, RejectedFile
from sunaug.sources.times import EARLIEST, check_time, is_missing_time, parse_time


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2012-03-07T00:00:00.34Z", "2012-03-07T00:00:00.34"),
        ("2012-03-07 00:00:00", "2012-03-07T00:00:00"),
        ("2012-03-07T00:40", "2012-03-07T00:40:00"),
        ("2012.03.07_00:00:34.5_TAI", "2012-03-07T00:00:00.5"),
        ("2012.03.07_00:00:34_UTC", "2012-03-07T00:00:34"),
        ("2012-03-07T00:00:00.1234567891", "2012-03-07T00:00:00.123456789"),
        # Leap seconds: that of UTC as it is written, and in TAI the second before, it, and the one after.
        ("2012-06-30T23:59:60.62", "2012-07-01T00:00:00"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00"),
        ("2012.07.01_00:00:33.62_TAI", "2012-06-30T23:59:59.62"),
        ("2012.07.01_00:00:34.62_TAI", "2012-07-01T00:00:00"),
        ("2012.07.01_00:00:35.62_TAI", "2012-07-01T00:00:00.62"),
    ],
)
def test_times_as_archives_write_them(text, time):
    assert parse_time(text) == np.datetime64(time, "ns")


def test_a_time_without_a_mark_is_in_the_scale_of_the_file():
    assert parse_time("2012-03-07T00:00:34", "TAI") == np.datetime64("2012-03-07T00:00:00")
    assert parse_time("2012-03-07T00:00:34Z", "TAI") == np.datetime64("2012-03-07T00:00:34")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "MISSING",
        "NaT",
        "now",
        "today",
        "2012-03-07",
        "2012-13-07T00:00:00",
        "2012-03-07T25:00:00",
        "2012-03-07T00:00:60",
        "2012-03-07T23:59:60",
        "2012.07.01_00:00:60_TAI",
        "2012-03-07T00:00:00+02:00",
        "07/03/12",
        None,
        20120307,
    ],
)
def test_what_is_no_time(text):
    assert parse_time(text) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1718-02-05T07:20:10", "before SDO's launch"),
        ("2010-02-10T23:59:59", "before SDO's launch"),
        ("0001-01-01T00:00:00", "before SDO's launch"),
        ("9999-12-31T23:59:59", "in the future"),
        ("2262-04-12T00:00:00", "in the future"),
    ],
)
def test_times_that_are_not_of_sdo(text, reason):
    with pytest.raises(RejectedFile, match=f"^{text} is {reason}"):
        parse_time(text)


def test_the_mark_of_jsoc():
    assert is_missing_time("-4712-01-01T12:00:00.000Z")
    assert is_missing_time("-4712.01.01_11:59:28_TAI")
    assert not is_missing_time("2012-03-07T00:00:00")
    assert parse_time("-4712-01-01T12:00:00.000Z") is None


def test_a_reference_has_a_time_of_sdo(tmp_path):
    for time in (EARLIEST - np.timedelta64(1, "s"), np.datetime64("NaT"), np.datetime64("2200-01-01T00:00:00")):
        with pytest.raises(RejectedFile):
            FileReference(tmp_path, "fits", time, ("aia193",))
    check_time(np.datetime64("now"))
    assert FileReference(tmp_path, "fits", EARLIEST, ("aia193",)).time == EARLIEST
