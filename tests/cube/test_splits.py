import numpy as np
import pandas as pd
import pytest

from sunaug.cube import FrameStatus, create_cube, open_cube, select_split, write_frames
from sunaug.cube.splits import parse_splits
from sunaug.cube.time_ranges import join_ranges, ranges_in_words
from sunaug.errors import SunaugError, UsageError

TIMES = pd.date_range("2012-07-29T12:00", "2012-08-03", freq="12h").to_numpy()
SETTINGS = {"channels": ["171"], "size": 8, "disk_radius": 3.5, "intensity_scale": "browse"}


@pytest.fixture
def cube(tmp_path):
    create_cube(tmp_path / "c.zarr", times=TIMES, **SETTINGS)
    status = np.full(len(TIMES), FrameStatus.COMPLETE, np.int8)
    status[0] = FrameStatus.REJECTED
    write_frames(tmp_path / "c.zarr", 0, {"frame_status": status})
    return open_cube(tmp_path / "c.zarr")


def test_a_label_made_of_the_other_side_is_left_out(cube):
    train = pd.DatetimeIndex(select_split(cube, "train")["time"].values)
    validation = pd.DatetimeIndex(select_split(cube, "validation")["time"].values)
    assert train.max() == pd.Timestamp("2012-07-30T12:00"), "later windows reach into August"
    assert validation.min() == pd.Timestamp("2012-08-01")


def test_rejected_frames_are_left_out_unless_asked_for(cube):
    assert select_split(cube, "train").sizes["time"] == 2
    assert select_split(cube, "train", usable_only=False).sizes["time"] == 3


def test_splits_that_cannot_be_made_are_refused(cube, tmp_path):
    with pytest.raises(UsageError, match="unknown split"):
        select_split(cube, "all")
    with pytest.raises(SunaugError, match="no usable frame in the test months"):
        select_split(cube, "test")
    create_cube(tmp_path / "s.zarr", n_samples=2, **SETTINGS)
    with pytest.raises(UsageError, match="synthetic"):
        select_split(open_cube(tmp_path / "s.zarr"), "train")


def test_months_of_the_splits_can_be_chosen(tmp_path):
    assert parse_splits("train=1-3,7 validation=8 test=10-12")["train"] == (1, 2, 3, 7)
    create_cube(tmp_path / "c.zarr", times=TIMES, splits={"train": [8], "test": [7]}, **SETTINGS)
    cube = open_cube(tmp_path / "c.zarr")
    assert list(cube["split"].values) == [3, 3, 3, 0, 0, 1, 1, 1, 1, 1], "the day before August is purged"
    assert pd.DatetimeIndex(select_split(cube, "test", usable_only=False)["time"].values).max().month == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train=1-13", "1 to 12"),
        ("train=1 test=1", "in one split only"),
        ("learn=1", "unknown split"),
        ("train=a", "not"),
    ],
)
def test_senseless_splits_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_splits(text)


def test_ranges_that_overlap_or_touch_become_one():
    first, second, third = ("2012-01-01", "2012-01-05"), ("2012-01-03", "2012-01-04"), ("2012-01-05", "2012-02-01")
    apart = ("2013-01-01", "2013-02-01")
    assert join_ranges([apart, third, first, second]) == [
        ["2012-01-01T00:00:00Z", "2012-02-01T00:00:00Z"],
        ["2013-01-01T00:00:00Z", "2013-02-01T00:00:00Z"],
    ]
    assert join_ranges([]) == []


def test_ranges_to_the_second_become_days_however_they_are_written():
    exact = [("2012-03-02T22:00:00Z", "2012-03-02T22:00:01Z"), ("2012-03-02T00:30:00+01:00", "2012-03-01T23:30:01")]
    assert join_ranges(exact) == [["2012-03-01T00:00:00Z", "2012-03-03T00:00:00Z"]]


def test_ranges_in_words_are_all_or_say_how_many_more():
    ranges = [[f"2012-0{month}-01", f"2012-0{month}-02"] for month in range(1, 6)]
    assert ranges_in_words(ranges[:2], 2) == "2012-01-01 to 2012-01-02; 2012-02-01 to 2012-02-02"
    assert ranges_in_words(ranges, 1) == "2012-01-01 to 2012-01-02; and 4 more until 2012-05-02"
