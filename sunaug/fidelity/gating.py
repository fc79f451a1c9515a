"""Generated samples before the gate: the verdict of their kind of request, and single samples rejected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from sunaug.bundle import Bundle
from sunaug.cube import FrameStatus, open_cube, set_attributes, write_frames
from sunaug.errors import SunaugError
from sunaug.fidelity.account import Account, Rejections
from sunaug.fidelity.instruments import measure_set
from sunaug.fidelity.policy import Policy
from sunaug.fidelity.request_verdict import RequestVerdict, open_reference, verdict_of_request
from sunaug.fidelity.sample_checks import check_samples
from sunaug.fidelity.stored import StoredReference
from sunaug.fidelity.verdict import PASSED, REFUSED, UNGATED, UNJUDGED, verdict_of
from sunaug.generation import Request
from sunaug.threads import one_thread

__all__ = ["SampleChecker", "SetVerdict", "gate_cube", "mark_ungated", "unjudged"]

_AT_ONCE = 512


@dataclass(frozen=True)
class SetVerdict:
    """What the gate says of a set.

    Attributes
    ----------
    request : RequestVerdict
        Of the kind of request that the set was made by.
    policy : Policy
    account : Account
        What became of the samples of the set.
    """

    request: RequestVerdict
    policy: Policy
    account: Account

    @property
    def _spoiled(self) -> bool:
        """Whether so many samples are rejected that the set is refused, whatever its kind of request."""
        made, rejected = self.account.made, self.account.rejections.number
        if not self.policy.drop:
            return rejected > self.policy.drop_share * made
        return rejected == made or (made >= self.policy.minimum_frames and rejected > self.policy.drop_share * made)

    @property
    def verdict(self) -> str:
        """``passed``, ``refused`` or ``unknown``: that of the kind of request, unless too many are rejected."""
        return REFUSED if self.request.verdict == PASSED and self._spoiled else self.request.verdict

    @property
    def sentence(self) -> str:
        """The verdict, for people."""
        if self.verdict == self.request.verdict:
            return self.request.sentence
        share = self.account.rejections.number / self.account.made
        return f"Refused: {share:.0%} of the samples are rejected. {self.request.sentence}"

    def described(self) -> dict[str, Any]:
        """As a cube's attribute ``gate`` keeps it.

        ``verdict`` and ``sentence``; what became of the set's samples, see `Account.described`; ``request``, the kind
        that was judged; and the gate's figures of the pool of that kind, see `sunaug.fidelity.gate.described`, where
        what became of the pool's samples is ``pool``.
        """
        own = self.account.described()
        return self.request.found | {
            "verdict": self.verdict,
            "sentence": self.sentence,
            **own,
            "request": self.request.kind,
            "pool": {name: self.request.found[name] for name in own},
        }


def unjudged(bundle: Bundle) -> dict[str, Any]:
    """The attribute ``gate`` of what a bundle without real frames makes."""
    return {
        "verdict": UNJUDGED,
        "sentence": f"Unjudged: {bundle.info.name} has no real frames to be compared with.",
    }


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
    device: str | torch.device = "cpu",
    report: Callable[[int], None] | None = None,
) -> SetVerdict | None:
    """Judge a finished synthetic cube, and store the verdict in it.

    The verdict is that of the cube's kind of request, see `sunaug.fidelity.request_verdict`: it does not depend on how
    many samples the cube holds. All of its samples are looked at one by one, and those beyond what real frames show are
    marked as rejected. Verdict, figures and the policy's hash go into the cube's attribute ``gate``.

    Parameters
    ----------
    path : str or pathlib.Path
    bundle : Bundle
        The one that made the cube.
    policy : Policy
    device : str or torch.device
        Where samples are made for the verdict.
    report : callable, optional
        Called with the number of samples looked at: of those that are made for the verdict, then of the cube's.

    Returns
    -------
    SetVerdict or None
        None where the bundle has no reference, which the cube then says.

    Raises
    ------
    SunaugError
        If the cube is marked as ungated, is not finished, or was made by another bundle.
    """
    cube = open_cube(path)
    if verdict_of(cube.attrs) == UNGATED:
        raise SunaugError(f"{path}: was made with --no-gate and stays ungated; make another one.")
    if cube.attrs.get("bundle_hash") != bundle.hash:
        raise SunaugError(
            f"{path}: was made by {cube.attrs.get('bundle_name', 'no bundle')}, SHA-256 "
            f"{str(cube.attrs.get('bundle_hash', ''))[:12]}, and {bundle.path} has {bundle.hash[:12]}; judge it with "
            "the bundle that made it."
        )
    status = np.asarray(cube["frame_status"].values)
    if (status == FrameStatus.PENDING).any():
        raise SunaugError(f"{path}: not finished; run the command that makes it again, then judge it.")
    stored = open_reference(bundle)
    if stored is None:
        set_attributes(path, {"gate": unjudged(bundle)})
        return None
    request = Request.from_described(cube.attrs["request"])
    asked = verdict_of_request(bundle, request, policy, device=device, report=report)
    assert asked is not None
    pieces = (cube.isel(sample=slice(start, start + _AT_ONCE)) for start in range(0, len(status), _AT_ONCE))
    checker = SampleChecker(stored, report)
    rejected = np.concatenate([checker.check(piece) for piece in pieces])
    found = SetVerdict(asked, policy, Account(checker.made, checker.rejections, policy.drop))
    wanted = np.where(rejected & policy.drop, FrameStatus.REJECTED, FrameStatus.COMPLETE).astype(np.int8)
    if (wanted != status).any():
        write_frames(path, 0, {"frame_status": wanted})
    set_attributes(path, {"gate": found.described()})
    return found


class SampleChecker:
    """Looks at samples one by one, and keeps count of those that are rejected.

    Parameters
    ----------
    stored : StoredReference
        Of the bundle that makes them, see `open_reference`.
    report : callable, optional
        Called with the number of samples looked at.

    Attributes
    ----------
    made : int
    rejections : Rejections
    """

    def __init__(self, stored: StoredReference, report: Callable[[int], None] | None = None) -> None:
        self._instruments, self._reference, self._report = stored.instruments_alone, stored.reference, report
        self.made, self.rejections = 0, Rejections(0, {})

    @one_thread(blas=True)
    def check(self, batch: xr.Dataset) -> NDArray[np.bool_]:
        """Which samples of a batch are rejected, shape (sample,)."""
        count = batch.sizes["sample"]
        measured = measure_set(batch, np.arange(count), self._instruments, report=self._report, before=self.made)
        rejected, why = check_samples(self._reference.look(measured), self._reference)
        self.made += count
        self.rejections = self.rejections.and_(int(rejected.sum()), why)
        return rejected
