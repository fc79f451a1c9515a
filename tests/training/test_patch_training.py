"""Training on patches: what the discriminator is shown, that it learns, and that splits change nothing."""

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from sunaug.cube import open_cube
from sunaug.errors import UsageError
from sunaug.networks import Generator, StyleGAN2Config
from sunaug.networks.windows import Window
from sunaug.training.checks import check_cube
from sunaug.training.estimate import StepCounter, layer_table
from sunaug.training.frames import TrainingFrames
from sunaug.training.loop import train
from sunaug.training.patches import PatchDiscriminator, fake_view, patch_window, real_views
from sunaug.training.recipe import Recipe, load_recipe
from sunaug.training.shape import network_config
from sunaug.training.trainer import Trainer
from tests.models import RECIPE, assert_same_bits, make_cube, make_trainer

PATCH = {"patch": 8}
CPU = torch.device("cpu")


def make_generator(size=32, **options):
    torch.manual_seed(0)
    shape = {"base_width": 64, "max_width": 8, "z_dim": 8, "w_dim": 8, "mapping_layers": 2}
    return Generator(StyleGAN2Config(size=size, image_channels=2, **{**shape, **options}))


def test_places_cover_the_image_and_are_a_function_of_the_step():
    places = [patch_window(0, 0, step, size=32, patch=8) for step in range(600)]
    assert places == [patch_window(0, 0, step, size=32, patch=8) for step in range(600)]
    tops, lefts = ({getattr(one, name) for one in places} for name in ("top", "left"))
    assert tops == lefts == set(range(25))
    assert all(one.height == one.width == 8 for one in places)
    assert places[:20] != [patch_window(0, 1, step, size=32, patch=8) for step in range(20)]
    coarse = {patch_window(0, 0, step, size=32, patch=8, pixel=4).top for step in range(200)}
    assert coarse == {0, 4, 8, 12, 16, 20, 24}


def test_a_real_view_is_the_crop_its_place_and_the_frame_averaged_down():
    bank = torch.randn(5, 2, 32, 32)
    frames, mirrored = torch.tensor([3, 1]), torch.tensor([[True, False], [False, False]])
    view = real_views(bank, frames, mirrored, Window.square(4, 20, 8), CPU)
    assert view.shape == (2, 6, 8, 8)
    flipped = bank[3].flip(-1)
    torch.testing.assert_close(view[0, :2], flipped[:, 4:12, 20:28])
    torch.testing.assert_close(view[1, :2], bank[1, :, 4:12, 20:28])
    torch.testing.assert_close(view[0, 4:], flipped.reshape(2, 8, 4, 8, 4).mean(dim=(2, 4)))
    # The centres of pixels, from -1 to 1 over the whole frame.
    torch.testing.assert_close(view[0, 2, :, 0], (2 * torch.arange(4, 12) + 1) / 32 - 1)
    torch.testing.assert_close(view[1, 3, 0], (2 * torch.arange(20, 28) + 1) / 32 - 1)


@pytest.mark.parametrize("unshuffle", [1, 2])
def test_a_fake_view_is_the_crop_of_the_image_and_what_it_is_made_from(unshuffle):
    generator = make_generator(unshuffle=unshuffle)
    w = torch.randn(3, 8)
    window = Window.square(14, 6, 16)
    view = fake_view(generator, w, window)
    whole = generator.synthesize(w)
    torch.testing.assert_close(view[:, :2], whole[:, :, 14:30, 6:22], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(view[:, 4:], generator.image(generator.coarse(w, None, 16)))


def test_a_patch_draws_no_more_noise_than_it_uses():
    generator = make_generator(64)
    asked = []

    def normal(size):
        asked.append(size)
        return torch.randn(2, size)

    fake_view(generator, torch.randn(2, 8), Window.square(20, 20, 8), normal)
    coarse = sum(height * width for height, width in generator.noise_shapes if height <= 8)
    # Each finer block takes two planes, a few pixels wider than the patch.
    assert coarse + 6 * 8**2 / 16 < asked[0] < coarse + 6 * 16**2
    assert asked[0] < generator.noise_size / 4


def test_the_discriminator_scores_the_patch_with_its_place_and_the_whole():
    config = make_generator().config
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(config, 8)
    views, condition = torch.randn(4, 6, 8, 8), torch.randn(4, 2)
    scores = discriminator(views, condition)
    torch.testing.assert_close(scores[:, 0], discriminator.near(views[:, :4], condition))
    torch.testing.assert_close(scores[:, 1], discriminator.whole(views[:, 4:], condition))
    rows = layer_table(discriminator)
    assert sum(row.parameters for row in rows) == sum(one.numel() for one in discriminator.parameters())
    assert rows[0].name == "patch 8x8"
    discriminator.checkpoint_from = 8
    assert discriminator.near.checkpoint_from == discriminator.whole.checkpoint_from == 8


@pytest.mark.parametrize("options", [{}, {"path_length_weight": 1.0, "r2": True}, {"noise": False, "unshuffle": 1}])
def test_all_layers_learn(options):
    trainer = make_trainer(**PATCH, **options)
    before = [parameter.detach().clone() for parameter in trainer.generator.parameters()]
    judges = [parameter.detach().clone() for parameter in trainer.critics["pixel"].network.parameters()]
    for _ in range(2):
        figures = trainer.step()
    assert all(torch.isfinite(value) for value in figures.values())
    silent = [
        name
        for (name, parameter), old in zip(trainer.generator.named_parameters(), before, strict=True)
        if torch.equal(parameter, old)
    ]
    assert all("noise_strength" in name for name in silent), silent
    assert not silent or not trainer.recipe.noise
    changed = [
        not torch.equal(a, b) for a, b in zip(trainer.critics["pixel"].network.parameters(), judges, strict=True)
    ]
    # The embedding is not in use before the conditioning is ramped in.
    assert sum(changed) > len(changed) / 2


def test_parts_of_a_batch_give_the_whole_batch_step():
    whole, parts = make_trainer(**PATCH), make_trainer(**PATCH, accumulate=2)
    for _ in range(2):
        a, b = whole.step(), parts.step()
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-5)


def test_a_training_on_patches_resumes_to_the_same_bits(tmp_path):
    cube = open_cube(make_cube(tmp_path / "c.zarr", frames=8))
    recipe = Recipe(**{**RECIPE, **PATCH, "images": 24})
    whole = train(cube, tmp_path / "whole", recipe, accelerator="cpu")
    stopped = train(cube, tmp_path / "part", recipe, accelerator="cpu", minutes=0)
    assert stopped.images == 8
    resumed = train(cube, tmp_path / "part", recipe, resume=True, accelerator="cpu")
    assert resumed.images == whole.images == 24
    assert_same_bits(resumed.generator.state_dict(), whole.generator.state_dict())


def test_the_memory_of_a_step_is_that_of_the_patch():
    shape = {"base_width": 512, "max_width": 8, "r1_gamma": 0, "r1_gamma_end": 0, "ema_power": (), "batch": 4}
    peaks = {}
    for size, patch in ((64, 16), (256, 16), (256, None)):
        images = torch.zeros(1, 1, size, size)
        frames = TrainingFrames(images, np.full((1, 2), 1e-6), torch.ones(1, dtype=torch.float64), [])
        recipe = Recipe(**{**RECIPE, **shape, "patch": patch})
        trainer = Trainer(frames, network_config(recipe, size, 1), recipe, Fabric(accelerator="cpu"))
        with StepCounter() as counter:
            trainer.step()
        peaks[size, patch] = counter.peak
    assert peaks[256, 16] < 2.5 * peaks[64, 16]
    assert peaks[256, 16] < peaks[256, None] / 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch": 8, "discriminator": "both"}, "patch: only `discriminator: pixel` sees patches, not both"),
        ({"patch": 8, "compile": True}, "patch: each place would be compiled anew"),
        ({"patch": 4}, "patch: 4 is below 8"),
    ],
)
def test_impossible_recipes_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        load_recipe("cpu-64", **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch": 16}, "patch: 16 is no power of two from 8 to 8, as frames of 16 pixels"),
        ({"patch": 12}, "patch: 12 is no power of two"),
        ({"unshuffle": 4}, "unshuffle: 4 is no power of two that leaves 8 of a frame's 16 pixels"),
        ({"unshuffle": 3}, "unshuffle: 3 is no power of two"),
    ],
)
def test_recipes_that_do_not_fit_the_frames_are_refused(tmp_path, changes, message):
    cube = open_cube(make_cube(tmp_path / "c.zarr", frames=2))
    with pytest.raises(UsageError, match=message):
        check_cube(cube, Recipe(**{**RECIPE, **changes}))
