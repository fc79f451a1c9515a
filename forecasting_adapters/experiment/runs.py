"""Runs of a comparison on disk: each finished one is a file, and what is there is not done again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from forecasting_adapters.experiment.arms import REFERENCE, Arm
from forecasting_adapters.experiment.composition import Teacher, compose
from forecasting_adapters.experiment.forecaster import build_forecaster
from forecasting_adapters.experiment.frames import Frames, load_frames
from forecasting_adapters.experiment.settings import Settings
from forecasting_adapters.experiment.training import Weights, predict, train
from forecasting_adapters.skill import best_threshold
from sunaug.errors import SunaugError
from sunaug.storage import location, replace_object

__all__ = ["Run", "Task", "Workspace", "read_run", "run_path", "run_tasks"]

Task = tuple[Arm, int]
"""An arm and a seed."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes
    ----------
    arm : Arm
    seed : int
    logits : ndarray of float64, shape (checkpoint, n)
        Forecasts of the validation frames.
    checkpoints : list of dict
        Weights at each checkpoint.
    facts : dict
        Counts of the training set, steps, seconds.
    """

    arm: Arm
    seed: int
    logits: NDArray[np.float64]
    checkpoints: list[Weights]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Workspace:
    """A comparison's folder: settings, frames, runs.

    Attributes
    ----------
    folder : pathlib.Path
    settings : Settings
    synthetic : tuple of str
        Names of the synthetic cubes.
    """

    folder: Path
    settings: Settings
    synthetic: tuple[str, ...]

    def frames(self, name: str) -> Frames:
        """Frames of a split, or of a synthetic cube."""
        return load_frames(self.frames_path(name))

    def frames_path(self, name: str) -> Path:
        """File of the frames of a split, or of a synthetic cube."""
        return self.folder / "frames" / f"{name}.safetensors"

    def pool(self, source: str | None) -> Frames | None:
        """Synthetic frames of one cube or of all together; None where there are none."""
        parts = [self.frames(f"SYNTHETIC-{name}") for name in self.synthetic if source in (None, name)]
        if len(parts) < 2:
            return parts[0] if parts else None
        return Frames(
            images=torch.cat([one.images for one in parts]),
            labels=np.concatenate([one.labels for one in parts]),
            fluxes=np.concatenate([one.fluxes for one in parts]),
            times=np.concatenate([one.times for one in parts]),
        )


def run_path(folder: Path, arm: str, seed: int) -> Path:
    """File of a run."""
    return folder / "runs" / arm / f"seed-{seed}.safetensors"


def read_run(folder: Path, arm: str, seed: int) -> Run | None:
    """A finished run, None where there is none.

    Raises
    ------
    SunaugError
        If the file is damaged.
    """
    path = run_path(folder, arm, seed)
    if not path.exists():
        return None
    try:
        with safe_open(str(path), framework="pt") as file:
            about = json.loads(file.metadata()["run"])
        tensors = load_file(path)
    except (SafetensorError, KeyError, ValueError, TypeError):
        raise SunaugError(f"{path}: not a finished run; delete it, and it will be made again.") from None
    checkpoints: list[Weights] = [{} for _ in range(len(tensors["logits"]))]
    for name, value in tensors.items():
        number, separator, parameter = name.partition("/")
        if separator:
            checkpoints[int(number)][parameter] = value
    return Run(
        arm=Arm.model_validate(about["arm"]),
        seed=about["seed"],
        logits=tensors["logits"].double().numpy(),
        checkpoints=checkpoints,
        facts=about["facts"],
    )


def _write_run(folder: Path, run: Run) -> Path:
    tensors = {"logits": torch.from_numpy(run.logits)}
    for number, weights in enumerate(run.checkpoints):
        tensors |= {f"{number}/{name}": value.contiguous() for name, value in weights.items()}
    about = {"arm": run.arm.model_dump(mode="json"), "seed": run.seed, "facts": run.facts}
    path = run_path(folder, run.arm.name, run.seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_object(location(path), save(tensors, {"run": json.dumps(about)}))
    return path


def run_tasks(workspace: Workspace, tasks: Sequence[Task], jobs: int, report: Callable[[int], None]) -> None:
    """Make the runs that are missing, several at a time, those of the teachers first.

    Parameters
    ----------
    workspace : Workspace
        With its frames kept.
    tasks : sequence of (Arm, int)
    jobs : int
        Processes; each works on one thread.
    report : callable
        Called with the number of runs that are finished.

    Raises
    ------
    SunaugError
        What went wrong in a process.
    """
    missing = [task for task in tasks if not run_path(workspace.folder, task[0].name, task[1]).exists()]
    done = len(tasks) - len(missing)
    report(done)
    teachers = [task for task in missing if task[0].name == REFERENCE]
    pupils = [task for task in missing if task[0].name != REFERENCE]
    with _executor(workspace, min(jobs, len(missing))) as work:
        for part in (teachers, pupils):
            for _ in work(part):
                done += 1
                report(done)


@contextmanager
def _executor(workspace: Workspace, jobs: int) -> Iterator[Callable[[Iterable[Task]], Iterator[Path]]]:
    """A function that makes runs and yields after each: in this process for one job, else in others."""
    if jobs < 2:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield lambda tasks: (_make(workspace, *task) for task in tasks)
        finally:
            torch.set_num_threads(threads)
        return
    # Threads of torch do not survive a fork.
    executor = ProcessPoolExecutor(jobs, get_context("spawn"), torch.set_num_threads, (1,))
    try:

        def work(tasks: Iterable[Task]) -> Iterator[Path]:
            for future in as_completed([executor.submit(_make, workspace, *task) for task in tasks]):
                yield future.result()

        yield work
    finally:
        executor.shutdown(cancel_futures=True)


def _make(workspace: Workspace, arm: Arm, seed: int) -> Path:
    """Train, forecast the validation months, and keep both in a file."""
    started = time.perf_counter()
    settings = workspace.settings
    real, validation = workspace.frames("train"), workspace.frames("validation")
    synthetic = workspace.pool(arm.synthetic.source) if arm.synthetic else None
    teacher = _teacher(workspace, seed, real, validation, synthetic) if arm.needs_teacher else None
    given, phases, counts = compose(arm, real, synthetic, teacher, seed)
    steps = settings.epochs * -(-len(real) // settings.batch)
    network, checkpoints = train(arm, given, phases, settings, steps, seed)
    logits = torch.stack([predict(network, weights, validation.images) for weights in checkpoints])
    facts = {"counts": counts, "steps": steps, "seconds": round(time.perf_counter() - started, 2)}
    return _write_run(workspace.folder, Run(arm, seed, logits.double().numpy(), checkpoints, facts))


def _teacher(workspace: Workspace, seed: int, real: Frames, validation: Frames, synthetic: Frames | None) -> Teacher:
    """The finished forecaster of real frames alone with the same seed."""
    run = read_run(workspace.folder, REFERENCE, seed)
    if run is None:
        raise SunaugError(f"{workspace.folder}: the run of {REFERENCE!r} with seed {seed} is missing; run it first.")
    network = build_forecaster(workspace.settings.model, real.images.shape[1], workspace.settings.size)

    def says(frames: Frames) -> NDArray[np.float64]:
        return torch.sigmoid(predict(network, run.checkpoints[-1], frames.images)).double().numpy()

    probability = says(validation)
    border = best_threshold(validation.labels, probability)
    return Teacher(
        real=says(real),
        synthetic=says(synthetic) if synthetic is not None else np.empty(0),
        border=border,
        errors=validation.fluxes[(probability >= border) != validation.labels],
    )
