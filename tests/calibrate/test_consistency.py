import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from sunaug.calibrate.consistency import find_faulty, measure_frames

CHANNELS = ["aia171", "aia131", "aia94"]
N = 40
TIMES = np.datetime64("2012-01-01", "ns") + np.arange(N) * np.timedelta64(2, "h")


def _field(seed: int) -> np.ndarray:
    """Fine structure of one corona, as far as two channels share it."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(64, 64)), 1.5)
    return field / field.std()


def _sun(shared: np.ndarray, own: np.ndarray) -> np.ndarray:
    y, x = np.indices((64, 64)) - 31.5
    limb = 1 / (1 + np.exp((np.hypot(x, y) - 28.0) / 1.5))
    return (100 + 20 * shared + 8 * own) * limb


@pytest.fixture
def frames() -> np.ndarray:
    random = np.random.default_rng(0)
    day = np.stack([_sun(_field(1), _field(2 + number)) * level for number, level in enumerate((1.0, 0.9, 0.4))])
    return (day[None] + random.normal(0, 2, (N, 3, 64, 64))).clip(0, 255).astype(np.float32)


def _faulty(frames):
    return find_faulty(measure_frames(frames, 28.0), TIMES, CHANNELS)


def test_a_good_set_stays_whole(frames):
    assert _faulty(frames) == {}


def test_a_channel_of_another_day_is_found(frames):
    frames[7, 0] = _sun(_field(99), _field(2))
    found = _faulty(frames)
    assert list(found) == [7]
    assert found[7].startswith("channels disagree: AIA 171 Å and AIA 131 Å correlate")


def test_blank_incomplete_dark_and_misplaced_frames_are_named(frames):
    frames[3] = 0
    frames[9, :, :20] = 0
    frames[15, 1] *= 0.2
    frames[21] = np.rot90(frames[21], axes=(1, 2))
    found = _faulty(frames)
    assert sorted(found) == [3, 9, 15, 21]
    assert found[3].startswith("blank")
    assert "incomplete" in found[9]
    assert found[15].startswith("AIA 131 Å: rendered wrongly")
    assert "misplaced" in found[21]


def test_a_flare_survives(frames):
    y, x = np.indices((64, 64))
    flare = 255 * np.exp(-((np.hypot(x - 40, y - 25) / 1.5) ** 2))
    frames[20, 1:] = (frames[20, 1:] + flare).clip(0, 255)
    assert 20 not in _faulty(frames)


def test_single_channels_and_few_frames_have_no_habits_to_break(frames):
    assert find_faulty(measure_frames(frames[:3, :1], 28.0), TIMES[:3], CHANNELS[:1]) == {}


def test_a_channel_that_is_missing_is_not_faulty(frames):
    frames[:, 2] = np.nan
    frames[5, 1] = np.nan
    assert _faulty(frames) == {}


@pytest.fixture
def magnetograms(frames) -> np.ndarray:
    """AIA 171 and a magnetogram whose active regions come and go, weak and of either sign elsewhere."""
    field = np.stack([frames[:, 0], np.empty_like(frames[:, 0])], axis=1)
    random = np.random.default_rng(5)
    y, x = np.indices((64, 64))
    for row in range(N):
        spot = np.exp(-((x - 10 - row) ** 2 + (y - 20) ** 2) / 8) - np.exp(-((x - 14 - row) ** 2 + (y - 20) ** 2) / 8)
        field[row, 1] = random.normal(0, 2, (64, 64)) + 2000 * spot * (row < N // 2)
    field[:, 1][:, np.hypot(x - 31.5, y - 31.5) > 28] = np.nan
    return field


def test_a_magnetogram_is_measured_by_its_strength(magnetograms):
    channels = ["aia171", "hmi_m"]
    measures = measure_frames(magnetograms, 28.0, channels)
    assert (measures.level[:, 1] > 0.5).all()
    np.testing.assert_array_equal(measures.level[:, 0], measure_frames(magnetograms, 28.0).level[:, 0])
    assert find_faulty(measures, TIMES, channels) == {}


def test_missing_blocks_of_a_magnetogram_are_found(magnetograms):
    magnetograms[9, 1, 20:40, :40] = np.nan
    magnetograms[30, 1, :, :] = 0
    channels = ["aia171", "hmi_m"]
    found = find_faulty(measure_frames(magnetograms, 28.0, channels), TIMES, channels)
    assert "HMI M: incomplete" in found[9]
    assert "HMI M: blank" in found[30]
    assert sorted(found) == [9, 30]
