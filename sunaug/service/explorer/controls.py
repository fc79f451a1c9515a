"""Which sliders a bundle has, and what each of them changes: measured, never named by hand.

What a direction changes is measured by `sunaug directions BUNDLE --out FOLDER`, which takes minutes, and kept as
``effects.json``. The page takes it from the bundle's folder, or, for the bundles that come with sunaug, from this
package, by the bundle's hash.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from sunaug.bundle import Bundle
from sunaug.fidelity.report.words import label as words
from sunaug.flares import format_goes_class
from sunaug.latent import FLARE
from sunaug.latent.effects import Effects
from sunaug.lexicon import channel

__all__ = ["Change", "Condition", "Controls", "DirectionControl", "Label", "controls_of", "read_effects"]

COMPONENTS = 8
STRONGEST = 3
_TITLES = {
    "forecast_flux": "Forecast: strongest flare of the next 24 hours",
    "nowcast_flux": "Nowcast: peak of the hour before",
}


class Change(BaseModel):
    """What one standard deviation along a direction changes."""

    measure: str = Field(examples=["Total intensity: 94 Å"])
    change: float = Field(description="In units of the spread between samples.")


class DirectionControl(BaseModel):
    """A direction that can be steered along."""

    name: str = Field(examples=["component=0", "flare"])
    title: str
    explained: float | None = Field(None, description="Share of the variance of W.")
    changes: list[Change] = Field(description="The largest first; empty where nobody has measured them.")


class Condition(BaseModel):
    """A flux that the bundle is conditioned on."""

    name: str = Field(examples=["forecast_flux"])
    title: str
    strongest: float = Field(description="The strongest that the bundle has seen, W m-2.")
    strongest_class: str


class Label(BaseModel):
    """A channel."""

    name: str
    label: str


class Controls(BaseModel):
    """All that the page needs to know of a bundle."""

    bundle: str
    bundle_hash: str
    size: int
    channels: list[Label]
    conditions: list[Condition]
    directions: list[DirectionControl]
    rare_steps: float | None = Field(None, description="Steps along the flare direction that rare samples take.")
    critic: bool


def read_effects(bundle: Bundle) -> Effects | None:
    """What the directions of a bundle change, as it was measured; None where nobody has."""
    kept = (bundle.path / "effects.json", Path(__file__).with_name("measured") / f"{bundle.hash[:16]}.json")
    found = next((path for path in kept if path.is_file()), None)
    if found is None:
        return None
    content = json.loads(found.read_text())
    return Effects(
        directions=content["directions"],
        ranges={name: (int(first), int(last)) for name, (first, last) in content["ranges"].items()},
        measures=content["measures"],
        units=content["units"],
        change=_array(content["change_per_stddev"]),
        agreement=_array(content["agreement"]),
        spread=_array(content["spread"]),
    )


def _array(values: list[Any]) -> np.ndarray:
    return np.array(values, dtype=np.float64)  # null becomes NaN


def controls_of(name: str, bundle: Bundle) -> Controls:
    """The controls of a bundle that is served under a name."""
    info, labels = bundle.info, bundle.info.network.labels
    strongest = bundle.reference["fluxes"].numpy().max(axis=0) if labels else ()
    calibrated = bundle.directions.get("flare_calibration")
    return Controls(
        bundle=name,
        bundle_hash=bundle.hash,
        size=info.network.size,
        channels=[Label(name=one, label=channel(one).label) for one in info.channels],
        conditions=[
            Condition(name=one, title=_TITLES[one], strongest=float(flux), strongest_class=format_goes_class(flux))
            for one, flux in zip(labels, strongest, strict=True)
        ],
        directions=_directions(bundle),
        rare_steps=None if calibrated is None else float(calibrated[0]),
        critic=bundle.critic is not None,
    )


def _directions(bundle: Bundle) -> list[DirectionControl]:
    if not bundle.directions:
        return []
    effects = read_effects(bundle)

    def control(name: str, title: str, explained: float | None = None) -> DirectionControl:
        found = effects.strongest(name, count=STRONGEST) if effects and name in effects.directions else []
        changes = [Change(measure=words(measure), change=change) for measure, change in found]
        return DirectionControl(name=name, title=title, explained=explained, changes=changes)

    shares = bundle.directions["explained"][:COMPONENTS].tolist()
    components = [control(f"component={number}", f"Component {number}", share) for number, share in enumerate(shares)]
    return [control(FLARE, "Flare direction"), *components]
