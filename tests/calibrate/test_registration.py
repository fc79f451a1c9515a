import numpy as np
import pytest

from sunaug.calibrate.registration import overlap_weights, register
from sunaug.sources import DiskGeometry
from tests.make_data import disk_image


def _geometry(centre, radius, roll=0.0):
    turn = np.deg2rad(roll)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return DiskGeometry(centre, matrix * radius)


def _centroid(frame, level):
    y, x = np.nonzero(frame > level)
    return x.mean(), y.mean(), np.sqrt(len(x) / np.pi)


def test_flux_is_conserved_whatever_the_scale():
    # Nothing beyond the disk, so that both fields hold the same flux.
    source = disk_image(200, (97.3, 102.8), 70.0)
    y, x = np.indices(source.shape)
    source[np.hypot(x - 97.3, y - 102.8) > 70] = 0
    for size in (31, 64, 100):
        frame, area = register(source.astype(np.float32), _geometry((97.3, 102.8), 70.0), size, size * 7 / 16)
        assert frame.sum(dtype=float) * area == pytest.approx(source.sum(), rel=1e-6)


@pytest.mark.parametrize("roll", [0.0, 5.0, 180.0])
def test_disk_is_centred_and_scaled(roll):
    source = np.where(np.hypot(*(np.indices((256, 256)) - np.array([130.0, 122.0])[:, None, None])) < 80, 100.0, 1.0)
    frame, _ = register(source.astype(np.float32), _geometry((122.0, 130.0), 80.0, roll), 128, 56.0)
    x, y, radius = _centroid(frame, 50)
    assert (x, y) == pytest.approx((63.5, 63.5), abs=0.2)
    assert radius == pytest.approx(56.0, abs=0.2)


def test_roll_turns_the_image_back():
    upright = disk_image(256, (127.5, 127.5), 90.0, seed=3).astype(np.float32)
    expected, _ = register(upright, _geometry((127.5, 127.5), 90.0), 64, 28.0)
    # Turned by 90 degrees exactly: solar north points to the image's left.
    turned = np.rot90(upright, -1).copy()
    geometry = DiskGeometry((127.5, 127.5), np.array([[0.0, -90.0], [90.0, 0.0]]))
    frame, _ = register(turned, geometry, 64, 28.0)
    # Points taken linearly soften the made-up limb, which is sharper than any telescope's.
    np.testing.assert_allclose(frame, expected, atol=4)
    assert np.abs(frame - expected).mean() < 0.1


def test_missing_pixels_stay_missing_and_do_not_spread():
    source = disk_image(128, (63.5, 63.5), 50.0).astype(np.float32)
    source[60:62, 40:42] = np.nan
    frame, _ = register(source, _geometry((63.5, 63.5), 50.0), 64, 28.0)
    assert 1 <= np.isnan(frame).sum() <= 9


def test_footprints_outside_the_source_are_missing():
    source = np.ones((100, 100), np.float32)
    frame, _ = register(source, _geometry((49.5, 49.5), 49.0), 64, 28.0)
    assert np.isnan(frame[0]).all()
    assert np.isfinite(frame[32, 32])


def test_weights_are_shares_of_the_footprint():
    weights = overlap_weights(4, np.array([-0.5, 1.0, 3.5])).toarray()
    np.testing.assert_allclose(weights[0], [2 / 3, 1 / 3, 0, 0])
    np.testing.assert_allclose(weights.sum(axis=1), 1)
