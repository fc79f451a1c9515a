import numpy as np
import pytest
from scipy import ndimage

from sunaug.fidelity.memorisation import (
    Nearest,
    PixelSpace,
    authenticity,
    copies,
    membership,
    nearest_rows,
    thumbnails,
)


def suns(n, seed, size=64):
    """Scaled frames with smooth structure of their own."""
    noise = np.random.default_rng(seed).normal(0, 1, (n, 2, size, size))
    smooth = ndimage.gaussian_filter(noise, (0, 0, 4, 4))
    offset = np.arange(size) - (size - 1) / 2
    disk = np.hypot(offset[:, None], offset) <= 0.4 * size
    return np.where(disk, np.clip(3 * smooth, -0.9, 0.9), -1).astype(np.float32)


TRAIN, UNSEEN = suns(60, 1), suns(40, 2)


@pytest.fixture(scope="module")
def space():
    return PixelSpace.fit(thumbnails(TRAIN))


def distance(space, frames):
    return nearest_rows(space.project(thumbnails(frames), everywhere=True), space.project(thumbnails(TRAIN)))


def test_turned_and_mirrored_copies_are_found(space):
    unseen = distance(space, UNSEEN).distance
    turned = ndimage.rotate(TRAIN[:20], 3, axes=(3, 2), reshape=False, order=1, mode="nearest")
    for frames in (TRAIN[:20], TRAIN[:20, :, :, ::-1], turned[..., ::-1, :], TRAIN[:20] + 0.02):
        found = distance(space, np.ascontiguousarray(frames))
        assert found.row.tolist() == list(range(20))
        assert copies(found.distance, unseen) == 1
    assert copies(unseen, unseen) == pytest.approx(0.01, abs=0.02)
    assert distance(space, TRAIN).distance.max() < 1e-3


def test_a_distance_is_the_rms_of_pixels_over_their_range(space):
    shifted = np.clip(TRAIN[:1] + 0.2 * (TRAIN[:1] > -1), -1, 1)
    small = [thumbnails(frames).astype(float) for frames in (TRAIN[:1], shifted)]
    expected = np.sqrt(np.square(small[0] - small[1]).mean()) / 255
    both = [space.project(thumbnails(frames)) for frames in (TRAIN[:1], shifted)]
    assert np.linalg.norm(both[0] - both[1]) <= expected * 1.001


def test_real_frames_are_compared_with_other_days_only():
    times = np.array(["2012-01-01", "2012-01-02", "2012-03-01"], "datetime64[ns]")
    vectors = np.array([[0.0], [0.1], [1.0]], np.float32)
    found = nearest_rows(vectors, vectors, times, times)
    assert found.row.tolist() == [2, 2, 1]
    np.testing.assert_allclose(found.distance, [1.0, 0.9, 0.9], rtol=1e-5)


def test_authenticity_counts_what_is_further_than_the_neighbours_neighbour():
    nearest = Nearest(np.array([0.1, 2.0, 0.5], np.float32), np.array([0, 0, 1]))
    assert authenticity(nearest, np.array([1.0, 0.4])) == pytest.approx(2 / 3)


def test_membership_is_the_area_under_the_roc():
    random = np.random.default_rng(0)
    assert membership(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == 1
    assert membership(np.array([3.0, 1.0]), np.array([2.0, 2.0])) == 0.5
    assert membership(random.random(2000), random.random(2000)) == pytest.approx(0.5, abs=0.03)
