"""The recipe of a pipeline: a YAML file that says what each step is to do, checked before any of them begins.

Paths in a recipe are relative to the recipe's own folder. A section that is left out is a step that is left out.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from pipelines.sections import (
    FetchSection,
    GateSection,
    GenerateSection,
    IngestSection,
    LabelsSection,
    LocalPath,
    NotifySection,
    PublishSection,
    RetrySection,
    Section,
    TrainSection,
)
from pipelines.tasks import check_scheduler
from sunaug.errors import UsageError
from sunaug.field_errors import field_error
from sunaug.storage import local_or_url

__all__ = ["STEPS", "PipelineRecipe", "example_text", "load_pipeline"]

STEPS = ("fetch", "ingest", "labels", "train", "generate", "gate", "publish")
"""The steps in their order; each is a section of the recipe."""
_EXAMPLE = "nightly.yaml"

_PATHS = ("pointing", "degradation", "psf")


class PipelineRecipe(Section):
    """A recipe.

    Attributes
    ----------
    name : str
        Names the pipeline in reports, and the cube in a published version (``<name>.zarr``).
    work : pathlib.Path
        Folder for the state, training runs, sets that are being judged, and reports.
    cube : pathlib.Path, optional
        The observed cube; `ingest`, `labels` and `train` need one.
    bundle : str, optional
        Generator that is there before the first training; without one the first training starts from random weights.
    scheduler : str, optional
        Dask scheduler that carries ingest and generation: an address (``tcp://host:8786``), or ``processes``.
    workers : int, optional
        Local threads or processes.
    fetch, ingest, labels, train, generate, gate, publish
        The steps; one that is not there is left out.
    notify : list of NotifySection
    retry : RetrySection
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    work: LocalPath
    cube: LocalPath | None = None
    bundle: str | None = None
    scheduler: str | None = None
    workers: int | None = Field(None, ge=1)
    fetch: FetchSection | None = None
    ingest: IngestSection | None = None
    labels: LabelsSection | None = None
    train: TrainSection | None = None
    generate: GenerateSection | None = None
    gate: GateSection | None = None
    publish: PublishSection | None = None
    notify: list[NotifySection] = Field(default_factory=list)
    retry: RetrySection = RetrySection()

    @field_validator("scheduler")
    @classmethod
    def _scheduler(cls, scheduler: str | None) -> str | None:
        try:
            check_scheduler(scheduler)
        except UsageError as error:
            raise ValueError(str(error).rstrip(".")) from None
        if scheduler in ("threads", "synchronous"):
            raise ValueError(f"{scheduler!r} is what ingest does by itself and no way to generate; omit it")
        return scheduler

    @model_validator(mode="after")
    def _consistent(self) -> PipelineRecipe:
        if not self.steps:
            raise ValueError(f"it has no step: give at least one of {', '.join(STEPS)}")
        for step in ("ingest", "labels", "train"):
            if step in self.steps and self.cube is None:
                raise ValueError(f"cube: {step} needs one")
        for step, needed in (("gate", "generate"), ("publish", "gate")):
            if step in self.steps and needed not in self.steps:
                raise ValueError(f"{step}: needs a section {needed}")
        if self.generate and self.bundle is None and self.train is None:
            raise ValueError("generate: needs a bundle, or a section train that makes one")
        if self.fetch and self.fetch.channels and self.ingest is None:
            raise ValueError("fetch: images need a section ingest, whose folder they come into")
        if self.fetch and self.fetch.flares and self.labels is None:
            raise ValueError("fetch: a flare list needs a section labels, whose table it becomes")
        return self

    @property
    def steps(self) -> tuple[str, ...]:
        """Names of the steps that the recipe has, in their order."""
        return tuple(name for name in STEPS if getattr(self, name) is not None)


def example_text() -> str:
    """The recipe that comes with sunaug, to be copied and changed."""
    return (resources.files("pipelines") / "recipes" / _EXAMPLE).read_text(encoding="utf-8")


def load_pipeline(path: str | Path) -> PipelineRecipe:
    """Read a recipe and check all of it: its sections, and what they name.

    Parameters
    ----------
    path : str or pathlib.Path
        A YAML file.

    Raises
    ------
    UsageError
        If there is no such file, or it says something that no recipe can.
    """
    place = Path(path)
    try:
        content = yaml.safe_load(place.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such recipe; `sunaug run --example` prints one to start from.") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}); give a YAML file.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a recipe in YAML ({str(error).splitlines()[0]}).") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: not a recipe; its first level has to be names such as work, cube and generate.")
    try:
        recipe = PipelineRecipe.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"{path}: {field_error(error)}.") from error
    return _placed(recipe, place.resolve().parent)


def _placed(recipe: PipelineRecipe, home: Path) -> PipelineRecipe:
    """The recipe with its paths relative to its folder, and all that it names looked up once."""

    def near(path: Path) -> Path:
        return home / path

    def near_file(name: str) -> str:
        return str(home / local_or_url(name)) if name.endswith((".yaml", ".yml")) else name

    changed: dict[str, Any] = {"work": near(recipe.work)}
    if recipe.bundle:
        changed["bundle"] = _bundle(recipe.bundle, home)
    if recipe.cube:
        changed["cube"] = near(recipe.cube)
    if recipe.ingest:
        paths = {name: _table(recipe.ingest.options[name], home) for name in _PATHS if recipe.ingest.options.get(name)}
        options = {**recipe.ingest.options, **paths}
        changed["ingest"] = recipe.ingest.model_copy(update={"folder": near(recipe.ingest.folder), "options": options})
    if recipe.labels:
        tables = {"flares": near(recipe.labels.flares), "xrs": [near(one) for one in recipe.labels.xrs]}
        changed["labels"] = recipe.labels.model_copy(update=tables)
    if recipe.train:
        changed["train"] = recipe.train.model_copy(update={"recipe": near_file(recipe.train.recipe)})
        changed["train"].training(None)
    if recipe.gate:
        changed["gate"] = recipe.gate.model_copy(update={"policy": near_file(recipe.gate.policy)})
        changed["gate"].asked()
    if recipe.publish:
        changed["publish"] = recipe.publish.model_copy(update={"folder": near(recipe.publish.folder)})
    return recipe.model_copy(update=changed)


def _bundle(name: str, home: Path) -> str:
    """A bundle's folder where the recipe's own folder has one of that name; otherwise the name."""
    place = home / local_or_url(name)
    return str(place) if (place / "bundle.json").is_file() else name


def _table(name: str, home: Path) -> str:
    """A table beside the recipe; ``jsoc`` and ``aiapy`` are names and no files."""
    place = home / local_or_url(name)
    return str(place) if place.exists() else name
