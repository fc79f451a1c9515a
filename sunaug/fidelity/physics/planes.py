"""The channels of a batch of frames, prepared once for all measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sunaug.errors import UsageError
from sunaug.fidelity.physics.columns import Column
from sunaug.lexicon import Channel, channel
from sunaug.measures.limb import Geometry
from sunaug.measures.regions import centre_distance
from sunaug.scaling import default_scaling

__all__ = ["FAINTEST", "Plane", "planes"]

FAINTEST = 1e-6
"""Means below this, in the cube's units, are taken as this before a logarithm."""


@dataclass(frozen=True)
class Plane:
    """One channel of some frames.

    Attributes
    ----------
    channel : Channel
    browse : bool
        Display counts rather than physical units.
    geometry : Geometry
    intensity : ndarray of float32, shape (n, y, x)
        In the cube's units. A missing pixel has the median of the frame's disk where it is on the disk, the channel's
        lowest value off it.
    there : ndarray of bool, shape (n, y, x), or None
        Pixels that were not missing; None where none was.
    """

    channel: Channel
    browse: bool
    geometry: Geometry
    intensity: NDArray[np.float32]
    there: NDArray[np.bool_] | None

    @property
    def name(self) -> str:
        """Lexicon name."""
        return self.channel.name

    @property
    def unit(self) -> str:
        """Unit of `values`: counts / 255, dex, or the channel's own for a magnetogram in physical units."""
        return "counts / 255" if self.browse else self.channel.unit if self.channel.signed else "dex"

    @cached_property
    def values(self) -> NDArray[np.float32]:
        """The intensity in `unit`, shape (n, y, x); a logarithm ends at the channel's lowest value."""
        if self.browse:
            return self.intensity / np.float32(255)
        if self.channel.signed:
            return self.intensity
        return np.log10(np.maximum(self.intensity, np.float32(self.channel.clip[0])))

    @cached_property
    def display(self) -> NDArray[np.float32]:
        """The frames as they are shown, from 0 to 1 over the channel's range, shape (n, y, x)."""
        if self.browse:
            return np.clip(self.values, 0, 1)
        low, high = self.channel.clip
        if not self.channel.signed:
            low, high = np.log10(low), np.log10(high)
        return np.clip((self.values - np.float32(low)) / np.float32(high - low), 0, 1)

    def level(self, mean: NDArray[np.floating]) -> NDArray[np.floating]:
        """A mean of the intensity in `unit`: the mean is taken before the logarithm."""
        if self.browse:
            return mean / 255
        return mean if self.channel.signed else np.log10(np.maximum(mean, FAINTEST))

    def blank(self) -> NDArray[np.bool_]:
        """Frames without any pixel of this channel, shape (n,)."""
        if self.there is None:
            return np.zeros(len(self.intensity), bool)
        return np.asarray(~self.there.any(axis=(1, 2)))

    def scalar(self, values: NDArray[np.floating], unit: str, family: str) -> Column:
        """A column with one number per frame; NaN for blank frames."""
        return Column(np.where(self.blank(), np.nan, values).astype(np.float32), "scalar", unit, family=family)

    def curve(
        self, values: NDArray[np.floating], unit: str, positions: NDArray[np.float64], axis: str, family: str
    ) -> Column:
        """A column with a curve per frame; NaN for blank frames."""
        kept = np.where(self.blank()[:, None], np.nan, values).astype(np.float32)
        return Column(kept, "curve", unit, positions, axis, family=family)


def planes(
    intensity: NDArray[np.floating], channels: Sequence[str], intensity_scale: str, geometry: Geometry
) -> list[Plane]:
    """The channels of a batch.

    Parameters
    ----------
    intensity : ndarray, shape (n, channel, y, x)
        In the cube's units; NaN is missing.
    channels : sequence of str
        Lexicon names.
    intensity_scale : {"physical", "browse"}
        The cube's attribute.
    geometry : Geometry

    Raises
    ------
    UsageError
        If the frames do not fit the channels and the geometry, or the scale is unknown.
    """
    intensity = np.asarray(intensity)
    wanted = (len(channels), geometry.size, geometry.size)
    if intensity.ndim != 4 or intensity.shape[1:] != wanted:
        raise UsageError(
            f"frames of shape {intensity.shape} do not fit {len(channels)} channels of {geometry.size} pixels: "
            f"give (n, {', '.join(map(str, wanted))})."
        )
    if intensity_scale not in ("physical", "browse"):
        raise UsageError(f"unknown intensity scale {intensity_scale!r}: physical or browse.")
    browse = intensity_scale == "browse"
    disk = centre_distance(geometry) <= 1
    prepared = []
    for index, name in enumerate(channels):
        found = channel(name)
        plane = np.array(intensity[:, index], np.float32)
        there = np.isfinite(plane)
        whole = bool(there.all())
        if not whole:
            zero = 127.5 if browse else 0.0
            lowest = zero if found.signed else default_scaling([name], intensity_scale).low[0]
            for image, present in zip(plane, there, strict=True):
                if present.all():
                    continue
                measured = image[present & disk]
                image[~present & disk] = np.median(measured) if measured.size else lowest
                image[~present & ~disk] = lowest
        prepared.append(Plane(found, browse, geometry, plane, None if whole else there))
    return prepared
