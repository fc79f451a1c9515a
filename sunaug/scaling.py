"""Invertible intensity scaling: what a network sees, and the way back to the cube's units.

EUV intensities span four decades, and a network trained on them raw collapses; on their logarithm it learns. A scaling
maps each channel's range onto [-1, 1] and is part of the bundle, so that samples come back in the cube's units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from sunaug.errors import UsageError
from sunaug.lexicon import channel

__all__ = ["KINDS", "IntensityScaling", "default_scaling", "missing_values"]

KINDS = ("log", "asinh", "linear")
BROWSE_RANGE = (0.0, 255.0)
_ASINH_SOFTENING = 0.005

Array = TypeVar("Array", np.ndarray, torch.Tensor)


class IntensityScaling(BaseModel):
    """Maps intensities to [-1, 1] and back, channel by channel.

    Attributes
    ----------
    kind : {"log", "asinh", "linear"}, or a tuple of them
        One for all channels or one for each. ``log``: log10 of the intensity; ``asinh``: asinh(I / (0.005 high)),
        linear around zero (the form of the ITI pipelines); ``linear``: as it is, for data that are stretched already,
        for magnetograms and for the ablation.
    low, high : tuple of float
        Intensities that map to -1 and 1, one per channel, in the cube's units. Intensities below `low` are set to
        it (a logarithm has to end somewhere), but for channels whose `low` is below zero: they have a sign, and both
        sides are alike. Intensities above `high` map to more than 1 and are kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str | tuple[str, ...] = "log"
    low: tuple[float, ...]
    high: tuple[float, ...]

    @model_validator(mode="after")
    def _check(self) -> IntensityScaling:
        unknown = set(self.kinds) - set(KINDS)
        if unknown:
            raise ValueError(f"unknown intensity scaling {unknown.pop()!r}: one of {', '.join(KINDS)}")
        if len(self.low) != len(self.high) or any(a >= b for a, b in zip(self.low, self.high, strict=False)):
            raise ValueError("each channel needs a lower limit below its upper one")
        if len(self.kinds) != len(self.low):
            raise ValueError(f"{len(self.kinds)} kinds of scaling for {len(self.low)} channels")
        if any(kind == "log" and low <= 0 for kind, low in zip(self.kinds, self.low, strict=True)):
            raise ValueError("a logarithm needs lower limits above zero")
        return self

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind of each channel."""
        return (self.kind,) * len(self.low) if isinstance(self.kind, str) else self.kind

    @property
    def floor(self) -> NDArray[np.float32]:
        """Smallest intensity that a channel can hold, shape (channel,): `low`, or minus infinity for a signed one."""
        low = np.asarray(self.low, np.float32)
        return np.where(low < 0, np.float32(-np.inf), low)

    def _by_kind(self, values: Array, convert: Callable[[str, Array, Array, Array], Array]) -> Array:
        """`convert(kind, values, low, high)` for the channels of each kind."""
        if values.shape[-3] != len(self.low):
            raise UsageError(f"the scaling has {len(self.low)} channels, the images have {values.shape[-3]}.")
        limits = [np.asarray(one, np.float32)[:, None, None] for one in (self.low, self.high)]
        low, high = (torch.from_numpy(one).to(values) if isinstance(values, torch.Tensor) else one for one in limits)
        if len(set(self.kinds)) == 1:
            return convert(self.kinds[0], values, low, high)
        found = torch.empty_like(values) if isinstance(values, torch.Tensor) else np.empty_like(values)
        for kind in set(self.kinds):
            rows = [number for number, one in enumerate(self.kinds) if one == kind]
            found[..., rows, :, :] = convert(kind, values[..., rows, :, :], low[rows], high[rows])
        return found

    def scale(self, intensity: Array) -> Array:
        """Intensities (..., channel, y, x) in the cube's units to about [-1, 1]; NaN stays NaN."""
        xp: Any = torch if isinstance(intensity, torch.Tensor) else np

        def convert(kind: str, values: Array, low: Array, high: Array) -> Array:
            bounded = xp.where(low < 0, values, xp.maximum(values, low))
            if kind == "log":
                return 2 * xp.log(bounded / low) / xp.log(high / low) - 1
            if kind == "asinh":
                soft = _ASINH_SOFTENING * high
                base = xp.arcsinh(low / soft)
                return 2 * (xp.arcsinh(bounded / soft) - base) / (xp.arcsinh(high / soft) - base) - 1
            return 2 * (bounded - low) / (high - low) - 1

        return self._by_kind(intensity, convert)

    def unscale(self, scaled: Array) -> Array:
        """The inverse of `scale`: (..., channel, y, x) back to the cube's units."""
        xp: Any = torch if isinstance(scaled, torch.Tensor) else np

        def convert(kind: str, values: Array, low: Array, high: Array) -> Array:
            share = (values + 1) / 2
            if kind == "log":
                return low * xp.exp(share * xp.log(high / low))
            if kind == "asinh":
                soft = _ASINH_SOFTENING * high
                base = xp.arcsinh(low / soft)
                return soft * xp.sinh(base + share * (xp.arcsinh(high / soft) - base))
            return low + share * (high - low)

        return self._by_kind(scaled, convert)


def missing_values(channels: Sequence[str]) -> NDArray[np.float32]:
    """What a missing pixel of each channel is set to, scaled, shape (channel,): the darkest, or no field and no motion.

    Beyond the limb a magnetogram has no pixels; its lowest value would be a field there.
    """
    return np.asarray([0.0 if channel(name).signed else -1.0 for name in channels], np.float32)


def default_scaling(
    channels: Sequence[str], intensity_scale: str = "physical", kind: str | None = None
) -> IntensityScaling:
    """The scaling for a cube's channels.

    Parameters
    ----------
    channels : sequence of str
        Lexicon names.
    intensity_scale : str
        The cube's attribute: ``browse`` images are display counts 0-255, stretched by a logarithm or square root when
        they were made, so they are taken linearly.
    kind : {"log", "asinh", "linear"}, optional
        By default ``log`` for DN/s, ``linear`` for browse counts and for channels which have a sign.

    Raises
    ------
    UsageError
        If a channel has a sign and `kind` is ``log``.
    """
    known = [channel(name) for name in channels]
    if intensity_scale == "browse":
        low, high = ([limit] * len(known) for limit in BROWSE_RANGE)
        if kind == "log":
            low = [1.0] * len(known)
        return IntensityScaling(kind=kind or "linear", low=tuple(low), high=tuple(high))
    if kind == "log" and any(one.signed for one in known):
        raise UsageError("a magnetogram has a sign and cannot be log-scaled; choose the scaling asinh or linear.")
    kinds = tuple("linear" if one.signed else "log" for one in known)
    return IntensityScaling(
        kind=kind or (kinds[0] if len(set(kinds)) == 1 else kinds),
        low=tuple(one.clip[0] for one in known),
        high=tuple(one.clip[1] for one in known),
    )
