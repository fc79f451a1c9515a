"""Training on frames that lack channels: which channels of a pair of images are shown, and how the others are hidden.

Each fake stands beside a real frame and is shown with the channels that the frame has, the others hidden in both. The
generator still makes all of them, and each is judged wherever a frame has it: what is learned is the whole image, from
incomplete ones, as in AmbientGAN (Bora et al. 2018, "AmbientGAN: Generative models from lossy measurements", section
4), where fakes go through the same lossy measurement as real images. That holds where a channel is missing by chance
and not for what it would show.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sunaug.errors import UsageError

__all__ = ["group_numbers", "hide_channels", "shown_channels"]

_HIDDEN = -1.0


def shown_channels(observed: Tensor, uniform: Tensor, dropout: float) -> Tensor:
    """Which channels of each pair are shown: those of the frame, without some at random, and one at least.

    Parameters
    ----------
    observed : Tensor of bool, shape (batch, channel)
        Channels that the frame has: one at least.
    uniform : Tensor, shape (batch, channel)
        Random numbers in [0, 1).
    dropout : float
        Probability that a channel is dropped; where all would be, the one with the largest number stays.

    Returns
    -------
    Tensor of bool, shape (batch, channel)
    """
    luck = torch.where(observed, uniform, -1.0)
    return observed & ((luck >= dropout) | (luck == luck.amax(dim=1, keepdim=True)))


def hide_channels(images: Tensor, shown: Tensor | None) -> Tensor:
    """Images whose channels that are not shown have the lowest scaled value throughout.

    Parameters
    ----------
    images : Tensor, shape (batch, channel, y, x)
    shown : Tensor of bool, shape (batch, channel), or None
        None hides nothing.
    """
    if shown is None:
        return images
    return torch.where(shown.to(images.device)[:, :, None, None], images, _HIDDEN)


def group_numbers(groups: Sequence[Sequence[int | str]], channels: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Groups of channels by their numbers, from numbers and names.

    Parameters
    ----------
    groups : sequence of sequence of int or str
    channels : sequence of str
        Names of the cube's channels, in order.

    Raises
    ------
    UsageError
        If there is no channel of a name.
    """

    def number(one: int | str) -> int:
        if isinstance(one, int):
            return one
        if one not in channels:
            raise UsageError(f"channel_groups: no channel {one}; the cube has {', '.join(channels) or 'no names'}.")
        return list(channels).index(one)

    return tuple(tuple(map(number, group)) for group in groups)
