"""The comparison from end to end: cubes in, runs made, results out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from forecasting_adapters import LeakageError, SolarDataset, SyntheticSolarDataset, check_leakage
from forecasting_adapters.experiment.arms import Arm
from forecasting_adapters.experiment.composition import shortage
from forecasting_adapters.experiment.forecaster import build_forecaster
from forecasting_adapters.experiment.frames import fingerprint, keep_frames
from forecasting_adapters.experiment.results import Results
from forecasting_adapters.experiment.runs import Task, Workspace, read_run, run_tasks
from forecasting_adapters.experiment.settings import Settings
from forecasting_adapters.experiment.stages import final_results, validation_results
from sunaug import __version__
from sunaug.errors import SunaugError, UsageError
from sunaug.fidelity.verdict import verdict_of
from sunaug.storage import location, replace_object

__all__ = ["prepare", "run_benchmark"]

Progress = Callable[[str, int, str], AbstractContextManager[Callable[[int], None]]]
"""As `sunaug.cli.progress.progress`."""

_MANIFEST = "comparison.json"


def run_benchmark(
    cube: str | Path,
    synthetic: Sequence[str | Path],
    out: Path,
    arms: Sequence[Arm],
    *,
    settings: Settings,
    seeds: int,
    jobs: int,
    final: bool,
    progress: Progress,
    allow_ungated: bool = False,
    allow_leakage: bool = False,
) -> Results:
    """Train the forecaster of every arm with every seed, and compare.

    Parameters
    ----------
    cube : str or pathlib.Path
        Observed cube with train, validation and test months.
    synthetic : sequence of str or pathlib.Path
        Synthetic cubes.
    out : pathlib.Path
        Folder of the comparison; runs that it holds are not made again.
    arms : sequence of Arm
        The reference among them.
    settings : Settings
    seeds : int
        Each arm is trained with the seeds 0 to `seeds` - 1.
    jobs : int
        Processes that train at a time.
    final : bool
        Read the test months, once: see `forecasting_adapters.experiment.stages.final_results`.
    progress : callable
        Shows how far long work has come.
    allow_ungated, allow_leakage : bool
        Take synthetic cubes that the gate has not passed, or whose generator has seen validation or test months. Both
        are recorded.

    Raises
    ------
    UsageError
        If the folder holds a comparison of other settings or data, or the synthetic cubes can fill no arm at all;
        single arms that they cannot fill are left out, which is recorded.
    GateRefused
        If the gate has not passed a synthetic cube, unless `allow_ungated`.
    LeakageError
        If a generator has seen validation or test months, unless `allow_leakage`.
    """
    new = not out.exists()
    try:
        workspace, manifest = prepare(
            cube,
            synthetic,
            out,
            settings=settings,
            progress=progress,
            allow_ungated=allow_ungated,
            allow_leakage=allow_leakage,
        )
        kept, left_out = _fillable(workspace, arms)
        about = {"version": __version__, **manifest, "left_out": left_out}
        tasks: list[Task] = [(arm, seed) for seed in range(seeds) for arm in kept]
        _refuse_changed(workspace.folder, tasks)
    except SunaugError:
        if new:  # nothing is trained yet, and another request would find it in its way
            shutil.rmtree(out, ignore_errors=True)
        raise
    with progress("training", len(tasks), "runs") as report:
        run_tasks(workspace, tasks, jobs, report)
    if final:
        return final_results(workspace, kept, seeds, about, lambda: _keep_test(workspace, cube))
    return validation_results(workspace, kept, seeds, about)


def prepare(
    cube: str | Path,
    synthetic: Sequence[str | Path],
    out: Path,
    *,
    settings: Settings,
    progress: Progress,
    allow_ungated: bool = False,
    allow_leakage: bool = False,
) -> tuple[Workspace, dict[str, Any]]:
    """Check the cubes, and keep their frames in the comparison's folder; returns it and what is known of the cubes.

    Raises
    ------
    UsageError, GateRefused, LeakageError
        See `run_benchmark`.
    """
    real = {split: _observed(cube, split, settings) for split in ("train", "validation")}
    build_forecaster(settings.model, len(real["train"].channels), settings.size)
    pools = _open_pools(synthetic, real["train"], allow_ungated=allow_ungated)
    manifest = {
        "settings": settings.model_dump(mode="json"),
        "cube": {"name": real["train"].name} | {split: fingerprint(one) for split, one in real.items()},
        "synthetic": [
            _about(pool, real["train"].held_out_times, allow_leakage=allow_leakage) for pool in pools.values()
        ],
    }
    _keep_manifest(out, manifest)
    workspace = Workspace(out, settings, tuple(pools))
    sets: dict[str, SolarDataset | SyntheticSolarDataset] = {**real}
    sets |= {f"SYNTHETIC-{name}": pool for name, pool in pools.items()}
    for name, frames in sets.items():
        path = workspace.frames_path(name)
        if not path.exists():
            with progress(f"reading {name}", len(frames), "frames") as report:
                keep_frames(path, frames, report)
    return workspace, manifest


def _observed(cube: str | Path, split: str, settings: Settings) -> SolarDataset:
    return SolarDataset(cube, split, label=settings.label, threshold=settings.threshold, size=settings.size)


def _keep_test(workspace: Workspace, cube: str | Path) -> None:
    """Read the test months: only the final stage calls this."""
    path = workspace.frames_path("test")
    if not path.exists():
        keep_frames(path, _observed(cube, "test", workspace.settings), lambda _: None)


def _open_pools(
    synthetic: Sequence[str | Path], real: SolarDataset, *, allow_ungated: bool
) -> dict[str, SyntheticSolarDataset]:
    """Synthetic cubes by name, with the labels, channels and scaling of the real frames."""
    pools: dict[str, SyntheticSolarDataset] = {}
    for source in synthetic:
        pool = SyntheticSolarDataset(
            source,
            label=real.label,
            threshold=real.threshold,
            channels=real.channels,
            scaling=real.scaling,
            allow_ungated=allow_ungated,
        )
        if pools.setdefault(pool.name, pool) is not pool:
            raise UsageError(f"{source}: a second synthetic cube by the name {pool.name}; rename one of them.")
        _check_kind(real, pool)
    return pools


def _check_kind(real: SolarDataset, pool: SyntheticSolarDataset) -> None:
    """Synthetic frames have to show the Sun on the same scale, in both senses."""
    for what, ours, theirs in (
        ("the intensity scale", real.attrs["intensity_scale"], pool.attrs["intensity_scale"]),
        ("the disk's share of the width", _disk_share(real), _disk_share(pool)),
    ):
        if ours != theirs:
            raise UsageError(
                f"SYNTHETIC/{pool.name}: differs from the real frames in {what} ({theirs} and {ours}); generate "
                "with a bundle that was trained on such frames."
            )


def _disk_share(frames: SolarDataset | SyntheticSolarDataset) -> float:
    return round(2 * float(frames.attrs["solar_radius_pixels"]) / frames.source.size, 6)


def _about(pool: SyntheticSolarDataset, held_out: NDArray[Any], *, allow_leakage: bool) -> dict[str, Any]:
    """What is recorded of a synthetic cube; the guard looks at all validation and test months."""
    leakage = None
    try:
        check_leakage(pool.training_ranges, held_out, source=f"SYNTHETIC/{pool.name}")
    except LeakageError as error:
        if not allow_leakage:
            raise
        leakage = str(error)
    return {
        "name": pool.name,
        "frames": fingerprint(pool),
        "samples": pool.class_counts(),
        "bundle_name": pool.attrs.get("bundle_name"),
        "bundle_hash": pool.bundle_hash,
        "gate": verdict_of(pool.attrs),
        "training_ranges": [list(one) for one in pool.training_ranges],
        "leakage": leakage,
    }


def _keep_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    path = folder / _MANIFEST
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if changed := [key for key in manifest if kept.get(key) != manifest[key]]:
            what = " and ".join(changed) + _example(kept, manifest, changed[0])
            raise UsageError(
                f"{folder}: holds a comparison with other {what}; give another --out, or the same options as before."
            )
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_object(location(path), json.dumps(manifest, indent=2).encode())
    except OSError as error:
        raise SunaugError(f"{folder}: cannot be written ({error.strerror or error}); give another --out.") from None


def _example(kept: dict[str, Any], asked: dict[str, Any], key: str) -> str:
    if not isinstance(asked[key], dict):
        return ""
    names = [name for name in asked[key] if kept[key].get(name) != asked[key][name]]
    return f" ({', '.join(f'{name} {kept[key].get(name)}, now {asked[key][name]}' for name in names)})"


def _fillable(workspace: Workspace, arms: Sequence[Arm]) -> tuple[list[Arm], dict[str, str]]:
    """The arms that the synthetic cubes can fill, and why others are left out."""
    real = workspace.frames("train").labels
    pools = {use.source: workspace.pool(use.source) for arm in arms if (use := arm.synthetic)}
    kept, left_out = [], {}
    for arm in arms:
        lack = ""
        if use := arm.synthetic:
            pool = pools[use.source]
            lack = shortage(use, real, pool.labels) if pool else f"no synthetic cube {use.source or 'is given'}"
        if lack:
            left_out[arm.name] = lack
        else:
            kept.append(arm)
    if workspace.synthetic and left_out and not any(arm.synthetic for arm in kept):
        name, lack = next(iter(left_out.items()))
        raise UsageError(
            f"the synthetic cubes can fill no arm ({name}: {lack}); generate more, with --rare and without, or choose "
            "others with --arms."
        )
    return kept, left_out


def _refuse_changed(folder: Path, tasks: Sequence[Task]) -> None:
    for arm, seed in tasks:
        run = read_run(folder, arm.name, seed)
        if run is not None and run.arm != arm:
            raise UsageError(
                f"{folder}: holds runs of an arm {arm.name!r} that was described otherwise; give it another name, or "
                "another --out."
            )
