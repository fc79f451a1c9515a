"""The forecaster that all arms train: a compact CNN by default, any network by import path."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import torch
from torch import Tensor, nn

from sunaug.errors import UsageError

__all__ = ["CompactCNN", "build_forecaster"]


_CENTRE, _SPREAD = -0.55, 0.35
"""About the mean and the standard deviation of scaled intensities."""

_SHARES = (0.0003, 0.001, 0.004, 0.016, 0.06)
"""Shares of the pixels that are averaged, the brightest: from a flare's core to all active regions."""


class CompactCNN(nn.Module):
    """Images (n, channels, size, size) in [-1, 1] to logits (n,).

    Convolutions see edges and contrasts of active regions; how bright the brightest 0.03 % to 6 % of all pixels are,
    and the mean, is read off their output and off the image, and weighed. It is small on purpose: the flares of some
    months come from a few active regions, and a deeper network learns those regions by heart.

    Parameters
    ----------
    channels, size : int
        Of the images; the size does not matter.
    width : int
        Channels of the convolution.
    dropout : float
        Share of the readings that are left out of each step.
    """

    def __init__(self, channels: int, size: int, width: int = 8, dropout: float = 0.2) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.SiLU())
        readings = (len(_SHARES) + 1) * (channels + width)
        self.head = nn.Sequential(nn.BatchNorm1d(readings), nn.Dropout(dropout), nn.Linear(readings, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Logit of a flare for each image."""
        images = (images - _CENTRE) / _SPREAD
        readings = torch.cat([_brightest(images), _brightest(self.features(images))], dim=1)
        logits: Tensor = self.head(readings).squeeze(1)
        return logits


def _brightest(maps: Tensor) -> Tensor:
    """Means of the largest shares of each map (n, channel, y, x), and of all of it: (n, readings)."""
    pixels = maps.flatten(2)
    counts = [max(1, round(share * pixels.shape[2])) for share in _SHARES]
    largest = pixels.topk(counts[-1], dim=2).values
    return torch.cat([*(largest[:, :, :count].mean(2) for count in counts), pixels.mean(2)], dim=1)


def build_forecaster(path: str, channels: int, size: int) -> nn.Module:
    """Make the network that an import path names.

    Parameters
    ----------
    path : str
        ``package.module:factory``; modules beside the caller's working folder are found, too.
    channels, size : int
        What the factory is called with.

    Raises
    ------
    UsageError
        If it cannot be imported or called, or does not turn images into one logit each.
    """
    module, separator, name = path.partition(":")
    if not separator or not module or not name:
        raise UsageError(f"model {path!r}: write it as package.module:factory.")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        factory = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"model {path!r}: cannot be imported ({error}); check the path and the installation."
        ) from None
    try:
        network = factory(channels, size)
        logits = network(torch.zeros(2, channels, size, size))
    except Exception as error:  # whatever a user's own network raises
        raise UsageError(
            f"model {path!r}: fails with channels={channels}, size={size} ({type(error).__name__}: {error}); it has to "
            "take images (n, channels, size, size)."
        ) from error
    if logits.numel() != 2:
        raise UsageError(f"model {path!r}: gives {tuple(logits.shape)} for 2 images; it has to give one logit each.")
    forecaster: nn.Module = network
    return forecaster
