"""Evaluate a synthetic cube against real frames that its generator has not seen.

Rare samples are flare-prone by construction, so like is compared with like: besides all frames of the validation
Rare samples are flare-prone by construction, so like is compared with like: besides all frames of the validation
months, the samples are held against the *matched* ones, whose forecast flux is in the samples' range, and class by
class against real frames of the same forecast class. Beside every figure stands its floor, the same figure between real
frames of the train months and of the validation months, at the same number of frames: a Fréchet distance falls with
that number, so none means anything without it.
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
from sunaug.fidelity.backbones import Backbone, image_features, load_backbones
from sunaug.fidelity.distribution import OVERLAPS, distances, mean_over_images
from sunaug.fidelity.images import image_batches
from sunaug.flares import class_letters, format_goes_class

__all__ = ["REPORT_SCHEMA", "evaluate"]

REPORT_SCHEMA = 2
CLASS_FRAMES = 20
"""Fewest frames on every side that a forecast class is measured with."""

_BATCH = 64
_WEAK_CLASSES = ("quiet", "A", "B")
"""Classes that are measured as one where there are too few frames of each."""

_STRONG_CLASSES = ("C", "M", "X")

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
    def times(self) -> NDArray[np.datetime64] | None:
        """When the frames were observed; None for samples."""
        return np.asarray(self.cube["time"].values) if self.dim == "time" else None

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

    def __init__(self, frames: _Frames, wanted: Sequence[NDArray[np.int64]]) -> None:
        self.frames = frames
        self.numbers = np.unique(np.concatenate([np.empty(0, np.int64), *wanted]))
        self.values: dict[str, dict[str, NDArray[np.float32]]] = {}

    def fill(self, backbones: Sequence[Backbone], report: Callable[[int], None]) -> None:
        self.values = image_features(image_batches(self.frames.cube, self.numbers), backbones, report=report)

    def rows(self, label: str, image: str, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Features (n, dims) of frames with these numbers, in the network of that label."""
        return self.values[label][image][np.searchsorted(self.numbers, numbers)]

    def times(self, numbers: NDArray[np.int64]) -> NDArray[np.datetime64] | None:
        times = self.frames.times
        return None if times is None else times[numbers]


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
        Inception weights, see `sunaug.fidelity.inception.find_weights`.
    n : int, optional
        Most frames per side of a comparison of distributions. By default as many as the smallest side has.
    seed : int
        Of the random choice of frames.
    progress : callable, optional
        See `Progress`; silent by default.

    Returns
    -------
    dict
        Goes into JSON as it is; NaN and infinities are None.

        - ``schema``: 2;
        - ``synthetic``, ``against``: paths; ``bundle_hash``: from the synthetic cube, or None; ``seed``;
        - ``backbones``: by label (``FID-768``, ``FID-2048``, ``EffNet-Lite0``) what the network is. One that this
          machine lacks is left out, with a note;
        - ``distribution``: by label, figures against ``all`` validation frames and the ``matched`` ones (None where
          that cannot be made), and in ``classes`` by forecast class (``C``; ``quiet+B`` where those were put together)
          for each with 20 frames on every side. Figures are ``n`` (frames per side) and by measure (``frechet``,
          ``kid``, ``precision``, ``recall``, ``density``, ``coverage``: see `sunaug.fidelity.distribution`)
          ``value``, ``floor`` (train against validation months) and ``ratio`` of the two; ``kid`` has ``stderr`` and
          ``floor_stderr`` too, and no ratio where its floor is within two standard errors of zero. Frames that make
          several images have the means, and each image's figures in ``images``;
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
        If there are too few frames, or no feature network.
    """
    if n is not None and n < 2:
        raise UsageError(f"--n {n}: a Fréchet distance needs 2 frames per side at least.")
    opened = _usable(synthetic, "the synthetic cube")
    real = reference if isinstance(reference, xr.Dataset) else open_cube(reference)
    against = _name(reference, "the reference cube")
    real = _alike(opened, real, against)
    validation = _Frames(select_split(real, "validation"), against)
    train = _Frames(select_split(real, "train"), against)
    backbones, notes = load_backbones(weights)
    channels = [str(name) for name in real["channel"].values]
    sides = (opened, train, validation)
    smallest = min(side.count for side in sides)
    if smallest < 2:
        raise SunaugError(f"{opened.name} or {against}: a comparison needs 2 usable frames per side; give more frames.")

    everything = [np.arange(side.count) for side in sides]
    matched, minimum = _matched(sides, notes)
    classes = _classes(sides, notes)
    orders = [np.random.default_rng((seed, side)).permutation(len(part)) for side, part in enumerate(everything)]
    chosen = {"all": _equal_subsets(everything, orders, n)}
    if matched is not None:
        chosen["matched"] = _equal_subsets(matched, orders, n)
    chosen_classes = {name: _equal_subsets(numbers, orders, n) for name, numbers in classes.items()}

    tables = [
        _FeatureTable(side, [part[index] for part in (*chosen.values(), *chosen_classes.values())])
        for index, side in enumerate(sides)
    ]
    labels = " and ".join(backbone.label for backbone in backbones)
    with (progress or _silent)(f"{labels} features", sum(len(table.numbers) for table in tables)) as report:
        done = 0
        for table in tables:
            table.fill(backbones, _after(report, done))
            done += len(table.numbers)

    distribution: dict[str, Any] = {}
    for backbone in backbones:
        figures = {name: _distribution(tables, subsets, backbone.label) for name, subsets in chosen.items()}
        by_class = {name: _distribution(tables, part, backbone.label) for name, part in chosen_classes.items()}
        distribution[backbone.label] = {
            "all": figures["all"],
            "matched": figures.get("matched"),
            "classes": by_class,
        }
        few = {
            name: one["n"]
            for name, one in (figures | {f"class {name}": one for name, one in by_class.items()}).items()
            if one["n"] < 2 * backbone.dims
        }
        if few:
            counts = ", ".join(f"{name} {count:,}" for name, count in few.items())
            notes.append(
                f"{backbone.label}: N ({counts}) is below twice the {backbone.dims:,} dimensions, so the covariances "
                "are badly known and the distance is biased upwards; compare it with the floor at the same N only."
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
        "seed": seed,
        "backbones": {backbone.label: backbone.origin for backbone in backbones},
        "distribution": distribution,
        "physics": measured,
        "physics_against": physics_against,
        "conditions": {
            "synthetic": _class_counts(opened),
            "train": _class_counts(train),
            "validation": _class_counts(validation),
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


def _distribution(tables: Sequence[_FeatureTable], subsets: Sequence[NDArray[np.int64]], label: str) -> dict[str, Any]:
    """Figures and floors of one selection in one network: `tables` and `subsets` of samples, train, validation."""
    values: dict[str, dict[str, float]] = {}
    floors: dict[str, dict[str, float]] = {}
    when = [table.times(numbers) for table, numbers in zip(tables, subsets, strict=True)]
    for image in tables[0].values[label]:
        ours, train, validation = (
            table.rows(label, image, numbers) for table, numbers in zip(tables, subsets, strict=True)
        )
        values[image] = distances(ours, validation, synthetic_times=when[0], real_times=when[2])
        floors[image] = distances(train, validation, synthetic_times=when[1], real_times=when[2])
    figures: dict[str, Any] = {"n": len(subsets[0])}
    figures |= _beside_floor(mean_over_images(values), mean_over_images(floors))
    if len(values) > 1:
        figures["images"] = {image: _beside_floor(values[image], floors[image]) for image in values}
    return figures


def _beside_floor(value: dict[str, float], floor: dict[str, float]) -> dict[str, dict[str, float | None]]:
    found: dict[str, dict[str, float | None]] = {}
    for measure in ("frechet", "kid", *OVERLAPS):
        # A kernel distance scatters around zero, and a ratio to a floor which may be zero is noise.
        known = floor[measure] > (2 * floor["kid_stderr"] if measure == "kid" else 0)
        found[measure] = {
            "value": value[measure],
            "floor": floor[measure],
            "ratio": value[measure] / floor[measure] if known else None,
        }
    found["kid"] |= {"stderr": value["kid_stderr"], "floor_stderr": floor["kid_stderr"]}
    return found


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


def _class_names(frames: _Frames) -> NDArray[np.str_]:
    """Forecast class of each frame: a letter, ``quiet`` or ``unknown``."""
    flux = frames.forecast_flux
    letters = class_letters(flux)
    # class_letters writes nothing for 0, for NaN and for fluxes below A1.0.
    return np.where(np.isnan(flux), "unknown", np.where(letters == "", "quiet", letters))


def _class_counts(frames: _Frames) -> dict[str, int]:
    return dict(Counter(map(str, _class_names(frames))).most_common())


def _classes(sides: tuple[_Frames, _Frames, _Frames], notes: list[str]) -> dict[str, list[NDArray[np.int64]]]:
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
