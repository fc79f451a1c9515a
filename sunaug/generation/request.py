"""What is to be made: number, rarity, seed, conditions and steering, checked."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from sunaug.errors import UsageError
from sunaug.flares import parse_goes_class
from sunaug.latent import FLARE

__all__ = ["OF_RARE", "Request", "parse_steer", "read_conditions"]

MAX_SEED = 2**63 - 1
TAILS = ("empirical", "power-law")
MAX_STEPS = 20.0
_DIRECTION = re.compile(rf"{FLARE}|component=\d+(@\d+-\d+)?")


def parse_steer(text: str) -> tuple[str, float]:
    """Direction and steps of ``flare:+1.5``, ``component=3:+2.5`` or ``component=3@4-7:+2.5`` (layers 4 to 7 alone).

    Raises
    ------
    UsageError
        If it is none of these.
    """
    name, separator, steps = text.rpartition(":")
    try:
        value = float(steps)
    except ValueError:
        value = math.nan
    if not separator and math.isfinite(value):
        name = FLARE  # a number alone
    if not _DIRECTION.fullmatch(name) or not abs(value) <= MAX_STEPS:
        raise UsageError(
            f"--steer {text}: give flare:+1.5 or component=3:+2.5, in standard deviations up to {MAX_STEPS:g}; "
            "component=3@4-7:+2.5 steers layers 4 to 7 alone."
        )
    return name, value


def _flux(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return parse_goes_class(text)
    if not 0 <= value < 1:
        raise UsageError(f"{text} is no flux in W m-2")
    return value


def read_conditions(path: str | Path, labels: Sequence[str]) -> tuple[tuple[float, ...], ...]:
    """Conditions from a CSV file with one column for each label, as W m-2 or as GOES class.

    Parameters
    ----------
    path : str or pathlib.Path
    labels : sequence of str
        Names of the columns that are wanted, in their order.

    Raises
    ------
    UsageError
        If the file cannot be read, lacks a column or holds something that is no flux.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in labels if name not in (reader.fieldnames or ())]
            if missing:
                raise UsageError(f"{path}: no column {' and '.join(missing)}; its first line has to name the columns.")
            rows = []
            for number, row in enumerate(reader, start=2):
                try:
                    rows.append(tuple(_flux((row[name] or "").strip()) for name in labels))
                except UsageError as error:
                    raise UsageError(f"{path}, line {number}: {error}") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}); give a CSV file.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read as CSV ({error}); give a CSV file in UTF-8.") from error
    if not rows:
        raise UsageError(f"{path}: holds no condition; give a line for each.")
    return tuple(rows)


OF_RARE = ("min_class", "label", "tail", "critic", "force")
"""Fields that say something of rare samples alone."""

_ASKED_OF_RARE = {"min_class": "M1.0", "label": "forecast", "tail": "empirical"}
"""Those that say what samples are wanted, with what they are where nothing is said."""


@dataclass(frozen=True)
class Request:
    """What is to be made.

    Attributes
    ----------
    n : int
        Number of samples.
    rare : bool
        Draw conditions from the real tail, steer along the flare direction, and keep what the bundle's critic accepts.
    min_class : str
        Weakest GOES class of the label in a rare sample.
    label : {"forecast", "nowcast"}
        The label that `min_class` speaks of.
    seed : int
    steer : float or mapping of str to float, optional
        Steps in standard deviations along the bundle's directions: ``{"flare": 1.5, "component=3": -2,
        "component=2@4-7": 1}``, the last one in layers 4 to 7 alone. A number is that of the flare direction. Where
        nothing is said of it, rare samples take the bundle's calibrated value.
    truncation : float
        Share of the way from the mean of the condition (0) to the sample (1); above 1 beyond it.
    tail : {"empirical", "power-law"}
        Distribution of the label's flux in rare samples: that of the real tail, smoothed, or a power law fitted to its
        events.
    conditions : tuple of tuple of float, optional
        Fluxes in W m-2, one tuple for each sample in the order of the bundle's labels; they are taken in turn. In place
        of those of real frames.
    critic : bool
        Keep only rare samples that the critic accepts.
    force : bool
        Make rare samples of a class of which the bundle has seen next to nothing.
    """

    n: int
    rare: bool = False
    min_class: str = "M1.0"
    label: str = "forecast"
    seed: int = 0
    steer: float | Mapping[str, float] | None = None
    truncation: float = 1.0
    tail: str = "empirical"
    conditions: tuple[tuple[float, ...], ...] | None = field(default=None, repr=False)
    critic: bool = True
    force: bool = False

    def __post_init__(self) -> None:
        _check_types(self)
        if self.n < 1:
            raise UsageError(f"--n {self.n}: ask for at least one sample.")
        if not 0 <= self.seed <= MAX_SEED:
            raise UsageError(f"--seed {self.seed}: give a whole number from 0 to {MAX_SEED}.")
        if self.label not in ("forecast", "nowcast"):
            raise UsageError(f"--label {self.label}: choose forecast or nowcast.")
        if self.tail not in TAILS:
            raise UsageError(f"--tail {self.tail}: choose {' or '.join(TAILS)}.")
        if not 0 <= self.truncation <= 2:
            raise UsageError(f"--truncation {self.truncation:g}: give a number from 0 to 2; 1 leaves samples alone.")
        if self.rare and self.conditions is not None:
            raise UsageError("--rare draws its conditions from the real tail: omit it or --condition-file.")
        parse_goes_class(self.min_class)
        for name, common in _ASKED_OF_RARE.items() if not self.rare else ():
            if getattr(self, name) != common:
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"{option} goes with --rare: add it, or omit {option}.")
        for name, value in self.steering.items():
            parse_steer(f"{name}:{value:g}")

    @classmethod
    def from_described(cls, kept: Mapping[str, Any]) -> Request:
        """The request that a synthetic cube's attribute ``request`` tells of, see `described`.

        Its class is made whatever the bundle has seen of it, since the cube is there.
        """
        rows = kept.get("conditions")
        names = ("n", "seed", "rare", "truncation", "min_class", "label", "tail", "critic")
        return cls(
            **{name: kept[name] for name in names if name in kept},
            steer=dict(kept["steering"]),
            conditions=None if rows is None else tuple(tuple(float(one) for one in row) for row in rows),
            force=bool(kept.get("rare")),
        )

    @property
    def steering(self) -> dict[str, float]:
        """Steps by direction, as asked for."""
        if self.steer is None:
            return {}
        if isinstance(self.steer, Mapping):
            return {name: float(value) for name, value in self.steer.items()}
        return {FLARE: float(self.steer)}

    @property
    def label_name(self) -> str:
        """The label as a cube names it."""
        return f"{self.label}_flux"

    @property
    def border(self) -> float:
        """Flux of `min_class`, W m-2."""
        return parse_goes_class(self.min_class)

    def described(self, steering: Mapping[str, float]) -> dict[str, Any]:
        """The request as a cube's attribute keeps it; `steering` is what is done in the end."""
        kept: dict[str, Any] = {"n": self.n, "seed": self.seed, "rare": self.rare, "steering": dict(steering)}
        if self.truncation != 1:
            kept["truncation"] = self.truncation
        if self.rare:
            kept |= {"min_class": self.min_class, "label": self.label, "tail": self.tail, "critic": self.critic}
        if self.conditions is not None:
            kept["conditions"] = [list(row) for row in self.conditions]
        return kept


def _check_types(request: Request) -> None:
    """Refuse fields of another type, in the words of whoever writes a recipe.

    Raises
    ------
    UsageError
        If there is one.
    """
    for name in ("n", "seed"):
        value = getattr(request, name)
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise UsageError(f"{name}: {value!r} is not a whole number.")
    if not _is_number(request.truncation):
        raise UsageError(f"truncation: {request.truncation!r} is not a number.")
    for name in ("rare", "critic", "force"):
        if not isinstance(getattr(request, name), bool):
            raise UsageError(f"{name}: {getattr(request, name)!r} is neither true nor false.")
    for name in ("min_class", "label", "tail"):
        if not isinstance(getattr(request, name), str):
            raise UsageError(f"{name}: {getattr(request, name)!r} is not text.")
    steps = request.steer.items() if isinstance(request.steer, Mapping) else [("flare", request.steer or 0)]
    for direction, value in steps:
        if not isinstance(direction, str) or not _is_number(value):
            raise UsageError(f"steer: {direction}: {value!r} is not a number; give standard deviations by direction.")
    if request.conditions is None:
        return
    try:
        right = bool(len(request.conditions)) and all(all(map(_is_number, row)) for row in request.conditions)
    except TypeError:
        right = False
    if not right:
        raise UsageError("conditions: not a list of rows with a flux (W m-2) for each label.")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
