"""Write a synthetic cube in another project's layout: judged, in its units and geometry, with times and a note."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import sunaug
from forecasting_adapters.exports.contract import Ecosystem, Frame, Plan
from forecasting_adapters.exports.note import FORMAT, NOTE, ORIGIN, is_export, list_files, read_note, seal, write_note
from forecasting_adapters.exports.preparing import Preparation, prepare, prepared_frames
from forecasting_adapters.exports.registry import ecosystem
from forecasting_adapters.exports.times import DEFAULT_START, assign_times
from forecasting_adapters.leakage import LeakageError, describe_leakage
from forecasting_adapters.published_splits import published_split
from sunaug.cube import FrameStatus, open_cube
from sunaug.cube.lock import only_writer
from sunaug.errors import SunaugError, UsageError
from sunaug.fidelity.verdict import refuse_ungated
from sunaug.storage import is_remote, local_or_url, location, remove_partial

__all__ = ["NO_SPLIT", "check_options", "check_split", "export", "open_synthetic"]

NO_SPLIT = "none"
"""Given as a split: the forecaster is evaluated on other times than those of a published split."""

_FLUXES = ("forecast_flux", "nowcast_flux")
_RANDOM_NUMBERS = ("seed", "draw", "attempt")
_FULL = (errno.ENOSPC, errno.EDQUOT)


def export(
    cube: str | Path | xr.Dataset,
    to: str,
    out: str | Path,
    *,
    n: int | None = None,
    size: int | None = None,
    start: str = DEFAULT_START,
    border: str = "continue",
    split: str | None = None,
    allow_ungated: bool = False,
    report: Callable[[int], None] = lambda done: None,
    **options: Any,
) -> Path:
    """Write the samples of a synthetic cube as files that another project's loader reads.

    Frames are brought to that project's size, disk radius and units one by one, in flat memory, and get times of their
    own (see `forecasting_adapters.exports.times`). Everything is written into ``OUT.partial`` and renamed when it is
    whole; the same call goes on where one was stopped.

    Parameters
    ----------
    cube : str, pathlib.Path or xarray.Dataset
        A synthetic cube; samples that the gate has rejected are left out.
    to : str
        Name of the layout, see `forecasting_adapters.exports.NAMES`.
    out : str or pathlib.Path
        Local folder to make.
    n : int, optional
        Number of samples, the first ones; by default all.
    size : int, optional
        Width in pixels where the layout takes any; by default the cube's.
    start : str
        Time of the first frame, ISO 8601, UTC.
    border : {"continue", "missing"}
        What stands beyond the cube's field where the layout's is wider: its outermost pixels, or nothing.
    split : str, optional
        The published split by which the forecaster will be evaluated (`forecasting_adapters.published_splits`); by
        default that of the layout's project. ``none``: by none of them, but by other times, which `check_leakage` or
        `MixedSolarDataset` is to be told.
    allow_ungated : bool
        Take a cube that the fidelity gate has refused or not judged.
    report : callable, optional
        Called with the number of frames written so far.
    **options
        The layout's own options.

    Returns
    -------
    pathlib.Path
        The folder; `forecasting_adapters.exports.open_export` opens it again.

    Raises
    ------
    UsageError
        If the request makes no sense: an observed cube, an unknown layout, option or size.
    GateRefused
        If the gate has not passed the cube, unless `allow_ungated`.
    LeakageError
        If the generator has seen times that `split` holds out, or `start` lies in times that published splits do.
    SunaugError
        If something else stands at `out`, or it cannot be written.
    """
    chosen = ecosystem(to)
    given = check_options(chosen, options)
    opened, name = open_synthetic(cube, allow_ungated=allow_ungated)
    how = prepare(opened, chosen, size, border, name)
    source = f"SYNTHETIC/{Path(name).stem}"
    check_split(opened, split or chosen.split, source)
    rows = _rows(opened, n, name)
    times = assign_times(
        len(rows),
        start,
        chosen.cadence,
        chosen.reach,
        training_ranges=opened.attrs.get("training_ranges", ()),
        source=source,
    )
    plan = _plan(opened, chosen, how, rows, times, given)
    target = _target(out)
    if target.exists():
        _check_finished(target, plan.note)
        return target
    partial = target.with_name(f"{target.name}.partial")
    with _no_empty_folders(target), only_writer(location(target)), _nothing_left_of_a_refusal(partial):
        _begin(partial, plan.note)
        _write(partial, target, chosen, plan, prepared_frames(opened, rows, plan, how), report)
    return target


def check_split(cube: xr.Dataset, split: str | None, source: str) -> None:
    """Refuse samples that a forecaster which is evaluated by a published split must not be trained on.

    Parameters
    ----------
    cube : xarray.Dataset
        A synthetic cube.
    split : str, optional
        A published split; nothing is checked without, or with ``none``.
    source : str
        What the message names.

    Raises
    ------
    LeakageError
        If the generator has seen times that the split holds out, or the cube does not say what it has seen.
    UsageError
        If there is no such split.
    """
    if split is None or split == NO_SPLIT:
        return
    if found := describe_leakage(cube.attrs.get("training_ranges"), split, source=source):
        sentence, ranges = found
        raise LeakageError(
            f"{sentence} Take samples of a bundle that was not trained on them, or pass split={NO_SPLIT!r} where the "
            "forecaster is evaluated on other times.",
            ranges,
        )


@contextmanager
def _no_empty_folders(target: Path) -> Iterator[None]:
    """Remove the folders on the way to `target` that were made within, where nothing came into them."""
    above = [folder for folder in target.absolute().parents if not folder.exists()]
    try:
        yield
    except SunaugError:
        with suppress(OSError):  # one is not empty
            for folder in above:
                folder.rmdir()
        raise


@contextmanager
def _nothing_left_of_a_refusal(partial: Path) -> Iterator[None]:
    """Remove the folder of an export that was begun, where a layout refuses the plan before its first frame."""
    try:
        yield
    except SunaugError:
        if _is_empty(partial):
            shutil.rmtree(partial, ignore_errors=True)
        raise


def _is_empty(partial: Path) -> bool:
    """Whether the folder of an export that was begun holds no frame yet, only the note."""
    return partial.is_dir() and all(one.name == NOTE or one.name.endswith(".partial") for one in partial.iterdir())


def open_synthetic(cube: str | Path | xr.Dataset, *, allow_ungated: bool) -> tuple[xr.Dataset, str]:
    """Open a synthetic cube that may leave the house, and say what messages call it.

    Raises
    ------
    UsageError
        If it is not there, or an observed cube.
    GateRefused
        If the gate has not passed it, unless `allow_ungated`.
    """
    opened = cube if isinstance(cube, xr.Dataset) else open_cube(cube)
    name = str(opened.encoding.get("source", "the cube"))
    if "sample" not in opened.dims:
        raise UsageError(f"{name}: is an observed cube, and only synthetic ones are exported; give one of those.")
    refuse_ungated(opened.attrs, name, allow=allow_ungated)
    return opened, name


def check_options(chosen: Ecosystem, options: Mapping[str, Any]) -> dict[str, Any]:
    """The ecosystem's options with what was given, text turned into the type of the default value.

    Raises
    ------
    UsageError
        If it does not know one of them, or cannot read its value.
    """
    unknown = sorted(set(options) - set(chosen.options))
    if unknown:
        known = f"it knows {', '.join(chosen.options)}" if chosen.options else "it has none"
        raise UsageError(f"{chosen.name}: no option {', '.join(unknown)}; {known}.")
    return dict(chosen.options) | {name: _typed(name, value, chosen.options[name]) for name, value in options.items()}


def _typed(name: str, value: Any, default: Any) -> Any:
    if not isinstance(value, str) or default is None or isinstance(default, str):
        return value
    kind = type(default)
    try:
        if kind is bool:
            return {"true": True, "yes": True, "false": False, "no": False}[value.lower()]
        return tuple(value.split(",")) if kind in (tuple, list) else kind(value)
    except (ValueError, KeyError):
        raise UsageError(f"option {name}={value}: give a value like {default!r}.") from None


def _rows(cube: xr.Dataset, n: int | None, name: str) -> NDArray[np.int64]:
    """Places of the samples to be exported."""
    rows = np.flatnonzero(cube["frame_status"].values == FrameStatus.COMPLETE)
    if not len(rows):
        raise SunaugError(f"{name}: none of {cube.sizes['sample']} samples is complete; generate the cube first.")
    if n is not None and not 1 <= n <= len(rows):
        raise UsageError(f"--n {n}: {name} has {len(rows)} complete samples; ask for 1 to {len(rows)}.")
    return rows[:n]


def _plan(
    cube: xr.Dataset,
    chosen: Ecosystem,
    how: Preparation,
    rows: NDArray[np.int64],
    times: NDArray[np.datetime64],
    options: dict[str, Any],
) -> Plan:
    picked = cube.drop_vars("intensity").isel(sample=rows)
    name = Path(str(cube.encoding.get("source", "cube"))).stem
    note = {
        "SYNTHETIC": "made by sunaug; not an observation",
        "format": FORMAT,
        "sunaug_version": sunaug.__version__,
        "layout": chosen.name,
        "options": options,
        "cube": name,
        **{one: cube.attrs[one] for one in ORIGIN if one in cube.attrs},
        "images": {
            "channels": how.channels,
            "size": how.size,
            "disk_radius": how.radius,
            "intensity_scale": how.scale,
            "left_out": [str(one) for one in cube["channel"].values if str(one) not in how.channels],
        },
        "steps": how.steps(),
        "warnings": [*how.warnings(), *_no_date(chosen)],
        "samples": _samples(picked, times),
    }
    return Plan(
        name=name,
        channels=how.channels,
        size=how.size,
        disk_radius=how.radius,
        intensity_scale="browse" if how.scale == "browse" else "physical",
        numbers=picked["sample"].values.astype(np.int64),
        times=times,
        forecast_flux=picked["forecast_flux"].values,
        nowcast_flux=picked["nowcast_flux"].values,
        options=options,
        note=json.loads(json.dumps(note)),  # as it comes back from the file: tuples are lists there
    )


def _no_date(chosen: Ecosystem) -> list[str]:
    """What has to be known where the project's split leaves no date for synthetic frames."""
    if chosen.split is None or not (split := published_split(chosen.split)).no_date_is_safe:
        return []
    return [
        f"{split.title} {split.sentence}, and the times that are left were observed, so that no date is safe for "
        "synthetic frames: use the tables train_*.csv as training tables of their own, and never split them by date."
    ]


def _samples(picked: xr.Dataset, times: NDArray[np.datetime64]) -> dict[str, Any]:
    """A list for each quantity, in the order of the frames; NaN is None there, for JSON has none."""
    found: dict[str, Any] = {
        "number": picked["sample"].values.astype(np.int64).tolist(),
        "time": np.datetime_as_string(times, unit="m").tolist(),
    }
    for flux in _FLUXES:
        found[flux] = [None if np.isnan(value) else value for value in picked[flux].values.tolist()]
    found |= {name: picked[name].values.tolist() for name in _RANDOM_NUMBERS if name in picked}
    if "steering" in picked:
        directions = [str(name) for name in picked["direction"].values]
        found["steering"] = dict(zip(directions, picked["steering"].values.T.tolist(), strict=True))
    return found


def _target(out: str | Path) -> Path:
    place = local_or_url(out)
    if is_remote(place):
        raise UsageError(f"{out}: exports are written to a local folder; give one and copy it.")
    return Path(place)


def _check_finished(target: Path, note: Mapping[str, Any]) -> None:
    """Refuse to touch what stands at `target`, unless it is the same export."""
    if is_export(target):
        known = {name: value for name, value in read_note(target).items() if name not in ("files", "sha256")}
        if known == note:
            return
        raise SunaugError(f"{target}: exists already and holds another export; choose another OUT or remove it.")
    raise SunaugError(f"{target}: exists already; choose another OUT or remove it.")


def _begin(partial: Path, note: Mapping[str, Any]) -> None:
    """Make the folder to write into, with the note already in it, or find the one of the same export."""
    if not partial.exists():
        partial.mkdir(parents=True)
        write_note(partial, note)
        return
    remove_partial(location(partial))
    try:
        begun = json.loads((partial / NOTE).read_bytes())
    except (OSError, ValueError):
        begun = None
    if _is_empty(partial):  # nothing is lost with it
        write_note(partial, note)
    elif begun is None or any(begun.get(name) != value for name, value in note.items()):
        raise SunaugError(
            f"{partial}: another export was stopped there; run its command again to end it, or remove the folder."
        )


def _write(
    partial: Path,
    target: Path,
    chosen: Ecosystem,
    plan: Plan,
    frames: Iterator[Frame],
    report: Callable[[int], None],
) -> None:
    try:
        chosen.write(plan, frames, partial, report)
        write_note(partial, seal(plan.note, list_files(partial)))
        partial.rename(target)
    except OSError as error:
        if error.errno in _FULL or "No space left" in str(error):
            free = shutil.disk_usage(partial).free / 2**20
            reason = f"the disk is full ({free:.0f} MiB free)"
        elif error.errno is not None:
            reason = f"it cannot be written ({error.strerror})"
        else:
            raise
        raise SunaugError(f"{target}: {reason}; make room there and run the same command again, it goes on.") from None
