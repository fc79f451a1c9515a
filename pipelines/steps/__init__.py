"""The steps of a pipeline: each looks at its inputs, and does what is new.

Looking changes nothing. It tells a task's key, the hash of the content that decides what the task makes; a task whose
key is that of the step's last one is done already. What steps share lies in the pipeline's state and in its folders, so
that each runs alone as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from pipelines.recipe import PipelineRecipe
from pipelines.state import Done, State

__all__ = ["Bench", "Step", "Task", "make_step"]

_CLASSES = {
    "fetch": "fetching.FetchStep",
    "ingest": "ingesting.IngestStep",
    "labels": "labelling.LabelsStep",
    "train": "training.TrainStep",
    "generate": "generating.GenerateStep",
    "gate": "gating.GateStep",
    "publish": "publishing.PublishStep",
}


@dataclass(frozen=True)
class Bench:
    """What a step works with: the recipe, the state, and whom it tells in a sentence what takes long."""

    recipe: PipelineRecipe
    state: State
    say: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class Task:
    """What a step finds to do.

    Attributes
    ----------
    key : str, optional
        Hash of the content that decides what is made; None where there is nothing to do.
    sentence : str
        What is to be done, or why nothing is.
    output : pathlib.Path, optional
        Has to be there for the task to count as done.
    inputs : dict
        What `Step.do` needs to know.
    """

    key: str | None
    sentence: str
    output: Path | None = None
    inputs: dict[str, Any] = field(default_factory=dict)

    def is_done(self, done: Done | None) -> bool:
        """Whether the step's last work was this task, and is still there."""
        return done is not None and done.key == self.key and (self.output is None or self.output.exists())


class Step(Protocol):
    """A step: made of a `Bench`."""

    @property
    def name(self) -> str:
        """Its section in the recipe."""
        ...

    def look(self) -> Task:
        """What there is to do; nothing is changed."""
        ...

    def do(self, task: Task) -> Done:
        """Do it: the same again after it was stopped at any moment."""
        ...


def make_step(name: str, bench: Bench) -> Step:
    """The step of that name."""
    module, kind = _CLASSES[name].split(".")
    step: Step = getattr(import_module(f"{__name__}.{module}"), kind)(bench)
    return step
