import numpy as np
import pytest
from PIL import Image

from sunaug.errors import UsageError
from sunaug.measures import Geometry, active_regions, measure_frames, measure_unit

SIZE, RADIUS = 128, 56.0
GEOMETRY = Geometry(SIZE, RADIUS)
CHANNELS = ["aia171", "aia131", "aia94"]
PER_CHANNEL = ("total", "peak", "off_limb", "limb_fall")
ONCE = (
    "limb_radius",
    "limb_x",
    "limb_y",
    "regions",
    "region_area",
    "region_latitude",
    "region_longitude",
    "hole_area",
    "hot_to_cool aia131/aia171",
    "hot_to_cool aia94/aia171",
)


@pytest.fixture
def frames(disks, spot):
    """Five browse frames with a region at 20 north, 30 east and one at 20 south, 30 west."""
    frames = np.stack([disks(5, seed, level=level) for seed, level in enumerate((90.0, 80.0, 30.0))], axis=1)
    for place in ((20, -30), (-20, 30)):
        frames[:, :, spot(*place, 7)] += 100
    return np.clip(frames, 0, 255).astype(np.float32)


def test_every_measure_is_there_with_its_unit(frames):
    measures = measure_frames(frames, CHANNELS, "browse", GEOMETRY)
    assert set(measures) == {f"{kind} {name}" for kind in PER_CHANNEL for name in CHANNELS} | set(ONCE)
    for name, values in measures.items():
        assert values.shape == (5,), name
        assert values.dtype == np.float64, name
        assert np.isfinite(values).all(), name
        assert "{" not in measure_unit(name, "browse")
    assert measure_unit("total aia171", "browse") == "counts / 255"
    assert measure_unit("limb_fall aia171", "physical") == "dex per solar radius"
    with pytest.raises(UsageError, match="unknown measure 'sunspots'"):
        measure_unit("sunspots", "browse")


def test_values_are_those_planted(frames):
    measures = measure_frames(frames, CHANNELS, "browse", GEOMETRY)
    np.testing.assert_allclose(measures["total aia171"], frames[:, 0].mean(axis=(1, 2)) / 255, rtol=1e-5)
    np.testing.assert_allclose(measures["peak aia94"], 140 / 255, atol=0.06)
    np.testing.assert_allclose(measures["off_limb aia171"], 90 * 0.2 * np.exp(-0.065 * 8) / 255, rtol=0.1)
    np.testing.assert_allclose(measures["limb_radius"], RADIUS, atol=0.3)
    np.testing.assert_allclose([measures["limb_x"], measures["limb_y"]], 0, atol=0.2)
    np.testing.assert_array_equal(measures["regions"], 2)
    np.testing.assert_allclose(measures["region_latitude"], 20, atol=1.5)
    np.testing.assert_allclose(measures["region_longitude"], 0, atol=2)
    np.testing.assert_array_equal(measures["hole_area"], 0)
    ratio = measures["total aia94"] / measures["total aia171"]
    np.testing.assert_allclose(measures["hot_to_cool aia94/aia171"], ratio)


def test_physical_units_are_decades(frames):
    faint = measure_frames(frames + 20, CHANNELS, "physical", GEOMETRY)
    bright = measure_frames((frames + 20) * 10, CHANNELS, "physical", GEOMETRY)
    for kind in ("total", "peak", "off_limb"):
        np.testing.assert_allclose(bright[f"{kind} aia171"] - faint[f"{kind} aia171"], 1, atol=1e-5)
    for name in ("limb_fall aia171", "hot_to_cool aia131/aia171", "hole_area", "regions"):
        np.testing.assert_allclose(bright[name], faint[name], atol=1e-5, err_msg=name)


def test_regions_come_from_the_best_channel_there_is(frames, disks):
    frames[:, 0] = disks(5, 8, level=90.0)
    assert (measure_frames(frames, CHANNELS, "browse", GEOMETRY)["regions"] == 2).all()
    assert (measure_frames(frames[:, :2], CHANNELS[:2], "browse", GEOMETRY)["regions"] == 2).all()
    assert (measure_frames(frames[:, :1], CHANNELS[:1], "browse", GEOMETRY)["regions"] == 0).all()
    without = measure_frames(frames[:, :1], ["aia304"], "browse", GEOMETRY)
    assert not {"regions", "hole_area", "hot_to_cool aia94/aia171"} & set(without)


def test_missing_pixels(frames):
    frames[0, :, :5] = np.nan
    frames[1, 2] = np.nan
    measures = measure_frames(frames, CHANNELS, "browse", GEOMETRY)
    for name, values in measures.items():
        gone = "aia94" in name or name.startswith("region")
        np.testing.assert_array_equal(np.isnan(values), [False, gone, False, False, False], err_msg=name)
    assert measures["regions"][0] == 2


def test_magnetograms_are_passed_over_and_refused_alone(frames):
    frames[:, 0] -= 50
    channels = ["hmi_m", "aia131", "aia94"]
    measures = measure_frames(frames, channels, "physical", GEOMETRY)
    assert not any("hmi_m" in name for name in measures)
    np.testing.assert_allclose(measures["limb_radius"], RADIUS, atol=1)
    with pytest.raises(UsageError, match="hmi_m: magnetograms have no brightness"):
        measure_frames(frames[:, :1], ["hmi_m"], "physical", GEOMETRY)


def test_images_have_to_fit(frames):
    with pytest.raises(UsageError, match="do not fit 2 channels of 128 pixels"):
        measure_frames(frames, CHANNELS[:2], "browse", GEOMETRY)


def test_batches_do_not_matter(frames):
    many = np.tile(frames, (30, 1, 1, 1))
    whole, part = (measure_frames(images, CHANNELS, "browse", GEOMETRY) for images in (many, frames))
    for name, values in part.items():
        np.testing.assert_allclose(whole[name], np.tile(values, 30), rtol=1e-9, err_msg=name)
    assert all(values.shape == (0,) for values in measure_frames(many[:0], CHANNELS, "browse", GEOMETRY).values())


@pytest.mark.realdata
def test_the_region_of_the_x5_flare_is_where_it_was(real_data):
    """NOAA 11429 on 2012-03-07: N17 E27. The north pole was tilted away by 7.2 degrees, so 24 above the middle."""
    file = real_data / "sdo2012" / "images" / "20120307_0000.jpg"
    if not file.is_file():
        pytest.skip(f"no image at {file}")
    image = np.moveaxis(np.asarray(Image.open(file).convert("RGB"), np.float32)[::-1], 2, 0)
    # 967.5 arcsec on that day, 4.8 arcsec per pixel.
    geometry = Geometry(image.shape[-1], 967.5 / 4.8)
    largest = active_regions(image[2][None], geometry).regions[0][0]
    assert largest.latitude == pytest.approx(24, abs=3)
    assert largest.longitude == pytest.approx(-27, abs=4)
    measures = measure_frames(image[None], CHANNELS, "browse", geometry)
    assert 3 <= measures["regions"][0] <= 8
    assert measures["limb_radius"][0] == pytest.approx(1.02 * geometry.disk_radius, rel=0.01)
