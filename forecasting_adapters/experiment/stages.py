"""The two stages of a comparison: the validation months, as often as one likes, and the test months, once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save

from forecasting_adapters.experiment.arms import Arm
from forecasting_adapters.experiment.forecaster import build_forecaster
from forecasting_adapters.experiment.frames import Frames
from forecasting_adapters.experiment.results import Results, compare
from forecasting_adapters.experiment.runs import Run, Workspace, read_run
from forecasting_adapters.experiment.selection import choose, cross_fit, day_folds
from forecasting_adapters.experiment.training import predict
from forecasting_adapters.uncertainty import Forecasts
from sunaug.errors import SunaugError, UsageError
from sunaug.storage import location, replace_object

__all__ = ["final_results", "validation_results"]

_LOCK = "final.json"
_LOGITS = "final.safetensors"


def validation_results(workspace: Workspace, arms: Sequence[Arm], seeds: int, about: Mapping[str, Any]) -> Results:
    """Results on the validation months, with all choices cross-fitted over stretches of days.

    Parameters
    ----------
    workspace : Workspace
        With all runs made.
    arms : sequence of Arm
    seeds : int
    about : mapping
        What is to be recorded beside the scores.

    Raises
    ------
    SunaugError
        If a run is missing.
    """
    validation = workspace.frames("validation")
    runs = {arm.name: _runs(workspace, arm, seeds) for arm in arms}
    forecasts = _cross_fitted(runs, validation)
    single = {name: one for name, (one, _) in forecasts.items()}
    return compare("validation", arms, _facts(runs), forecasts, validation, single, validation, about)


def final_results(
    workspace: Workspace,
    arms: Sequence[Arm],
    seeds: int,
    about: Mapping[str, Any],
    keep_test: Callable[[], None],
) -> Results:
    """Results on the test months, with all choices made on validation.

    The first call writes a lock, which says when and for which arms and seeds the test months were read, before it
    reads them. Later calls give the same results; for anything else they are refused.

    Parameters
    ----------
    workspace, arms, seeds, about
        As for `validation_results`.
    keep_test : callable
        Reads the test frames into the workspace, where they are not there.

    Raises
    ------
    UsageError
        If the test months have been read for other arms or seeds.
    SunaugError
        If a run is missing.
    """
    names = [arm.name for arm in arms]
    lock = _lock_test(workspace.folder, names, seeds)
    keep_test()
    validation, test = workspace.frames("validation"), workspace.frames("test")
    runs = {arm.name: _runs(workspace, arm, seeds) for arm in arms}
    choices = {name: choose(_logits(made), validation.labels) for name, made in runs.items()}
    logits = _test_logits(workspace, runs, {name: one.checkpoint for name, one in choices.items()}, test)
    on_test = {name: choice.forecast(logits[name]) for name, choice in choices.items()}
    on_validation = {name: single for name, (single, _) in _cross_fitted(runs, validation).items()}
    recorded = {**about, "test_read": lock}
    return compare("test", arms, _facts(runs), on_test, test, on_validation, validation, recorded)


def _lock_test(folder: Path, arms: list[str], seeds: int) -> dict[str, Any]:
    path = folder / _LOCK
    if path.exists():
        lock: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if (lock["arms"], lock["seeds"]) != (arms, seeds):
            raise UsageError(
                f"{folder}: the test months were read at {lock['at']} for {len(lock['arms'])} arms and {lock['seeds']} "
                "seeds, and are read once; give the same --arms and --seeds again, or a new --out for a new question "
                "and say in your report that it is not the first."
            )
        return lock
    lock = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "arms": arms, "seeds": seeds}
    replace_object(location(path), json.dumps(lock, indent=2).encode())
    return lock


def _test_logits(
    workspace: Workspace, runs: Mapping[str, list[Run]], checkpoints: Mapping[str, int], test: Frames
) -> dict[str, NDArray[np.float64]]:
    """Logits (seeds, n) of each arm, read where they have been made."""
    path = workspace.folder / _LOGITS
    if not path.exists():
        network = build_forecaster(workspace.settings.model, test.images.shape[1], workspace.settings.size)
        made = {
            name: torch.stack([predict(network, run.checkpoints[checkpoints[name]], test.images) for run in arm_runs])
            for name, arm_runs in runs.items()
        }
        replace_object(location(path), save(made))
    return {name: value.double().numpy() for name, value in load_file(path).items()}


def _runs(workspace: Workspace, arm: Arm, seeds: int) -> list[Run]:
    runs = [read_run(workspace.folder, arm.name, seed) for seed in range(seeds)]
    found = [run for run in runs if run is not None]
    if len(found) < seeds:
        raise SunaugError(f"{workspace.folder}: {seeds - len(found)} runs of {arm.name!r} are missing; run them first.")
    return found


def _logits(runs: Sequence[Run]) -> NDArray[np.float64]:
    """Shape (seeds, checkpoints, n)."""
    return np.stack([run.logits for run in runs])


def _cross_fitted(runs: Mapping[str, list[Run]], validation: Frames) -> dict[str, tuple[Forecasts, Forecasts]]:
    folds = day_folds(validation.times)
    return {name: cross_fit(_logits(made), validation.labels, folds) for name, made in runs.items()}


def _facts(runs: Mapping[str, list[Run]]) -> dict[str, dict[str, Any]]:
    """What is known of each arm's training, from its first seed; seconds are the mean."""
    return {
        name: {**made[0].facts, "seconds": round(float(np.mean([run.facts["seconds"] for run in made])), 2)}
        for name, made in runs.items()
    }
