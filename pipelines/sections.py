"""The sections of a pipeline's recipe, one for each step: what it can be told, checked before any step begins."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints
from urllib.parse import urlsplit

import pandas as pd
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from pipelines.options import IngestOptions
from sunaug.errors import UsageError
from sunaug.fidelity.policy import Policy, load_policy
from sunaug.field_errors import field_error
from sunaug.generation import Request
from sunaug.generation.request import OF_RARE
from sunaug.storage import is_remote, local_or_url
from sunaug.training.recipe import Recipe, load_recipe

__all__ = [
    "FetchSection",
    "GateSection",
    "GenerateSection",
    "IngestSection",
    "LabelsSection",
    "LocalPath",
    "NotifySection",
    "PublishSection",
    "RetrySection",
    "Section",
    "TrainSection",
    "duration",
]

_NOT_AN_OPTION = ("flares", "xrs")


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


def local_path(given: Any) -> Any:
    """A path with ``~`` expanded.

    Raises
    ------
    ValueError
        If it is a URL: a pipeline keeps its files on a disk.
    """
    if not isinstance(given, str | Path):
        return given
    place = local_or_url(given)
    if is_remote(place):
        raise ValueError(f"{given} is a URL, and a pipeline keeps its files on a disk; give a local path")
    return Path(place)


LocalPath = Annotated[Path, BeforeValidator(local_path)]


class Section(BaseModel):
    """A part of a recipe; what it does not know is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FetchSection(Section):
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


class IngestSection(Section):
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

    folder: LocalPath
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


class LabelsSection(Section):
    """Where the flare labels come from: those that are unknown are filled in once the tables cover them.

    Attributes
    ----------
    flares : pathlib.Path
        Flare catalogue (CSV).
    xrs : list of pathlib.Path
        GOES X-ray flux for ``nowcast_flux``; without it the catalogue serves.
    """

    flares: LocalPath
    xrs: list[LocalPath] = []


class TrainSection(Section):
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


class GenerateSection(Section):
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
        if not given["rare"] and (idle := [name for name in request if name in OF_RARE]):
            raise ValueError(f"{idle[0]}: has no effect without rare: true; omit it")
        return given

    def asked(self) -> Request:
        """The request itself."""
        return Request(**self.request)


class GateSection(Section):
    """What judges the set: ``policy`` is the name of one of sunaug's, or a YAML file."""

    policy: str = "default"

    def asked(self) -> Policy:
        """The policy itself."""
        return load_policy(self.policy)


class PublishSection(Section):
    """Where versions are published: ``folder``, of which the newest ``keep`` are kept."""

    folder: LocalPath
    keep: int = Field(5, ge=1)


class NotifySection(Section):
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


class RetrySection(Section):
    """How a scheduled step that failed is tried again: ``attempts`` in all, ``wait`` seconds first, then doubled."""

    attempts: int = Field(default=3, ge=1)
    wait: Seconds = 30.0


def _checked(kind: Any, given: dict[str, Any]) -> None:
    """Let a dataclass of another room check its own fields, and what it does not check itself: names and types."""
    known = {one.name: one for one in fields(kind) if one.init}
    if unknown := [name for name in given if name not in known]:
        raise ValueError(f"{unknown[0]}: unknown name, it is none of {', '.join(known)}")
    required = (name for name, one in known.items() if one.default is MISSING and one.default_factory is MISSING)
    if missing := [name for name in required if name not in given]:
        raise ValueError(f"{missing[0]}: is missing")
    wrong: Exception | None = None
    try:
        kind(**given)
    except UsageError as error:
        raise ValueError(_as_fields(str(error)).rstrip(".")) from error
    except TypeError as error:  # of a comparison with a value of another type, which is looked for now
        wrong = error
    hints = get_type_hints(kind)
    for name, value in given.items():
        _check_type(name, value, hints[name])
    if wrong is not None:
        raise wrong


def _as_fields(sentence: str) -> str:
    """A sentence about options with the names that a recipe has for them."""
    sentence = sentence.replace("--no-critic", "critic: false").replace("--rare", "rare: true")
    return re.sub(r"--([a-z][a-z-]*)", lambda option: option[1].replace("-", "_"), sentence)


def _check_type(name: str, value: Any, hint: Any) -> None:
    """Refuse a value of another type than a field has; text is no number, not even that of one."""
    try:
        made = TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{name}: {field_error(error)}") from error
    if isinstance(value, str) and not isinstance(made, str | Path):
        kind = "neither true nor false" if isinstance(made, bool) else "text and not a number"
        raise ValueError(f"{name}: {value!r} is {kind}")
