"""What a picture is made from and what comes back, checked by pydantic."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, WithJsonSchema

from sunaug.errors import UsageError
from sunaug.flares import parse_goes_class
from sunaug.generation.request import MAX_SEED
from sunaug.service.schemas import Direction, Steps

__all__ = ["MAX_FLUX", "Difference", "Picture", "Preview", "PreviewRequest", "Read", "Scene"]

MAX_FLUX = 1e-2
"""W m-2, X100: beyond any flare that was ever measured."""

PICTURE_WIDTHS = (64, 512)
_QUIET = ("quiet", "")
_EXAMPLE: dict[str, JsonValue] = {
    "bundle": "sdo2012-128",
    "seed": 7,
    "forecast": "M1.0",
    "nowcast": 2e-6,
    "steering": {"flare": 1.0, "component=4": -2.0},
    "truncation": 0.9,
    "channels": ["aia131"],
}


def _as_flux(value: float | str) -> float:
    """W m-2 of a GOES class, of ``quiet`` (no flare listed) or of a number."""
    if isinstance(value, str):
        try:
            value = 0.0 if value.strip().lower() in _QUIET else parse_goes_class(value)
        except UsageError as error:
            raise ValueError(str(error)) from None
    if not 0 <= value <= MAX_FLUX:
        raise ValueError(f"a flux lies between 0 and {MAX_FLUX:g} W m-2 (X100)")
    return value


_Number = Annotated[float, Field(allow_inf_nan=False)]
_Class = Annotated[str, Field(max_length=12)]
Flux = Annotated[
    _Number | _Class,
    AfterValidator(_as_flux),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": MAX_FLUX},
                {"type": "string", "pattern": r"^([ABCMX][1-9](\.[0-9])?|quiet)$", "maxLength": 12},
            ]
        }
    ),
]
"""W m-2; given as a number, as GOES class, or ``quiet``."""


class Scene(BaseModel):
    """One Sun: together with the bundle's weights this decides every pixel.

    It is sample 0 of the set that the same seed, conditions, steering and truncation give.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: str = Field(max_length=80, description="Name of a served bundle.")
    seed: int = Field(0, ge=0, le=MAX_SEED)
    forecast: Flux = Field(1e-5, description="Strongest flare of the next 24 hours.")
    nowcast: Flux = Field(1e-6, description="Peak of the hour before.")
    steering: dict[Direction, Steps] = Field(
        {}, max_length=40, description="Steps in standard deviations: `flare`, `component=3`, `component=3@4-7`."
    )
    truncation: float = Field(1.0, ge=0, le=2, allow_inf_nan=False)

    @property
    def key(self) -> str:
        """The same text for the same Sun."""
        steps = {name: value for name, value in sorted(self.steering.items()) if value}
        return self.model_copy(update={"steering": steps}).model_dump_json(include=set(Scene.model_fields))

    def fluxes(self, labels: tuple[str, ...]) -> tuple[float, ...]:
        """The condition in the order of a bundle's labels."""
        known = {"forecast_flux": float(self.forecast), "nowcast_flux": float(self.nowcast)}
        return tuple(known[name] for name in labels)


class PreviewRequest(Scene):
    """A Sun that is to be drawn."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [_EXAMPLE]})

    channels: list[Annotated[str, Field(max_length=24)]] | None = Field(
        None, min_length=1, max_length=20, description="All of the bundle's if left out."
    )
    width: int = Field(
        384, ge=PICTURE_WIDTHS[0], le=PICTURE_WIDTHS[1], description="Wished width; enlarged by whole factors only."
    )
    minus: Scene | None = Field(None, description="Another Sun of a bundle with the same channels, to subtract.")


class Picture(BaseModel):
    """One channel."""

    channel: str
    label: str = Field(examples=["AIA 131 Å"])
    png: str = Field(description="PNG in base64; `SYNTHETIC` stands in the picture.")


class Difference(BaseModel):
    """The Sun minus the other one, channel by channel."""

    limit: float = Field(description="Share of the colour table's range at which the difference's own colours end.")
    pictures: list[Picture]


class Read(BaseModel):
    """What the bundle's critic, which has seen real frames only, reads off the frame."""

    flux: dict[str, float] = Field(description="W m-2 by label.")
    goes_class: dict[str, str]
    distance: float = Field(description="From the nearest real frames; of real frames 1 % lie beyond 1.")


class Preview(BaseModel):
    """A drawn Sun; never an observation."""

    synthetic: bool = True
    bundle: str
    bundle_hash: str
    pictures: list[Picture]
    difference: Difference | None = None
    reading: Read | None = None
