from dataclasses import replace

import numpy as np
import pytest

from sunaug.calibrate.chain import Calibration, calibrate, missing_share
from sunaug.sources import DiskGeometry, Observation, RejectedFile
from sunaug.sources.disk_edge import find_edge
from sunaug.sources.plausibility import plausible
from tests.make_data import disk_image, roll_matrix

CENTRE = (61.0, 66.0)


def _observation(**changes):
    seen = Observation(
        channel="aia193",
        time=np.datetime64("2012-03-07T00:00:00", "ns"),
        image=disk_image(128, CENTRE, 50.0).astype(np.float32),
        geometry=DiskGeometry(CENTRE, roll_matrix(20.0) * 50.0),
        unit="DN",
        exposure_time=2.0,
        sun_radius=960.0,
    )
    return replace(seen, **changes)


def test_a_good_observation_comes_back_as_it_is():
    seen = _observation()
    found = plausible(seen)
    assert found.image is seen.image
    assert (found.exposure_time, found.sun_radius, found.blank) == (2.0, 960.0, None)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 3e38, 9.96921e36, -1e30])
def test_pixels_beyond_any_detector_are_missing(value):
    image = disk_image(128, CENTRE, 50.0).astype(np.float32)
    image[40:43, 50:54] = value
    found = plausible(_observation(image=image))
    assert np.isnan(found.image[40:43, 50:54]).all()
    assert np.isnan(found.image).sum() == 12
    frame, facts = calibrate(found, Calibration(32, 14.0), "physical")
    assert 0 < missing_share(frame, 14.0) < 0.02
    assert np.isfinite(np.nanmean(frame))
    assert facts["saturated_fraction"] == 0.0, "an infinite pixel is not a saturated one"


def test_whole_numbers_beyond_any_detector_are_missing():
    image = disk_image(128, CENTRE, 50.0).round().astype(np.int32)
    image[40, 50], image[41, 50] = 2**31 - 1, -(2**31)
    found = plausible(_observation(image=image))
    assert found.blank == -(2**31)
    assert (found.image == found.blank).sum() == 2
    assert (image[40, 50], image[41, 50]) == (2**31 - 1, -(2**31)), "what is given is not changed"


@pytest.mark.parametrize("share", [0.5, 0.1, 0.005])
def test_how_much_of_the_disk_is_missing(share):
    image = disk_image(128, CENTRE, 50.0).astype(np.float32)
    image[:, : round(11 + 100 * share)] = np.inf
    found = plausible(_observation(image=image, geometry=DiskGeometry(CENTRE, np.eye(2) * 50.0)))
    plan = Calibration(64, 28.0)
    if share == 0.5:
        with pytest.raises(RejectedFile, match=r"incomplete: \d\d% of the disk is missing"):
            calibrate(found, plan, "physical")
        return
    frame, _ = calibrate(found, plan, "physical")
    assert 0 <= missing_share(frame, 28.0) < 0.2
    assert (missing_share(frame, 28.0) > 0.012) == (share == 0.1)


def _turned_to_nan(observation):
    return replace(observation, image=np.full_like(observation.image, np.nan))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"time": np.datetime64("1999-01-01", "ns")}, "before SDO's launch"),
        ({"sun_radius": 0.27}, "a solar radius of 0.27 arcsec; from SDO it is 940 to 980"),
        ({"exposure_time": 0.0}, "EXPTIME is 0 s; a frame needs an exposure above zero"),
        ({"exposure_time": -1.0}, "EXPTIME is -1 s"),
        ({"exposure_time": 2000.0}, "EXPTIME is 2000 s; a frame needs an exposure of 0.001 to 100 s"),
        ({"geometry": DiskGeometry(CENTRE, np.eye(2) * 1.0)}, "the plate scale is not that of SDO"),
        ({"geometry": DiskGeometry((np.nan, 60.0), np.eye(2) * 50.0)}, "not full disk"),
        ({"geometry": DiskGeometry(CENTRE, np.eye(2) * 44.0)}, "the limb stands at 1.1.. of the solar radius"),
        ({"geometry": DiskGeometry(CENTRE, np.eye(2) * 54.0)}, "the limb stands at 0.9.. of the solar radius"),
        ({"geometry": DiskGeometry((68.0, 66.0), np.eye(2) * 50.0)}, "the disk lies 0.1. solar radii off the centre"),
        ({"image": np.zeros((128, 128), np.float32)}, "nothing but zeros"),
        ({"image": np.full((128, 128), np.inf, np.float32)}, "every pixel is missing"),
        ({"image": np.ones((128, 140), np.float32)}, "wrong shape: 140 x 128"),
    ],
)
def test_what_cannot_be_is_named(changes, reason):
    with pytest.raises(RejectedFile, match=reason):
        plausible(_observation(**changes))


def test_an_exposure_that_divides_nothing_is_unknown():
    found = plausible(_observation(channel="hmi_m", unit="gauss", exposure_time=-1.0))
    assert np.isnan(found.exposure_time)


def test_a_field_ends_at_the_limb():
    y, x = np.indices((128, 128))
    field = np.where(np.hypot(x - 61, y - 66) < 50, np.sin(x * y) * 100, np.nan).astype(np.float32)
    seen = _observation(channel="hmi_m", unit="gauss", image=field)
    plausible(seen)
    with pytest.raises(RejectedFile, match="the limb stands at"):
        plausible(replace(seen, geometry=DiskGeometry(CENTRE, np.eye(2) * 40.0)))


@pytest.mark.parametrize("kind", ["flat", "noise", "half"])
def test_where_no_edge_can_be_told_nothing_is_said(kind):
    random = np.random.default_rng(0)
    image = {
        "flat": np.full((128, 128), 80.0),
        "noise": random.normal(50, 10, (128, 128)),
        "half": disk_image(128, CENTRE, 40.0) * (np.arange(128) < 55),
    }[kind]
    assert find_edge(image, DiskGeometry(CENTRE, np.eye(2) * 50.0)) is None
