"""DiffAugment (Zhao et al. 2020): differentiable augmentation of everything that the discriminator sees.

The same random policy is applied to real and fake images, in the discriminator's and in the generator's step, so that
the discriminator cannot memorise a few real frames while the generator's target stays the unaugmented distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

TRANSLATION_RATIO = 1 / 8
CUTOUT_RATIO = 1 / 2


def _integers(low: int, high: int, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """`count` integers from low to high inclusive; drawn on the CPU, so that every device sees the same ones."""
    return torch.randint(low, high + 1, (count,), generator=generator).to(device)


def translate(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by up to 1/8 of its size in both directions; zeros come in from outside."""
    batch, _, height, width = images.shape
    reach_y, reach_x = round(height * TRANSLATION_RATIO), round(width * TRANSLATION_RATIO)
    shift_y = _integers(-reach_y, reach_y, batch, generator, images.device)
    shift_x = _integers(-reach_x, reach_x, batch, generator, images.device)
    padded = F.pad(images, (reach_x, reach_x, reach_y, reach_y)).permute(0, 2, 3, 1)
    rows = torch.arange(height, device=images.device) + reach_y + shift_y[:, None]
    columns = torch.arange(width, device=images.device) + reach_x + shift_x[:, None]
    sample = torch.arange(batch, device=images.device)
    return padded[sample[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cutout(images: Tensor, generator: torch.Generator) -> Tensor:
    """Set a square of half the image's size, placed anywhere (also partly outside), to zero."""
    batch, _, height, width = images.shape
    size_y, size_x = round(height * CUTOUT_RATIO), round(width * CUTOUT_RATIO)
    centre_y = _integers(0, height, batch, generator, images.device)
    centre_x = _integers(0, width, batch, generator, images.device)
    rows = torch.arange(height, device=images.device) - (centre_y - size_y // 2)[:, None]
    columns = torch.arange(width, device=images.device) - (centre_x - size_x // 2)[:, None]
    inside = ((rows >= 0) & (rows < size_y))[:, :, None] & ((columns >= 0) & (columns < size_x))[:, None, :]
    return images * (~inside)[:, None].to(images.dtype)


POLICIES: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {"translation": translate, "cutout": cutout}


def diff_augment(images: Tensor, policies: Sequence[str], generator: torch.Generator) -> Tensor:
    """Apply `policies` in order.

    Parameters
    ----------
    images : Tensor, shape (batch, channel, y, x)
        In scaled units, where zero is the middle of the range.
    policies : sequence of {"translation", "cutout"}
    generator : torch.Generator
        On the CPU.
    """
    for policy in policies:
        images = POLICIES[policy](images, generator)
    return images
