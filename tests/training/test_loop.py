import csv

import pytest
import torch

from sunaug.cube import open_cube
from sunaug.errors import UsageError
from sunaug.training.checkpoint import checkpoint_paths, load_checkpoint
from sunaug.training.loop import _mirror, _penalty_weight, _ramp, _rate_factor, train
from sunaug.training.recipe import Recipe
from tests.models import RECIPE, make_cube


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    return open_cube(make_cube(tmp_path_factory.mktemp("cube") / "c.zarr"))


def weights(folder):
    state = load_checkpoint(folder)
    return {part: state[part] for part in ("generator", "discriminator", "average")}


def test_a_stopped_run_resumes_to_the_same_bits(cube, tmp_path):
    class Killed(BaseException):
        pass

    def kill(images):
        if images >= 48:
            raise Killed

    train(cube, tmp_path / "whole", Recipe(**RECIPE), accelerator="cpu")
    with pytest.raises(Killed):
        train(cube, tmp_path / "stopped", Recipe(**RECIPE), accelerator="cpu", report=kill)
    assert load_checkpoint(tmp_path / "stopped")["images"] == 32
    train(cube, tmp_path / "stopped", Recipe(**RECIPE), resume=True, accelerator="cpu")
    whole, stopped = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
    for part in whole:
        for name, value in whole[part].items():
            assert torch.equal(value, stopped[part][name]), f"{part}.{name}"


def test_training_changes_both_networks_and_writes_its_files(cube, tmp_path):
    trained = train(cube, tmp_path, Recipe(**RECIPE), accelerator="cpu")
    state = load_checkpoint(tmp_path)
    assert state["images"] == trained.images == 64
    torch.manual_seed(RECIPE.get("seed", 0))
    from sunaug.networks import Generator

    start = Generator(trained.config).state_dict()
    assert not torch.equal(start["convs.0.conv.weight"], state["generator"]["convs.0.conv.weight"])
    assert not torch.equal(state["average"]["const"], state["generator"]["const"])
    assert (tmp_path / "samples-000000064.png").is_file()
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["images"] == "8"
    assert float(rows[0]["r1"]) > 0
    assert trained.frames.time_ranges == [["2012-01-03T00:00:00Z", "2012-01-08T18:00:01Z"]]


def test_a_run_is_not_overwritten_nor_resumed_under_another_recipe(cube, tmp_path):
    train(cube, tmp_path, Recipe(**RECIPE), accelerator="cpu")
    with pytest.raises(UsageError, match="holds a run already; add --resume"):
        train(cube, tmp_path, Recipe(**RECIPE), accelerator="cpu")
    with pytest.raises(UsageError, match=r"another recipe \(r1_gamma differ\)"):
        train(cube, tmp_path, Recipe(**{**RECIPE, "r1_gamma": 9.0}), resume=True, accelerator="cpu")


def test_only_the_last_checkpoints_are_kept(cube, tmp_path):
    train(cube, tmp_path, Recipe(**{**RECIPE, "checkpoint_images": 8}), accelerator="cpu")
    assert [path.name for path in checkpoint_paths(tmp_path)] == ["checkpoint-000000056.pt", "checkpoint-000000064.pt"]


@pytest.mark.parametrize("loss", ["non_saturating", "relativistic_average"])
def test_other_losses_and_r2_run(cube, tmp_path, loss):
    recipe = Recipe(**{**RECIPE, "loss": loss, "r2": True, "images": 16, "conditions": ()})
    trained = train(cube, tmp_path, recipe, accelerator="cpu")
    assert all(torch.isfinite(value).all() for value in trained.generator.state_dict().values())


def test_frames_that_cannot_be_trained_on_are_refused(tmp_path):
    odd = open_cube(make_cube(tmp_path / "odd.zarr", size=20))
    with pytest.raises(UsageError, match="frames of 20 pixels cannot be trained on"):
        train(odd, tmp_path / "run", Recipe(**RECIPE))


def test_schedules():
    assert [_ramp(x, 0.2, 0.4) for x in (0.1, 0.3, 0.9)] == pytest.approx([0, 0.5, 1])
    assert [_rate_factor(x, 0.5) for x in (0.0, 0.5, 0.75, 1.0)] == pytest.approx([1, 1, 0.55, 0.1])


def test_penalty_falls_by_equal_factors():
    recipe = Recipe(r1_gamma=4.0, r1_gamma_end=0.25, r1_decay=(0.2, 0.6))
    assert [_penalty_weight(x, recipe) for x in (0.1, 0.2, 0.4, 0.6, 1.0)] == pytest.approx([4, 4, 1, 0.25, 0.25])
    assert _penalty_weight(0.5, Recipe(r1_gamma=0.0, r1_gamma_end=0.0)) == 0


def test_mirror_flips_whole_images():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    seen = {tuple(one.flatten().tolist()) for one in _mirror(image.expand(64, -1, -1, -1), torch.Generator())}
    expected = {tuple(image.flip(dims).flatten().tolist()) for dims in ((), (-1,), (-2,), (-1, -2))}
    assert seen == expected
