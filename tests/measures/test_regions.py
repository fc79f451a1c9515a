import numpy as np
import pytest

from sunaug.errors import UsageError
from sunaug.measures.limb import Geometry
from sunaug.measures.regions import active_regions, coronal_hole_area, heliographic

SIZE, RADIUS = 128, 56.0
GEOMETRY = Geometry(SIZE, RADIUS)
PLACES = [(18.0, -27.0), (-24.0, 10.0), (12.0, 48.0)]


@pytest.fixture
def planted(disks, spot):
    frames = disks(6)
    for latitude, longitude in PLACES:
        frames[:, spot(latitude, longitude, 7)] += 90
    return frames


def test_latitude_grows_northwards_and_longitude_westwards():
    latitude, longitude = heliographic(GEOMETRY)
    assert np.isnan(latitude[0, 63]), "off the disk"
    assert latitude[20, 63] < 0 < latitude[107, 63]
    assert longitude[63, 20] < 0 < longitude[63, 107]
    # On the equator x = R sin(longitude).
    assert longitude[63, 91] == pytest.approx(np.degrees(np.arcsin(27.5 / 56)), abs=0.01)


def test_planted_regions_are_found_where_they_are(planted):
    found = active_regions(planted, GEOMETRY)
    np.testing.assert_array_equal(found.number, 3)
    for regions in found.regions:
        for latitude, longitude in PLACES:
            nearest = min(regions, key=lambda one: np.hypot(one.latitude - latitude, one.longitude - longitude))
            assert nearest.latitude == pytest.approx(latitude, abs=1.0)
            assert nearest.longitude == pytest.approx(longitude, abs=1.5)
            assert nearest.peak == pytest.approx(125, abs=25)
        assert [one.area for one in regions] == sorted((one.area for one in regions), reverse=True)
    np.testing.assert_allclose(found.latitude, 18, atol=2)


def test_mean_place_weighs_the_brighter_region_more(disks, spot):
    frames = disks(1)
    frames[:, spot(10, -40, 7)] += 60
    frames[:, spot(-30, 40, 7)] += 180
    found = active_regions(frames, GEOMETRY)
    assert found.latitude[0] == pytest.approx(25, abs=2)
    assert found.longitude[0] == pytest.approx(20, abs=4)


def test_area_is_that_of_the_patch_and_the_smoothing_rim(disks, spot):
    frames = disks(2)
    small, large = spot(10, 0, 8), spot(10, 0, 16)
    frames[0, small] += 90
    frames[1, large] += 90
    # A bright patch grows by up to 0.06 radii, twice the smoothing, on each side.
    for area, inside in zip(active_regions(frames, GEOMETRY).area, (small, large), strict=True):
        share = inside.sum() / (np.pi * RADIUS**2)
        assert share < area < (np.sqrt(share) + 0.06) ** 2


@pytest.mark.parametrize("size", [32, 64])
def test_smaller_frames_give_the_same_regions(planted, size):
    small = planted.reshape(6, size, SIZE // size, size, SIZE // size).mean(axis=(2, 4))
    found = active_regions(small, Geometry(size, RADIUS * size / SIZE))
    np.testing.assert_array_equal(found.number, 3)
    np.testing.assert_allclose(found.area, active_regions(planted, GEOMETRY).area, rtol=0.25)
    np.testing.assert_allclose(found.latitude, 18, atol=2)


def test_a_quiet_disk_has_no_regions(disks):
    found = active_regions(disks(20, 3), GEOMETRY)
    np.testing.assert_array_equal(found.number, 0)
    np.testing.assert_array_equal(found.area, 0)
    assert np.isnan(found.latitude).all()
    assert np.isnan(found.longitude).all()
    assert found.regions == ((),) * 20
    even = np.full((1, SIZE, SIZE), 0.3)
    assert active_regions(even, GEOMETRY).number == 0


def test_brightness_and_offset_do_not_change_the_regions(planted):
    found = active_regions(planted, GEOMETRY)
    for changed in (planted * 0.4, planted / 255, planted - 100):
        again = active_regions(changed, GEOMETRY)
        np.testing.assert_array_equal(again.number, found.number)
        np.testing.assert_allclose(again.area, found.area, rtol=0.01)
        np.testing.assert_allclose(again.latitude, found.latitude, atol=0.1)


def test_what_is_small_or_at_the_limb_does_not_count(disks, spot):
    frames = disks(2)
    frames[0, spot(0, 0, 0.6)] += 90
    offset = np.arange(SIZE) - (SIZE - 1) / 2
    distance = np.hypot(offset[:, None], offset) / RADIUS
    frames[1, (distance > 0.99) & (distance < 1.05)] += 90
    np.testing.assert_array_equal(active_regions(frames, GEOMETRY).number, 0)


def test_missing_pixels_are_neither_bright_nor_dark(planted):
    gap = planted.copy()
    gap[:, :70, :50] = np.nan
    found = active_regions(gap, GEOMETRY)
    np.testing.assert_array_equal(found.number, 3)
    np.testing.assert_array_equal(coronal_hole_area(gap, GEOMETRY), 0)
    gap[:, 64:] = np.nan
    np.testing.assert_array_equal(active_regions(gap, GEOMETRY).number, 1)
    gap[0] = np.nan
    found = active_regions(gap, GEOMETRY)
    for values in (found.number, found.area, found.latitude, coronal_hole_area(gap, GEOMETRY)):
        assert np.isnan(values[0])
        assert np.isfinite(values[1:]).all()


def test_planted_hole_is_measured(disks, spot):
    frames = disks(3)
    hole = spot(-15, -10, 20)
    frames[0, hole] *= 0.2
    frames[1, spot(0, 0, 2)] *= 0.2
    area = coronal_hole_area(frames, GEOMETRY)
    # The smoothed edge passes half of the level close to where it was.
    assert area[0] == pytest.approx(hole.sum() / (np.pi * (0.9 * RADIUS) ** 2), rel=0.15)
    np.testing.assert_array_equal(area[1:], 0)
    np.testing.assert_allclose(coronal_hole_area(frames * 3, GEOMETRY), area)


def test_no_frames_give_no_measures():
    found = active_regions(np.empty((0, SIZE, SIZE)), GEOMETRY)
    assert found.number.shape == found.area.shape == found.latitude.shape == (0,)
    assert coronal_hole_area(np.empty((0, SIZE, SIZE)), GEOMETRY).shape == (0,)


def test_frames_of_another_size_are_refused(disks):
    with pytest.raises(UsageError, match="geometry of 128 pixels"):
        active_regions(disks(1, size=64), GEOMETRY)
