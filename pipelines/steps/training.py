"""The step ``train``: the generator is fine-tuned once enough new frames are there."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipelines.recipe import PipelineRecipe
from pipelines.sections import TrainSection
from pipelines.state import Done, State, content_key
from pipelines.steps import Bench, Task
from pipelines.train import train_bundle
from sunaug.bundle import Bundle, load_bundle
from sunaug.cube import open_cube
from sunaug.cube.time_ranges import parse_ranges, within
from sunaug.errors import SunaugError, UsageError
from sunaug.training.checkpoint import checkpoint_paths
from sunaug.training.frames import known_frames

_SHORT = 16


def trained_bundle(recipe: PipelineRecipe, state: State) -> str | None:
    """The newest generator: that of the last training, or the recipe's own if it has one."""
    done = state.read(TrainStep.name)
    if recipe.train and done and done.values["base"] == recipe.bundle and Path(done.values["bundle"]).exists():
        return str(done.values["bundle"])
    return recipe.bundle


def good_bundle(recipe: PipelineRecipe, state: State) -> str | None:
    """The generator whose samples were published last, or the recipe's own: where a training starts from."""
    done = state.read("publish")
    if done and done.values["base"] == recipe.bundle and Path(done.values["bundle"]).exists():
        return str(done.values["bundle"])
    return recipe.bundle


@dataclass(frozen=True)
class TrainStep:
    """Counts frames that the newest generator has not seen, and trains on all of them when they are enough.

    A training starts from the generator that was published last: one that the gate refused leads nowhere.
    """

    bench: Bench
    name: ClassVar[str] = "train"

    @property
    def _section(self) -> TrainSection:
        section = self.bench.recipe.train
        assert section is not None
        return section

    def look(self) -> Task:
        """New frames of the train months with known labels, and whether they are enough."""
        recipe, section = self.bench.recipe, self._section
        assert recipe.cube is not None
        if not recipe.cube.exists():
            return Task(None, f"{recipe.cube.name} is not made yet")
        cube = open_cube(recipe.cube)
        good, newest = (find(recipe, self.bench.state) for find in (good_bundle, trained_bundle))
        start = load_bundle(good) if good else None
        if start:
            _check_alike(start, cube)
        training = section.training(str(start.path) if start else None)
        try:
            frames = known_frames(cube, training.labels, training.missing_channels)
        except SunaugError as error:
            return Task(None, str(error).rstrip("."))
        new = _unseen(frames["time"].values, load_bundle(newest).info.training_ranges if newest else [])
        if new < section.new_frames:
            return Task(None, f"{new:,} new frames of the {section.new_frames:,} that a training takes")
        origin, name = (start.hash, start.info.name) if start else ("", "random weights")
        key = content_key(origin, _content(cube, frames, training.labels), training.model_dump(), section.minutes)
        run = recipe.work / "training" / key[:_SHORT]
        return Task(
            key,
            f"{frames.sizes['time']:,} frames, {new:,} of them new, from {name}",
            output=run / "bundle",
            inputs={"training": training, "run": run},
        )

    def do(self, task: Task) -> Done:
        """Train, or go on with the training that was stopped, and forget runs that nothing leads back to."""
        recipe, run = self.bench.recipe, task.inputs["run"]
        assert recipe.cube is not None
        assert task.key is not None
        path = train_bundle(
            recipe.cube,
            run,
            task.inputs["training"],
            resume=bool(checkpoint_paths(run)),
            accelerator=self._section.accelerator,
            minutes=self._section.minutes,
            say=self.bench.say,
        )
        assert path is not None  # a single process
        made = self.bench.state.read("generate")
        in_use = [good_bundle(recipe, self.bench.state), *([made.values["bundle"]] if made else [])]
        self._forget({run, *(Path(one).parent for one in in_use if one)})
        images = load_bundle(path).info.training["images"]
        values = {"bundle": str(path), "base": recipe.bundle}
        return Done(task.key, f"{task.sentence}; {images:,} images shown", values)

    def _forget(self, needed: set[Path]) -> None:
        for run in (self.bench.recipe.work / "training").iterdir():
            if run not in needed:
                shutil.rmtree(run)


def _check_alike(start: Bundle, cube: xr.Dataset) -> None:
    """Refuse to start from a generator of other images: its weights would fit, and mean something else."""
    for what, theirs, ours in (
        ("channels", start.info.channels, [str(name) for name in cube["channel"].values]),
        ("intensities", start.info.intensity_scale, cube.attrs["intensity_scale"]),
    ):
        if theirs != ours:
            raise UsageError(
                f"{start.path}: its {what} are {theirs}, those of the cube {ours}; name another `bundle` in the "
                "recipe, or none to start from random weights."
            )


def _unseen(times: NDArray[np.datetime64], ranges: Sequence[Sequence[str]]) -> int:
    """Number of times that lie in none of the half-open ranges."""
    return int((~within(times, parse_ranges(ranges))).sum())


def _content(cube: xr.Dataset, frames: xr.Dataset, labels: tuple[str, ...]) -> list[Any]:
    """What the frames are by content: the ingests that made them, their times and their labels."""
    made = [one["fingerprint"] for one in cube.attrs.get("ingests", [])]
    return [made, frames["time"].values.astype("int64").tolist(), [frames[name].values.tolist() for name in labels]]
