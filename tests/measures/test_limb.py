import numpy as np
import pytest
from scipy.special import erfc

from sunaug.errors import UsageError
from sunaug.measures.limb import Geometry, fit_limb, limb_shape, off_limb_fall

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


def soft_disk(softness, flattening=0.0, turn=0.0):
    """A disk whose edge is a Gaussian's integral of `softness` pixels; an ellipse with its long axis at `turn`."""
    axis = np.arange(SIZE) - (SIZE - 1) / 2
    x, y = np.meshgrid(axis, axis)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    distance = np.hypot(along * np.sqrt(1 - flattening), across / np.sqrt(1 - flattening))
    return erfc((distance - RADIUS) / softness / np.sqrt(2))[None] / 2


def test_limb_shape_agrees_with_the_fit(disks):
    planes = disks(8, size=SIZE, radius=1.02 * RADIUS, offset=(1.5, -0.7)) / 255
    radius, centre = fit_limb(planes, GEOMETRY)
    shape = limb_shape(planes, GEOMETRY)
    np.testing.assert_array_equal(shape.radius, radius)
    np.testing.assert_array_equal(shape.centre, centre)


@pytest.mark.parametrize("turn", [0.0, 0.6, 2.0])
def test_flattening_of_an_ellipse(turn):
    assert limb_shape(soft_disk(1.0), GEOMETRY).ellipticity[0] < 0.003
    assert limb_shape(soft_disk(1.0, 0.04, turn), GEOMETRY).ellipticity[0] == pytest.approx(0.04, abs=0.004)


@pytest.mark.parametrize("softness", [0.7, 1.0, 1.5])
def test_width_of_a_soft_edge(softness):
    # Smoothing by 1 pixel and bilinear sampling add to it in squares.
    wanted = 2.355 * np.sqrt(softness**2 + 1 + 1 / 4)
    assert limb_shape(soft_disk(softness), GEOMETRY).width[0] == pytest.approx(wanted, rel=0.1)


def test_an_even_frame_has_a_shape_without_sense():
    shape = limb_shape(np.ones((2, SIZE, SIZE)), GEOMETRY)
    assert all(np.isfinite(values).all() for values in (shape.radius, shape.centre, shape.ellipticity, shape.width))
