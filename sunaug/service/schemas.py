"""What goes into the service and what comes out, checked by pydantic."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from sunaug.generation import Request
from sunaug.generation.request import MAX_SEED, MAX_STEPS

__all__ = ["FORMATS", "Batch", "BatchRequest", "Batches", "BundleSummary", "Health", "Problem"]

Format = Literal["zarr", "webdataset", "fits"]
FORMATS: tuple[Format, ...] = ("zarr", "webdataset", "fits")
State = Literal["queued", "running", "done", "failed"]
Steps = Annotated[float, Field(ge=-MAX_STEPS, le=MAX_STEPS, allow_inf_nan=False)]
Direction = Annotated[str, Field(pattern=r"^(flare|component=[0-9]{1,4}(@[0-9]{1,3}-[0-9]{1,3})?)$", max_length=24)]

_EXAMPLE: dict[str, JsonValue] = {"n": 100, "rare": True, "min_class": "M5.0", "seed": 7, "format": "zarr"}
_STEERED: dict[str, JsonValue] = {
    "n": 16,
    "seed": 1,
    "steer": {"flare": 1.5, "component=3": -2.0},
    "truncation": 0.8,
    "bundle": "sdo2012-64",
    "format": "webdataset",
}


class BatchRequest(BaseModel):
    """What is to be made; the fields mean what they mean in `sunaug.generation.Request`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE, _STEERED]})

    n: int = Field(ge=1, le=10_000_000, description="Number of samples; the service may allow fewer.")
    rare: bool = Field(False, description="Only flare-like frames, of `min_class` or more.")
    min_class: str = Field(
        "M1.0", pattern=r"^[ABCMX]([0-9]{1,3}(\.[0-9]{1,3})?)?$", description="Weakest GOES class of a rare sample."
    )
    label: Literal["forecast", "nowcast"] = Field("forecast", description="The label that `min_class` speaks of.")
    tail: Literal["empirical", "power-law"] = Field("empirical", description="Distribution of a rare sample's flux.")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="The same one gives the same samples.")
    steer: dict[Direction, Steps] | None = Field(
        None,
        max_length=16,
        description="Steps in standard deviations along directions: `flare`, `component=3`, "
        "`component=3@4-7` (layers 4 to 7 alone).",
    )
    truncation: float = Field(1.0, ge=0, le=2, allow_inf_nan=False, description="Below 1: safer and less varied.")
    critic: bool = Field(True, description="Keep only rare samples that the bundle's critic accepts.")
    force: bool = Field(False, description="Make a class of which the bundle has seen next to nothing.")
    bundle: str | None = Field(None, max_length=80, description="Name of a served bundle; the first one if left out.")
    format: Format = Field("zarr", description="Zarr zip, WebDataset tar or tar of FITS files.")
    ungated: bool = Field(
        False, description="Do without the gate: the set is marked as ungated for ever, in the files themselves."
    )

    def request(self) -> Request:
        """The request as generators take it."""
        return Request(**self.model_dump(exclude={"bundle", "format", "ungated"}))


class Batch(BaseModel):
    """A batch and how far it has come.

    A set that has not passed the gate is `done` and has no download.
    """

    id: str = Field(examples=["5f0c2b7d1c6f4c0e9a3b8d2e7f6a1b0c"])
    state: State
    n: int
    done: int = Field(description="Samples made so far.")
    format: Format
    request: dict[str, Any] = Field(description="As it was filed, with everything that was left out.")
    gate: dict[str, Any] | None = Field(
        None,
        description="What the gate says: `verdict` (`passed`, `refused`, `unknown`, `ungated`, `unjudged`), "
        "`sentence`, `account` (samples made, rejected and judged), `counts` of the checks and the figures "
        "behind them.",
    )
    error: str | None = Field(None, description="Why a batch failed.")
    bytes: int = Field(description="On the disk of the service: foreseen, and measured once it is done.")
    from_store: bool = Field(description="Whether the same set had been filed before.")
    created: datetime
    finished: datetime | None = None
    download: str | None = Field(None, description="Address of the file, once there is one.")
    stream: str


class Batches(BaseModel):
    """Batches of a key, the latest first."""

    batches: list[Batch]
    total: int


class BundleSummary(BaseModel):
    """A bundle that samples can be asked of."""

    name: str
    hash: str
    size: int = Field(description="Pixels.")
    channels: list[str]
    labels: list[str]
    intensity_scale: str
    components: int = Field(description="GANSpace components that can be steered along.")
    critic: bool
    gate: bool = Field(description="Whether it carries the real frames that samples are judged by.")
    training_ranges: list[list[str]] = Field(description="Times that no forecaster may be evaluated on.")


class Health(BaseModel):
    """Whether the service works."""

    status: Literal["ok", "no workers"]
    version: str
    workers: int
    queued: int
    running: int


class Problem(BaseModel):
    """What went wrong, in a sentence."""

    detail: str = Field(examples=["n: Input should be greater than or equal to 1"])
