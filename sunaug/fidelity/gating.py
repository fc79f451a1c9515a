"""Generated samples before the gate: judged by the reference that their bundle carries, single ones rejected."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sunaug.bundle import Bundle
from sunaug.cube import FrameStatus, open_cube, set_attributes, write_frames
from sunaug.errors import SunaugError
from sunaug.fidelity.gate import Assessment, assess, described, judge_samples
from sunaug.fidelity.instruments import measure_set
from sunaug.fidelity.measured import Measured, concatenate
from sunaug.fidelity.policy import Policy
from sunaug.fidelity.stored import FILE, StoredReference, read_reference
from sunaug.fidelity.verdict import UNGATED, UNJUDGED, verdict_of

__all__ = ["gate_cube", "gate_samples", "mark_ungated"]

_AT_ONCE = 512


def mark_ungated(path: str | Path) -> None:
    """Mark a cube as one that was never to be judged; nothing takes the mark away."""
    set_attributes(
        path, {"gate": {"verdict": UNGATED, "sentence": "Ungated: made with --no-gate, nothing was checked."}}
    )


def gate_cube(
    path: str | Path,
    bundle: Bundle,
    policy: Policy,
    *,
    report: Callable[[int], None] | None = None,
) -> Assessment | None:
    """Judge a finished synthetic cube, and store the verdict in it.

    All samples are looked at one by one; those that no real frame is like are marked as rejected. The set is judged by
    up to `policy.samples` of them. The verdict, the figures and the policy's hash go into the cube's attribute
    ``gate``.

    Parameters
    ----------
    path : str or pathlib.Path
    bundle : Bundle
        The one that made the cube.
    policy : Policy
    report : callable, optional
        Called with the number of samples looked at.

    Returns
    -------
    Assessment or None
        None where the bundle has no reference, which the cube then says.

    Raises
    ------
    SunaugError
        If the cube is marked as ungated, or is not finished.
    """
    cube = open_cube(path)
    if verdict_of(cube.attrs) == UNGATED:
        raise SunaugError(f"{path}: was made with --no-gate and stays ungated; make another one.")
    status = np.asarray(cube["frame_status"].values)
    if (status == FrameStatus.PENDING).any():
        raise SunaugError(f"{path}: not finished; give the command that makes it again, then judge it.")
    file = bundle.path / FILE
    if not file.is_file():
        sentence = f"Unjudged: {bundle.info.name} has no real frames to be compared with."
        set_attributes(path, {"gate": {"verdict": UNJUDGED, "sentence": sentence}})
        return None
    stored = read_reference(file)
    judged = np.random.default_rng(0).permutation(len(status))[: policy.samples]
    pieces = (cube.isel(sample=slice(start, start + _AT_ONCE)) for start in range(0, len(status), _AT_ONCE))
    found = _judge(pieces, stored, policy, np.isin(np.arange(len(status)), judged), report)
    wanted = np.where(found.dropped & policy.drop, FrameStatus.REJECTED, FrameStatus.COMPLETE).astype(np.int8)
    if (wanted != status).any():
        write_frames(path, 0, {"frame_status": wanted})
    set_attributes(path, {"gate": described(found)})
    return found


def gate_samples(batches: Iterable[xr.Dataset], bundle: Bundle, policy: Policy) -> Assessment | None:
    """Judge samples that are in no cube, as `sunaug.stream` makes them.

    Parameters
    ----------
    batches : iterable of xarray.Dataset
        As many samples as are to be looked at.
    bundle : Bundle
    policy : Policy

    Returns
    -------
    Assessment or None
        None where the bundle has no reference.
    """
    file = bundle.path / FILE
    return _judge(batches, read_reference(file), policy, None, None) if file.is_file() else None


def _judge(
    batches: Iterable[xr.Dataset],
    stored: StoredReference,
    policy: Policy,
    in_set: NDArray[np.bool_] | None,
    report: Callable[[int], None] | None,
) -> Assessment:
    """Look at samples one by one, and at those of `in_set` (all if None) as a set."""
    dropped: list[NDArray[np.bool_]] = []
    kept: list[Measured] = []
    why: dict[str, int] = {}
    done = 0
    for batch in batches:
        count = batch.sizes["sample"]
        measured = measure_set(batch, np.arange(count), stored.instruments, report=report, before=done)
        out, reasons = judge_samples(stored.reference.look(measured), stored.reference)
        dropped.append(out)
        why = {name: why.get(name, 0) + reasons.get(name, 0) for name in {**why, **reasons}}
        chosen = np.arange(count) if in_set is None else np.flatnonzero(in_set[done : done + count])
        if len(chosen):
            kept.append(measured.take(chosen))
        done += count
    every = np.concatenate(dropped)
    looked = stored.reference.look(concatenate(kept))
    found = assess(looked, stored.reference, policy, share_dropped=float(every.mean()))
    return replace(found, dropped=every, why_dropped=why)
