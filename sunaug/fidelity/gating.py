"""A generated cube before the gate: judged by the reference that its bundle carries, single samples rejected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sunaug.bundle import Bundle
from sunaug.cube import FrameStatus, open_cube, set_attributes, write_frames
from sunaug.errors import SunaugError
from sunaug.fidelity.gate import Assessment, Policy, assess, described, judge_samples
from sunaug.fidelity.instruments import measure_set
from sunaug.fidelity.measured import Measured, concatenate
from sunaug.fidelity.stored import FILE, read_reference
from sunaug.fidelity.verdict import UNGATED, UNJUDGED, verdict_of

__all__ = ["gate_cube", "mark_ungated"]

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
    in_set = np.zeros(len(status), bool)
    in_set[judged] = True
    dropped = np.zeros(len(status), bool)
    kept: list[Measured] = []
    why: dict[str, int] = {}
    for start in range(0, len(status), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(status)))
        measured = measure_set(cube, rows, stored.instruments, report=_after(report, start))
        dropped[rows], reasons = judge_samples(stored.reference.look(measured), stored.reference)
        why = {name: why.get(name, 0) + reasons.get(name, 0) for name in {**why, **reasons}}
        if in_set[rows].any():
            kept.append(measured.take(np.flatnonzero(in_set[rows])))
    found = assess(
        stored.reference.look(concatenate(kept)), stored.reference, policy, share_dropped=float(dropped.mean())
    )
    found = replace(found, dropped=dropped, why_dropped=why)
    _store(path, cube.sizes["sample"], status, dropped & policy.drop)
    set_attributes(path, {"gate": described(found)})
    return found


def _after(report: Callable[[int], None] | None, before: int) -> Callable[[int], None] | None:
    return None if report is None else lambda done: report(before + done)


def _store(path: str | Path, n: int, status: NDArray[np.int8], dropped: NDArray[np.bool_]) -> None:
    wanted = np.where(dropped, FrameStatus.REJECTED, FrameStatus.COMPLETE).astype(np.int8)
    if (wanted != status).any():
        write_frames(path, 0, {"frame_status": wanted[:n]})
