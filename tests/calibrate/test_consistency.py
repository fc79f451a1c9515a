import numpy as np
import pytest
from make_data import disk_image

from sunaug.calibrate.consistency import find_faulty, measure_frames

CHANNELS = ["aia171", "aia131", "aia94"]
N = 40
TIMES = np.datetime64("2012-01-01", "ns") + np.arange(N) * np.timedelta64(2, "h")


@pytest.fixture
def frames() -> np.ndarray:
    random = np.random.default_rng(0)
    image = disk_image(64, (31.5, 31.5), 28.0, seed=1)
    day = np.stack([image * level for level in (1.0, 0.9, 0.4)])
    return (day[None] + random.normal(0, 1, (N, 3, 64, 64))).clip(0, 255).astype(np.float32)


def _faulty(frames):
    return find_faulty(measure_frames(frames, 28.0), TIMES, CHANNELS)


def test_a_good_set_stays_whole(frames):
    assert _faulty(frames) == {}


def test_a_channel_of_another_day_is_found(frames):
    frames[7, 0] = disk_image(64, (31.5, 31.5), 28.0, seed=99)
    found = _faulty(frames)
    assert list(found) == [7]
    assert found[7].startswith("channels disagree: AIA 171 Å and AIA 131 Å correlate")


def test_blank_incomplete_dark_and_misplaced_frames_are_named(frames):
    frames[3] = 0
    frames[9, :, :20] = 0
    frames[15, 1] *= 0.2
    frames[21] = np.roll(frames[21], (6, 8), axis=(1, 2))
    found = _faulty(frames)
    assert sorted(found) == [3, 9, 15, 21]
    assert found[3].startswith("blank")
    assert "incomplete" in found[9]
    assert found[15].startswith("AIA 131 Å: rendered wrongly")
    assert "misplaced" in found[21] or "disagree" in found[21]


def test_a_flare_survives(frames):
    y, x = np.indices((64, 64))
    flare = 255 * np.exp(-np.hypot(x - 40, y - 25) / 4) + 60 * ((np.abs(x - 40) < 1) | (np.abs(y - 25) < 1))
    frames[20, 1:] = (frames[20, 1:] + flare).clip(0, 255)
    assert 20 not in _faulty(frames)


def test_single_channels_and_few_frames_have_no_habits_to_break(frames):
    assert find_faulty(measure_frames(frames[:3, :1], 28.0), TIMES[:3], CHANNELS[:1]) == {}


def test_a_channel_that_is_missing_is_not_faulty(frames):
    frames[:, 2] = np.nan
    frames[5, 1] = np.nan
    assert _faulty(frames) == {}
