"""Frames that a bundle makes while a training asks for them.

Sample i is the same one whoever makes it: number, seed and bundle decide it. Worker processes therefore need to agree
on nothing, and each has the generator once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

from forecasting_adapters.reading import Take
from forecasting_adapters.samples import Fluxes
from sunaug.bundle import Bundle, load_bundle
from sunaug.errors import UsageError
from sunaug.fidelity.gating import unjudged
from sunaug.fidelity.policy import Policy
from sunaug.fidelity.request_verdict import verdict_of_request
from sunaug.generation import Request, Sampler
from sunaug.generation.writing import attributes

__all__ = ["GeneratedFrames", "gate_of"]

_AT_ONCE = 256


class GeneratedFrames:
    """The samples 0 to n of a request, made when they are read; a `FrameSource`.

    Parameters
    ----------
    bundle : Bundle
    request : Request
    label : {"forecast", "nowcast"}
        The label that is asked for; the bundle must be conditioned on it.
    device : str or torch.device
    gate : mapping
        What the gate has said, as a cube's attribute.

    Raises
    ------
    UsageError, SunaugError
        If the bundle cannot make what is asked for.
    """

    def __init__(
        self, bundle: Bundle, request: Request, *, label: str, device: str | torch.device, gate: dict[str, Any]
    ) -> None:
        info = bundle.info
        if f"{label}_flux" not in info.network.labels:
            raise UsageError(
                f"{bundle.path}: its generator is not conditioned on {label}_flux, so that its samples have no such "
                "label; choose another label or bundle."
            )
        self._path, self._request, self._device = bundle.path, request, torch.device(device)
        self._sampler: Sampler | None = Sampler(bundle, request, device)
        self.where, self.name = str(bundle.path), info.name
        self.attrs = {"intensity_scale": info.intensity_scale, **attributes(self._sampler), "gate": gate}
        self.channels, self.size = list(info.channels), info.network.size
        self.axis: NDArray[Any] = np.arange(request.n)
        self._fluxes = np.full((2, request.n), np.nan)
        self._known = np.zeros(request.n, bool)

    @property
    def forecast_flux(self) -> NDArray[np.float64]:
        """W m-2, shape (n,); samples that were not made yet are made for it."""
        return self._all_fluxes()[0]

    @property
    def nowcast_flux(self) -> NDArray[np.float64]:
        """W m-2, shape (n,); samples that were not made yet are made for it."""
        return self._all_fluxes()[1]

    def all_positive(self, label: str, threshold: float) -> bool:
        """Whether the request alone says that every sample reaches a threshold (W m-2) in a label."""
        asked = self._request
        return asked.rare and asked.label == label and asked.border * (1 + 1e-6) >= threshold

    def read(self, places: NDArray[np.int64], take: Take) -> Fluxes:
        """Make the samples of some numbers (k,), those beyond n among them, and give their fluxes (k,)."""
        wanted, slots = np.unique(places, return_inverse=True)
        made = self._open_sampler().choose(wanted)
        fluxes = np.stack([made["forecast_flux"], made["nowcast_flux"]])
        mine = wanted < len(self.axis)
        self._fluxes[:, wanted[mine]], self._known[wanted[mine]] = fluxes[:, mine], True
        for place, slot in enumerate(slots.tolist()):
            take(place, made["intensity"][slot])
        return fluxes[0, slots], fluxes[1, slots]

    def _all_fluxes(self) -> NDArray[np.float64]:
        missing = np.flatnonzero(~self._known)
        for start in range(0, len(missing), _AT_ONCE):
            self.read(missing[start : start + _AT_ONCE], lambda place, frame: None)
        return self._fluxes

    def _open_sampler(self) -> Sampler:
        if get_worker_info() and self._device.type != "cpu":
            raise UsageError(
                f"a data loader's worker process cannot generate on {self._device}; use num_workers=0, or "
                "SyntheticStream, which generates ahead of the training."
            )
        if self._sampler is None:
            self._sampler = Sampler(load_bundle(self._path), self._request, self._device)
        return self._sampler

    def __getstate__(self) -> dict[str, Any]:
        # Another process opens the bundle itself: that is quicker than to send a network through a pipe.
        return self.__dict__ | {"_sampler": None}


def gate_of(bundle: Bundle, request: Request, policy: Policy, *, device: str | torch.device = "cpu") -> dict[str, Any]:
    """What the gate says of a kind of request, see `sunaug.fidelity.request_verdict`.

    Single samples beyond what real frames show are counted in the gate's pool. They are not kept from the training, as
    they are in a cube.

    Parameters
    ----------
    bundle : Bundle
    request : Request
    policy : Policy
    device : str or torch.device

    Returns
    -------
    dict
        As a cube's attribute ``gate``.
    """
    found = verdict_of_request(bundle, request, policy, device=device)
    if found is None:
        return unjudged(bundle)
    return found.found | {"sentence": found.sentence, "request": found.kind}
