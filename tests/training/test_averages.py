import numpy as np
import pytest
import torch
from torch import nn

from sunaug.training.averages import Averages, half_life_decay, power_exponent, power_name

BATCH = 100


class Point(nn.Module):
    """A network of one number in double precision."""

    def __init__(self, value=0.0):
        super().__init__()
        self.value = nn.Parameter(torch.tensor([value], dtype=torch.float64))


def follow(averages, values, first_images=BATCH):
    """The averages after a run in which the number took these values, step by step."""
    point = Point()
    for step, value in enumerate(values):
        point.value.data.fill_(value)
        averages.update(point, BATCH, first_images + step * BATCH)
    return {name: network.value.item() for name, network in averages.networks.items()}


def test_after_one_half_life_the_average_is_half_way():
    averages = Averages(Point(), 1000, ())
    # Late in the run, where the memory is no longer cut short.
    assert follow(averages, [1.0] * 10, first_images=1_000_000)["half_life"] == pytest.approx(0.5)
    assert follow(averages, [1.0] * 10, first_images=1_001_000)["half_life"] == pytest.approx(0.75)


def test_half_life_average_is_the_exponential_sum():
    values = np.random.default_rng(0).normal(size=60)
    found = follow(Averages(Point(), 700, ()), values, first_images=100_000)["half_life"]
    decay = 0.5 ** (BATCH / 700)
    weights = (1 - decay) * decay ** np.arange(60)[::-1]
    assert found == pytest.approx(weights @ values)


def test_the_untrained_network_is_soon_forgotten():
    """The memory is never longer than a twentieth of the run so far."""
    assert half_life_decay(BATCH, 2000, 5000) == pytest.approx(0.5)
    assert half_life_decay(BATCH, 100_000, 5000) == half_life_decay(BATCH, 1_000_000, 5000)
    assert follow(Averages(Point(7.0), 5000, ()), [1.0] * 20)["half_life"] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("width", "exponent"), [(0.05, 16.97), (0.10, 6.94)])
def test_exponents_are_the_papers(width, exponent):
    """Karras et al. 2024, section 3.1; and the profile t^gamma has that standard deviation."""
    assert power_exponent(width) == pytest.approx(exponent, abs=0.005)
    t = (np.arange(100_000) + 0.5) / 100_000
    profile = t ** power_exponent(width)
    mean = (t * profile).sum() / profile.sum()
    assert np.sqrt(((t - mean) ** 2 * profile).sum() / profile.sum()) == pytest.approx(width, rel=1e-4)


@pytest.mark.parametrize("width", [0.05, 0.10])
def test_power_average_is_the_explicit_sum_over_the_run(width):
    """Step t of T weighs t^(gamma + 1) - (t - 1)^(gamma + 1), over T^(gamma + 1): the start value weighs nothing."""
    steps = 50
    values = np.random.default_rng(1).normal(size=steps)
    found = follow(Averages(Point(1e6), 1000, (width,)), values)[power_name(width)]
    exponent = power_exponent(width) + 1
    weights = np.diff((np.arange(steps + 1) / steps) ** exponent)
    assert weights.sum() == pytest.approx(1)
    assert found == pytest.approx(weights @ values)


def test_a_wider_average_looks_further_back():
    found = follow(Averages(Point(), 1000, (0.05, 0.1)), np.arange(100.0))
    assert found["power_0.1"] < found["power_0.05"] < 99


def test_averages_are_copies_that_are_not_trained():
    point = Point(1.0)
    averages = Averages(point, 1000, (0.05,))
    point.value.data.fill_(5.0)
    for network in averages.networks.values():
        assert network.value.item() == 1.0
        assert not network.value.requires_grad
        assert not network.training


def test_state_comes_back():
    first = Averages(Point(), 1000, (0.05, 0.1))
    follow(first, np.arange(5.0))
    second = Averages(Point(), 1000, (0.05, 0.1))
    second.load_state_dict(first.state_dict())
    assert follow(first, [9.0], 1000) == follow(second, [9.0], 1000)
