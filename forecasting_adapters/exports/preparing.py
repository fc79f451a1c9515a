"""Frames of a cube in the units, the size and the geometry that another project's loader expects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from forecasting_adapters.exports.contract import Ecosystem, Frame, Plan
from sunaug.calibrate.registration import resample
from sunaug.calibrate.stretch import STRETCHES, TOP_LEVEL, Stretch, stretch_step
from sunaug.errors import UsageError

__all__ = ["BORDERS", "Preparation", "prepare", "prepared_frames"]

BORDERS = ("continue", "missing")
_SAME = 1e-6
"""Share by which radii may differ and still be the same: rounding."""
_BATCH_BYTES = 2**25


@dataclass(frozen=True)
class Preparation:
    """What is done to each frame on its way out.

    Attributes
    ----------
    channels : tuple of str
        Lexicon names, in the cube's order.
    rows : tuple of int
        Their places in the cube.
    size_before, radius_before, size, radius : int or float
        Width and disk radius in pixels, of the cube and of what is handed over.
    scale_before, scale : str
        Intensity scale: ``browse``, ``physical``, or ``browse-inverted`` for approximate DN/s.
    border : {"continue", "missing"}
        What lies beyond the cube's field where the other one is wider: its outermost pixels, or NaN.
    """

    channels: tuple[str, ...]
    rows: tuple[int, ...]
    size_before: int
    radius_before: float
    size: int
    radius: float
    scale_before: str
    scale: str
    border: str

    @property
    def resampled(self) -> bool:
        """Whether frames have to be resampled."""
        return self.size != self.size_before or not np.isclose(self.radius, self.radius_before, rtol=_SAME, atol=0)

    @property
    def enlargement(self) -> float:
        """How many pixels of the new frame one of the cube spans."""
        return self.radius / self.radius_before

    @property
    def field(self) -> float:
        """Half the width of the cube's frames in solar radii."""
        return self.size_before / 2 / self.radius_before

    @property
    def widened(self) -> bool:
        """Whether the new frame shows more of the sky than the cube does."""
        return self.resampled and self.size / 2 / self.radius > self.field * (1 + _SAME)

    def apply(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """One frame (channel, y, x) of the cube, all its channels, as it is handed over."""
        frame = images[list(self.rows)]
        if self.scale_before == "browse" and self.scale != "browse":
            counts = np.clip(frame, 0, TOP_LEVEL)
            frame = np.stack([STRETCHES[name].intensity(one) for name, one in zip(self.channels, counts, strict=True)])
        if self.resampled:
            frame = np.stack([self._resample(one) for one in frame])
        if self.scale == "browse" and self.scale_before != "browse":
            frame = np.stack([_levels(STRETCHES[name], one) for name, one in zip(self.channels, frame, strict=True)])
        return np.ascontiguousarray(frame, dtype=np.float32)

    def _resample(self, image: NDArray[np.float32]) -> NDArray[np.float64]:
        step = 1 / self.enlargement
        margin = ceil(max(0.0, (self.size * step - self.size_before) / 2)) + 1 if self.border == "continue" else 0
        padded = np.pad(image, margin, mode="edge") if margin else image
        middle = (len(padded) - 1) / 2
        return resample(padded, (middle, middle), np.eye(2) * step, self.size).frame

    def steps(self) -> list[dict[str, Any]]:
        """What is done, as the note keeps it."""
        found: list[dict[str, Any]] = []
        if self.scale_before == "browse" and self.scale != "browse":
            known = stretch_step()
            found.append(known | {"channels": {name: known["channels"][name] for name in self.channels}})
        if self.resampled:
            found.append(
                {
                    "step": "resample",
                    "method": "mean over each pixel's footprint",
                    "size": [self.size_before, self.size],
                    "disk_radius": [self.radius_before, self.radius],
                    "beyond_the_cube": self.border if self.widened else None,
                }
            )
        if self.scale == "browse" and self.scale_before != "browse":
            found.append({"step": "stretch", "applies": "display stretch of browse images, 0 to 255"})
        return found

    def warnings(self) -> list[str]:
        """What a user has to know of the frames, a sentence each."""
        found = []
        if self.scale_before == "browse" and self.scale != "browse":
            found.append(f"display counts turned back into approximate DN/s: {_errors(self.channels)}.")
        if self.resampled and self.enlargement > 1 + _SAME:
            found.append(f"upsampled {self.enlargement:.3g} times: holds no finer detail than the cube.")
        if self.widened:
            beyond = "its outermost pixels are continued" if self.border == "continue" else "there are no data"
            found.append(
                f"beyond {self.field:.2f} solar radii, where the cube ends, {beyond}: mask real frames there as well, "
                "or a model can tell both kinds apart by it."
            )
        return found


def prepare(cube: xr.Dataset, ecosystem: Ecosystem, size: int | None, border: str, name: str) -> Preparation:
    """How the frames of a cube become those of an ecosystem.

    Parameters
    ----------
    cube : xarray.Dataset
    ecosystem : Ecosystem
    size : int, optional
        Width wanted where the ecosystem takes any; by default the cube's.
    border : {"continue", "missing"}
    name : str
        What messages call the cube.

    Raises
    ------
    UsageError
        If the size is not the ecosystem's, it has no place for any channel, or a channel has no known stretch.
    """
    if border not in BORDERS:
        raise UsageError(f"--border {border}: choose {' or '.join(BORDERS)}.")
    if size is not None and (size < 1 or ecosystem.size not in (None, size)):
        fixed = f"{ecosystem.name} takes {ecosystem.size} pixels" if ecosystem.size else "give one of 1 or more"
        raise UsageError(f"--size {size}: {fixed}.")
    stored = [str(one) for one in cube["channel"].values]
    channels = tuple(one for one in stored if one in ecosystem.channels)
    if not channels:
        raise UsageError(
            f"{name}: has the channels {', '.join(stored)}, and {ecosystem.name} has a place for "
            f"{', '.join(ecosystem.channels)} only; take another cube or another layout."
        )
    size_before, radius_before = int(cube.sizes["x"]), float(cube.attrs["solar_radius_pixels"])
    width = ecosystem.size or size or size_before
    radius = ecosystem.disk_radius or (
        ecosystem.disk_share * width if ecosystem.disk_share else radius_before * width / size_before
    )
    before = str(cube.attrs["intensity_scale"])
    scale = _scale(before, ecosystem.intensity_scale)
    if scale != before:
        unknown = [one for one in channels if one not in STRETCHES]
        if unknown:
            raise UsageError(
                f"{name}: is {before}, {ecosystem.name} takes {ecosystem.intensity_scale}, and the display stretch of "
                f"{', '.join(unknown)} is not known; leave these channels out."
            )
    rows = tuple(stored.index(one) for one in channels)
    return Preparation(channels, rows, size_before, radius_before, width, radius, before, scale, border)


def prepared_frames(cube: xr.Dataset, rows: NDArray[np.int64], plan: Plan, how: Preparation) -> Iterator[Frame]:
    """The frames of some rows of a cube one by one; a few are read at a time."""
    batch = int(np.clip(_BATCH_BYTES // cube["intensity"][0].nbytes, 1, 256))
    for first in range(0, len(rows), batch):
        images = cube["intensity"].isel(sample=rows[first : first + batch]).values
        for place, image in enumerate(images, first):
            yield Frame(
                number=int(plan.numbers[place]),
                time=plan.times[place],
                image=how.apply(image),
                forecast_flux=float(plan.forecast_flux[place]),
                nowcast_flux=float(plan.nowcast_flux[place]),
            )


def _scale(before: str, wanted: str | None) -> str:
    if wanted == "physical" and before == "browse":
        return "browse-inverted"
    return "browse" if wanted == "browse" else before


def _levels(stretch: Stretch, intensity: NDArray[np.float64]) -> NDArray[np.float32]:
    """Display levels of DN/s, the inverse of `Stretch.intensity`; beyond its limits 0 and 255."""
    low, high, bounded = stretch.low, stretch.high, np.clip(intensity, stretch.low, stretch.high)
    if stretch.function == "log":
        share = np.log(bounded / low) / np.log(high / low)
    else:
        share = (np.sqrt(bounded) - np.sqrt(low)) / (np.sqrt(high) - np.sqrt(low))
    return (TOP_LEVEL * share).astype(np.float32)


def _errors(channels: tuple[str, ...]) -> str:
    told = []
    for name in channels:
        stretch = STRETCHES[name]
        told.append(f"{name} {f'within {stretch.error:g} dex rms' if stretch.measured else 'not measured'}")
    return ", ".join(told)
