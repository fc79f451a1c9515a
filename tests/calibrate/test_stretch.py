import json

import numpy as np
import pytest

from sunaug.calibrate.registration import register
from sunaug.calibrate.stretch import STRETCHES, stretch_step, undo_stretch
from sunaug.errors import UsageError
from sunaug.lexicon import CHANNELS
from sunaug.sources import DiskGeometry, Observation, browse, fits_files

GEOMETRY = DiskGeometry((0.5, 0.5), np.eye(2))
TIME = np.datetime64("2017-01-13", "ns")


def _observation(image, channel="aia193", **other):
    return Observation(channel, TIME, image, GEOMETRY, "counts", saturation_level=255.0, **other)


def test_logarithm_is_undone():
    level = np.float32(255 * np.log(100 / 20) / np.log(2500 / 20))
    found = undo_stretch(_observation(np.array([[0, level], [255, np.nan]], np.float32)))
    np.testing.assert_allclose(found.image, [[20, 100], [2500, np.nan]], rtol=1e-5)
    assert (found.unit, found.image.dtype) == ("DN s-1", np.float32)


def test_square_root_is_undone():
    stretch = STRETCHES["aia171"]
    low, high = np.sqrt([stretch.low, stretch.high])
    level = np.float32(255 * (np.sqrt(100.0) - low) / (high - low))
    found = undo_stretch(_observation(np.array([[0, level, 255]], np.float32), "aia171"))
    np.testing.assert_allclose(found.image, [[stretch.low, 100, stretch.high]], rtol=1e-4)


@pytest.mark.parametrize("channel", list(STRETCHES))
def test_order_is_kept_and_the_top_stays_saturated(channel):
    found = undo_stretch(_observation(np.arange(256, dtype=np.uint8)[None], channel))
    assert (np.diff(found.image) > 0).all()
    assert (found.image >= found.saturation_level).sum() == 1
    assert CHANNELS[channel].unit == found.unit


def test_blank_of_integers_is_missing():
    found = undo_stretch(_observation(np.array([[0, 7]], np.uint8), blank=7))
    np.testing.assert_array_equal(np.isnan(found.image), [[False, True]])
    assert found.blank is None


def test_science_data_is_left_alone():
    observation = Observation("aia1600", TIME, np.ones((2, 2), np.float32), GEOMETRY, "DN")
    assert undo_stretch(observation) is observation


@pytest.mark.parametrize("channel", ["aia1600", "aia1700", "aia4500", "hmi_m"])
def test_unknown_stretches_are_refused(channel):
    with pytest.raises(UsageError, match=f"{channel}: the display stretch of its browse images is not known"):
        undo_stretch(_observation(np.ones((2, 2), np.float32), channel))


def test_the_step_is_json_and_tells_what_was_measured():
    channels = json.loads(json.dumps(stretch_step(), allow_nan=False))["channels"]
    assert channels["aia193"]["rms_error_dex"] == 0.05
    assert channels["aia94"] == {
        "function": "sqrt",
        "low": 0.3001,
        "high": 10.0039,
        "measured": False,
        "rms_error_dex": None,
        "origin": STRETCHES["aia94"].origin,
    }


@pytest.mark.realdata
def test_error_in_193_is_as_stated(real_data):
    (reference,) = browse.refer(real_data / "aia193_browse_2017" / "20170206_225541_1024_0193.jpg")
    (shown,) = map(undo_stretch, browse.read(reference))
    (reference,) = fits_files.refer(real_data / "aia193_synoptic_fits" / "AIA20170206_2300_0193.fits")
    (science,) = fits_files.read(reference)
    found, _ = register(shown.image, shown.geometry, 256, 112.0)
    real, _ = register(science.image / np.float32(science.exposure_time), science.geometry, 256, 112.0)
    y, x = np.indices((256, 256)) - 127.5
    stretch = STRETCHES["aia193"]
    inside = (np.hypot(x, y) < 112) & (real > stretch.low) & (real < stretch.high) & np.isfinite(found)
    assert inside.sum() > 35_000
    assert np.sqrt(np.mean(np.log10(found[inside] / real[inside]) ** 2)) < stretch.error
    quantiles = np.arange(5, 100, 5)
    np.testing.assert_allclose(
        np.log10(np.percentile(found[inside], quantiles)), np.log10(np.percentile(real[inside], quantiles)), atol=0.02
    )
