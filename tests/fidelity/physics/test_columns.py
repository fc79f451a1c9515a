import time

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from sunaug.errors import UsageError
from sunaug.fidelity.physics import Column, count, distance, distances, join, take, typical

PLACES = np.array([0.0, 1.0, 2.0, 4.0])


def scalar(values):
    return Column(np.asarray(values, np.float32), "scalar", "1", family="limb")


def histogram(values):
    return Column(np.asarray(values, np.float32), "histogram", "dex", PLACES, "intensity (dex)", family="intensity")


def curve(values, family="profile"):
    return Column(np.asarray(values, np.float32), "curve", "dex", PLACES + 1, "solar radii", family=family)


@pytest.fixture
def normal():
    random = np.random.default_rng(0)
    return scalar(random.normal(size=200)), scalar(random.normal(0.3, 2, size=150))


def test_scalars_are_at_their_wasserstein_distance(normal):
    first, second = normal
    assert distance(first, second) == pytest.approx(wasserstein_distance(first.values, second.values), rel=1e-5)
    assert distance(first, first) == pytest.approx(0, abs=1e-12)
    assert distance(scalar([1, 2, 3]), scalar([3.5, 1.5, 2.5])) == pytest.approx(0.5)


def test_weights_are_repeated_frames(normal):
    first, second = normal
    weights = np.random.default_rng(1).multinomial(200, np.full(200, 1 / 200), size=3)
    rows = [np.repeat(np.arange(200), one) for one in weights]
    for ours, theirs in (
        (first, second),
        (histogram(np.abs(first.values.reshape(50, 4))), histogram(np.abs(second.values[:40].reshape(10, 4)))),
        (curve(first.values.reshape(50, 4)), curve(second.values[:40].reshape(10, 4))),
    ):
        frames = len(ours.values)
        repeated = [take({"x": ours}, one[one < frames])["x"] for one in rows]
        wanted = [distance(one, theirs) for one in repeated]
        np.testing.assert_allclose(distances(ours, theirs, weights[:, :frames]), wanted, rtol=1e-6)
        assert distance(ours, theirs, weights[0, :frames]) == pytest.approx(wanted[0], rel=1e-6)


def test_a_thousand_resamples_take_no_time(normal):
    first, second = normal
    weights = np.random.default_rng(1).multinomial(200, np.full(200, 1 / 200), size=1000)
    began = time.process_time()
    assert distances(first, second, weights).shape == (1000,)
    assert time.process_time() - began < 2


def test_histograms_are_summed_and_moved_along_their_positions():
    first, second = histogram([[2, 0, 0, 0], [0, 2, 0, 0]]), histogram([[0, 0, 0, 8]])
    # Half of the mass goes from 0 to 4, half from 1 to 4.
    assert distance(first, second) == pytest.approx(3.5)
    assert distance(first, histogram([[1, 1, 0, 0]])) == pytest.approx(0)
    assert typical(second) == 4
    assert np.isnan(distance(first, histogram([[0, 0, 0, 0]])))
    assert np.isnan(typical(histogram([[0, 0, 0, 0]])))


def test_curves_are_compared_by_their_means():
    first, second = curve([[0, 0, 0, 0], [2, 2, 2, 2]]), curve([[1, 1, 1, 5]])
    assert distance(first, second) == pytest.approx(1)
    gaps = curve([[np.nan, 1, np.nan, 5], [np.nan, 3, 1, np.nan]])
    # The first position is unknown; elsewhere the means are 2, 1 and 5.
    assert distance(gaps, second) == pytest.approx(1 / 3)
    assert typical(first) == 1
    assert np.isnan(distance(curve([[np.nan] * 4]), second))


def test_typical_of_a_spectrum_is_its_slope():
    power = -2.5 * np.log10(PLACES + 1) + 7
    assert typical(curve([power - 1, power + 1], "spectrum")) == pytest.approx(-2.5, abs=1e-5)


def test_frames_of_nan_are_left_out():
    assert distance(scalar([1, np.nan, 3]), scalar([np.nan, 2, 4])) == pytest.approx(1)
    assert typical(scalar([np.nan, 2, 4, 9])) == 4
    assert np.isnan(distance(scalar([np.nan]), scalar([1.0])))
    assert np.isnan(distance(scalar([1.0, 2.0]), scalar([1.0]), [0, 0]))
    assert np.isnan(typical(scalar([np.nan])))


def test_tables_are_joined_and_taken_apart(normal):
    whole = {"x": scalar(np.arange(6)), "y": curve(np.arange(24).reshape(6, 4))}
    parts = join([take(whole, slice(0, 2)), take(whole, [2, 3]), take(whole, np.arange(6) > 3)])
    assert count(parts) == 6
    for name, column in parts.items():
        np.testing.assert_array_equal(column.values, whole[name].values)
        assert column.unit == whole[name].unit
    assert count(take(whole, [])) == 0
    np.testing.assert_array_equal(take(whole, [1, 1, 5])["x"].values, [1, 1, 5])


def test_what_does_not_go_together_is_refused(normal):
    with pytest.raises(UsageError, match="cannot be set side by side"):
        distance(scalar([1.0]), curve([[1, 1, 1, 1]]))
    with pytest.raises(UsageError, match="cannot be set side by side"):
        distance(
            histogram([[1, 1, 1, 1]]),
            Column(np.ones((1, 4), np.float32), "histogram", "dex", PLACES * 2, "intensity (dex)", family="intensity"),
        )
    with pytest.raises(UsageError, match="a curve with values of shape"):
        curve([1, 2, 3, 4])
    with pytest.raises(UsageError, match="give one for each frame"):
        distance(*normal, first_weights=np.ones((2, 200)))
    with pytest.raises(UsageError, match="for 200 frames"):
        distance(*normal, first_weights=np.ones(3))
    with pytest.raises(UsageError, match="no table"):
        join([])
    with pytest.raises(UsageError, match="y in one of them only"):
        join([{"x": scalar([1])}, {"x": scalar([1]), "y": scalar([1])}])
