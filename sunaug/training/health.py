"""The health of a training: does it still make finite numbers, and different images?

A generator that has collapsed makes nearly the same image for every latent. How much images differ is measured on
coarse features, light enough to look every few thousand images: local means and local contrasts on an 8x8 grid.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

_GRID = 8
SAMPLES = 64
REAL_FRAMES = 256


def frame_features(images: Tensor) -> Tensor:
    """Local means and contrasts of scaled images (n, channel, y, x) on an 8x8 grid: shape (n, channel, 128)."""
    mean = F.adaptive_avg_pool2d(images, _GRID)
    contrast = (F.adaptive_avg_pool2d(images.square(), _GRID) - mean.square()).clamp_min(0).sqrt()
    return torch.stack([mean, contrast], dim=2).flatten(2)


def spread(images: Iterable[Tensor], observed: Tensor | None = None) -> float:
    """Mean squared distance of the features of images (channel, y, x) from their mean; one after the other.

    Parameters
    ----------
    images : iterable of Tensor
    observed : Tensor of bool, shape (n, channel), optional
        Channels that each image has: the mean of each channel's features is over those alone.
    """
    features = torch.cat([frame_features(image[None].float()) for image in images])
    there = torch.ones(features.shape[:2]) if observed is None else observed.to(features)
    weights = (there / there.sum(dim=0).clamp_min(1))[:, :, None]
    mean = (weights * features).sum(dim=0)
    return float((weights * (features - mean).square()).sum())


def diversity(fakes: Iterable[Tensor], real_spread: float) -> float:
    """How much fakes (channel, y, x) differ, in shares of how much real frames do: 1 is as much, 0 is collapse."""
    return spread(fakes) / max(real_spread, 1e-12)


def not_finite(figures: Mapping[str, float]) -> list[str]:
    """Names of the figures that are no longer finite."""
    return [name for name, value in figures.items() if not math.isfinite(value)]
