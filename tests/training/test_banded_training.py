"""Trainings with images in bands over two processes make the steps of one process."""

import pytest
import torch

from pipelines.expectations import expectations
from sunaug.errors import UsageError
from sunaug.training.bands import check_bands
from sunaug.training.estimate import estimate
from sunaug.training.recipe import Recipe
from sunaug.training.shape import network_config
from tests.models import RECIPE, make_cube
from tests.processes import run_module
from tests.training import banded_steps

FIRST, *OTHERS = banded_steps.CASES


def in_bands(out, *cases, processes=2):
    """Run `tests.training.banded_steps`; what it wrote."""
    run_module(processes, "tests.training.banded_steps", out, *cases)
    return torch.load(out, weights_only=True)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return in_bands(tmp_path_factory.mktemp("bands") / "first.pt", FIRST)


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    return in_bands(tmp_path_factory.mktemp("bands") / "others.pt", *OTHERS)


def assert_steps_of_one(case, two, error=1e-4, abs_error=2e-3):
    one = banded_steps.train(case)
    assert two["gradients"].keys() == one["gradients"].keys()
    for name, gradient in one["gradients"].items():
        scale = max(gradient.abs().max().item(), 1e-2)
        torch.testing.assert_close(two["gradients"][name], gradient, rtol=0, atol=error * scale, msg=name)
    for mine, theirs in zip(one["figures"], two["figures"], strict=True):
        assert mine.keys() == theirs.keys()
        # Adam moves a bias that no loss depends on by the sign of a rounding error, and the generator's loss sees it.
        for name, value in mine.items():
            torch.testing.assert_close(theirs[name], value, rtol=10 * error, atol=abs_error, msg=name)
    assert two["probability"] == one["probability"]
    for name, value in one["state"]["generator"].items():
        torch.testing.assert_close(two["state"]["generator"][name], value, rtol=1e-3, atol=abs_error, msg=name)
    assert two["same"]


def test_second_derivatives_are_those_of_one_process(first):
    assert first["second derivatives"]["r1"] < 1e-12
    assert first["second derivatives"]["path_length"] < 1e-12


def test_two_bands_make_the_steps_of_one_process(first):
    """With both penalties, path length, style mixing, and an augmentation that adapts."""
    assert_steps_of_one(FIRST, first[FIRST])


@pytest.mark.slow
@pytest.mark.parametrize("case", OTHERS)
def test_bands_go_with_other_savings(others, case):
    loose = {"error": 0.1, "abs_error": 0.1} if case == "half" else {}
    assert_steps_of_one(case, others[case], **loose)


@pytest.mark.slow
def test_four_bands_make_the_steps_of_one_process(tmp_path):
    """Two of them have neighbours on both sides."""
    four = in_bands(tmp_path / "four.pt", FIRST, processes=4)
    assert max(four["second derivatives"].values()) < 1e-12
    assert_steps_of_one(FIRST, four[FIRST])


def test_the_dry_run_foresees_a_step_in_bands(first):
    recipe = Recipe(**{**RECIPE, **banded_steps.CASES[FIRST]})
    config = network_config(recipe, 32, len(banded_steps.CHANNELS))
    found = estimate(config, recipe, devices=2, in_bands=True)
    assert found.activations + found.gradients == pytest.approx(first[FIRST]["peak"], rel=0.02)


def test_two_bands_hold_little_more_than_half():
    recipe = Recipe(**{**RECIPE, "base_width": 4096, "max_width": 32, "batch": 2, "penalty_interval": 1})
    config = network_config(recipe, 256, 1)
    one, two = (estimate(config, recipe, devices=devices, in_bands=True) for devices in (1, 2))
    assert two.activations < 0.62 * one.activations
    # Margins, and low resolutions twice.
    assert one.flops < two.flops < 1.3 * one.flops
    assert (two.weights, two.moments, two.averages) == (one.weights, one.moments, one.averages)


@pytest.mark.parametrize(
    ("changes", "processes", "message"),
    [
        ({"architecture": "biggan"}, 2, "bands cannot be combined with `architecture: biggan`: leave it out"),
        ({"discriminator": "both"}, 2, "`discriminator: both`"),
        ({"patch": 32}, 2, "`patch`"),
        ({"compile": True, "orthogonal_weight": 1e-4}, 2, "`compile`, `orthogonal_weight`: leave them out"),
        ({}, 3, "3 processes cannot share frames of 64 pixels; give a power of two up to 8"),
        ({"unshuffle": 2}, 8, "up to 4"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, processes, message):
    with pytest.raises(UsageError, match=message):
        check_bands(Recipe(**{**RECIPE, **changes}), 64, processes)


def test_a_dry_run_knows_the_strategy(tmp_path):
    cube, recipe = make_cube(tmp_path / "c.zarr"), Recipe(**RECIPE)
    lines = "\n".join(expectations(cube, recipe, accelerator="cpu", devices=2, strategy="bands"))
    assert "memory of each of 2 processes" in lines
    assert "activations of 8 images, a band of 1/2 of each" in lines
    with pytest.raises(UsageError, match="4 processes cannot share frames of 16 pixels"):
        expectations(cube, recipe, accelerator="cpu", devices=4, strategy="bands")
