"""A fitted critic: fluxes and distances of frames, and what real frames read like."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sunaug.critic.network import FluxRegressor
from sunaug.networks.conditions import encode_flux

NEIGHBOURS = 5
FAR_SHARE = 0.01
"""Share of unseen real frames that count as far from all others."""

WEAKEST_SHARE = 0.05
"""A rare sample has to read at least as strong as all but this share of real frames of its class do."""

FEW = 20
_BATCH = 64


@dataclass(frozen=True)
class Reading:
    """What the critic says of frames.

    Attributes
    ----------
    flux : ndarray of float64, shape (n, n_labels)
        W m-2, one column per label of the critic: the geometric mean of the three networks.
    distance : ndarray of float64, shape (n,)
        Distance to the nearest real frames; only 1 % of unseen real frames lie beyond 1.
    """

    flux: NDArray[np.float64]
    distance: NDArray[np.float64]


@dataclass(frozen=True)
class Witness:
    """One of the networks, with the real frames that it was trained on.

    Attributes
    ----------
    network : FluxRegressor
    whitening : Tensor, shape (features, features)
    bank : Tensor, shape (m, features)
        Whitened features of the frames trained on.
    far : float
        Distance that 1 % of the real frames which it has not seen exceed.
    """

    network: FluxRegressor
    whitening: Tensor
    bank: Tensor
    far: float

    def look(self, scaled: Tensor) -> tuple[Tensor, Tensor]:
        """Encoded fluxes (n, labels) and distances (n,) in units of `far`."""
        features = self.network.embed(scaled)
        return self.network.head(features), nearest(features @ self.whitening, self.bank) / self.far


def nearest(features: Tensor, bank: Tensor) -> Tensor:
    """Mean distance (n,) to the five nearest rows of `bank`."""
    return torch.cdist(features, bank).topk(min(NEIGHBOURS, len(bank)), largest=False).values.mean(dim=1)


@dataclass(frozen=True)
class Critic:
    """Reads fluxes off frames and tells how far from real ones they lie.

    Attributes
    ----------
    labels : tuple of str
        Names of the fluxes.
    witnesses : tuple of Witness
    real_flux, real_reading : ndarray of float64, shape (n, n_labels)
        Of the real frames of the train months, in order of time: the label, and what the network reads that has not
        seen the frame nor its neighbours, W m-2.
    """

    labels: tuple[str, ...]
    witnesses: tuple[Witness, ...]
    real_flux: NDArray[np.float64]
    real_reading: NDArray[np.float64]

    def read(self, scaled: Tensor) -> Reading:
        """Read frames.

        Parameters
        ----------
        scaled : Tensor, shape (n, channel, y, x)
            Scaled intensities, as the generator makes them; clipped to [-1, 1] here.
        """
        fluxes, distances = [], []
        device = self.witnesses[0].bank.device
        with torch.inference_mode():
            for part in scaled.split(_BATCH):
                # Always rows of one number: products of matrices round differently with it.
                filled = torch.cat([part, part[-1:].expand(-len(part) % 8, -1, -1, -1)]).to(device).clamp(-1, 1)
                looks = [witness.look(filled) for witness in self.witnesses]
                fluxes.append(torch.stack([flux for flux, _ in looks]).mean(dim=0)[: len(part)])
                distances.append(torch.stack([distance for _, distance in looks]).mean(dim=0)[: len(part)])
        flux = 10 ** (torch.cat(fluxes).double().cpu().numpy() - 6)
        return Reading(flux, torch.cat(distances).double().cpu().numpy())

    def read_apart(self, scaled: Tensor) -> NDArray[np.float64]:
        """What each network reads on its own, as `real_reading` was read: shape (witnesses, n, n_labels), W m-2."""
        with torch.inference_mode():
            parts = [
                torch.stack([one.network(part.clamp(-1, 1)) for one in self.witnesses])
                for part in scaled.to(self.witnesses[0].bank.device).split(_BATCH)
            ]
        apart: NDArray[np.float64] = 10 ** (torch.cat(parts, dim=1).double().cpu().numpy() - 6)
        return apart

    def encoded(self, scaled: Tensor) -> Tensor:
        """Encoded log fluxes (n, n_labels) of scaled frames, as `read` gives them as fluxes; differentiable."""
        seen = scaled.clamp(-1, 1)
        return torch.stack([one.network(seen) for one in self.witnesses]).mean(dim=0)

    def to(self, device: str | torch.device) -> Critic:
        """The same critic on another device."""
        moved = [
            Witness(one.network.to(device), one.whitening.to(device), one.bank.to(device), one.far)
            for one in self.witnesses
        ]
        return Critic(self.labels, tuple(moved), self.real_flux, self.real_reading)

    def weakest_reading(self, label: str, flux: float, share: float = WEAKEST_SHARE) -> float | None:
        """What real frames of a label of `flux` or more read at least, but for a share of them.

        Returns
        -------
        float or None
            W m-2; None where there are fewer than 20 such frames to tell.
        """
        column = self.labels.index(label)
        readings = self.real_reading[self.real_flux[:, column] >= flux, column]
        return float(np.quantile(readings, share)) if len(readings) >= FEW else None

    def skill(self) -> dict[str, dict[str, float]]:
        """How well it reads real frames that it has not seen: by label, error in dex and rank correlation."""
        found = {}
        for column, name in enumerate(self.labels):
            true, said = (encode_flux(values[:, column]) for values in (self.real_flux, self.real_reading))
            ranks = [np.argsort(np.argsort(values)) for values in (true, said)]
            found[name] = {
                "error_dex": float(np.abs(true - said).mean()),
                "rank_correlation": float(np.corrcoef(ranks[0], ranks[1])[0, 1]),
            }
        return found

    def state(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Tensors and text to store."""
        tensors = {
            "real_flux": torch.from_numpy(self.real_flux),
            "real_reading": torch.from_numpy(self.real_reading),
        }
        for number, one in enumerate(self.witnesses):
            tensors |= {f"{number}.network.{name}": value for name, value in one.network.state_dict().items()}
            tensors |= {f"{number}.whitening": one.whitening, f"{number}.bank": one.bank}
            tensors[f"{number}.far"] = torch.tensor([one.far], dtype=torch.float64)
        return {name: value.contiguous() for name, value in tensors.items()}, {"labels": json.dumps(self.labels)}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], text: Mapping[str, Any]) -> Critic:
        """The critic that `state` gave.

        Raises
        ------
        KeyError, ValueError, RuntimeError
            If something is missing or does not fit.
        """
        labels: Sequence[str] = json.loads(text["labels"])
        witnesses = []
        for number in range(len([name for name in tensors if name.endswith(".far")])):
            start = f"{number}.network."
            weights = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
            network = FluxRegressor(weights["convs.0.weight"].shape[1], len(labels))
            network.load_state_dict(weights)
            witnesses.append(
                Witness(
                    network.eval().requires_grad_(False),
                    tensors[f"{number}.whitening"],
                    tensors[f"{number}.bank"],
                    float(tensors[f"{number}.far"][0]),
                )
            )
        real = (tensors[name].numpy() for name in ("real_flux", "real_reading"))
        return cls(tuple(labels), tuple(witnesses), *real)
