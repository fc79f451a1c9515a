"""How flare-like a frame looks: one number per frame, measured the same way on real and synthetic frames."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

HOT_CHANNELS = ("aia94", "aia131")
"""Channels that see plasma above 6 MK, where flares stand out most."""

BRIGHTEST_SHARE = 0.01
_LIMIT_RADII = 1.1


@cache
def disk_mask(size: int, disk_radius: float, radii: float = 1.0) -> Tensor:
    """Pixels within `radii` solar radii of the disk's centre: bool, shape (size, size)."""
    offset = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    return torch.hypot(offset[:, None], offset[None, :]) <= radii * disk_radius


def hot_channels(channels: Sequence[str]) -> list[int]:
    """Numbers of the channels that hot emission is measured in; all where neither 94 nor 131 Å is among them."""
    return [number for number, name in enumerate(channels) if name in HOT_CHANNELS] or list(range(len(channels)))


def hot_emission(scaled: Tensor, channels: Sequence[str], disk_radius: float) -> Tensor:
    """Mean scaled intensity of the brightest 1 % of the pixels on and just off the disk, in the hot channels.

    Parameters
    ----------
    scaled : Tensor, shape (n, channel, y, x)
        Scaled intensities.
    channels : sequence of str
        See `hot_channels`.
    disk_radius : float
        Pixels.

    Returns
    -------
    Tensor, shape (n,)
    """
    inside = scaled[:, hot_channels(channels)][
        :, :, disk_mask(scaled.shape[-1], disk_radius, _LIMIT_RADII).to(scaled.device)
    ]
    brightest = max(1, int(np.ceil(inside.shape[-1] * BRIGHTEST_SHARE)))
    return inside.topk(brightest, dim=-1).values.mean(dim=(1, 2))


def mean_intensity(scaled: Tensor, channels: Sequence[str], disk_radius: float) -> Tensor:
    """Mean scaled intensity of the disk over all channels, shape (n,): overall brightness."""
    return scaled[:, :, disk_mask(scaled.shape[-1], disk_radius).to(scaled.device)].mean(dim=(1, 2))
