"""Evaluate a synthetic cube against real frames that its generator has not seen.

Rare samples are flare-prone by construction, so like is compared with like: besides all frames of the validation
months, the samples are held against the *matched* ones, whose forecast flux is in the samples' range. Beside every
figure stands its floor, the same figure between real frames of the train months and of the validation months, at the
same number of frames: a Fréchet distance falls with that number, so none means anything without it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from sunaug.cube import FrameStatus, open_cube, select_split
from sunaug.errors import SunaugError, UsageError
from sunaug.fidelity import physics
from sunaug.fidelity.frechet import (
    Backbone,
    FeatureStatistics,
    display_images,
    features,
    frechet_distance,
    image_names,
    load_backbone,
)
from sunaug.flares import class_letters, format_goes_class

__all__ = ["REPORT_SCHEMA", "evaluate"]

REPORT_SCHEMA = 1
_BATCH = 64

Progress: TypeAlias = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""What is done and its total, to a context whose value takes the number done: `sunaug.cli.progress.progress`."""


@dataclass(frozen=True)
class _Frames:
    """Frames of one side of a comparison: an opened cube, and its name in messages."""

    cube: xr.Dataset
    name: str

    @property
    def dim(self) -> str:
        return "time" if "time" in self.cube.dims else "sample"

    @property
    def count(self) -> int:
        return self.cube.sizes[self.dim]

    @property
    def forecast_flux(self) -> NDArray[np.float64]:
        return np.asarray(self.cube["forecast_flux"].values, np.float64)

    def batches(self, numbers: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
        """Intensities (n, channel, y, x) of the frames with these numbers, a batch at a time."""
        intensity = self.cube["intensity"]
        for start in range(0, len(numbers), _BATCH):
            yield intensity.isel({self.dim: numbers[start : start + _BATCH]}).values


class _FeatureTable:
    """Features of some frames of one cube, each made once however many comparisons use it."""

    def __init__(self, frames: _Frames, wanted: Sequence[NDArray[np.int64]], channels: Sequence[str]) -> None:
        self.frames = frames
        self.numbers = np.unique(np.concatenate([np.empty(0, np.int64), *wanted]))
        self.channels = list(channels)
        self.values: dict[str, NDArray[np.float32]] = {}

    @property
    def cost(self) -> int:
        """Number of images to take features of."""
        return len(self.numbers) * len(image_names(self.channels))

    def fill(self, backbone: Backbone, report: Callable[[int], None]) -> None:
        scale = self.frames.cube.attrs["intensity_scale"]
        for done, name in enumerate(image_names(self.channels)):
            images = (display_images(batch, self.channels, scale)[name] for batch in self.frames.batches(self.numbers))
            before = done * len(self.numbers)
            self.values[name] = features(images, backbone, report=_after(report, before))

    def statistics(self, name: str, numbers: NDArray[np.int64]) -> FeatureStatistics:
        return FeatureStatistics.of(self.values[name][np.searchsorted(self.numbers, numbers)])


def evaluate(
    synthetic: str | Path | xr.Dataset,
    reference: str | Path | xr.Dataset,
    *,
    weights: str | Path | None = None,
    n: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure a synthetic cube against an observed one.

    Parameters
    ----------
    synthetic : str, pathlib.Path or xarray.Dataset
        A synthetic cube. An observed cube is taken as if it were synthetic, which shows what real frames would score.
    reference : str, pathlib.Path or xarray.Dataset
        An observed cube with frames of the train and of the validation months; same channels, size, disk radius and
        intensity scale.
    weights : str or pathlib.Path, optional
        Inception weights, see `sunaug.fidelity.frechet.find_weights`.
    n : int, optional
        Most frames per side of a Fréchet distance. By default as many as the smallest side has.
    seed : int
        Of the random choice of frames.
    progress : callable, optional
        See `Progress`; silent by default.

    Returns
    -------
    dict
        Goes into JSON as it is; NaN and infinities are None.

        - ``schema``: 1;
        - ``synthetic``, ``against``: paths; ``bundle_hash``: from the synthetic cube, or None;
        - ``backbone``: network and dimensions of the Fréchet distances, ``FID-768 (...)``; ``seed``;
        - ``fid``: for ``all`` validation frames and for the ``matched`` ones ``value``, ``floor`` (train against
          validation months), ``ratio`` of the two, ``n`` (frames per side, of both) and ``channels`` (value and floor
          of each image made of the channels; their mean is ``value``). ``matched`` is None where it cannot be made;
        - ``physics``: by measure ``synthetic``, ``real``, ``distance``, ``floor``, ``unit``: see
          `sunaug.fidelity.physics.compare`; ``physics_against``: ``matched`` or ``all``;
        - ``conditions``: frames per class letter of the forecast flux (and ``quiet``, ``unknown``) of the
          ``synthetic``, ``validation`` and ``train`` sides, number of ``matched`` frames of the last two, and the
          ``minimum_forecast_flux`` (W m-2) that they are matched by;
        - ``training_ranges``: the generator's, from the synthetic cube, or None;
        - ``notes``: sentences that must be read with the figures.

    Raises
    ------
    UsageError
        If the cubes do not go together, or `n` is below 2.
    SunaugError
        If there are too few frames, or no Inception weights.
    """
    if n is not None and n < 2:
        raise UsageError(f"--n {n}: a Fréchet distance needs 2 frames per side at least.")
    opened = _usable(synthetic, "the synthetic cube")
    real = reference if isinstance(reference, xr.Dataset) else open_cube(reference)
    against = _name(reference, "the reference cube")
    real = _alike(opened, real, against)
    validation = _Frames(select_split(real, "validation"), against)
    train = _Frames(select_split(real, "train"), against)
    backbone = load_backbone(weights)
    channels = [str(name) for name in real["channel"].values]
    sides = (opened, train, validation)

    notes: list[str] = []
    everything = [np.arange(side.count) for side in sides]
    matched, minimum = _matched(sides, notes)
    selections: dict[str, list[NDArray[np.int64]] | None] = {"all": everything, "matched": matched}
    orders = [np.random.default_rng((seed, side)).permutation(len(part)) for side, part in enumerate(everything)]
    chosen = {
        name: None if selection is None else _equal_subsets(selection, orders, n)
        for name, selection in selections.items()
    }
    smallest = min(side.count for side in sides)
    if smallest < 2:
        raise SunaugError(f"{opened.name} or {against}: a comparison needs 2 usable frames per side; give more frames.")

    tables = [
        _FeatureTable(side, [part[index] for part in chosen.values() if part is not None], channels)
        for index, side in enumerate(sides)
    ]
    with (progress or _silent)(f"{backbone.label} features", sum(table.cost for table in tables)) as report:
        done = 0
        for table in tables:
            table.fill(backbone, _after(report, done))
            done += table.cost

    fid: dict[str, Any] = {}
    for name, subsets in chosen.items():
        fid[name] = None if subsets is None else _fid(tables, subsets)
        if subsets is not None and len(subsets[0]) < 2 * backbone.dims:
            notes.append(
                f"fid {name}: N = {len(subsets[0]):,} is below twice the {backbone.dims} dimensions, so the "
                "covariances are badly known and the distance is biased upwards; compare it with the floor at the "
                "same N only."
            )

    physics_against = "matched" if matched is not None else "all"
    measured = _physics(sides, matched or everything, channels, progress or _silent)
    training_ranges = opened.cube.attrs.get("training_ranges")
    notes += _leaks(training_ranges, validation.cube)
    report_: dict[str, Any] = {
        "schema": REPORT_SCHEMA,
        "synthetic": opened.name,
        "against": against,
        "bundle_hash": opened.cube.attrs.get("bundle_hash"),
        "backbone": backbone.description,
        "seed": seed,
        "fid": fid,
        "physics": measured,
        "physics_against": physics_against,
        "conditions": {
            "synthetic": _classes(opened),
            "train": _classes(train),
            "validation": _classes(validation),
            "matched": None if matched is None else {"train": len(matched[1]), "validation": len(matched[2])},
            "minimum_forecast_flux": minimum,
        },
        "training_ranges": training_ranges,
        "notes": notes,
    }
    return _plain(report_)


def _silent(what: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    return nullcontext(lambda done: None)


def _after(report: Callable[[int], None], before: int) -> Callable[[int], None]:
    """`report` for a part of the work that begins after `before` items."""
    return lambda done: report(before + done)


def _name(cube: str | Path | xr.Dataset, otherwise: str) -> str:
    return str(cube.encoding.get("source", otherwise)) if isinstance(cube, xr.Dataset) else str(cube)


def _usable(cube: str | Path | xr.Dataset, otherwise: str) -> _Frames:
    """Open a cube and keep its complete frames."""
    opened = cube if isinstance(cube, xr.Dataset) else open_cube(cube)
    name = _name(cube, otherwise)
    dim = "time" if "time" in opened.dims else "sample"
    complete = np.flatnonzero(opened["frame_status"].values == FrameStatus.COMPLETE)
    if not len(complete):
        raise SunaugError(f"{name}: no complete frame in it; finish writing it, or give another cube.")
    return _Frames(opened.isel({dim: complete}), name)


def _alike(synthetic: _Frames, real: xr.Dataset, against: str) -> xr.Dataset:
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


def _matched(
    sides: tuple[_Frames, _Frames, _Frames], notes: list[str]
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


def _equal_subsets(
    selection: Sequence[NDArray[np.int64]], orders: Sequence[NDArray[np.int64]], n: int | None
) -> list[NDArray[np.int64]]:
    """As many frames of each side as the smallest has, at most `n`, in ascending order.

    The first ones in each side's random order are taken, so that the subsets of different selections overlap and need
    few features.
    """
    size = min(len(numbers) for numbers in selection)
    size = size if n is None else min(size, n)
    return [np.sort(order[np.isin(order, numbers)][:size]) for numbers, order in zip(selection, orders, strict=True)]


def _fid(tables: Sequence[_FeatureTable], subsets: Sequence[NDArray[np.int64]]) -> dict[str, Any]:
    by_channel: dict[str, dict[str, float]] = {}
    for name in tables[0].values:
        ours, train, validation = (
            table.statistics(name, numbers) for table, numbers in zip(tables, subsets, strict=True)
        )
        by_channel[name] = {
            "value": frechet_distance(ours, validation),
            "floor": frechet_distance(train, validation),
        }
    value, floor = (float(np.mean([one[key] for one in by_channel.values()])) for key in ("value", "floor"))
    return {
        "value": value,
        "floor": floor,
        "ratio": value / floor if floor > 0 else None,
        "n": len(subsets[0]),
        "channels": by_channel,
    }


def _physics(
    sides: tuple[_Frames, _Frames, _Frames],
    selection: Sequence[NDArray[np.int64]],
    channels: Sequence[str],
    progress: Progress,
) -> dict[str, dict[str, float | str | None]]:
    cube = sides[0].cube
    geometry = physics.Geometry(cube.sizes["y"], float(cube.attrs["solar_radius_pixels"]))
    measured = []
    with progress("physical checks", sum(map(len, selection))) as report:
        done = 0
        for side, numbers in zip(sides, selection, strict=True):
            measured.append(
                physics.measure(
                    side.batches(numbers),
                    channels,
                    cube.attrs["intensity_scale"],
                    geometry,
                    report=_after(report, done),
                )
            )
            done += len(numbers)
    ours, train, validation = measured
    return physics.compare(ours, validation, train)


def _classes(frames: _Frames) -> dict[str, int]:
    flux = frames.forecast_flux
    # class_letters writes nothing for 0, for NaN and for fluxes below A1.0.
    names = np.where(np.isnan(flux), "unknown", np.where(class_letters(flux) == "", "quiet", class_letters(flux)))
    return dict(Counter(map(str, names)).most_common())


def _leaks(training_ranges: Any, validation: xr.Dataset) -> list[str]:
    """A note where the generator was trained on some of the frames which it is now measured against."""
    if not training_ranges:
        return []
    times = pd.DatetimeIndex(validation["time"].values)
    seen = np.zeros(len(times), dtype=bool)
    for start, end in training_ranges:
        begin, finish = (pd.to_datetime(moment, utc=True).tz_localize(None) for moment in (start, end))
        seen |= np.asarray((times >= begin) & (times < finish))
    if not seen.any():
        return []
    return [
        f"leakage: {int(seen.sum()):,} of the {len(times):,} validation frames lie in the time ranges that the "
        "generator was trained on, so the figures flatter it; measure against months which it has not seen."
    ]


def _plain(value: Any) -> Any:
    """Values as JSON knows them; what is not finite becomes None."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(one) for one in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
