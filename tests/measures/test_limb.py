import numpy as np
import pytest

from sunaug.errors import UsageError
from sunaug.measures.limb import Geometry, fit_limb, off_limb_fall

SIZE, RADIUS = 64, 28.0
GEOMETRY = Geometry(SIZE, RADIUS)


def test_limb_fit_finds_radius_and_centre(disks):
    planes = disks(8, size=SIZE, radius=1.02 * RADIUS, offset=(1.5, -0.7)) / 255
    radius, centre = fit_limb(planes, GEOMETRY)
    np.testing.assert_allclose(radius, 1.02 * RADIUS, atol=0.6)
    np.testing.assert_allclose(centre, np.tile([1.5, -0.7], (8, 1)), atol=0.25)


def test_limb_fit_is_exact_for_a_sharp_disk():
    fine = (np.arange(SIZE * 8) + 0.5) / 8 - SIZE / 2
    disk = (np.hypot(*np.meshgrid(fine - 0.4, fine)) < 27.3).astype(float)
    disk = disk.reshape(SIZE, 8, SIZE, 8).mean(axis=(1, 3))
    radius, centre = fit_limb(disk[None], GEOMETRY)
    assert radius[0] == pytest.approx(27.3, abs=0.15)
    np.testing.assert_allclose(centre[0], [0.4, 0.0], atol=0.1)


def test_fall_of_an_exponential_corona():
    offset = np.arange(SIZE) - (SIZE - 1) / 2
    distance = np.hypot(offset[:, None], offset) / RADIUS
    corona = 10 ** (3 - 4 * (distance - 1))
    assert off_limb_fall(corona[None], GEOMETRY, browse=False, lowest=1e-3)[0] == pytest.approx(4, rel=0.02)
    assert off_limb_fall(corona[None], Geometry(SIZE, 31.0), browse=False, lowest=1e-3) is None


def test_too_small_frames_are_refused():
    with pytest.raises(UsageError, match="too small"):
        Geometry(8, 3.5)
