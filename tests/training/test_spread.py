"""Networks and optimisers that are spread over two processes, as users ask for them: by strategy and recipe."""

import json

import pytest
import torch

from pipelines.expectations import expectations
from sunaug.errors import UsageError
from sunaug.training.estimate import estimate
from sunaug.training.recipe import Recipe
from sunaug.training.shape import network_config
from sunaug.training.spread import check_spread, memory_of, ways
from tests.models import RECIPE, SIZE, make_cube
from tests.processes import run_module

PENALTIES = {"batch": 16, "loss": "non_saturating", "penalty_interval": 2}
PATHS = {**PENALTIES, "path_length_weight": 2.0, "path_length_interval": 2}
PLAIN = {
    "plain": {"recipe": PATHS, "steps": 3},
    "longer": {"recipe": PATHS, "steps": 5},
    "filters": {"recipe": {**PATHS, "orthogonal_weight": 1e-2}, "steps": 3},
    "again": {"recipe": {**PENALTIES, "r2": True, "checkpoint_from": 8}, "steps": 3},
}
SPREAD = {
    **{name: PLAIN[name] for name in ("plain", "filters", "again")},
    "offload": {"recipe": {**PATHS, "offload": True}, "steps": 3},
    "parts": {"recipe": {**PATHS, "offload": True, "accumulate": 2}, "steps": 3},
    "resumed": {"recipe": {**PATHS, "offload": True}, "steps": 2, "before": "plain"},
}
BACK = {"back": {"recipe": PATHS, "steps": 2, "before": "offload"}}


def steps(folder, processes, strategy, trainings, others=None):
    """What `tests.training.spread_steps` wrote."""
    asked, out = folder / f"{strategy}.json", folder / f"{strategy}-{processes}.pt"
    asked.write_text(json.dumps({name: {**one, "strategy": strategy} for name, one in trainings.items()}))
    run_module(processes, "tests.training.spread_steps", asked, out, *([others] if others else []))
    return out


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return steps(tmp_path_factory.mktemp("alone"), 1, "auto", PLAIN)


@pytest.fixture(scope="module", params=[pytest.param("fsdp", marks=pytest.mark.slow), "deepspeed"])
def runs(request, tmp_path_factory):
    """The same trainings by one process, by two, and by one that goes on from those two."""
    if request.param == "deepspeed":
        pytest.importorskip("deepspeed")
    alone = request.getfixturevalue("alone")
    folder = tmp_path_factory.mktemp(request.param)
    spread = steps(folder, 2, request.param, SPREAD, alone)
    back = steps(folder, 1, "auto", BACK, spread)
    return request.param, *(torch.load(path, weights_only=True) for path in (alone, spread, back))


def assert_same_state(found, expected):
    for part in ("generator", "pixel.network"):
        for name, value in expected[part].items():
            torch.testing.assert_close(found[part][name], value, rtol=1e-3, atol=1e-4, msg=f"{part}.{name}")
    for part in ("optimizer", "pixel.optimizer"):
        slots = expected[part]["state"]
        assert found[part]["state"].keys() == slots.keys()
        for number, slot in slots.items():
            for name, value in slot.items():
                error = (found[part]["state"][number][name] - value).abs().max()
                assert error <= 1e-3 * value.abs().max() + 1e-9, (part, number, name)


@pytest.mark.parametrize("name", ["plain", "filters", "again", "offload", "parts"])
def test_two_processes_make_the_steps_of_one(runs, name):
    """Weights, moments and losses, with gradient penalties and path lengths."""
    _, one, two, _ = runs
    expected = one[name if name in one else "plain"]
    assert_same_state(two[name]["state"], expected["state"])
    for found, figures in zip(two[name]["figures"], expected["figures"], strict=True):
        assert found.keys() == figures.keys()
        for figure, value in figures.items():
            torch.testing.assert_close(found[figure], value, rtol=1e-3, atol=1e-4, msg=figure)


def test_a_checkpoint_goes_on_with_any_number_of_processes(runs):
    _, one, two, back = runs
    for found in (two["resumed"], back["back"]):
        assert found["state"]["steps"] == 5
        assert_same_state(found["state"], one["longer"]["state"])
        torch.testing.assert_close(
            found["figures"][-1]["loss_g"], one["longer"]["figures"][-1]["loss_g"], rtol=1e-3, atol=0
        )


def test_each_process_holds_what_the_estimate_says(runs):
    strategy, one, two, _ = runs
    recipe = Recipe(**{**RECIPE, **PATHS, "offload": True})
    cost = estimate(network_config(recipe, SIZE, 2), recipe, devices=2)
    whole = one["plain"]["held"]
    assert (whole["weights"], whole["moments"]) == (cost.gradients, cost.moments)
    for name, chosen in {"offload": recipe, "parts": recipe.model_copy(update={"accumulate": 2})}.items():
        held, memory = two[name]["held"], memory_of(cost, chosen, strategy, 2, offload=True)
        # Beside what it holds between two steps, its part of the gradients.
        spread = held["moments"] + held["copies"] + (held["weights"] if strategy == "fsdp" else 0)
        assert spread + cost.gradients / 2 == pytest.approx(memory.host, rel=0.05)
    held, memory = two["plain"]["held"], memory_of(cost, recipe, strategy, 2, offload=False)
    at_rest = held["weights"] + held["moments"] + held["copies"]
    passing = memory_of(cost, recipe, strategy, 2, offload=True).device
    passing -= cost.averages + cost.activations + cost.frames + (cost.gradients if strategy == "deepspeed" else 0)
    expected = memory.device - cost.averages - cost.activations - cost.frames - passing - cost.gradients / 2
    assert at_rest == pytest.approx(expected, rel=0.05)


def chosen(**changes):
    return Recipe(**{**RECIPE, **changes})


@pytest.mark.parametrize(
    ("strategy", "changes", "words"),
    [
        ("ddp", {"offload": True}, "only what is spread can be"),
        ("fsdp", {"compile": True}, "fsdp cannot be combined with `compile`"),
        ("fsdp", {"patch": 8}, "fsdp cannot be combined with `patch`"),
        (
            "fsdp",
            {"checkpoint_from": 8, "path_length_weight": 2.0},
            "`checkpoint_from` and `path_length_weight` at once",
        ),
        ("deepspeed", {"compile": True}, "deepspeed cannot be combined with `compile`"),
        ("deepspeed", {"architecture": "stylealae"}, "cannot train stylealae"),
    ],
)
def test_what_cannot_be_spread_is_refused(strategy, changes, words):
    with pytest.raises(UsageError, match=words):
        check_spread(strategy, chosen(**changes))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("sunaug.training.zero.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"the package deepspeed is not installed; install `sunaug\[deepspeed\]`"):
        check_spread("deepspeed", chosen())


def test_more_processes_and_offload_take_less_of_a_device():
    recipe = chosen(max_width=128, base_width=2048)
    cost = estimate(network_config(recipe, SIZE, 3), recipe)
    device = {
        (strategy, processes, offload): memory_of(cost, recipe, strategy, processes, offload=offload).device
        for strategy in ("fsdp", "deepspeed")
        for processes in (1, 2, 8)
        for offload in (False, True)
    }
    for strategy in ("fsdp", "deepspeed"):
        assert device[strategy, 8, False] < device[strategy, 2, False] < device[strategy, 1, False]
        # What is left on the device when nothing that is spread lies there does not depend on how many share it.
        assert device[strategy, 8, True] == device[strategy, 2, True] < device[strategy, 8, False]
    moments_and_master = cost.moments + cost.gradients
    saved = device["deepspeed", 1, False] - device["deepspeed", 1, True]
    assert saved == moments_and_master + cost.gradients
    assert memory_of(cost, recipe, "ddp", 2, offload=False) == (cost.total, 0)


def test_ways_leave_out_what_is_refused():
    assert ways(chosen(), 1) == [("auto", False), ("fsdp", True), ("deepspeed", True)]
    assert ways(chosen(patch=8), 2) == [("ddp", False), ("deepspeed", False), ("deepspeed", True)]


def test_a_dry_run_shows_each_strategy(tmp_path, monkeypatch):
    monkeypatch.setattr("sunaug.training.estimate.MEASURE_SECONDS", 0.0)
    lines = expectations(make_cube(tmp_path / "c.zarr"), chosen(), accelerator="cpu", devices=2)
    first = next(number for number, line in enumerate(lines) if line.startswith("memory of each process by strategy"))
    assert [line.split()[0] for line in lines[first + 1 : first + 4]] == ["ddp", "fsdp", "deepspeed"]
    # A CPU has no memory beside its own.
    assert not any("offload" in line for line in lines)
