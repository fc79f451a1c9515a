"""Networks that grow while they are trained, from 4 pixels to the whole image (Karras et al. 2018, section 2).

At each stage a network runs up to one resolution. A new resolution is blended in: at first the image is that of the
resolution below, enlarged. Outside, images always have their whole size; a stage's are enlarged by repeating pixels,
and averaged down where they come in, which undoes it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Growing", "Stage", "enlarge", "fade_in", "shrink"]


class Stage(NamedTuple):
    """How far networks have grown.

    Attributes
    ----------
    resolution : int
        Highest resolution that runs, 4 or more.
    fade : float
        Weight of that resolution beside the one below: 1 where it has come in.
    """

    resolution: int
    fade: float = 1.0


class Growing(nn.Module):
    """A network with a stage, which its state dict holds: weights are of no use at a stage they were not trained at.

    Attributes
    ----------
    stage : Stage
    """

    stage: Stage

    def get_extra_state(self) -> Tensor:
        """The stage, as a tensor (2,)."""
        return torch.tensor(self.stage)

    def set_extra_state(self, state: Tensor) -> None:
        """Take back what `get_extra_state` gave."""
        self.stage = Stage(int(state[0]), float(state[1]))


def enlarge(images: Tensor, size: int) -> Tensor:
    """Images (n, channel, y, x) of `size` pixels, each pixel repeated."""
    factor = size // images.shape[-1]
    return images if factor == 1 else F.interpolate(images, scale_factor=factor, mode="nearest")


def shrink(images: Tensor, size: int) -> Tensor:
    """Images (n, channel, y, x) averaged down to `size` pixels."""
    factor = images.shape[-1] // size
    return images if factor == 1 else F.avg_pool2d(images, factor)


def fade_in(images: Tensor, stage: Stage) -> Tensor:
    """Real frames as a stage's generator could make them: without detail that it cannot have yet.

    Parameters
    ----------
    images : Tensor, shape (n, channel, size, size)
    stage : Stage

    Returns
    -------
    Tensor, shape (n, channel, size, size)
        Averaged down to the stage's resolution, its detail over the resolution below weakened by the fade, and
        enlarged again.
    """
    size, (resolution, fade) = images.shape[-1], stage
    if stage == Stage(size):
        return images
    seen = shrink(images, resolution)
    if fade < 1:
        seen = torch.lerp(enlarge(shrink(seen, resolution // 2), resolution), seen, fade)
    return enlarge(seen, size)
