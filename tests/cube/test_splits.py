import numpy as np
import pandas as pd
import pytest

from sunaug.cube import FrameStatus, create_cube, open_cube, select_split, write_frames
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
