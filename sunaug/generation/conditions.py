"""Which conditions samples are made under: those of real frames, or of their rare tail."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sunaug.bundle import Bundle
from sunaug.errors import SunaugError, UsageError
from sunaug.flares import format_goes_class
from sunaug.generation.request import Request

__all__ = ["Conditions", "Support", "support", "tail_rows"]

JITTER_DEX = 0.1
"""Width of the kernel that smooths the real frames' joint distribution of fluxes."""

FEW_FRAMES, FEW_EVENTS = 50, 5
TOO_FEW_FRAMES, TOO_FEW_EVENTS = 20, 2
_EVENT_GAP = {"forecast_flux": np.timedelta64(48, "h"), "nowcast_flux": np.timedelta64(6, "h")}
"""Frames of the tail further apart than this belong to different events. Twice the window of the forecast, since frames
may be missing; for the nowcast, longer than a flare's decay."""

_NEIGHBOURS = 10
_BELOW = 1 - 1e-9


@dataclass(frozen=True)
class Support:
    """What a bundle has seen of a class: how many frames, of how many distinct events."""

    frames: int
    events: int

    @property
    def few(self) -> bool:
        """Whether samples will repeat what little there was."""
        return self.frames < FEW_FRAMES or self.events < FEW_EVENTS

    @property
    def too_few(self) -> bool:
        """Whether there was next to nothing to learn from."""
        return self.frames < TOO_FEW_FRAMES or self.events < TOO_FEW_EVENTS

    def __str__(self) -> str:
        return f"{self.frames:,} frame{'s' * (self.frames != 1)} of {self.events:,} event{'s' * (self.events != 1)}"


def _label_column(bundle: Bundle, request: Request) -> int:
    if request.label_name not in bundle.info.network.labels:
        known = ", ".join(bundle.info.network.labels) or "nothing"
        raise UsageError(
            f"{bundle.path}: conditioned on {known}, not on {request.label_name}; rare samples need a bundle that is."
        )
    return bundle.info.network.labels.index(request.label_name)


def tail_rows(bundle: Bundle, request: Request) -> NDArray[np.intp]:
    """Rows of the bundle's reference fluxes that conditions are drawn from: all of them, or the rare tail.

    Raises
    ------
    UsageError
        If the bundle is not conditioned on the label.
    SunaugError
        If no frame that it was trained on is that rare: it cannot know what one looks like.
    """
    fluxes = bundle.reference["fluxes"].numpy()
    if not request.rare:
        return np.arange(len(fluxes))
    column = fluxes[:, _label_column(bundle, request)]
    rows = np.flatnonzero(column >= request.border * _BELOW)
    if not len(rows):
        raise SunaugError(
            f"{bundle.path}: trained on no frame with {request.label_name} of {request.min_class} or more (its "
            f"strongest is {format_goes_class(column.max())}); ask for a lower --min-class."
        )
    return rows


def distinct_events(
    times: NDArray[np.datetime64] | None, flux: NDArray[np.float64], label: str
) -> list[NDArray[np.intp]]:
    """Frames by event. Frames of one forecast have the peak flux of one flare; a nowcast changes from hour to hour."""
    if times is None:
        return [np.flatnonzero(flux == value) for value in np.unique(flux)]
    same = label != "nowcast_flux"
    order = np.lexsort((times, flux)) if same else np.argsort(times, kind="stable")
    if not len(order):
        return []
    apart = np.diff(times[order]) > _EVENT_GAP.get(label, np.timedelta64(48, "h"))
    if same:
        apart |= np.diff(flux[order]) != 0
    return np.split(order, np.flatnonzero(apart) + 1)


def _events(bundle: Bundle, request: Request, rows: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    flux = bundle.reference["fluxes"].numpy()[rows, _label_column(bundle, request)]
    times = bundle.reference.get("times")
    when = times.numpy().view("datetime64[ns]")[rows] if times is not None and len(times) else None
    return distinct_events(when, flux, request.label_name)


def support(bundle: Bundle, request: Request) -> Support:
    """Frames and events that a bundle has seen of what a rare request asks for.

    Raises
    ------
    UsageError, SunaugError
        As `tail_rows`; and if there are fewer than 20 frames or 2 events, unless the request is forced.
    """
    rows = tail_rows(bundle, request)
    found = Support(len(rows), len(_events(bundle, request, rows)))
    if found.too_few and not request.force:
        raise SunaugError(
            f"{bundle.path}: has seen only {found} with {request.label_name} of {request.min_class} or more; what it "
            "would make are copies of these. Ask for a lower --min-class, or add --force."
        )
    return found


class Conditions:
    """Draws the fluxes that samples are made under.

    Parameters
    ----------
    bundle : Bundle
    request : Request
    """

    def __init__(self, bundle: Bundle, request: Request) -> None:
        labels = bundle.info.network.labels
        if request.conditions is not None and any(len(row) != len(labels) for row in request.conditions):
            raise UsageError(f"{bundle.path}: conditions need {len(labels)} fluxes each: {', '.join(labels)}.")
        self.given = request.conditions
        self.border = request.border
        self._rows = tail_rows(bundle, request)
        self._fluxes = bundle.reference["fluxes"].numpy()[self._rows]
        self._column = labels.index(request.label_name) if request.rare else None
        self._exponent: float | None = None
        if self._column is not None and request.tail == "power-law":
            flux = self._fluxes[:, self._column]
            peaks = np.array([flux[frames].max() for frames in _events(bundle, request, self._rows)])
            # Hill's estimator (1975), of events: frames would count a flare as often as it was seen coming.
            self._exponent = 1 / max(float(np.log(peaks / self.border).mean()), 1e-3)
            self._ceiling = float(peaks.max())

    def draw(self, sample: int, random: np.random.Generator) -> NDArray[np.float64]:
        """Fluxes (n_labels,) in W m-2 of one sample."""
        if self.given is not None:
            return np.asarray(self.given[sample % len(self.given)], np.float64)
        if self._exponent is None:
            row = int(random.integers(len(self._rows)))
        else:
            row, wanted = self._from_power_law(random)
        flux: NDArray[np.float64] = self._fluxes[row] * 10 ** (
            JITTER_DEX * random.standard_normal(self._fluxes.shape[1])
        )
        if self._column is not None:
            # Reflected at the border of the tail, so that smoothing leaves every condition in it.
            drawn = flux[self._column] if self._exponent is None else wanted
            flux[self._column] = drawn if drawn >= self.border else self.border**2 / drawn
        return flux

    def _from_power_law(self, random: np.random.Generator) -> tuple[int, float]:
        """A flux of the fitted tail, and a real frame of about that flux, which lends the other labels.

        No flux is drawn above the strongest that the bundle has seen.
        """
        assert self._exponent is not None
        above = (self.border / self._ceiling) ** self._exponent
        wanted = self.border * (1 - random.random() * (1 - above)) ** (-1 / self._exponent)
        gap = np.abs(np.log(self._fluxes[:, self._column] / wanted))
        nearest = np.argsort(gap, kind="stable")[:_NEIGHBOURS]
        return int(random.choice(nearest)), min(wanted, math.nextafter(self._ceiling, math.inf))
