import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sunaug.calibrate.chain import Calibration, calibrate
from sunaug.calibrate.pointing import PointingTable
from sunaug.calibrate.psf import PsfStore
from sunaug.errors import UsageError
from sunaug.sources import DiskGeometry, Observation, RejectedFile
from tests.make_data import disk_image, roll_matrix

TIME = np.datetime64("2012-03-07T00:00:00", "ns")


def _observation(**changes) -> Observation:
    image = disk_image(128, (62.0, 65.0), 50.0).round().astype(np.int16)
    seen = Observation(
        channel="aia193",
        time=TIME,
        image=image,
        geometry=DiskGeometry((62.0, 65.0), roll_matrix(2.0) * 50.0),
        unit="DN",
        exposure_time=2.0,
        saturation_level=15000.0,
        sun_radius=960.0,
        level=1.5,
    )
    return replace(seen, **changes)


@pytest.fixture
def tables(tmp_path) -> Path:
    (tmp_path / "degrad_193.csv").write_text('"2010-05-01T12:00:00.000",1.0\n"2024-05-02T12:00:00.000",0.5\n')
    return tmp_path


def test_counts_become_intensity_at_launch_per_second(tables):
    plain, facts = calibrate(_observation(unit="DN s-1"), Calibration(32, 14.0), "physical")
    assert np.isnan(facts["degradation_factor"])
    frame, facts = calibrate(_observation(), Calibration(32, 14.0, degradation=tables), "physical")
    factor = facts["degradation_factor"]
    assert 0.9 < factor < 0.95
    np.testing.assert_allclose(frame, plain / (2.0 * factor), rtol=1e-6)
    assert frame.dtype == np.float32
    assert facts["exposure_time"] == 2.0
    assert facts["disk_radius"] == 14.0
    assert facts["pixel_area"] == pytest.approx((50 / 14) ** 2)
    assert facts["observed_at"] == TIME.astype(np.int64)


def test_what_the_source_has_divided_by_is_not_divided_by_again(tables):
    plain, _ = calibrate(_observation(unit="DN s-1"), Calibration(32, 14.0), "physical")
    done, facts = calibrate(
        _observation(unit="DN s-1", degradation=0.8), Calibration(32, 14.0, degradation=tables), "physical"
    )
    np.testing.assert_array_equal(done, plain)
    assert facts["degradation_factor"] == 0.8


@pytest.mark.parametrize(("channel", "unit"), [("hmi_m", "gauss"), ("aia193", "counts")])
def test_fields_and_display_counts_are_divided_by_nothing(tables, channel, unit):
    observation = _observation(channel=channel, unit=unit, exposure_time=np.nan)
    frame, facts = calibrate(observation, Calibration(32, 14.0, degradation=tables), "physical")
    expected, _ = calibrate(_observation(unit="DN s-1"), Calibration(32, 14.0), "physical")
    np.testing.assert_array_equal(frame, expected)
    assert np.isnan(facts["degradation_factor"])


def test_the_plate_scale_can_be_kept_in_place_of_the_radius():
    near, far = (
        calibrate(_observation(sun_radius=radius), Calibration(48, plate_scale=60.0), "physical")[1]
        for radius in (975.0, 945.0)
    )
    assert (near["disk_radius"], far["disk_radius"]) == (16.25, 15.75)
    with pytest.raises(RejectedFile, match="plate scale cannot be kept"):
        calibrate(_observation(sun_radius=np.nan), Calibration(48, plate_scale=60.0), "physical")


@pytest.mark.parametrize("plan", [{}, {"disk_radius": 14.0, "plate_scale": 60.0}, {"disk_radius": 0.0}])
def test_exactly_one_of_radius_and_plate_scale_is_needed(plan):
    with pytest.raises(UsageError, match="one of the two"):
        Calibration(32, **plan)


def test_saturation_is_measured_on_raw_counts_and_masked():
    image = _observation().image.copy()
    image[60:64, 60:64] = 16000
    image[0, 0] = 16000
    frame, facts = calibrate(_observation(image=image), Calibration(32, 14.0, saturation_mask=True), "physical")
    assert facts["saturated_fraction"] == pytest.approx(17 / 128**2)
    share = facts["saturated_share"]
    assert share.dtype == np.float32
    assert np.nansum(share) * facts["pixel_area"] == pytest.approx(16, rel=1e-5)
    np.testing.assert_array_equal(np.isnan(share), np.isnan(frame))


def test_display_counts_are_turned_back_before_they_are_averaged():
    image = np.where(np.indices((128, 128))[1] % 2, 255, 100).astype(np.uint8)
    observation = _observation(
        image=image, unit="counts", saturation_level=250.0, geometry=DiskGeometry((63.5, 63.5), np.eye(2) * 50)
    )
    frame, facts = calibrate(observation, Calibration(32, 12.5, undo_stretch=True), "browse")
    low, high = np.float64(2500 / 20) ** (np.array([100, 255]) / 255) * 20
    np.testing.assert_allclose(frame, (low + high) / 2, rtol=1e-4)
    assert facts["saturated_fraction"] == 0.5


def test_new_pointing_and_deconvolution_are_for_level_1(monkeypatch):
    calls = []

    def step(name):
        return lambda observation, _: calls.append(name) or observation

    monkeypatch.setattr("sunaug.calibrate.pointing.update_pointing", step("pointing"))
    monkeypatch.setattr("sunaug.calibrate.psf.deconvolve", step("psf"))
    plan = Calibration(32, 14.0, pointing=SimpleNamespace(), psf=PsfStore(None))
    calibrate(_observation(), plan, "physical")
    assert calls == []
    calibrate(_observation(level=1.0), plan, "physical")
    assert calls == ["pointing", "psf"]


def test_quality_is_looked_at_first():
    with pytest.raises(RejectedFile, match="eclipse"):
        calibrate(_observation(quality=1 << 13, exposure_time=np.nan), Calibration(32, 14.0), "physical")
    with pytest.raises(RejectedFile, match="EXPTIME"):
        calibrate(_observation(exposure_time=np.nan), Calibration(32, 14.0), "physical")


def test_steps_name_all_that_is_done_in_json(tables):
    none = np.empty((0, 1))
    table = PointingTable(
        np.empty(0, "M8[ns]"), np.empty(0, "M8[ns]"), (193,), none, none, none, none, none, "2024-01-01", "JSOC"
    )
    plan = Calibration(32, plate_scale=60.0, degradation=tables, pointing=table, psf=PsfStore(None), undo_stretch=True)
    steps = json.loads(json.dumps(plan.steps("physical")))
    names = ["quality", "pointing", "saturation", "psf", "registration", "exposure", "degradation"]
    assert [step["step"] for step in steps] == names
    assert steps[4]["arcsec_per_pixel"] == 60.0
    assert [step["step"] for step in json.loads(json.dumps(plan.steps("browse")))] == [
        "saturation",
        "stretch",
        "registration",
    ]


def test_display_images_are_refused_by_bits_that_no_science_image_has():
    seen = _observation(unit="counts", saturation_level=255.0)
    calibrate(replace(seen, quality=1 << 30), Calibration(32, 14.0), "browse")
    with pytest.raises(RejectedFile, match="eclipse"):
        calibrate(replace(seen, quality=1 << 13), Calibration(32, 14.0), "browse")
