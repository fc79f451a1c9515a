"""Evaluate a synthetic cube against real frames that its generator has not seen.

Rare samples are flare-prone by construction, so like is compared with like: besides all frames of the validation
months, the samples are held against the *matched* ones, whose forecast flux is in the samples' range, and class by
class against real frames of the same forecast class. Beside every figure stands its floor, the same figure between real
frames of the train months and of the validation months, at the same number of frames: a Fréchet distance falls with
that number, so none means anything without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sunaug.bundle import Bundle
from sunaug.cube import open_cube, refuse_reconstructions, select_split
from sunaug.errors import SunaugError, UsageError
from sunaug.fidelity import physics
from sunaug.fidelity.backbones import Backbone, load_backbones
from sunaug.fidelity.cache import RowCache, default_cache
from sunaug.fidelity.coverage import NEIGHBOURS, overlap
from sunaug.fidelity.distribution import OVERLAPS, distances, mean_over_images
from sunaug.fidelity.fitting import fit_instruments, known_rows
from sunaug.fidelity.frechet import FeatureStatistics, frechet_distance
from sunaug.fidelity.gate import Assessment, assess, described
from sunaug.fidelity.instruments import CONTENT, TEXTURE, Instruments, measure_set
from sunaug.fidelity.kernel import kernel_distance
from sunaug.fidelity.measured import Measured
from sunaug.fidelity.memorisation import APART
from sunaug.fidelity.policy import Policy, load_policy
from sunaug.fidelity.reference import Looked, Reference
from sunaug.fidelity.roles import Roles, roles_of_cube
from sunaug.fidelity.sides import (
    Frames,
    alike,
    class_counts,
    equal_subsets,
    frames_by_class,
    leaks,
    matched_frames,
    name_of,
    usable,
)
from sunaug.fidelity.stored import FILE, read_reference
from sunaug.threads import one_thread

__all__ = ["REPORT_SCHEMA", "Evaluation", "evaluate", "run_evaluation"]

REPORT_SCHEMA = 3
RESAMPLES = 20
"""Draws of blocks of real frames that the interval of a floor is made of."""

_BLOCK = np.timedelta64(10, "D")
Progress: TypeAlias = Callable[[str, int, str], AbstractContextManager[Callable[[int], None]]]
"""What is done, its total and its unit, to a context whose value takes the number done: `sunaug.cli.progress`."""


@one_thread(blas=True)
def run_evaluation(
    synthetic: str | Path | xr.Dataset,
    reference: str | Path | xr.Dataset,
    *,
    weights: str | Path | None = None,
    n: int | None = None,
    seed: int = 0,
    policy: Policy | None = None,
    bundle: Bundle | None = None,
    cache: str | Path | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Evaluation:
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
    policy : Policy, optional
        Of the gate; the default one if left out.
    bundle : Bundle, optional
        The one that made the samples: its encoder and regressor are used in place of fitting them.
    cache : str or pathlib.Path, optional
        Folder that keeps what was measured; `sunaug.fidelity.cache.default_cache` if left out.
    progress : callable, optional
        See `Progress`; silent by default.
    say : callable, optional
        Told what takes minutes.

    Returns
    -------
    Evaluation
        Its ``figures`` go into JSON as they are; NaN and infinities are None.

        - ``schema``: 3;
        - ``synthetic``, ``against``: paths; ``bundle_hash``: from the synthetic cube, or None; ``seed``;
        - ``backbones``: by label (``FID-768``, ``FID-2048``, ``EffNet-Lite0``, ``EffNet-Lite2``, ``solar-texture``,
          ``solar-content``) what the network is. One that this machine lacks is left out, with a note;
        - ``distribution``: by label, figures against ``all`` validation frames and the ``matched`` ones (None where
          that cannot be made), and in ``classes`` by forecast class (``C``; ``quiet+B`` where those were put together)
          for each with 20 frames on every side. Figures are ``n`` (frames per side) and by measure (``frechet``,
          ``kid``, ``precision``, ``recall``, ``density``, ``coverage``: see `sunaug.fidelity.distribution`)
          ``value``, ``floor`` (train against validation months) and ``ratio`` of the two; ``kid`` has ``stderr`` and
          ``floor_stderr`` too, and no ratio where its floor is within two standard errors of zero; ``frechet``, ``kid``
          and ``coverage`` have a ``floor_interval`` (95 %, from draws of blocks of ten days of the train months).
          Frames that make several images have the means, and each image's figures in ``images``;
        - ``physics``: by measure ``synthetic``, ``real``, ``distance``, ``floor``, ``unit``: see
          `sunaug.fidelity.physics`; ``physics_against``: ``matched`` or ``all``;
        - ``gate``: see `sunaug.fidelity.gate.described`, with all checks;
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
    opened = usable(synthetic, "the synthetic cube")
    refuse_reconstructions(opened.cube.attrs, opened.name)
    real = reference if isinstance(reference, xr.Dataset) else open_cube(reference)
    against = name_of(reference, "the reference cube")
    real = alike(opened, real, against)
    validation = Frames(select_split(real, "validation"), against)
    train = Frames(select_split(real, "train"), against)
    backbones, notes = load_backbones(weights)
    sides = (opened, train, validation)
    smallest = min(side.count for side in sides)
    if smallest < 2:
        raise SunaugError(f"{opened.name} or {against}: a comparison needs 2 usable frames per side; give more frames.")

    folder = default_cache() if cache is None else Path(cache)
    instruments = _instruments(opened, real, bundle, backbones, folder, notes, say)
    measured = _measure(sides, instruments, RowCache(folder), progress or _silent)

    everything = [np.arange(side.count) for side in sides]
    matched, minimum = matched_frames(sides, notes)
    classes = frames_by_class(sides, notes)
    orders = [np.random.default_rng((seed, side)).permutation(len(part)) for side, part in enumerate(everything)]
    chosen = {"all": equal_subsets(everything, orders, n)}
    if matched is not None:
        chosen["matched"] = equal_subsets(matched, orders, n)
    chosen_classes = {name: equal_subsets(numbers, orders, n) for name, numbers in classes.items()}

    origins = {backbone.label: backbone.origin for backbone in backbones}
    dims = {backbone.label: backbone.dims for backbone in backbones}
    if instruments.encoder is not None:
        origins[TEXTURE] = "energy of fine structure at three scales, whitened on the train months"
        origins[CONTENT] = "self-supervised encoder of solar frames, trained on the train months without labels"
        dims[TEXTURE] = instruments.encoder.texture_dims
        dims[CONTENT] = instruments.encoder.dims - dims[TEXTURE]
    distribution: dict[str, Any] = {}
    with (progress or _silent)(
        "distances", len(origins) * (len(chosen) + len(chosen_classes)), "comparisons"
    ) as report:
        done = 0
        for label in origins:
            figures: dict[str, Any] = {}
            for name, subsets in (*chosen.items(), *((f"class {one}", part) for one, part in chosen_classes.items())):
                figures[name] = _distribution(measured, subsets, label, seed)
                done += 1
                report(done)
            distribution[label] = {
                "all": figures["all"],
                "matched": figures.get("matched"),
                "classes": {name: figures[f"class {name}"] for name in chosen_classes},
            }
            few = {name: one["n"] for name, one in figures.items() if one["n"] < 2 * dims[label]}
            if few:
                counts = ", ".join(f"{name} {count:,}" for name, count in few.items())
                notes.append(
                    f"{label}: N ({counts}) is below twice the {dims[label]:,} dimensions, so the covariances "
                    "are badly known and the distance is biased upwards; compare it with the floor at the same N only."
                )

    training_ranges = opened.cube.attrs.get("training_ranges")
    notes += leaks(training_ranges, validation.cube)
    roles = roles_of_cube(opened.cube.attrs, bundle)
    assessment, looked, fitted = _gate(sides, measured, instruments, policy or load_policy(), roles, notes, seed)
    details = {
        "schema": REPORT_SCHEMA,
        "synthetic": opened.name,
        "against": against,
        "bundle_hash": opened.cube.attrs.get("bundle_hash"),
        "seed": seed,
        "backbones": origins,
        "distribution": distribution,
        "physics": _physics(measured, matched or everything),
        "physics_against": "matched" if matched is not None else "all",
        "gate": None if assessment is None else described(assessment, everything=True),
        "conditions": {
            "synthetic": class_counts(opened),
            "train": class_counts(train),
            "validation": class_counts(validation),
            "matched": None if matched is None else {"train": len(matched[1]), "validation": len(matched[2])},
            "minimum_forecast_flux": minimum,
        },
        "training_ranges": training_ranges,
        "notes": notes,
    }
    cubes = {"synthetic": opened.cube, "train": train.cube, "validation": validation.cube}
    return Evaluation(_plain(details), assessment, looked, fitted, measured[0], cubes)


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation has found.

    Attributes
    ----------
    figures : dict
        See `run_evaluation`.
    assessment : Assessment or None
        The gate's; None where the reference has no frame with a known forecast.
    samples : Looked or None
    reference : Reference or None
    measured : Measured
        Of the samples.
    cubes : dict of str to xarray.Dataset
        ``synthetic``, ``train`` and ``validation``: usable frames.
    """

    figures: dict[str, Any]
    assessment: Assessment | None
    samples: Looked | None = field(repr=False)
    reference: Reference | None = field(repr=False)
    measured: Measured = field(repr=False)
    cubes: dict[str, xr.Dataset] = field(repr=False)


def evaluate(synthetic: str | Path | xr.Dataset, reference: str | Path | xr.Dataset, **options: Any) -> dict[str, Any]:
    """The figures of `run_evaluation`."""
    return run_evaluation(synthetic, reference, **options).figures


def _instruments(
    opened: Frames,
    real: xr.Dataset,
    bundle: Bundle | None,
    backbones: Sequence[Backbone],
    cache: Path,
    notes: list[str],
    say: Callable[[str], None],
) -> Instruments:
    """The bundle's encoder and regressor where it has them, those fitted on the reference's train months otherwise."""
    stored = bundle.path / FILE if bundle is not None else None
    if stored is not None and stored.is_file():
        found = read_reference(stored).instruments
        return Instruments.of(opened.cube, backbones, found.encoder, found.reader)
    if not len(known_rows(select_split(real, "train"))):
        notes.append("no train frame has known labels: there is no solar encoder, no regressor and no gate.")
        return Instruments.of(opened.cube, backbones)
    return fit_instruments(real, backbones, cache=cache, say=say)


def _measure(
    sides: tuple[Frames, Frames, Frames], instruments: Instruments, cache: RowCache, progress: Progress
) -> list[Measured]:
    found: list[Measured] = []
    with progress("measuring", sum(side.count for side in sides), "frames") as report:
        done = 0
        for side in sides:
            found.append(measure_set(side.cube, np.arange(side.count), instruments, cache, report, before=done))
            done += side.count
    return found


def _gate(
    sides: tuple[Frames, Frames, Frames],
    measured: list[Measured],
    instruments: Instruments,
    policy: Policy,
    roles: Roles,
    notes: list[str],
    seed: int,
) -> tuple[Assessment | None, Looked | None, Reference | None]:
    rows = [known_rows(side.cube) for side in sides[1:]]
    if not all(map(len, rows)):
        notes.append("the gate needs real frames with a known forecast in the train and the validation months.")
        return None, None, None
    if roles.teachers is None:
        notes.append(
            "what the generator was made with is not known, so that only Inception judges it; give its bundle to say."
        )
    reference = Reference.of(measured[1].take(rows[0]), measured[2].take(rows[1]), instruments)
    if not np.isfinite(reference.validation.features.distance).any():
        notes.append(
            f"{sides[2].name}: its validation frames all lie within {APART.astype(int)} days of the train frames, too "
            "near to tell how far apart real frames are: there is no gate. Ingest more days."
        )
        return None, None, None
    looked = reference.look(measured[0])
    return assess(looked, reference, policy, roles, seed=seed, before=sides[0].rejections), looked, reference


def _silent(what: str, total: int, unit: str) -> AbstractContextManager[Callable[[int], None]]:
    return nullcontext(lambda done: None)


def _distribution(
    measured: Sequence[Measured], subsets: Sequence[NDArray[np.int64]], label: str, seed: int
) -> dict[str, Any]:
    """Figures and floors of one selection in one network: `measured` and `subsets` of samples, train, validation."""
    values: dict[str, dict[str, float]] = {}
    floors: dict[str, dict[str, float]] = {}
    intervals: dict[str, dict[str, NDArray[np.float64]]] = {}
    when = [None if one.times is None else one.times[rows] for one, rows in zip(measured, subsets, strict=True)]
    for name in measured[0].features:
        image = name.removeprefix(label).strip()
        if name.split(" ")[0] != label:
            continue
        ours, train, validation = (one.features[name][rows] for one, rows in zip(measured, subsets, strict=True))
        values[image] = distances(ours, validation, synthetic_times=when[0], real_times=when[2])
        floors[image] = distances(train, validation, synthetic_times=when[1], real_times=when[2])
        intervals[image] = _resampled(train, when[1], validation, when[2], seed)
    figures: dict[str, Any] = {"n": len(subsets[0])}
    figures |= _beside_floor(mean_over_images(values), mean_over_images(floors))
    for measure in next(iter(intervals.values())):
        draws = np.mean([one[measure] for one in intervals.values()], axis=0)
        # Draws have some frames twice, which moves their mean: it is the spread that they are made for.
        centred = draws - draws.mean() + figures[measure]["floor"]
        figures[measure]["floor_interval"] = [float(one) for one in np.quantile(centred, [0.025, 0.975])]
    if len(values) > 1:
        figures["images"] = {image: _beside_floor(values[image], floors[image]) for image in values}
    return figures


def _resampled(
    train: NDArray[np.floating],
    train_times: NDArray[np.datetime64] | None,
    validation: NDArray[np.floating],
    validation_times: NDArray[np.datetime64] | None,
    seed: int,
) -> dict[str, NDArray[np.float64]]:
    """Fréchet and kernel distance, and coverage, of draws of blocks of ten days of the train frames."""
    random = np.random.default_rng(seed)
    assert train_times is not None
    block = (train_times - train_times.min()) // _BLOCK
    members = [np.flatnonzero(block == one) for one in np.unique(block)]
    found: dict[str, list[float]] = {"frechet": [], "kid": [], "coverage": []}
    real = FeatureStatistics.of(validation)
    for _ in range(RESAMPLES):
        rows = np.concatenate([members[one] for one in random.integers(len(members), size=2 * len(members))])
        chosen = rows[: len(train)] if len(rows) >= len(train) else rows
        if len(np.unique(chosen)) < 2:
            continue
        drawn = train[chosen]
        found["frechet"].append(frechet_distance(FeatureStatistics.of(drawn), real))
        found["kid"].append(kernel_distance(drawn, validation, subsets=0).value)
        enough = min(len(drawn), len(validation)) > NEIGHBOURS
        found["coverage"].append(
            overlap(validation, drawn, real_times=validation_times).coverage if enough else float("nan")
        )
    return {name: np.asarray(values or [np.nan]) for name, values in found.items()}


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
    measured: Sequence[Measured], selection: Sequence[NDArray[np.int64]]
) -> dict[str, dict[str, float | str | None]]:
    """Every physical measure of a selection of samples, train and validation frames, see `evaluate`."""
    ours, train, validation = (physics.take(one.physics, rows) for one, rows in zip(measured, selection, strict=True))
    found: dict[str, dict[str, float | str | None]] = {}
    for name, column in validation.items():
        apart = physics.distance(ours[name], column)
        if not np.isfinite(apart):
            continue
        found[name] = {
            "synthetic": physics.typical(ours[name]),
            "real": physics.typical(column),
            "distance": apart,
            "floor": physics.distance(train[name], column),
            "unit": column.unit,
        }
    return found


def _plain(value: Any) -> Any:
    """Values as JSON knows them; what is not finite becomes None."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(one) for one in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
