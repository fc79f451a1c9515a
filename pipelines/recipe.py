"""The recipe of a pipeline: a YAML file that says what each step is to do, checked before any of them begins.

Paths in a recipe are relative to the recipe's own folder. A section that is left out is a step that is left out.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import pandas as pd
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipelines.options import IngestOptions
from pipelines.tasks import check_scheduler
from sunaug.errors import UsageError
from sunaug.fidelity.policy import Policy, load_policy
from sunaug.generation import Request
from sunaug.training.recipe import Recipe, load_recipe

__all__ = ["STEPS", "PipelineRecipe", "duration", "example_text", "load_pipeline"]

STEPS = ("fetch", "ingest", "labels", "train", "generate", "gate", "publish")
"""The steps in their order; each is a section of the recipe."""
_EXAMPLE = "nightly.yaml"

_NOT_AN_OPTION = ("flares", "xrs")
_PATHS = ("pointing", "degradation", "psf")


def duration(text: str | float) -> float:
    """Seconds of ``90``, ``60s``, ``15min`` or ``2h``.

    Raises
    ------
    ValueError
        If it is no duration, or a negative one.
    """
    given = str(text).strip()
    seconds = pd.to_timedelta(f"{given}s" if given.replace(".", "", 1).isdigit() else given, errors="coerce")
    if pd.isna(seconds) or seconds < pd.Timedelta(0):
        raise ValueError(f"{given!r} is no duration: write 60s, 15min or 2h")
    return float(seconds.total_seconds())


Seconds = Annotated[float, BeforeValidator(duration)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FetchSection(_Section):
    """Asks the archives for what is new: images into the folder of ``ingest``, flares into the table of ``labels``.

    Attributes
    ----------
    channels : list of str
        Channels of the images, none for a flare list alone.
    days : float
        How far back from now images are asked for. What is there already is not asked for again.
    cadence : str
    kind : {"synoptic", "full"}
    flares : {"swpc", "hek"}, optional
        Flare list that is fetched anew each time.
    flares_since : str
        First day of that list; labels before it are unknown.
    hek : str, optional
        Another address of the HEK.
    """

    channels: list[str] = ["aia94", "aia131", "aia171"]
    days: float = Field(3.0, gt=0)
    cadence: str = "1h"
    kind: Literal["synoptic", "full"] = "synoptic"
    flares: Literal["swpc", "hek"] | None = None
    flares_since: Annotated[str, BeforeValidator(str)] = "2010-05-01"
    hek: str | None = None


class IngestSection(_Section):
    """Files that appear in a folder are appended to the cube.

    Attributes
    ----------
    folder : pathlib.Path
        Watched with everything below it.
    settle : float
        Seconds since a file was last written before it is taken: one that is still coming is left for the next run.
    options : dict
        Fields of `pipelines.options.IngestOptions`, without the tables of flares.
    """

    folder: Path
    settle: Seconds = 60.0
    options: dict[str, Any] = {}

    @field_validator("options")
    @classmethod
    def _known_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        allowed = [name for name in IngestOptions.names() if name not in _NOT_AN_OPTION]
        if unknown := [name for name in options if name not in allowed]:
            raise ValueError(f"unknown option {unknown[0]!r}: one of {', '.join(allowed)} (flares belong to `labels`)")
        _checked(IngestOptions, options)
        return options


class LabelsSection(_Section):
    """Where the flare labels come from: those that are unknown are filled in once the tables cover them.

    Attributes
    ----------
    flares : pathlib.Path
        Flare catalogue (CSV).
    xrs : list of pathlib.Path
        GOES X-ray flux for ``nowcast_flux``; without it the catalogue serves.
    """

    flares: Path
    xrs: list[Path] = []


class TrainSection(_Section):
    """Fine-tunes the generator once there is enough to learn from.

    Attributes
    ----------
    new_frames : int
        Frames of the train months with known labels that the last training has not seen; with fewer nothing is trained.
    recipe : str
        Training recipe: a preset's name or a YAML file. ``start`` is set to the bundle that was published last.
    options : dict
        Fields that replace the training recipe's.
    accelerator : str
    minutes : float, optional
        Stop a training after this time and pack what there is.
    """

    new_frames: int = Field(ge=1)
    recipe: str = "few-shot"
    options: dict[str, Any] = {}
    accelerator: str = "auto"
    minutes: float | None = Field(None, ge=0)

    def training(self, start: str | None) -> Recipe:
        """The training recipe that begins with this bundle."""
        return load_recipe(self.recipe, **{"start": start, **self.options})


class GenerateSection(_Section):
    """What is made: fields of `sunaug.generation.Request`, rare unless told otherwise.

    Attributes
    ----------
    request : dict
        ``n``, ``min_class``, ``seed``, ``steer`` and others.
    device : str
    """

    request: dict[str, Any]
    device: str = "cpu"

    @field_validator("request")
    @classmethod
    def _known_fields(cls, request: dict[str, Any]) -> dict[str, Any]:
        given = {"rare": True, **request}
        _checked(Request, given)
        return given

    def asked(self) -> Request:
        """The request itself."""
        return Request(**self.request)


class GateSection(_Section):
    """What judges the set: ``policy`` is the name of one of sunaug's, or a YAML file."""

    policy: str = "default"

    def asked(self) -> Policy:
        """The policy itself."""
        return load_policy(self.policy)


class PublishSection(_Section):
    """Where versions are published: ``folder``, of which the newest ``keep`` are kept."""

    folder: Path
    keep: int = Field(5, ge=1)


class NotifySection(_Section):
    """A webhook that is told how a run ended.

    Attributes
    ----------
    url : str, optional
        Takes a JSON object by POST. Whoever knows it can post there, so that `url_env` is the better place.
    url_env : str, optional
        Name of the environment variable that holds the URL.
    on : list of str
        Ends of a run that are told: ``published``, ``done`` (something new, nothing published), ``idle``, ``refused``,
        ``failed``.
    attempts : int
    wait : float
        Seconds before the second attempt, doubled before each one after.
    timeout : float
        Seconds that one attempt may take.
    """

    url: str | None = None
    url_env: str | None = None
    on: list[Literal["published", "done", "idle", "refused", "failed"]] = ["published", "refused", "failed"]
    attempts: int = Field(3, ge=1)
    wait: Seconds = 2.0
    timeout: Seconds = 10.0

    @model_validator(mode="after")
    def _one_address(self) -> NotifySection:
        if (self.url is None) == (self.url_env is None):
            raise ValueError("give either url or url_env")
        if self.url is not None and urlsplit(self.url).scheme not in ("http", "https"):
            raise ValueError("url: an address that begins with http:// or https:// is needed")
        return self


class RetrySection(_Section):
    """How a scheduled step that failed is tried again: ``attempts`` in all, ``wait`` seconds first, then doubled."""

    attempts: int = Field(default=3, ge=1)
    wait: Seconds = 30.0


class PipelineRecipe(_Section):
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
    work: Path
    cube: Path | None = None
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
    notify: list[NotifySection] = []
    retry: RetrySection = RetrySection()

    @field_validator("scheduler")
    @classmethod
    def _scheduler(cls, scheduler: str | None) -> str | None:
        try:
            check_scheduler(scheduler)
        except UsageError as error:
            raise ValueError(str(error).rstrip(".")) from None
        if scheduler in ("threads", "synchronous"):
            raise ValueError(f"{scheduler!r} is what ingest does by itself and no way to generate; leave it out")
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


def _checked(kind: type, given: dict[str, Any]) -> None:
    """Let a class of another room check its own fields."""
    try:
        kind(**given)
    except UsageError as error:
        raise ValueError(str(error).rstrip(".")) from None
    except TypeError as error:
        raise ValueError(str(error).split("__init__() ")[-1]) from None


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
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path}: not a recipe in YAML ({str(error).splitlines()[0]}).") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: not a recipe; its first level has to be names such as work, cube and generate.")
    try:
        recipe = PipelineRecipe.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}: " for part in first["loc"])
        raise UsageError(f"{path}: {where}{first['msg'].removeprefix('Value error, ')}.") from None
    return _placed(recipe, place.resolve().parent)


def _placed(recipe: PipelineRecipe, home: Path) -> PipelineRecipe:
    """The recipe with its paths relative to its folder, and all that it names looked up once."""

    def near(path: Path) -> Path:
        return home / path.expanduser()

    def near_file(name: str) -> str:
        return str(home / name) if name.endswith((".yaml", ".yml")) else name

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
    return str(home / name) if (home / name / "bundle.json").is_file() else name


def _table(name: str, home: Path) -> str:
    """A table beside the recipe; ``jsoc`` and ``aiapy`` are names and no files."""
    return str(home / name) if (home / name).exists() else name
