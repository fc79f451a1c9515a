import math

import pytest
import torch

from sunaug.networks import Discriminator, StyleGAN2Config
from sunaug.training.losses import LOSSES, gradient_penalty

REAL, FAKE = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.3, 0.1, -1.0])


def log_sigmoid(x):
    return -math.log1p(math.exp(-x))


def test_non_saturating_is_goodfellows():
    pairs = list(zip(REAL.tolist(), FAKE.tolist(), strict=True))
    expected_d = -sum(log_sigmoid(real) + log_sigmoid(-fake) for real, fake in pairs) / 3
    expected_g = -sum(log_sigmoid(fake) for _, fake in pairs) / 3
    assert LOSSES["non_saturating"].discriminator(REAL, FAKE).item() == pytest.approx(expected_d, rel=1e-6)
    assert LOSSES["non_saturating"].generator(REAL, FAKE).item() == pytest.approx(expected_g, rel=1e-6)


def test_relativistic_paired_is_equation_4():
    """L_D = -E log sigmoid(C(x_r) - C(x_f)), L_G with the two exchanged."""
    pairs = list(zip(REAL.tolist(), FAKE.tolist(), strict=True))
    expected_d = -sum(log_sigmoid(real - fake) for real, fake in pairs) / 3
    expected_g = -sum(log_sigmoid(fake - real) for real, fake in pairs) / 3
    assert LOSSES["relativistic_paired"].discriminator(REAL, FAKE).item() == pytest.approx(expected_d, rel=1e-6)
    assert LOSSES["relativistic_paired"].generator(REAL, FAKE).item() == pytest.approx(expected_g, rel=1e-6)


def test_relativistic_average_is_equation_5():
    mean_real, mean_fake = REAL.mean().item(), FAKE.mean().item()
    real_terms = sum(log_sigmoid(real - mean_fake) for real in REAL.tolist()) / 3
    fake_terms = sum(math.log(1 - 1 / (1 + math.exp(-(fake - mean_real)))) for fake in FAKE.tolist()) / 3
    expected = -(real_terms + fake_terms) / 2
    assert LOSSES["relativistic_average"].discriminator(REAL, FAKE).item() == pytest.approx(expected, rel=1e-5)
    swapped = LOSSES["relativistic_average"].discriminator(FAKE, REAL)
    assert LOSSES["relativistic_average"].generator(REAL, FAKE) == swapped


def test_gradient_penalty_of_a_linear_score():
    """The gradient of a . x is a, so that the penalty is |a|^2 for every image."""
    a = torch.randn(1, 2, 4, 4, dtype=torch.float64)
    images = torch.randn(5, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    penalty = gradient_penalty((images * a).sum(dim=(1, 2, 3)), images)
    assert penalty.item() == pytest.approx(a.square().sum().item())


def test_gradient_penalty_of_the_discriminator_has_the_right_second_derivative():
    """Its derivative by a weight, through the double backward pass, against finite differences in float64."""
    torch.manual_seed(0)
    config = StyleGAN2Config(size=8, image_channels=2, base_width=32, max_width=8, z_dim=4, w_dim=4)
    discriminator = Discriminator(config).double()
    images, condition = torch.randn(4, 2, 8, 8, dtype=torch.float64), torch.zeros(4, 2, dtype=torch.float64)

    def penalty():
        shown = images.clone().requires_grad_()
        return gradient_penalty(discriminator(shown, condition), shown)

    weight = discriminator.blocks[0].first.weight
    (slope,) = torch.autograd.grad(penalty(), weight)
    step = 1e-6
    with torch.no_grad():
        weight[1, 2, 0, 1] += step
    above = penalty().item()
    with torch.no_grad():
        weight[1, 2, 0, 1] -= 2 * step
    assert (above - penalty().item()) / (2 * step) == pytest.approx(slope[1, 2, 0, 1].item(), rel=1e-5)
