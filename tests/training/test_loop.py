import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from sunaug.cube import open_cube
from sunaug.errors import SunaugError, UsageError
from sunaug.networks import Generator
from sunaug.training import run as training_run
from sunaug.training.batches import Batches
from sunaug.training.checkpoint import checkpoint_paths, load_checkpoint
from sunaug.training.loop import train
from sunaug.training.recipe import Recipe
from sunaug.training.shape import network_config
from sunaug.training.trainer import Trainer
from tests.models import RECIPE, assert_same_bits, make_cube, tensors


@pytest.fixture(scope="module")
def cube_path(tmp_path_factory):
    return make_cube(tmp_path_factory.mktemp("cube") / "c.zarr")


@pytest.fixture(scope="module")
def cube(cube_path):
    return open_cube(cube_path)


def run(
    cube, out, *, resume=False, judge=None, start=None, minutes=None, tensorboard=False, report=None, say=None, **r
):
    """Train the tiny recipe with some of its fields replaced."""
    return train(
        cube,
        out,
        Recipe(**{**RECIPE, **r}),
        resume=resume,
        accelerator="cpu",
        judge=judge,
        start=start,
        minutes=minutes,
        tensorboard=tensorboard,
        report=report,
        say=say,
    )


@pytest.fixture(scope="module")
def whole(cube, tmp_path_factory):
    """The folder and the result of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, run(cube, folder)


@pytest.fixture(autouse=True)
def _blank_sheets(monkeypatch):
    """Drawing the sheets takes half of a tiny run's time; the module's `whole` run has real ones."""

    def blank(journal, images, *_):
        (journal.out / f"samples-{images:09d}.png").touch()

    monkeypatch.setattr(training_run.Journal, "samples", blank)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def images_of(path):
    return [int(row["images"]) for row in rows(path)]


class Killed(BaseException):
    pass


def kill_at(images):
    def report(done):
        if done >= images:
            raise Killed

    return report


def damage_at(monkeypatch, images, damage, attempts=(0,)):
    """Let something happen to the generator after so many images."""
    inner = Trainer.step

    def step(trainer):
        figures = inner(trainer)
        if trainer.images == images and trainer.attempt in attempts:
            damage(trainer)
        return figures

    monkeypatch.setattr(Trainer, "step", step)


def break_numbers(trainer):
    trainer.generator.const.data.fill_(float("nan"))


def collapse(trainer):
    for layer in trainer.generator.to_image:
        layer.conv.weight.data.zero_()


def test_a_run_leaves_its_files(whole):
    folder, trained = whole
    assert trained.images == load_checkpoint(folder)["trainer"]["images"] == 64
    assert {path.name for path in folder.iterdir()} == {
        "recipe.yaml",
        "log.csv",
        "evaluations.csv",
        "samples-000000032.png",
        "samples-000000064.png",
        "checkpoint-000000032.pt",
        "checkpoint-000000064.pt",
    }
    assert (folder / "samples-000000064.png").stat().st_size > 1000
    assert trained.frames.time_ranges == [["2012-01-03T00:00:00Z", "2012-01-09T00:00:00Z"]]
    assert trained.seconds > 0
    assert trained.evaluation == {}


def test_the_log_has_the_figures_of_the_training(whole):
    log = rows(whole[0] / "log.csv")
    assert list(log[0]) == [
        "images",
        "loss_g",
        "pixel.loss_d",
        "pixel.score_gap",
        "r1",
        "path_length",
        "augment_probability",
        "condition_weight",
        "diversity",
        "images_per_second",
    ]
    # The first step, and each that is looked at before a checkpoint.
    assert [row["images"] for row in log] == ["8", "32", "64"]
    for row in log:
        assert row["path_length"] == ""
        assert all(np.isfinite(float(value)) for name, value in row.items() if value)
        assert float(row["r1"]) > 0
        assert float(row["images_per_second"]) > 0
    assert [bool(row["diversity"]) for row in log] == [False, True, True]


def test_training_moves_the_generator_and_its_average_differently(whole):
    folder, trained = whole
    state = load_checkpoint(folder)["trainer"]
    torch.manual_seed(0)
    start = Generator(trained.config).state_dict()
    assert not torch.equal(start["convs.0.conv.weight"], state["generator"]["convs.0.conv.weight"])
    assert not torch.equal(state["averages"]["half_life"]["const"], state["generator"]["const"])
    for name, value in trained.generator.state_dict().items():
        assert torch.equal(value, state["averages"]["half_life"][name])


def test_another_average_may_be_the_one_that_is_used(cube, tmp_path):
    trained = run(cube, tmp_path, images=24, ema="power_0.1")
    state = load_checkpoint(tmp_path)["trainer"]["averages"]
    assert torch.equal(trained.generator.const, state["power_0.1"]["const"])
    assert not torch.equal(trained.generator.const, state["half_life"]["const"])


@pytest.mark.parametrize(
    "options",
    [
        {"conditions": (), "discriminator": "pixel"},
        {"conditions": (), "class_conditions": ("forecast_flux",), "loss": "non_saturating"},
        {"loss": "relativistic_average", "r2": True, "checkpoint_from": 8, "noise": False},
        {"loss": "hinge", "precision": "bf16-mixed", "scaling": "asinh"},
    ],
    ids=["unconditional", "by class", "recomputed", "half precision"],
)
def test_other_recipes_run_to_their_end(cube, tmp_path, options):
    trained = run(cube, tmp_path, images=24, **options)
    assert all(torch.isfinite(value).all() for value in trained.generator.state_dict().values())
    assert (tmp_path / "samples-000000024.png").is_file()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "ada": True,
            "ada_span": 100,
            "ada_target": -1.0,
            "path_length_weight": 1.0,
            "path_length_interval": 2,
            "loss": "relativistic_average",
            "augment": ("flip", "rotation", "brightness"),
        },
    ],
    ids=["plain", "with ada and path lengths"],
)
def test_a_stopped_run_resumes_to_the_same_bits(cube, tmp_path, options):
    run(cube, tmp_path / "whole", **options)
    with pytest.raises(Killed):
        run(cube, tmp_path / "stopped", report=kill_at(48), **options)
    assert load_checkpoint(tmp_path / "stopped")["trainer"]["images"] == 32
    run(cube, tmp_path / "stopped", resume=True, **options)
    whole, stopped = (load_checkpoint(tmp_path / name) for name in ("whole", "stopped"))
    if options:
        assert whole["trainer"]["augment_probability"]["probability"] > 0
        assert whole["trainer"]["path_length"] > 0
    assert_same_bits(whole["trainer"], stopped["trainer"])


def test_a_resumed_run_drops_what_was_logged_after_the_checkpoint(cube, tmp_path):
    with pytest.raises(Killed):
        run(cube, tmp_path, report=kill_at(56), health_images=8)
    assert images_of(tmp_path / "log.csv") == [8, 16, 24, 32, 40, 48, 56]
    run(cube, tmp_path, resume=True, health_images=8)
    assert images_of(tmp_path / "log.csv") == [8, 16, 24, 32, 40, 48, 56, 64]
    assert load_checkpoint(tmp_path)["seconds"] > 0


def test_resuming_where_nothing_is_starts_and_resuming_what_is_done_changes_nothing(cube, whole, tmp_path):
    run(cube, tmp_path / "run", resume=True)
    first = load_checkpoint(tmp_path / "run")["trainer"]
    assert_same_bits(first, load_checkpoint(whole[0])["trainer"])
    trained = run(cube, tmp_path / "run", resume=True)
    assert trained.images == 64
    assert_same_bits(first, load_checkpoint(tmp_path / "run")["trainer"])


def test_a_longer_run_goes_on_from_a_shorter_one(cube, tmp_path):
    run(cube, tmp_path, images=16)
    assert run(cube, tmp_path, images=32, resume=True).images == 32


def test_the_time_is_up_after_a_step_with_a_checkpoint(cube, whole, tmp_path):
    trained = run(cube, tmp_path, minutes=0)
    assert trained.images == 8
    assert [path.name for path in checkpoint_paths(tmp_path)] == ["checkpoint-000000008.pt"]
    assert (tmp_path / "samples-000000008.png").is_file()
    run(cube, tmp_path, resume=True, minutes=60)
    assert_same_bits(load_checkpoint(tmp_path)["trainer"], load_checkpoint(whole[0])["trainer"])


def test_a_run_is_not_overwritten_nor_resumed_under_another_recipe(cube, whole):
    folder, _ = whole
    before = load_checkpoint(folder)["trainer"]
    with pytest.raises(UsageError, match="holds a run already; add --resume"):
        run(cube, folder)
    with pytest.raises(UsageError, match=r"another recipe \(discriminator_rate, r1_gamma differ\)"):
        run(cube, folder, resume=True, r1_gamma=9.0, discriminator_rate=1.0)
    assert_same_bits(before, load_checkpoint(folder)["trainer"])


@pytest.mark.parametrize("kept", [1, 3])
def test_only_the_last_checkpoints_are_kept(cube, tmp_path, kept):
    run(cube, tmp_path, images=40, checkpoint_images=8, keep_checkpoints=kept)
    expected = [f"checkpoint-{images:09d}.pt" for images in (24, 32, 40)[-kept:]]
    assert [path.name for path in checkpoint_paths(tmp_path)] == expected


def test_frames_that_cannot_be_trained_on_are_refused(tmp_path):
    odd = open_cube(make_cube(tmp_path / "odd.zarr", size=20))
    with pytest.raises(UsageError, match="frames of 20 pixels cannot be trained on"):
        run(odd, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_magnetograms_are_not_mirrored(cube, tmp_path):
    signed = cube.assign_coords(channel=["hmi_m", "aia131", "aia94"])
    with pytest.raises(UsageError, match="set `mirror: false`"):
        run(signed, tmp_path / "run")
    with pytest.raises(UsageError, match="take flip out"):
        run(signed, tmp_path / "run", mirror=False, augment=("flip",))


KILL = """
import os, signal, sys
import torch
from sunaug.cube import open_cube
from sunaug.training.loop import train
from sunaug.training.recipe import Recipe

save, count = torch.save, 0

def die(state, file):
    global count
    count += 1
    if count == 3:
        file.write(b"half of a checkpoint")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    save(state, file)

torch.save = die
train(open_cube(sys.argv[1]), __import__("pathlib").Path(sys.argv[2]), Recipe(**eval(sys.argv[3])), accelerator="cpu")
"""


def test_a_process_killed_while_it_writes_a_checkpoint_loses_only_what_came_after_the_last(
    cube, cube_path, whole, tmp_path
):
    """Killed by SIGKILL in the midst of the third checkpoint, it resumes to the bits of the run never killed."""
    recipe = {**RECIPE, "checkpoint_images": 16}
    done = subprocess.run(
        [sys.executable, "-c", KILL, cube_path, tmp_path / "run", repr(recipe)], capture_output=True, check=False
    )
    assert done.returncode == -9, done.stderr.decode()
    assert (tmp_path / "run" / "checkpoint-000000048.partial").read_bytes() == b"half of a checkpoint"
    assert load_checkpoint(tmp_path / "run")["trainer"]["images"] == 32
    run(cube, tmp_path / "run", resume=True, checkpoint_images=16)
    assert_same_bits(load_checkpoint(tmp_path / "run")["trainer"], load_checkpoint(whole[0])["trainer"])
    assert not list((tmp_path / "run").glob("*.partial"))


@pytest.fixture
def good_states(monkeypatch):
    """Every checkpoint that is written must hold a state of finite numbers and varied images."""
    inner, seen = training_run.save_checkpoint, []

    def save(folder, images, state, kept):
        for name, value in tensors(state["trainer"]).items():
            assert not isinstance(value, torch.Tensor) or torch.isfinite(value.float()).all(), name
        assert state["trainer"]["generator"]["to_image.0.conv.weight"].any()
        seen.append(images)
        return inner(folder, images, state, kept)

    monkeypatch.setattr(training_run, "save_checkpoint", save)
    return seen


@pytest.mark.parametrize(
    ("damage", "text"),
    [(break_numbers, "no longer finite"), (collapse, "samples differ 0.000 times as much as real frames")],
    ids=["nan", "collapse"],
)
def test_a_training_that_goes_wrong_goes_back_to_the_last_good_checkpoint(
    cube, whole, tmp_path, monkeypatch, good_states, damage, text
):
    """Noticed at the checkpoint that would have held it; then other random numbers and half the rates."""
    damage_at(monkeypatch, 48, damage)
    said, seen, attempts, rates = [], [], [], []
    inner = Trainer.step

    def step(trainer):
        attempts.append((trainer.images, trainer.attempt))
        figures = inner(trainer)
        rates.append(
            (trainer.optimizer.param_groups[0]["lr"], trainer.critics["pixel"].optimizer.param_groups[0]["lr"])
        )
        return figures

    monkeypatch.setattr(Trainer, "step", step)
    # A collapse below 0.05: a generator that has seen 16 images is not yet as varied as the frames.
    trained = run(
        cube,
        tmp_path,
        images=64,
        checkpoint_images=16,
        health_images=8,
        collapse_below=0.05,
        rate_decay=0,
        report=seen.append,
        say=said.append,
    )
    assert good_states == [16, 32, 48, 64]
    assert [at for at in attempts if at[0] == 32] == [(32, 0), (32, 1)]
    assert attempts[-1] == (56, 1)
    assert rates[0] == (2e-3, 1.5e-3)
    assert rates[-1] == pytest.approx((1e-3, 0.75e-3))
    assert len(said) == 1
    assert text in said[0]
    assert said[0].startswith("after 48 images: ")
    assert said[0].endswith("back to the checkpoint at 32 images, with half the learning rates.")
    assert (tmp_path / "events.txt").read_text() == said[0] + "\n"
    # What the given-up attempt had logged at 40 images is gone.
    assert images_of(tmp_path / "log.csv") == [8, 16, 24, 32, 40, 48, 56, 64]
    assert trained.images == 64
    assert all(torch.isfinite(value).all() for value in trained.generator.state_dict().values())
    assert load_checkpoint(tmp_path)["trainer"]["attempt"] == 1


def test_after_a_roll_back_the_random_numbers_are_others(cube, tmp_path, monkeypatch):
    shown = []
    inner = Batches.show

    def record(batches, draws, probability, *, keep):
        shown.append((draws.key, draws.z.clone()))
        return inner(batches, draws, probability, keep=keep)

    monkeypatch.setattr(Batches, "show", record)
    damage_at(monkeypatch, 32, break_numbers)
    run(cube, tmp_path, images=32, checkpoint_images=16, collapse_below=0.0)
    again = {attempt: z for (_, attempt, step), z in shown if step == 2}
    assert set(again) == {0, 1}
    assert not torch.equal(again[0], again[1])


def test_a_rolled_back_run_resumes_to_the_same_bits(cube, tmp_path, monkeypatch):
    damage_at(monkeypatch, 32, break_numbers)
    options = {"images": 64, "checkpoint_images": 16, "collapse_below": 0.0}
    run(cube, tmp_path / "whole", **options)
    with pytest.raises(Killed):
        run(cube, tmp_path / "stopped", report=kill_at(56), **options)
    run(cube, tmp_path / "stopped", resume=True, **options)
    whole, stopped = (load_checkpoint(tmp_path / name)["trainer"] for name in ("whole", "stopped"))
    assert whole["attempt"] == 1
    assert_same_bits(whole, stopped)


def test_roll_backs_that_do_not_help_end_in_one_sentence(cube, tmp_path, monkeypatch, good_states):
    damage_at(monkeypatch, 32, break_numbers, attempts=range(9))
    said = []
    with pytest.raises(SunaugError, match=r"after 32 images: .*no longer finite, and 2 roll-backs did not help; ") as e:
        run(cube, tmp_path, images=64, checkpoint_images=16, collapse_below=0.0, max_rollbacks=2, say=said.append)
    assert "\n" not in str(e.value)
    assert len(said) == 2
    assert good_states == [16]


def test_absurd_rates_without_a_good_checkpoint_end_in_one_sentence(cube, tmp_path, good_states):
    with pytest.raises(SunaugError, match=r"no longer finite, and there is no good checkpoint to go back to") as caught:
        run(cube, tmp_path, generator_rate=1e30, discriminator_rate=1e30, checkpoint_images=16)
    assert "\n" not in str(caught.value)
    assert good_states == []


def test_numbers_that_overflow_are_noticed_whatever_network_they_are_in(cube, tmp_path, good_states):
    """An absurd rate of one network alone, in the midst of a run."""
    with pytest.raises(SunaugError, match="no longer finite"):
        run(cube, tmp_path, discriminator_rate=1e30, checkpoint_images=16)
    assert good_states == []


def test_a_generator_that_is_not_varied_enough_is_a_collapse_after_the_beginning(cube, tmp_path, good_states):
    said = []
    with pytest.raises(SunaugError, match=r"the generator has collapsed.*, and 3 roll-backs did not help"):
        run(cube, tmp_path, images=128, checkpoint_images=8, collapse_below=1e9, say=said.append)
    # A tenth of 128 images is the beginning, in which images that are all alike are none.
    assert good_states == [8]
    assert len(said) == 3


def test_a_collapse_may_be_only_written_down(cube, tmp_path):
    said = []
    trained = run(cube, tmp_path, collapse_below=1e9, on_collapse="note", say=said.append)
    assert trained.images == 64
    assert load_checkpoint(tmp_path)["trainer"]["attempt"] == 0
    events = (tmp_path / "events.txt").read_text().splitlines()
    assert [event.split(" images: ")[0] for event in events] == ["32", "64"]
    assert all("the generator has collapsed" in event for event in events)


class FakeJudge:
    """Gives figures from a list, one at each evaluation, and keeps what it was shown."""

    label = "FID-9"

    def __init__(self, cube, distances, n=5):
        self.fluxes = np.stack([cube[name].values[:n] for name in ("nowcast_flux", "forecast_flux")], axis=1)
        self.floor = {"frechet": 0.1, "recall": 0.9}
        self.distances, self.shown = list(distances), []

    def judge(self, images):
        self.shown.append(images)
        return {"frechet": self.distances.pop(0), "recall": 0.5}


def test_the_weights_of_the_best_evaluation_are_kept_and_used(cube, tmp_path):
    judge = FakeJudge(cube, [3.0, 1.0, 2.0, 4.0])
    states = {}

    def keep(images):
        if images in (40, 48):
            states[images] = load_file(tmp_path / "best.safetensors")

    trained = run(
        cube, tmp_path, evaluate_images=16, checkpoint_images=16, keep_checkpoints=9, judge=judge, report=keep
    )
    assert judge.distances == []
    average = torch.load(tmp_path / "checkpoint-000000032.pt", weights_only=True)["trainer"]["averages"]["half_life"]
    best = load_file(tmp_path / "best.safetensors")
    for name, value in average.items():
        assert torch.equal(best[name], value)
        assert torch.equal(trained.generator.state_dict()[name], value)
    assert trained.images == 32
    assert trained.evaluation == {"images": 32, "backbone": "FID-9", "n": 5, "frechet": 1.0, "recall": 0.5}
    table = rows(tmp_path / "evaluations.csv")
    assert [(row["images"], row["frechet"], row["recall"]) for row in table] == [
        ("16", "3", "0.5"),
        ("32", "1", "0.5"),
        ("48", "2", "0.5"),
        ("64", "4", "0.5"),
    ]
    with safe_open(tmp_path / "best.safetensors", "pt") as file:
        assert json.loads(file.metadata()["evaluation"]) == trained.evaluation


def test_the_judge_sees_frames_in_the_cubes_units_from_the_same_latents(cube, tmp_path):
    judge = FakeJudge(cube, [3.0, 1.0], n=20)
    trained = run(cube, tmp_path, images=16, evaluate_images=8, judge=judge)
    first, second = judge.shown
    assert first.shape == second.shape == (20, 3, 16, 16)
    assert np.isfinite(first).all()
    assert first.min() >= 0
    assert 20 < second.mean() < 255
    assert not np.array_equal(first, second)
    random = torch.Generator().manual_seed(2)
    z, noise = torch.randn(16, 8, generator=random), torch.randn(16, trained.generator.noise_size, generator=random)
    condition = torch.from_numpy(trained.config.encode(judge.fluxes[:16]))
    with torch.no_grad():
        expected = trained.scaling.unscale(trained.generator(z, condition, noise).numpy())
    np.testing.assert_allclose(second[:16], np.maximum(expected, 0), rtol=1e-4, atol=1e-3)


def test_the_best_survives_a_resumed_run(cube, tmp_path):
    options = {"evaluate_images": 16, "checkpoint_images": 16}
    with pytest.raises(Killed):
        run(cube, tmp_path, judge=FakeJudge(cube, [3.0, 1.0]), report=kill_at(40), **options)
    best = load_file(tmp_path / "best.safetensors")
    trained = run(cube, tmp_path, resume=True, judge=FakeJudge(cube, [2.0, 4.0]), **options)
    assert trained.images == 32
    assert trained.evaluation["frechet"] == 1.0
    assert all(torch.equal(value, best[name]) for name, value in trained.generator.state_dict().items())
    assert images_of(tmp_path / "evaluations.csv") == [16, 32, 48, 64]


def test_without_evaluations_the_last_weights_are_used(cube, tmp_path):
    judge = FakeJudge(cube, [])
    trained = run(cube, tmp_path, images=16, judge=judge)
    assert judge.shown == []
    assert not (tmp_path / "best.safetensors").exists()
    assert trained.evaluation == {}


def test_best_weights_and_their_figures_stay_together_over_a_roll_back(cube, tmp_path, monkeypatch):
    """Evaluated after the last checkpoint, better than before, and then the run goes back."""
    damage_at(monkeypatch, 32, break_numbers)
    trained = run(
        cube,
        tmp_path,
        images=32,
        checkpoint_images=16,
        collapse_below=0.0,
        evaluate_images=8,
        judge=FakeJudge(cube, [3.0, 2.0, 1.0, 2.5, 2.6]),
    )
    with safe_open(tmp_path / "best.safetensors", "pt") as file:
        assert json.loads(file.metadata()["evaluation"]) == trained.evaluation


def test_tensorboard_has_what_the_log_has(cube, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(cube, tmp_path, images=16, tensorboard=True, evaluate_images=8, judge=FakeJudge(cube, [3.0, 1.0]))
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    logged = [float(row["loss_g"]) for row in rows(tmp_path / "log.csv")]
    assert [event.value for event in board.Scalars("training/loss_g")] == pytest.approx(logged, rel=1e-4)
    assert [event.value for event in board.Scalars("evaluation/frechet")] == [3.0, 1.0]


def test_a_run_starts_from_a_smaller_generator(cube, tmp_path):
    """With a rate of nearly nothing, the average still makes the smaller one's images, enlarged."""
    config = network_config(Recipe(**RECIPE), 8, 3)
    torch.manual_seed(11)
    small = Generator(config)
    trained = run(cube, tmp_path, start=small, images=8, generator_rate=1e-12)
    torch.testing.assert_close(trained.generator.const, small.const, atol=1e-6, rtol=0)
    z, condition = torch.randn(3, 8), torch.randn(3, 2)
    torch.testing.assert_close(
        torch.nn.functional.avg_pool2d(trained.generator(z, condition), 2),
        torch.nn.functional.avg_pool2d(
            torch.nn.functional.interpolate(small(z, condition), scale_factor=2, mode="bilinear"), 2
        ),
        atol=1e-4,
        rtol=1e-4,
    )
    # Resumed, it goes on with its own weights.
    torch.manual_seed(12)
    resumed = run(cube, tmp_path, start=Generator(config), images=16, generator_rate=1e-12, resume=True)
    torch.testing.assert_close(resumed.generator.const, small.const, atol=1e-6, rtol=0)
