import numpy as np
import pytest

from sunaug.errors import UsageError
from sunaug.fidelity import kernel
from sunaug.fidelity.kernel import kernel_distance


def by_hand(first, second):
    """Bińkowski et al. 2018, eq. 4, pair by pair."""

    def k(x, y):
        return (x @ y / len(x) + 1) ** 3

    def within(values):
        pairs = [k(x, y) for i, x in enumerate(values) for j, y in enumerate(values) if i != j]
        return np.mean(pairs)

    return within(first) + within(second) - 2 * np.mean([k(x, y) for x in first for y in second])


@pytest.mark.parametrize("counts", [(9, 9), (12, 7), (2, 3)])
def test_value_is_the_sum_over_pairs(counts):
    random = np.random.default_rng(0)
    first, second = random.normal(size=(counts[0], 6)), random.normal(0.2, 1.3, size=(counts[1], 6))
    assert kernel_distance(first, second).value == pytest.approx(by_hand(first, second), rel=1e-10)


def test_rows_in_parts(monkeypatch):
    random = np.random.default_rng(1)
    first, second = random.normal(size=(30, 5)).astype(np.float32), random.normal(size=(30, 5)).astype(np.float32)
    whole = kernel_distance(first, second)
    monkeypatch.setattr(kernel, "_ROWS", 7)
    parts = kernel_distance(first, second)
    assert parts.value == pytest.approx(whole.value, rel=1e-10)
    assert parts.stderr == pytest.approx(whole.stderr, rel=1e-10)


def test_two_points_known_in_closed_form():
    one, other = np.full((8, 4), 1.0), np.full((8, 4), 2.0)
    found = kernel_distance(one, other)
    assert found.value == pytest.approx(2**3 + 5**3 - 2 * 3**3)
    assert found.stderr == pytest.approx(0, abs=1e-12)


def test_unbiased_and_its_error_known():
    """Over many draws: the mean is the truth of many more frames, and the stated error is the scatter."""
    random = np.random.default_rng(2)

    def draw(count, shift):
        return random.normal(size=(count, 8)) + shift

    truth = np.mean([kernel_distance(draw(2000, 0), draw(2000, 0.5), subsets=0).value for _ in range(5)])
    found = [kernel_distance(draw(60, 0), draw(60, 0.5), subsets=40) for _ in range(200)]
    values = np.array([one.value for one in found])
    assert values.mean() == pytest.approx(truth, abs=4 * values.std() / np.sqrt(len(values)) + 0.02 * truth)
    assert np.mean([one.stderr for one in found]) == pytest.approx(values.std(), rel=0.25)


def test_one_distribution_is_at_zero_within_its_error():
    random = np.random.default_rng(3)
    found = [kernel_distance(random.normal(size=(80, 8)), random.normal(size=(80, 8)), subsets=40) for _ in range(100)]
    values = np.array([one.value for one in found])
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))
    assert (values < 0).any()
    share = np.mean([one.stderr for one in found]) / values.std()
    assert 1 < share < 2.2


def test_same_seed_same_error():
    random = np.random.default_rng(4)
    first, second = random.normal(size=(20, 4)), random.normal(size=(20, 4))
    assert kernel_distance(first, second) == kernel_distance(first, second)
    assert kernel_distance(first, second, seed=1).stderr != kernel_distance(first, second).stderr
    assert kernel_distance(first, second, seed=1).value == kernel_distance(first, second).value


def test_few_frames():
    values = np.random.default_rng(5).normal(size=(3, 4))
    assert np.isnan(kernel_distance(values, values + 1).stderr)
    with pytest.raises(UsageError, match="two images a side"):
        kernel_distance(values[:1], values)
