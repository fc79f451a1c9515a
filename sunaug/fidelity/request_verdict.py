"""The verdict on a kind of request, which every set of that kind inherits.

A handful of samples cannot show what their generator does wrong: limits widen as sets become smaller, so that a
generator which is refused by 512 samples would pass by 64. What is judged is therefore not the set but what it is drawn
from: a bundle, and a kind of request (rare or plain, class, steering, truncation). A pool of samples is made for it,
always the same ones, and what the gate says of the pool is kept in the cache, by the hash of everything that it depends
on. Neither how many samples a user asks for nor the seed has a part in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
import torch
import xarray as xr
from upath import UPath

import sunaug
from sunaug.bundle import Bundle
from sunaug.fidelity.backbones import gate_backbones
from sunaug.fidelity.cache import default_cache
from sunaug.fidelity.gate import Assessment, assess, described
from sunaug.fidelity.instruments import measure_set
from sunaug.fidelity.measured import concatenate
from sunaug.fidelity.policy import Policy
from sunaug.fidelity.roles import roles_of
from sunaug.fidelity.stored import FILE, StoredReference, read_reference
from sunaug.generation import Request, Sampler, stream_request
from sunaug.storage import replace_object
from sunaug.threads import one_thread

__all__ = ["RequestVerdict", "assess_samples", "kind_of", "open_reference", "verdict_of_request"]

POOL_SEED = 0
_VERSION = 1
"""Raised when the gate's statistics change, so that no verdict of an older one is found."""

_AT_ONCE = 64


@dataclass(frozen=True)
class RequestVerdict:
    """What the gate says of a kind of request.

    Attributes
    ----------
    kind : dict
        See `kind_of`.
    found : dict
        The gate's figures, see `sunaug.fidelity.gate.described`, of the pool.
    """

    kind: dict[str, Any]
    found: dict[str, Any]

    @property
    def verdict(self) -> str:
        """``passed``, ``refused`` or ``unknown``."""
        return str(self.found["verdict"])

    @property
    def sentence(self) -> str:
        """The verdict, and what it was measured on, for people."""
        made, judged = self.found["made"], self.found["judged"]
        return f"{self.found['sentence']} Measured on {judged:,} of {made:,} samples made for this kind of request."


def kind_of(request: Request, steering: Mapping[str, float]) -> dict[str, Any]:
    """What two requests have in common whose samples are drawn alike: all but their number and seed.

    Parameters
    ----------
    request : Request
    steering : mapping of str to float
        What is done in the end, see `sunaug.generation.Sampler.steering`.
    """
    kept = request.described(steering)
    if request.conditions is not None:
        text = json.dumps(kept["conditions"]).encode()
        kept["conditions"] = {"number": len(request.conditions), "sha256": sha256(text).hexdigest()}
    return {name: value for name, value in kept.items() if name not in ("n", "seed")}


def open_reference(bundle: Bundle) -> StoredReference | None:
    """The real frames that a bundle carries, with the feature networks that this machine has; None without any."""
    file = bundle.path / FILE
    if not file.is_file():
        return None
    stored = read_reference(file)
    networks = gate_backbones(name.split(" ")[0] for name in stored.reference.train.measured.features)
    return replace(stored, instruments=replace(stored.instruments, backbones=networks))


@one_thread(blas=True)
def assess_samples(
    batches: Iterable[xr.Dataset],
    bundle: Bundle,
    stored: StoredReference,
    policy: Policy,
    *,
    report: Callable[[int], None] | None = None,
) -> Assessment:
    """Measure samples of a bundle and hold them, as one set, against the real frames that it carries.

    Parameters
    ----------
    batches : iterable of xarray.Dataset
        As `sunaug.stream` makes them.
    bundle : Bundle
        The one that made them.
    stored : StoredReference
        Its own, see `open_reference`.
    policy : Policy
    report : callable, optional
        Called with the number of samples looked at.
    """
    measured, done = [], 0
    for batch in batches:
        count = batch.sizes["sample"]
        measured.append(measure_set(batch, np.arange(count), stored.instruments, report=report, before=done))
        done += count
    looked = stored.reference.look(concatenate(measured))
    return assess(looked, stored.reference, policy, roles_of(bundle))


def verdict_of_request(
    bundle: Bundle,
    request: Request,
    policy: Policy,
    *,
    device: str | torch.device = "cpu",
    report: Callable[[int], None] | None = None,
) -> RequestVerdict | None:
    """What the gate says of the kind of a request, from the cache where it was asked before.

    Parameters
    ----------
    bundle : Bundle
    request : Request
        Its number and seed have no part in the verdict.
    policy : Policy
        `Policy.samples` samples are made and measured.
    device : str or torch.device
    report : callable, optional
        Called with the number of samples looked at.

    Returns
    -------
    RequestVerdict or None
        None where the bundle carries no real frames.

    Raises
    ------
    UsageError, SunaugError
        If the bundle cannot make what is asked for.
    """
    stored = open_reference(bundle)
    if stored is None:
        return None
    pooled = replace(request, n=policy.samples, seed=POOL_SEED)
    kind = kind_of(pooled, Sampler(bundle, pooled, device).steering)
    origin = {
        "version": _VERSION,
        "sunaug": sunaug.__version__,
        "torch": torch.__version__,
        "bundle": bundle.hash,
        "reference": sha256((bundle.path / FILE).read_bytes()).hexdigest(),
        "networks": [one.label for one in stored.instruments.backbones],
        "policy": policy.hash,
        "kind": kind,
    }
    key = sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()
    file = default_cache() / "verdicts" / f"{key}.json"
    with suppress(OSError, json.JSONDecodeError):
        return RequestVerdict(kind, json.loads(file.read_text()))
    batches = stream_request(bundle, pooled, _AT_ONCE, device=device)
    found = described(assess_samples(batches, bundle, stored, policy, report=report))
    with suppress(OSError):  # a cache that cannot be written costs time, and no verdict
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_object(UPath(file), json.dumps(found).encode())
    return RequestVerdict(kind, found)
