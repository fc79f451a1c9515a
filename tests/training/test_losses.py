import math

import pytest
import torch

from sunaug.networks import Discriminator, Generator, StyleGAN2Config
from sunaug.training.losses import LOSSES, gradient_penalty, orthogonality, path_lengths

REAL, FAKE = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.3, 0.1, -1.0])


def log_sigmoid(x):
    return -math.log1p(math.exp(-x))


def test_non_saturating_is_goodfellows():
    pairs = list(zip(REAL.tolist(), FAKE.tolist(), strict=True))
    expected_d = -sum(log_sigmoid(real) + log_sigmoid(-fake) for real, fake in pairs) / 3
    expected_g = -sum(log_sigmoid(fake) for _, fake in pairs) / 3
    assert LOSSES["non_saturating"].discriminator(REAL, FAKE).item() == pytest.approx(expected_d, rel=1e-6)
    assert LOSSES["non_saturating"].generator(REAL, FAKE).item() == pytest.approx(expected_g, rel=1e-6)


def test_hinge_is_lim_and_yes():
    """L_D = E max(0, 1 - D(x_r)) + E max(0, 1 + D(x_f)), L_G = -E D(x_f)."""
    expected_d = (0 + 3 + 0.5) / 3 + (1.3 + 1.1 + 0) / 3
    assert LOSSES["hinge"].discriminator(REAL, FAKE).item() == pytest.approx(expected_d, rel=1e-6)
    assert LOSSES["hinge"].generator(REAL, FAKE).item() == pytest.approx(-(0.3 + 0.1 - 1) / 3, rel=1e-6)


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


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_only_differences_count_for_the_relativistic_losses(loss):
    for one in (loss.discriminator, loss.generator):
        moved = one(REAL + 3, FAKE + 3)
        assert torch.allclose(moved, one(REAL, FAKE), atol=1e-6) == loss.relativistic


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_both_networks_pull_the_scores_their_way(loss):
    """The discriminator wants real scores up and fake ones down, the generator fake ones up."""
    real, fake = (torch.zeros(4, requires_grad=True) for _ in range(2))
    up, down = torch.autograd.grad(loss.discriminator(real, fake), (real, fake))
    assert (up < 0).all()
    assert (down > 0).all()
    assert (torch.autograd.grad(loss.generator(real.detach(), fake), fake)[0] < 0).all()


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_several_heads_are_the_mean_over_all_scores(loss):
    """A head's scores enter as those of a discriminator of their own."""
    real, fake = torch.randn(5, 3), torch.randn(5, 3)
    for one in (loss.discriminator, loss.generator):
        heads = torch.stack([one(real[:, head], fake[:, head]) for head in range(3)])
        torch.testing.assert_close(one(real, fake), heads.mean())


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


def test_gradient_penalty_is_the_squared_gradient_of_each_image():
    """Against finite differences of each image's own score, in float64."""
    torch.manual_seed(0)
    config = StyleGAN2Config(size=8, image_channels=1, conditions=(), base_width=32, max_width=8, z_dim=4, w_dim=4)
    discriminator = Discriminator(config).double()
    images = torch.randn(3, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    found = gradient_penalty(discriminator(images, None), images).item()
    step, total = 1e-6, 0.0
    with torch.no_grad():
        for pixel in range(64):
            moved = torch.zeros(3, 64, dtype=torch.float64)
            moved[:, pixel] = step
            moved = moved.reshape(3, 1, 8, 8)
            # The scores of a batch hang together by the minibatch's spread: the sum is what the penalty derives.
            for image in range(3):
                one = torch.zeros_like(moved)
                one[image] = moved[image]
                slope = discriminator(images + one, None).sum() - discriminator(images - one, None).sum()
                total += (slope.item() / (2 * step)) ** 2
    assert found == pytest.approx(total / 3, rel=1e-6)


def tiny_generator():
    torch.manual_seed(0)
    config = StyleGAN2Config(size=8, image_channels=2, conditions=(), base_width=32, max_width=4, z_dim=3, w_dim=3)
    return Generator(config).double()


def test_path_lengths_are_those_of_the_jacobian():
    """|J_w^T y| with the whole Jacobian at hand, in float64: the root of the mean over the layers' own w."""
    generator = tiny_generator()
    w = torch.randn(3, generator.n_styles, 3, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(3, 2, 8, 8, dtype=torch.float64)
    found = path_lengths(generator.synthesize(w), w, direction)
    for sample in range(3):
        jacobian = torch.autograd.functional.jacobian(lambda x: generator.synthesize(x[None])[0], w[sample].detach())
        product = torch.einsum("cyx,cyxlw->lw", direction[sample], jacobian) / 8
        expected = product.square().sum(dim=1).mean().sqrt()
        assert found[sample].item() == pytest.approx(expected.item(), rel=1e-9)


def test_path_lengths_have_the_right_derivative():
    """By a weight of the generator, through the double backward pass, against finite differences."""
    generator = tiny_generator()
    w = torch.randn(3, generator.n_styles, 3, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(3, 2, 8, 8, dtype=torch.float64)
    weight = generator.convs[1].conv.weight

    def spread():
        return (path_lengths(generator.synthesize(w), w, direction) - 0.3).square().mean()

    (slope,) = torch.autograd.grad(spread(), weight)
    found = []
    for step in (1e-6, -1e-6):
        with torch.no_grad():
            weight[1, 2, 0, 1] += step
        found.append(spread().item())
        with torch.no_grad():
            weight[1, 2, 0, 1] -= step
    assert (found[0] - found[1]) / 2e-6 == pytest.approx(slope[1, 2, 0, 1].item(), rel=1e-5)


def test_orthogonality_is_equation_3_of_biggan():
    """|| W^T W * (1 - I) ||^2 with a filter in each column, summed over layers; biases have no part in it."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(5, 2)).double()
    expected = 0.0
    for layer in network:
        columns = layer.weight.detach().flatten(1).T
        gram = columns.T @ columns
        expected += sum(gram[i, j].item() ** 2 for i in range(len(gram)) for j in range(len(gram)) if i != j)
    assert orthogonality(network).item() == pytest.approx(expected, rel=1e-9)
    assert orthogonality(network, left_out=network[0]).item() < expected
    torch.nn.init.orthogonal_(network[0].weight)
    assert orthogonality(network, left_out=network[1]).item() == pytest.approx(0, abs=1e-20)


def test_orthogonality_sees_weights_with_the_factor_of_their_learning_rate():
    generator = tiny_generator()
    conv = generator.convs[1].conv
    filters = (conv.weight * conv.gain).flatten(1)
    own = (filters @ filters.T).fill_diagonal_(0).square().sum()
    style = conv.affine.weight * conv.affine.weight_gain
    own = own + (style @ style.T).fill_diagonal_(0).square().sum()
    torch.testing.assert_close(orthogonality(conv), own)
