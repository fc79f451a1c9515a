"""Feature networks that sets of frames are compared in.

Several of them, since a generator can please one and not the others: pytorch-fid's Inception; EfficientNet-Lite0, which
is also what a projected discriminator sees; EfficientNet-Lite2, which nothing here is trained on. Figures carry their
network's name: ``FID-768`` or ``FID-2048`` for Inception, ``EffNet-Lite0`` and ``EffNet-Lite2`` for the others, which
are never called a FID.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sunaug.errors import SunaugError
from sunaug.fidelity.inception import load_inception

__all__ = [
    "GATE_NETWORK",
    "Backbone",
    "effnet_backbone",
    "features",
    "gate_backbones",
    "image_features",
    "inception_backbone",
    "load_backbones",
]

BATCH = 16
"""Images in one forward pass."""


@dataclass(frozen=True)
class Backbone:
    """A feature network.

    Attributes
    ----------
    label : str
        How figures made with it are called: ``FID-768``, ``EffNet-Lite0``.
    network : torch.nn.Module
        RGB images (n, 3, y, x) in [0, 1], of any size, to feature vectors (n, dims).
    dims : int
        Length of a feature vector.
    origin : str
        Network, layer and weights, for people.
    """

    label: str
    network: nn.Module = field(repr=False)
    dims: int
    origin: str

    @property
    def description(self) -> str:
        """What the figures were made with, in one line."""
        return f"{self.label} ({self.origin})"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the label and the weights: features of another fingerprint are other features."""
        digest = hashlib.sha256(self.label.encode())
        for name, value in self.network.state_dict().items():
            digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


class _Pooled(nn.Module):
    """EfficientNet's averaged features as the output of a network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        vectors: Tensor = self.network.pooled(images)  # type: ignore[operator]
        return vectors


def _device(asked: str | torch.device | None) -> torch.device:
    return torch.device(asked or ("cuda" if torch.cuda.is_available() else "cpu"))


def inception_backbone(weights: str | Path | None = None, *, device: str | torch.device | None = None) -> Backbone:
    """pytorch-fid's Inception network.

    Parameters
    ----------
    weights : str or pathlib.Path, optional
        See `sunaug.fidelity.inception.load_inception`.
    device : str or torch.device, optional
        CUDA where there is one, unless told otherwise.

    Raises
    ------
    UsageError, SunaugError
        If there is no such file, none is found, or it holds other weights.
    """
    network = load_inception(weights)
    origin = f"pytorch-fid Inception up to {network.layer}, {network.weights}"
    return Backbone(f"FID-{network.dims}", network.to(_device(device)), network.dims, origin)


def effnet_backbone(name: str = "lite0", *, device: str | torch.device | None = None) -> Backbone:
    """An EfficientNet-Lite trained on ImageNet, its last features averaged over the image: 1,280 dimensions.

    Parameters
    ----------
    name : {"lite0", "lite2"}
    device : str or torch.device, optional
        CUDA where there is one, unless told otherwise.

    Raises
    ------
    SunaugError
        If its packages are not installed.
    """
    from sunaug.networks.efficientnet import load_efficientnet

    network = load_efficientnet(name)
    origin = f"{network.variant.name} trained on ImageNet, averaged features of its head"
    return Backbone(f"EffNet-{name.capitalize()}", _Pooled(network).to(_device(device)), network.dims, origin)


GATE_NETWORK = "EffNet-Lite2"
"""The feature network that bundles carry real frames' features of: nothing in sunaug is trained on it or chosen by it,
so that it can judge every generator."""


def gate_backbones(labels: Iterable[str] = (GATE_NETWORK,)) -> list[Backbone]:
    """Those of the named feature networks that the gate uses and this machine has.

    Parameters
    ----------
    labels : iterable of str
        Such as a reference has features of.
    """
    if GATE_NETWORK not in set(labels):
        return []
    try:
        return [effnet_backbone("lite2", device="cpu")]
    except SunaugError:
        # The gate says of its checks that they are unknown.
        return []


def load_backbones(
    weights: str | Path | None = None, *, device: str | torch.device | None = None
) -> tuple[list[Backbone], list[str]]:
    """The feature networks that this machine has, Inception first.

    Parameters
    ----------
    weights : str or pathlib.Path, optional
        Inception weights; if given, they must be usable.
    device : str or torch.device, optional
        CUDA where there is one, unless told otherwise.

    Returns
    -------
    found : list of Backbone
        At least one.
    notes : list of str
        A sentence for each network that is missing.

    Raises
    ------
    UsageError, SunaugError
        If there is none, or the weights asked for cannot be used.
    """
    loaders: dict[str, Callable[[], Backbone]] = {
        "FID": lambda: inception_backbone(weights, device=device),
        "EffNet-Lite0": lambda: effnet_backbone(device=device),
        GATE_NETWORK: lambda: effnet_backbone("lite2", device=device),
    }
    found: list[Backbone] = []
    missing: dict[str, SunaugError] = {}
    for name, load in loaders.items():
        try:
            found.append(load())
        except SunaugError as error:
            if name == "FID" and weights is not None:
                raise
            missing[name] = error
    if not found:
        raise next(iter(missing.values()))
    return found, [f"figures of {name} are missing: {error}" for name, error in missing.items()]


def features(
    images: Iterable[NDArray[np.uint8]], backbone: Backbone, *, report: Callable[[int], None] | None = None
) -> NDArray[np.float32]:
    """Feature vectors of images; with Inception, as pytorch-fid's `get_activations` gives them.

    Parameters
    ----------
    images : iterable of ndarray of uint8, shape (n, 3, y, x)
        Batches of any length; the network resizes them itself.
    backbone : Backbone
    report : callable, optional
        Called with the number of images done so far.

    Returns
    -------
    ndarray of float32, shape (N, dims)
        In the order of the images.
    """
    where = next(backbone.network.parameters()).device
    found = [np.empty((0, backbone.dims), np.float32)]
    done = 0
    with torch.inference_mode():
        for batch in images:
            for start in range(0, len(batch), BATCH):
                part = torch.from_numpy(np.ascontiguousarray(batch[start : start + BATCH])).to(where)
                vectors = backbone.network(part.float().div_(255).contiguous(memory_format=torch.channels_last))
                found.append(vectors.float().cpu().numpy())
                done += len(part)
                if report:
                    report(done)
    return np.concatenate(found)


def image_features(
    batches: Iterable[Mapping[str, NDArray[np.uint8]]],
    backbones: Sequence[Backbone],
    *,
    report: Callable[[int], None] | None = None,
) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Features of frames in several networks, from one pass over the frames.

    Parameters
    ----------
    batches : iterable of mapping of str to ndarray of uint8, shape (n, 3, y, x)
        Images of the frames by name, see `sunaug.fidelity.images.display_images`; at least one batch.
    backbones : sequence of Backbone
    report : callable, optional
        Called with the number of frames done so far.

    Returns
    -------
    dict of str to dict of str to ndarray of float32, shape (N, dims)
        By the network's label and the image's name.
    """
    parts: dict[str, dict[str, list[NDArray[np.float32]]]] = {backbone.label: {} for backbone in backbones}
    done = 0
    for batch in batches:
        for backbone in backbones:
            for name, images in batch.items():
                parts[backbone.label].setdefault(name, []).append(features([images], backbone))
        done += len(next(iter(batch.values())))
        if report:
            report(done)
    return {
        label: {name: np.concatenate(values) for name, values in by_name.items()} for label, by_name in parts.items()
    }
