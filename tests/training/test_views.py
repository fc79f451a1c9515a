"""Discriminators at several resolutions."""

import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F

from sunaug.cube import open_cube
from sunaug.errors import UsageError
from sunaug.training.checks import check_cube
from sunaug.training.estimate import estimate
from sunaug.training.losses import gradient_penalty
from sunaug.training.recipe import Recipe
from sunaug.training.shape import network_config
from sunaug.training.views import ViewDiscriminator, penalty_share, pixel_discriminators
from tests.models import RECIPE, SIZE, assert_same_bits, make_cube, make_trainer


def discriminators(size=32, **options):
    recipe = Recipe(**{**RECIPE, **options})
    torch.manual_seed(0)
    return pixel_discriminators(network_config(recipe, size, 2), recipe)


def test_each_scale_judges_means_over_squares():
    """Wang et al. 2018, section 3.2: real and fake images are downsampled by factors of 2 and 4."""
    made = discriminators(discriminator_scales=3)
    assert list(made) == ["pixel", "pixel_half", "pixel_quarter"]
    images, condition = torch.rand(4, 2, 32, 32), torch.zeros(4, 2)
    for network, factor in zip(made.values(), (1, 2, 4), strict=True):
        squares = images.unflatten(3, (-1, factor)).unflatten(2, (-1, factor)).mean(dim=(3, 5))
        view = network.project(images)
        torch.testing.assert_close(view, squares)
        torch.testing.assert_close(network.score(view, condition), network.network.score(squares, condition, 1.0))


def test_one_scale_of_whole_images_is_the_architectures_own():
    (network,) = discriminators().values()
    assert not isinstance(network, ViewDiscriminator)


def test_the_penalty_is_that_on_the_gradient_by_the_image():
    for network in discriminators(discriminator_scales=3).values():
        images = torch.rand(4, 2, 32, 32, requires_grad=True)
        view = network.project(images)
        seen = view.detach().requires_grad_(True)
        by_image = gradient_penalty(network.score(view, torch.zeros(4, 2)), images)
        by_view = gradient_penalty(network.score(seen, torch.zeros(4, 2)), seen)
        torch.testing.assert_close(penalty_share(network) * by_view, by_image)


def test_the_generator_minimises_the_sum_over_the_scales():
    """Wang et al. 2018, equation 3."""
    trainer = make_trainer(discriminator_scales=2, loss="hinge", r1_gamma=0)
    scores = {}
    for name, critic in trainer.critics.items():

        def watched(*args, name=name, score=critic.network.score):
            scores.setdefault(name, []).append(score(*args))
            return scores[name][-1]

        trainer.critics[name] = dataclasses.replace(critic, fast_score=watched)
    figures = trainer.step()
    assert figures["loss_g"].item() == pytest.approx(sum(-judged.mean().item() for _, _, judged in scores.values()))
    for name, (real, fake, _) in scores.items():
        expected = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
        torch.testing.assert_close(figures[f"{name}.loss_d"], expected.detach())


def test_every_scale_is_trained_and_resumed():
    options = {"discriminator_scales": 2, "penalty_interval": 2, "r2": True, "channel_dropout": 0.3}
    first = make_trainer(**options)
    before = [parameter.clone() for parameter in first.critics["pixel_half"].network.parameters()]
    first.step()
    after = first.critics["pixel_half"].network.parameters()
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    second = make_trainer(**options)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for trainer in (first, second):
        trainer.step()
    assert_same_bits(first.state_dict(), second.state_dict())


def test_an_estimate_counts_every_scale():
    recipe = Recipe(**{**RECIPE, "discriminator_scales": 2, "channel_dropout": 0.1})
    found = estimate(network_config(recipe, SIZE, 2), recipe)
    for name, network in pixel_discriminators(network_config(recipe, SIZE, 2), recipe).items():
        counted = sum(layer.parameters for layer in found.layers[f"{name} discriminator"])
        assert counted == sum(one.numel() for one in network.parameters())


def test_more_scales_than_a_frame_has_room_for_are_refused(tmp_path):
    cube = open_cube(make_cube(tmp_path / "c.zarr", months=(1,), frames=2))
    check_cube(cube, Recipe(discriminator_scales=2))
    with pytest.raises(UsageError, match="3 of them ask for frames of 32 pixels or more, these have 16"):
        check_cube(cube, Recipe(discriminator_scales=3))
