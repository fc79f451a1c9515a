"""Whole trainings of a StyleALAE: resumed, judged, shared by processes, and on real frames."""

import csv

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from sunaug.cube import open_cube
from sunaug.networks import make_generator
from sunaug.networks.growing import Stage
from sunaug.training import run as training_run
from sunaug.training.checkpoint import checkpoint_paths, load_checkpoint
from sunaug.training.estimate import estimate
from sunaug.training.loop import train
from sunaug.training.recipe import Recipe, load_recipe
from sunaug.training.shape import network_config
from tests.models import RECIPE, assert_same_bits, make_cube
from tests.training.short_training import distances
from tests.training.test_processes import run as run_command

GROWING = {**RECIPE, "architecture": "stylealae", "loss": "non_saturating", "growth_images": 16, "sample_images": 64}


@pytest.fixture(scope="module")
def cube_path(tmp_path_factory):
    return make_cube(tmp_path_factory.mktemp("cube") / "c.zarr")


@pytest.fixture(autouse=True)
def _no_sheets(monkeypatch):
    monkeypatch.setattr(training_run.Journal, "samples", lambda *_: None)


def run(cube_path, out, recipe=GROWING, **options):
    return train(open_cube(cube_path), out, Recipe(**recipe), accelerator="cpu", **options)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("images", [24, 32])
def test_a_run_stopped_while_it_grows_resumes_to_the_same_bits(cube_path, tmp_path, images):
    """Stopped within a fade, and between two stages."""
    recipe = {**GROWING, "images": 48, "checkpoint_images": 8}
    whole = run(cube_path, tmp_path / "whole", recipe)

    class Stopped(BaseException):
        pass

    def stop(done):
        if done == images:
            raise Stopped

    with pytest.raises(Stopped):
        run(cube_path, tmp_path / "stopped", recipe, report=stop)
    resumed = run(cube_path, tmp_path / "stopped", recipe, resume=True)
    states = [load_checkpoint(tmp_path / name)["trainer"] for name in ("whole", "stopped")]
    assert_same_bits(*states)
    assert resumed.encoder.stage == whole.encoder.stage == Stage(16)
    stages = [(row["images"], row["resolution"], row["fade"]) for row in rows(tmp_path / "whole" / "log.csv")]
    assert ("16", "4", "1") in stages
    assert ("24", "8", "0") in stages
    assert ("48", "16", "1") in stages


def test_the_best_encoder_is_kept_with_the_best_generator(cube_path, tmp_path):
    class Judging:
        label, floor, fluxes, distances = "FID-9", {"frechet": 0.1}, np.full((4, 2), 1e-6), [3.0, 1.0, 2.0, 4.0]

        def judge(self, images):
            return {"frechet": self.distances.pop(0)}

    recipe = {**GROWING, "evaluate_images": 16, "checkpoint_images": 16, "keep_checkpoints": 9}
    trained = run(cube_path, tmp_path, recipe, judge=Judging())
    saved = torch.load(tmp_path / "checkpoint-000000032.pt", weights_only=True)["trainer"]
    assert_same_bits(dict(trained.generator.state_dict()), dict(saved["averages"]["half_life"]))
    assert_same_bits(dict(trained.encoder.state_dict()), dict(saved["encoder_averages"]["half_life"]))
    assert trained.encoder.stage == trained.generator.stage == Stage(8, 1.0)
    best = load_file(tmp_path / "best.safetensors")
    assert len(best) == len(trained.generator.state_dict()) + len(trained.encoder.state_dict())


def test_a_run_of_an_earlier_sunaug_goes_on(cube_path, tmp_path):
    """Its recipe lacks what is new; the defaults are what it did."""
    recipe = {**RECIPE, "sample_images": 64}
    run(cube_path, tmp_path, recipe)
    (path,) = checkpoint_paths(tmp_path)[-1:]
    state = torch.load(path, weights_only=True)
    for name in ("reciprocity_weight", "growth_images", "growth_from", "growth_fade"):
        del state["recipe"][name]
    torch.save(state, path)
    assert run(cube_path, tmp_path, {**recipe, "images": 72}, resume=True).images == 72


def test_an_estimate_counts_all_networks():
    recipe = load_recipe("stylealae-64", base_width=64, max_width=16, r1_gamma=0, r1_gamma_end=0)
    config = network_config(recipe, 16, 3)
    found, without = estimate(config, recipe), estimate(config, recipe.model_copy(update={"reciprocity_weight": 0.0}))
    generator = make_generator(config)
    count = sum(one.numel() for one in generator.parameters())
    assert sum(row.parameters for row in found.layers["generator"]) == count
    assert [row.name for row in found.layers["generator"]] == ["mapping", "4x4", "8x8", "16x16"]
    assert [row.name for row in found.layers["pixel discriminator"]][-1] == "latent discriminator"
    weights = 4 * sum(row.parameters for rows in found.layers.values() for row in rows)
    assert found.weights == weights
    encoder = 4 * sum(row.parameters for row in found.layers["pixel discriminator"][:-1])
    assert found.averages == 3 * (4 * count + encoder)
    # The third step runs the generator and the encoder once more, forward and backward.
    assert 1.2 < found.flops / without.flops < 1.8


def test_the_preset_is_as_large_as_that_of_stylegan2():
    counts = [
        sum(one.numel() for one in make_generator(network_config(load_recipe(name), 64, 3)).parameters())
        for name in ("stylealae-64", "cpu-64")
    ]
    assert counts[0] == pytest.approx(counts[1], rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_make_the_steps_of_one(cube_path, tmp_path, strategy):
    """Slow: three processes that each start."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**GROWING, "images": 48, "growth_images": 8, "health_images": 8}))
    run_command(cube_path, tmp_path / "one", recipe)
    run_command(cube_path, tmp_path / "two", recipe, "--devices", "2", "--strategy", strategy)
    one, two = (rows(tmp_path / name / "log.csv") for name in ("one", "two"))
    assert len(one) == len(two) == 6
    for first, second in zip(one, two, strict=True):
        for name in ("pixel.loss_d", "pixel.score_gap", "loss_g", "reciprocity", "resolution", "fade"):
            assert float(first[name]) == pytest.approx(float(second[name]), rel=5e-3, abs=5e-4), name


@pytest.mark.slow
@pytest.mark.realdata
def test_a_short_training_on_real_frames_is_three_times_closer_to_them_than_none(real_data, tmp_path):
    """Slow: minutes of training."""
    widths = {"base_width": 512, "max_width": 32, "z_dim": 32, "w_dim": 32}
    recipe = load_recipe("stylealae-64", **widths, images=12_000, growth_images=500, ema_half_life=1_000)
    before, after = distances(real_data, tmp_path, recipe)
    assert after < before / 3
