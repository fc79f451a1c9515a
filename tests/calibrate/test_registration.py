import numpy as np
import pytest

from sunaug.calibrate.registration import register, resample
from sunaug.sources import DiskGeometry
from tests.make_data import disk_image, roll_matrix


def _geometry(centre, radius, roll=0.0):
    return DiskGeometry(centre, roll_matrix(roll) * radius)


def _centroid(frame, level):
    y, x = np.nonzero(frame > level)
    return x.mean(), y.mean(), np.sqrt(len(x) / np.pi)


def _alone_in_the_dark() -> np.ndarray:
    """A disk with nothing beyond it, so that every frame that holds it holds the same flux."""
    source = disk_image(200, (97.3, 102.8), 70.0)
    y, x = np.indices(source.shape)
    source[np.hypot(x - 97.3, y - 102.8) > 70] = 0
    return source.astype(np.float32)


@pytest.mark.parametrize("roll", [0.0, 0.1, 7.0, 30.0, 45.0, 90.0, 135.0, 179.9, -60.0])
@pytest.mark.parametrize("size", [31, 64, 300])
def test_flux_is_conserved_whatever_roll_and_scale(roll, size):
    source = _alone_in_the_dark()
    frame, area = register(source, _geometry((97.3, 102.8), 70.0, roll), size, size * 0.4)
    assert np.nansum(frame.astype(float)) * area == pytest.approx(source.sum(dtype=float), rel=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64, ">i2", ">f4"])
def test_the_numbers_of_the_file_do_not_matter(dtype):
    source = disk_image(100, (49.0, 51.0), 40.0).round()
    expected = resample(source, (49.0, 51.0), roll_matrix(3.0) * 1.7, 40)
    found = resample(source.astype(dtype), (49.0, 51.0), roll_matrix(3.0) * 1.7, 40)
    np.testing.assert_allclose(found.frame, expected.frame, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_where_nothing_is_to_be_done_the_values_come_through_bit_by_bit(dtype):
    random = np.random.default_rng(0)
    source = (random.lognormal(3, 3, (64, 64)) if dtype is np.float32 else random.integers(-99, 9999, (64, 64))).astype(
        dtype
    )
    frame, area = register(source, _geometry((31.5, 31.5), 28.0), 64, 28.0)
    assert area == 1
    np.testing.assert_array_equal(frame, source.astype(np.float32))


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_exact(turns):
    source = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    frame, _ = register(np.rot90(source, -turns), _geometry((31.5, 31.5), 28.0, -90.0 * turns), 64, 28.0)
    np.testing.assert_array_equal(frame, source)


def test_a_mirrored_image_is_mirrored_back():
    source = disk_image(128, (60.0, 70.0), 50.0).astype(np.float32)
    expected, _ = register(source, _geometry((60.0, 70.0), 50.0, 5.0), 32, 12.0)
    geometry = DiskGeometry((127 - 60.0, 70.0), np.diag([-1.0, 1.0]) @ roll_matrix(5.0) * 50.0)
    frame, _ = register(source[:, ::-1], geometry, 32, 12.0)
    assert np.isfinite(frame[16, 16])
    np.testing.assert_allclose(frame, expected, rtol=1e-6)


@pytest.mark.parametrize("roll", [0.0, 5.0, 33.0, 180.0])
def test_disk_is_centred_and_scaled(roll):
    source = np.where(np.hypot(*(np.indices((256, 256)) - np.array([130.0, 122.0])[:, None, None])) < 80, 100.0, 1.0)
    frame, _ = register(source.astype(np.float32), _geometry((122.0, 130.0), 80.0, roll), 128, 56.0)
    x, y, radius = _centroid(frame, 50)
    assert (x, y) == pytest.approx((63.5, 63.5), abs=0.1)
    assert radius == pytest.approx(56.0, abs=0.1)


@pytest.mark.parametrize("roll", [0.5, 9.0, 20.0, 45.0])
def test_a_rolled_footprint_comes_near_its_square(roll):
    y, x = np.indices((400, 400)) - 199.5
    source = 50 + 20 * np.sin(x / 5) * np.cos(y / 7)
    # The mean over many points in each square.
    points = (np.arange(40 * 16) + 0.5) / 16 - 20
    east, north = np.einsum("ij,jyx->iyx", roll_matrix(roll) * 6, np.stack(np.meshgrid(points, points)))
    square = (50 + 20 * np.sin(east / 5) * np.cos(north / 7)).reshape(40, 16, 40, 16).mean(axis=(1, 3))
    frame = resample(source, (199.5, 199.5), roll_matrix(roll) * 6, 40).frame
    assert np.corrcoef(frame.ravel(), square.ravel())[0, 1] > 0.9995


def test_missing_pixels_stay_missing_and_do_not_spread():
    source = disk_image(128, (63.5, 63.5), 50.0).astype(np.float32)
    source[60:62, 40:42] = np.nan
    frame, _ = register(source, _geometry((63.5, 63.5), 50.0), 64, 28.0)
    assert 1 <= np.isnan(frame).sum() <= 9
    whole = np.nan_to_num(source, nan=-7).astype(np.int16)
    for roll in (0.0, 20.0):
        geometry = _geometry((63.5, 63.5), 50.0, roll)
        expected, _ = register(np.where(np.isnan(source), np.nan, whole), geometry, 64, 28.0)
        found, _ = register(whole, geometry, 64, 28.0, blank=-7)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_missing_neighbour_that_a_footprint_only_touches_does_no_harm():
    source = np.ones((64, 64), np.float32)
    source[:, 20] = np.nan
    frame, _ = register(source, _geometry((31.5, 31.5), 28.0), 32, 14.0)
    assert np.isnan(frame).sum() == 32


def test_footprints_outside_the_source_are_missing_and_those_that_end_with_it_are_not():
    source = np.ones((100, 100), np.float32)
    frame, _ = register(source, _geometry((49.5, 49.5), 49.0), 64, 28.0)
    assert np.isnan(frame[0]).all()
    assert np.isnan(frame[:, -1]).all()
    assert np.isfinite(frame[32, 32])
    assert resample(source, (49.5, 49.5), np.eye(2) * (100 / 7), 7).frame == pytest.approx(np.ones((7, 7)))


def test_saturated_and_valid_pixels_are_counted_over_the_whole_source():
    source = np.full((64, 64), 10, np.int16)
    source[0, :5] = 16000
    source[30:33, 40] = 16000
    source[63, 63] = -32768
    found = resample(
        source, (31.5, 31.5), np.eye(2) * 2, 16, blank=-32768, saturation_level=15000, saturation_share=True
    )
    assert (found.valid, found.saturated) == (64 * 64 - 1, 8)
    share = found.saturated_share
    assert share.sum() * found.area == pytest.approx(3)
    assert share[7, 12] == pytest.approx(0.5)
    rolled = resample(source, (31.5, 31.5), roll_matrix(30) * 2, 16, saturation_level=15000, saturation_share=True)
    assert np.nansum(rolled.saturated_share) * rolled.area == pytest.approx(3)
