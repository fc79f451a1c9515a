"""The sides of an evaluation: which frames of which cube are compared with which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sunaug.cube import FrameStatus, open_cube
from sunaug.cube.time_ranges import seen_days, within
from sunaug.errors import SunaugError, UsageError
from sunaug.fidelity.account import Rejections
from sunaug.flares import class_letters, format_goes_class

__all__ = [
    "Frames",
    "alike",
    "class_counts",
    "equal_subsets",
    "frames_by_class",
    "leaks",
    "matched_frames",
    "name_of",
    "usable",
]

CLASS_FRAMES = 20
"""Fewest frames on every side that a forecast class is measured with."""

_WEAK_CLASSES = ("quiet", "A", "B")
"""Classes that are measured as one where there are too few frames of each."""

_STRONG_CLASSES = ("C", "M", "X")


@dataclass(frozen=True)
class Frames:
    """Frames of one side of a comparison: an opened cube, and its name in messages.

    Attributes
    ----------
    cube : xarray.Dataset
        Complete frames.
    name : str
    rejected : int
        Frames that were left out, since the cube says that they are rejected.
    """

    cube: xr.Dataset
    name: str
    rejected: int = 0

    @property
    def rejections(self) -> Rejections:
        """Samples that the gate rejected before, as the cube says."""
        gate = self.cube.attrs.get("gate")
        why = gate.get("why_rejected", gate.get("why_dropped", {})) if isinstance(gate, Mapping) else {}
        return Rejections(self.rejected, dict(why) if self.rejected else {})

    @property
    def dim(self) -> str:
        """The cube's frame axis."""
        return "time" if "time" in self.cube.dims else "sample"

    @property
    def count(self) -> int:
        """Number of frames."""
        return self.cube.sizes[self.dim]

    @property
    def times(self) -> NDArray[np.datetime64] | None:
        """When the frames were observed; None for samples."""
        return np.asarray(self.cube["time"].values) if self.dim == "time" else None

    @property
    def forecast_flux(self) -> NDArray[np.float64]:
        """W m-2, NaN where it is not known."""
        return np.asarray(self.cube["forecast_flux"].values, np.float64)


def name_of(cube: str | Path | xr.Dataset, otherwise: str) -> str:
    """What a cube is called in messages."""
    return str(cube.encoding.get("source", otherwise)) if isinstance(cube, xr.Dataset) else str(cube)


def usable(cube: str | Path | xr.Dataset, otherwise: str) -> Frames:
    """Open a cube and keep its complete frames."""
    opened = cube if isinstance(cube, xr.Dataset) else open_cube(cube)
    name = name_of(cube, otherwise)
    dim = "time" if "time" in opened.dims else "sample"
    status = opened["frame_status"].values
    complete = np.flatnonzero(status == FrameStatus.COMPLETE)
    if not len(complete):
        raise SunaugError(f"{name}: no complete frame in it; finish writing it, or give another cube.")
    # Rejected frames of an observed cube are faults of the archive; those of a synthetic one are its generator's.
    rejected = int((status == FrameStatus.REJECTED).sum()) if dim == "sample" else 0
    return Frames(opened.isel({dim: complete}), name, rejected)


def alike(synthetic: Frames, real: xr.Dataset, against: str) -> xr.Dataset:
    """The real cube with its channels in the synthetic one's order; cubes that do not go together are refused."""
    ours, theirs = synthetic.cube, real
    pairs = {
        "channels": (sorted(map(str, ours["channel"].values)), sorted(map(str, theirs["channel"].values))),
        "frame sizes": (ours.sizes["y"], theirs.sizes["y"]),
        "disk radii": (round(ours.attrs["solar_radius_pixels"], 3), round(theirs.attrs["solar_radius_pixels"], 3)),
        "intensity scales": (ours.attrs["intensity_scale"], theirs.attrs["intensity_scale"]),
    }
    for what, (one, other) in pairs.items():
        if one != other:
            one, other = (", ".join(side) if isinstance(side, list) else side for side in (one, other))
            raise UsageError(
                f"{synthetic.name} and {against} have different {what} ({one} against {other}); "
                "give the cube that the generator was trained for, or ingest it alike."
            )
    return theirs.sel(channel=ours["channel"].values)


def matched_frames(
    sides: tuple[Frames, Frames, Frames], notes: list[str]
) -> tuple[list[NDArray[np.int64]] | None, float | None]:
    """Frames in the range of the synthetic condition, on every side, and the forecast flux where that range begins."""
    condition = sides[0].forecast_flux
    known = condition[np.isfinite(condition)]
    if not len(known):
        notes.append("the synthetic cube has no forecast flux, so no real frames were matched with it.")
        return None, None
    minimum = float(known.min())
    # Half an ulp between a catalogue's M1.0 and a generator's must not decide what is matched.
    found = [np.flatnonzero(side.forecast_flux >= minimum * (1 - 1e-6)) for side in sides]
    fewest = min(map(len, found))
    if fewest < 2:
        notes.append(
            f"fewer than 2 real frames have a forecast flux of {format_goes_class(minimum)} or more in the train or "
            "the validation months, so the samples were compared with all frames only."
        )
        return None, minimum
    return found, minimum


def equal_subsets(
    selection: Sequence[NDArray[np.int64]], orders: Sequence[NDArray[np.int64]], n: int | None
) -> list[NDArray[np.int64]]:
    """As many frames of each side as the smallest has, at most `n`, in ascending order.

    The first ones in each side's random order are taken, so that the subsets of different selections overlap and need
    few features.
    """
    size = min(len(numbers) for numbers in selection)
    size = size if n is None else min(size, n)
    return [np.sort(order[np.isin(order, numbers)][:size]) for numbers, order in zip(selection, orders, strict=True)]


def _class_names(frames: Frames) -> NDArray[np.str_]:
    """Forecast class of each frame: a letter, ``quiet`` or ``unknown``."""
    flux = frames.forecast_flux
    letters = class_letters(flux)
    # class_letters writes nothing for 0, for NaN and for fluxes below A1.0.
    return np.where(np.isnan(flux), "unknown", np.where(letters == "", "quiet", letters))


def class_counts(frames: Frames) -> dict[str, int]:
    """Frames per class letter of the forecast flux, ``quiet`` and ``unknown``."""
    return dict(Counter(map(str, _class_names(frames))).most_common())


def frames_by_class(sides: tuple[Frames, Frames, Frames], notes: list[str]) -> dict[str, list[NDArray[np.int64]]]:
    """Frames of each forecast class on every side, for classes with `CLASS_FRAMES` of them everywhere.

    The weak classes are put together where one of them has too few: quiet days are rare when the Sun is active.
    """
    names = [_class_names(side) for side in sides]

    def members(group: Sequence[str]) -> list[NDArray[np.int64]]:
        return [np.flatnonzero(np.isin(side, group)) for side in names]

    def few(group: Sequence[str]) -> bool:
        return min(map(len, members(group))) < CLASS_FRAMES

    # What the samples do not claim to be needs no figures; a class which no real side has cannot get any.
    weak = [name for name in _WEAK_CLASSES if name in names[0] and (name in names[1] or name in names[2])]
    groups: list[tuple[str, ...]] = [(name,) for name in weak]
    if len(weak) > 1 and any(few(group) for group in groups):
        groups = [tuple(name for name in _WEAK_CLASSES if any(name in side for side in names))]
        notes.append(
            f"forecast classes {', '.join(groups[0])} are measured as one, since one of them alone has fewer than "
            f"{CLASS_FRAMES} frames on a side."
        )
    groups += [(name,) for name in _STRONG_CLASSES if name in names[0]]
    found = {}
    for group in groups:
        label, numbers = "+".join(group), members(group)
        if few(group):
            counts = ", ".join(
                f"{len(part):,} {side}"
                for part, side in zip(numbers, ("synthetic", "train", "validation"), strict=True)
            )
            notes.append(
                f"forecast class {label} has no figures of its own: {counts} frames, where {CLASS_FRAMES} are needed "
                "on every side."
            )
        else:
            found[label] = numbers
    return found


def leaks(training_ranges: Any, validation: xr.Dataset) -> list[str]:
    """A note where the generator was trained on some of the frames which it is now measured against."""
    if not training_ranges:
        return []
    times = np.asarray(validation["time"].values)
    seen = within(times, seen_days(training_ranges))
    if not seen.any():
        return []
    return [
        f"leakage: {int(seen.sum()):,} of the {len(times):,} validation frames lie in days that the generator was "
        "trained on or beside them, so the figures flatter it; measure against months which it has not seen."
    ]
