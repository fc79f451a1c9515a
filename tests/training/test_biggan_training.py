import json
import re

import pytest
import torch

from sunaug.cube import open_cube
from sunaug.networks.biggan_layers import BatchNorm
from sunaug.training.checkpoint import load_checkpoint
from sunaug.training.loop import train
from sunaug.training.recipe import Recipe, load_recipe
from tests.models import RECIPE, assert_same_bits, make_cube, make_trainer
from tests.processes import run_module
from tests.training.short_training import distances

BIGGAN = {
    **RECIPE,
    "architecture": "biggan",
    "embedding_dim": 4,
    "attention_resolution": 8,
    "loss": "hinge",
    "orthogonal_weight": 1e-3,
}
SHORT = {
    "images": 12_000,
    "batch": 16,
    "base_width": 512,
    "max_width": 32,
    "z_dim": 32,
    "embedding_dim": 16,
    "attention_resolution": 16,
    "generator_rate": 1e-3,
    "discriminator_rate": 1e-3,
}
"""The preset with narrow networks, and the rates that a short run needs."""


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    return make_cube(tmp_path_factory.mktemp("cube") / "c.zarr")


@pytest.fixture(autouse=True)
def _blank_sheets(monkeypatch):
    """Sheets take longer than the training, and others look at them."""
    monkeypatch.setattr("sunaug.training.journal.contact_sheet", lambda path, *rest, **more: path.write_bytes(b""))


def run(cube, out, *, resume=False, report=None, **changed):
    recipe = Recipe(**{**BIGGAN, **changed})
    return train(open_cube(cube), out, recipe, resume=resume, accelerator="cpu", report=report)


class Stopped(Exception):
    """Ends a run from within."""


def stop(images):
    if images == 48:
        raise Stopped


@pytest.mark.parametrize("blocks", ["plain", "deep"])
def test_a_stopped_run_resumes_to_the_same_bits(cube, tmp_path, blocks):
    trained = run(cube, tmp_path / "whole", blocks=blocks)
    with pytest.raises(Stopped):
        run(cube, tmp_path / "stopped", blocks=blocks, report=stop)
    run(cube, tmp_path / "stopped", blocks=blocks, resume=True)
    whole, stopped = (load_checkpoint(tmp_path / name)["trainer"] for name in ("whole", "stopped"))
    assert whole["images"] == 64
    assert_same_bits(whole, stopped)
    # The average that is packed is settled, and the one that is kept is the same.
    assert_same_bits(dict(trained.generator.state_dict()), whole["averages"]["half_life"])


def test_looking_at_the_training_leaves_no_trace(cube, tmp_path):
    """How often its health is looked at changes no bit."""
    run(cube, tmp_path / "often", health_images=8)
    run(cube, tmp_path / "seldom", health_images=64)
    often, seldom = (load_checkpoint(tmp_path / name)["trainer"] for name in ("often", "seldom"))
    assert_same_bits(often, seldom)


def test_the_log_has_the_orthogonality(cube, tmp_path):
    run(cube, tmp_path, images=16)
    head, first = (tmp_path / "log.csv").read_text().splitlines()[:2]
    row = dict(zip(head.split(","), first.split(","), strict=True))
    assert float(row["orthogonality"]) > 0


def test_averages_have_the_statistics_of_the_training_until_they_are_settled():
    trainer = make_trainer(**{name: value for name, value in BIGGAN.items() if name not in RECIPE})
    trainer.step()
    average, generator = trainer.averages.networks["half_life"], trainer.generator
    for own, buffer in zip(average.buffers(), generator.buffers(), strict=True):
        assert torch.equal(own, buffer)
    before = [norm.variance.clone() for norm in average.modules() if isinstance(norm, BatchNorm)]
    trainer.settle()
    after = [norm.variance for norm in average.modules() if isinstance(norm, BatchNorm)]
    assert len(after) == 2 * 2 + 1
    assert all(not torch.equal(*pair) for pair in zip(before, after, strict=True))
    assert all(norm.variance.ne(1).any() for norm in generator.modules() if isinstance(norm, BatchNorm))


def test_orthogonal_regularisation_is_in_the_generators_gradient():
    plain, regular = (
        make_trainer(**{**BIGGAN, "generator_rate": 1e-9, "orthogonal_weight": weight}) for weight in (0.0, 10.0)
    )
    found = []
    for trainer in (plain, regular):
        trainer.step()
        found.append(trainer.generator.to_image.parametrizations.weight.original.grad.flatten(1))
    filters = plain.generator.to_image.parametrizations.weight.original.detach().flatten(1)
    # d/dW ||(W W^T) * (1 - I)||^2 = 4 ((W W^T) * (1 - I)) W; the start is orthogonal, so that there it is zero.
    slope = 4 * (filters @ filters.T).fill_diagonal_(0) @ filters
    torch.testing.assert_close(found[1] - found[0], 10 * slope, rtol=1e-3, atol=1e-4)
    assert slope.abs().max() < 1e-3
    wide = regular.generator.linear.parametrizations.weight.original
    change = wide.grad - plain.generator.linear.parametrizations.weight.original.grad
    expected = 40 * (wide @ wide.T).fill_diagonal_(0) @ wide
    assert expected.abs().max() > 1
    torch.testing.assert_close(change, expected.detach(), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@pytest.mark.realdata
def test_a_short_training_on_real_frames_is_three_times_closer_to_them_than_none(real_data, tmp_path):
    """Slow: minutes of training."""
    before, after = distances(real_data, tmp_path, load_recipe("biggan-64", **SHORT))
    assert after < before / 3


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp", "deepspeed"])
def test_two_processes_make_the_steps_of_one(tmp_path, strategy):
    """With the statistics of the whole batch, and the penalty on filters."""
    if strategy == "deepspeed":
        pytest.importorskip("deepspeed")
    recipe = {**BIGGAN, "batch": 16, "betas": [0.0, 0.99]}
    for processes, asked in ((1, "auto"), (2, strategy)):
        trainings = {"biggan": {"strategy": asked, "recipe": recipe, "steps": 4}}
        (tmp_path / f"{processes}.json").write_text(json.dumps(trainings))
        arguments = (tmp_path / f"{processes}.json", tmp_path / f"{processes}.pt")
        run_module(processes, "tests.training.spread_steps", *arguments)
    one, two = (torch.load(tmp_path / f"{count}.pt", weights_only=True)["biggan"]["state"] for count in (1, 2))
    for part in ("generator", "pixel.network"):
        for name, value in one[part].items():
            # A batch norm takes the mean away that the bias before it adds: Adam moves such a bias by the sign of a
            # rounding error, and the mean that the norm keeps follows it.
            if part == "generator" and re.fullmatch(r".*\.(first|second|skip)\.bias|.*\.mean", name):
                continue
            torch.testing.assert_close(two[part][name], value, rtol=1e-3, atol=1e-5, msg=f"{part}.{name}")
