import numpy as np
import pytest

from sunaug.errors import UsageError
from sunaug.fidelity import coverage as room
from sunaug.fidelity.coverage import overlap


def by_hand(real, synthetic, k):
    """The definitions of both papers, vector by vector."""

    def radius(values, index):
        others = [np.linalg.norm(values[index] - other) for j, other in enumerate(values) if j != index]
        return sorted(others)[k - 1]

    def inside(point, values, index):
        return np.linalg.norm(point - values[index]) <= radius(values, index)

    held = np.array([[inside(point, real, index) for index in range(len(real))] for point in synthetic])
    recalled = [any(inside(point, synthetic, index) for index in range(len(synthetic))) for point in real]
    return held.any(axis=1).mean(), np.mean(recalled), held.sum() / k / len(synthetic), held.any(axis=0).mean()


@pytest.mark.parametrize(("counts", "shift", "k"), [((20, 20), 0.3, 5), ((25, 14), 1.0, 3), ((7, 30), 0.0, 1)])
def test_all_four_are_the_papers(counts, shift, k):
    random = np.random.default_rng(counts[0])
    real, synthetic = random.normal(size=(counts[0], 3)), random.normal(shift, 0.8, size=(counts[1], 3))
    found = overlap(real, synthetic, k=k)
    expected = by_hand(real, synthetic, k)
    assert (found.precision, found.recall, found.density, found.coverage) == pytest.approx(expected, rel=1e-12)


def test_rows_in_parts(monkeypatch):
    random = np.random.default_rng(1)
    real, synthetic = random.normal(size=(40, 6)).astype(np.float32), random.normal(size=(40, 6)).astype(np.float32)
    whole = overlap(real, synthetic)
    monkeypatch.setattr(room, "_ROWS", 7)
    assert overlap(real, synthetic) == whole


def test_a_set_against_itself():
    values = np.random.default_rng(2).normal(1e3, 1, size=(50, 8))
    found = overlap(values, values)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    # Each vector lies in its own ball and in those of the vectors that it is among the five nearest of.
    assert found.density == pytest.approx(6 / 5)


def test_sets_far_apart():
    random = np.random.default_rng(3)
    found = overlap(random.normal(size=(30, 4)), random.normal(100, 1, size=(30, 4)))
    assert (found.precision, found.recall, found.density, found.coverage) == (0, 0, 0, 0)


def test_a_generator_that_makes_one_of_two_kinds():
    random = np.random.default_rng(4)
    kinds = np.concatenate([random.normal(0, 1, size=(100, 3)), random.normal(50, 1, size=(100, 3))])
    found = overlap(kinds, random.normal(0, 1, size=(200, 3)))
    assert found.precision > 0.9
    assert 0.4 < found.coverage <= 0.5
    assert found.recall <= 0.5


def test_a_generator_that_makes_one_frame():
    random = np.random.default_rng(5)
    real = random.normal(size=(200, 3))
    found = overlap(real, np.repeat(real[[0]], 200, axis=0))
    assert found.precision == 1
    assert found.coverage < 0.1
    assert found.recall <= 1 / 200


def test_one_distribution_has_known_figures():
    """Naeem et al. 2020, section 3.3: density 1, coverage 1 - (M - 1)...(M - k) / (2M - 1)...(2M - k)."""
    random = np.random.default_rng(6)
    count, k = 400, 5
    found = [overlap(random.normal(size=(count, 8)), random.normal(size=(count, 8)), k=k) for _ in range(10)]
    missed = np.prod([(count - i) / (2 * count - i) for i in range(1, k + 1)])
    assert np.mean([one.density for one in found]) == pytest.approx(1, abs=0.03)
    assert np.mean([one.coverage for one in found]) == pytest.approx(1 - missed, abs=0.01)


def test_balls_reach_to_frames_of_other_days():
    """Frames of one day are nearly alike: plain balls are tiny, and another month never lies in one."""
    random = np.random.default_rng(7)
    days, hours = 12, 10

    def month(first):
        when = np.datetime64(first) + np.repeat(np.arange(days) * 3, hours).astype("timedelta64[D]")
        times = when.astype("datetime64[ns]") + np.tile(np.arange(hours), days).astype("timedelta64[h]")
        values = np.repeat(random.normal(size=(days, 3)), hours, axis=0) + random.normal(0, 1e-3, (days * hours, 3))
        return values, times

    (real, real_times), (other, other_times) = month("2012-08-01"), month("2012-03-01")
    plain = overlap(real, other)
    assert (plain.precision, plain.recall, plain.coverage) == (0, 0, 0)
    timed = overlap(real, other, real_times=real_times, synthetic_times=other_times)
    assert timed.coverage > 0.6
    assert timed.recall > 0.6
    # Vector by vector: the fifth nearest of those three days or more away.
    held = []
    for index, value in enumerate(real):
        apart = np.abs(real_times - real_times[index]) >= np.timedelta64(72, "h")
        radius = np.sort(np.linalg.norm(real[apart] - value, axis=1))[4]
        held.append((np.linalg.norm(other - value, axis=1) <= radius).any())
    assert timed.coverage == np.mean(held)


def test_frames_without_other_days_have_their_plain_ball():
    random = np.random.default_rng(8)
    real, synthetic = random.normal(size=(20, 3)), random.normal(size=(20, 3))
    times = np.datetime64("2012-08-01", "ns") + np.arange(20) * np.timedelta64(1, "h")
    assert overlap(real, synthetic, real_times=times) == overlap(real, synthetic)


def test_too_few_vectors():
    values = np.zeros((5, 2))
    with pytest.raises(UsageError, match="6 images a side at least, not 5"):
        overlap(values, values)
