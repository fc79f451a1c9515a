"""Invertible intensity scaling: what a network sees, and the way back to the cube's units.

EUV intensities span four decades, and a network trained on them raw collapses; on their logarithm it learns. A scaling
maps each channel's range onto [-1, 1] and is part of the bundle, so that samples come back in the cube's units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, model_validator

from sunaug.errors import UsageError
from sunaug.lexicon import channel

__all__ = ["KINDS", "IntensityScaling", "default_scaling"]

KINDS = ("log", "asinh", "linear")
BROWSE_RANGE = (0.0, 255.0)
_ASINH_SOFTENING = 0.005

Array = TypeVar("Array", np.ndarray, torch.Tensor)


class IntensityScaling(BaseModel):
    """Maps intensities to [-1, 1] and back, channel by channel.

    Attributes
    ----------
    kind : {"log", "asinh", "linear"}
        ``log``: log10 of the intensity; ``asinh``: asinh(I / (0.005 high)), linear around zero (the form of the ITI
        pipelines); ``linear``: as it is, for data that are stretched already and for the ablation.
    low, high : tuple of float
        Intensities that map to -1 and 1, one per channel, in the cube's units. Intensities below `low` are set to
        it (a logarithm has to end somewhere); those above `high` map to more than 1 and are kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = "log"
    low: tuple[float, ...]
    high: tuple[float, ...]

    @model_validator(mode="after")
    def _check(self) -> IntensityScaling:
        if self.kind not in KINDS:
            raise ValueError(f"unknown intensity scaling {self.kind!r}: one of {', '.join(KINDS)}")
        if len(self.low) != len(self.high) or any(a >= b for a, b in zip(self.low, self.high, strict=False)):
            raise ValueError("each channel needs a lower limit below its upper one")
        if self.kind == "log" and min(self.low) <= 0:
            raise ValueError("a logarithm needs lower limits above zero")
        return self

    def _limits(self, like: Array) -> tuple[Array, Array]:
        low, high = np.asarray(self.low, np.float32), np.asarray(self.high, np.float32)
        if like.shape[-3] != len(low):
            raise UsageError(f"the scaling has {len(low)} channels, the images have {like.shape[-3]}.")
        low, high = low[:, None, None], high[:, None, None]
        if isinstance(like, torch.Tensor):
            return torch.from_numpy(low).to(like), torch.from_numpy(high).to(like)
        return low, high

    def scale(self, intensity: Array) -> Array:
        """Intensities (..., channel, y, x) in the cube's units to about [-1, 1]; NaN stays NaN."""
        low, high = self._limits(intensity)
        xp: Any = torch if isinstance(intensity, torch.Tensor) else np
        bounded = xp.maximum(intensity, low)
        if self.kind == "log":
            return 2 * xp.log(bounded / low) / xp.log(high / low) - 1
        if self.kind == "asinh":
            soft = _ASINH_SOFTENING * high
            base = xp.arcsinh(low / soft)
            return 2 * (xp.arcsinh(bounded / soft) - base) / (xp.arcsinh(high / soft) - base) - 1
        return 2 * (bounded - low) / (high - low) - 1

    def unscale(self, scaled: Array) -> Array:
        """The inverse of `scale`: (..., channel, y, x) back to the cube's units."""
        low, high = self._limits(scaled)
        xp: Any = torch if isinstance(scaled, torch.Tensor) else np
        share = (scaled + 1) / 2
        if self.kind == "log":
            return low * xp.exp(share * xp.log(high / low))
        if self.kind == "asinh":
            soft = _ASINH_SOFTENING * high
            base = xp.arcsinh(low / soft)
            return soft * xp.sinh(base + share * (xp.arcsinh(high / soft) - base))
        return low + share * (high - low)


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
    """
    known = [channel(name) for name in channels]
    if intensity_scale == "browse":
        low, high = ([limit] * len(known) for limit in BROWSE_RANGE)
        if kind == "log":
            low = [1.0] * len(known)
        return IntensityScaling(kind=kind or "linear", low=tuple(low), high=tuple(high))
    signed = any(one.signed for one in known)
    if signed and kind == "log":
        raise UsageError("a magnetogram has a sign and cannot be log-scaled; choose the scaling asinh or linear.")
    return IntensityScaling(
        kind=kind or ("linear" if signed else "log"),
        low=tuple(one.clip[0] for one in known),
        high=tuple(one.clip[1] for one in known),
    )
