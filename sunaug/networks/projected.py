"""Projected discriminator, written from the paper (Sauer et al. 2021, "Projected GANs Converge Faster", arXiv
2111.01007).

Images pass through a frozen ImageNet network; its feature maps are mixed at random across channels and scales, by
weights that stay as they were drawn (section 3.2); one small discriminator per scale scores them (section 3.1). Only
those are trained. Conditions enter each by projection (Miyato & Koyama 2018, equation 3), as in `stylegan2`.

The heads have spectral norm and no batch norm, so that an image's score does not depend on the images beside it. Each
3x3 convolution of the mixing runs before the upsampling, at a quarter of the pixels, so that the coarse maps, which
hold the most, can stay wide.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from sunaug.networks.config import NetworkConfig
from sunaug.networks.efficientnet import COARSEST_STRIDE, load_efficientnet
from sunaug.networks.layers import activate, condition_embedding, kernels_last, upsample

__all__ = ["ProjectedDiscriminator"]

_SMALLEST_INPUT = 128
"""Below it, the map at stride 32 has fewer than the 4x4 pixels that every head's scores are made at."""

_MAP_SCALES = (9.0, 8.0, 6.0, 2.5)
"""Root mean square of EfficientNet-Lite0's maps, within a third for pictures as unlike as noise and a solar disk.

Divided by it, all scales reach the heads equally large, which spectral norm alone would not do.
"""

_WIDENING = (1, 1, 2, 4)
"""Width of the mixed maps from fine to coarse: the network's own has 24, 40, 112 and 320 channels."""

_SCORED_SIZE = 4


class _RandomConv(nn.Module):
    """Convolution that stays as it was drawn: variance kept (He et al. 2015), no bias, a buffer and not a parameter.

    A parameter would be trained as soon as a training loop switches `requires_grad` for the whole network.
    """

    weight: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel: int, generator: torch.Generator) -> None:
        super().__init__()
        weight = torch.empty(out_channels, in_channels, kernel, kernel)
        nn.init.kaiming_normal_(weight, nonlinearity="linear", generator=generator)
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, y, x) to (batch, out_channels, y, x)."""
        return F.conv2d(x, self.weight, padding=self.weight.shape[-1] // 2)


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Module:
    """Convolution with spectral norm (Miyato et al. 2018), padded to keep the size, or to halve it."""
    padding = (kernel - stride + 1) // 2
    return spectral_norm(nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=padding))


class _Head(nn.Module):
    """Discriminator of one scale: halves the map `halvings` times and scores each pixel of what is left."""

    def __init__(self, in_channels: int, width: int, halvings: int, condition_width: int) -> None:
        super().__init__()
        widths = [in_channels, *[width] * halvings]
        self.blocks = nn.ModuleList(_conv(a, b, 4, stride=2) for a, b in itertools.pairwise(widths))
        self.blocks.append(_conv(widths[-1], width, 3))
        self.score = _conv(width, 1, 1)
        self.embed: nn.ModuleList | None = None
        if condition_width:
            self.embed = condition_embedding(condition_width, width)

    def forward(self, x: Tensor, condition: Tensor | None, condition_weight: float) -> Tensor:
        """(batch, in_channels, y, x) to (batch, pixels)."""
        for block in self.blocks:
            x = activate(block(x))
        score: Tensor = self.score(x)[:, 0]
        if self.embed is not None and condition is not None:
            first, second = self.embed
            embedded = second(activate(first(condition)))
            projection = torch.einsum("ncyx,nc->nyx", x, embedded)
            score = score + condition_weight * projection / math.sqrt(x.shape[1])
        return score.flatten(1)


class ProjectedDiscriminator(nn.Module):
    """Discriminator on frozen features of EfficientNet-Lite0.

    The parameters are the heads'; the random projections are buffers. The frozen network is neither: `to` moves it,
    `state_dict` leaves its 14 MB out, because its package brings them.

    Parameters
    ----------
    config : NetworkConfig
        The size, the channels and the conditions of the images.
    width : int
        Channels within the heads, and of the two finer mixed maps.
    seed : int
        Of the random projections.
    input_size : int, optional
        Width and height that images are resized to before the network, a multiple of 32; by default the image's own,
        but at least 128.

    Raises
    ------
    SunaugError
        If the packages with the frozen network are not installed.
    """

    to_rgb: Tensor

    def __init__(self, config: NetworkConfig, *, width: int = 64, seed: int = 0, input_size: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.input_size = input_size or max(config.size, _SMALLEST_INPUT)
        if self.input_size % COARSEST_STRIDE:
            raise ValueError(f"input_size {self.input_size} is not a multiple of {COARSEST_STRIDE}")
        frozen = load_efficientnet()
        # In a tuple, it is no submodule: it stays out of the parameters and of the state dict.
        self._frozen = (frozen,)
        generator = torch.Generator().manual_seed(seed)
        if config.image_channels not in (1, 3):
            rows = torch.randn(3, config.image_channels, generator=generator)
            self.register_buffer("to_rgb", F.normalize(rows, dim=1)[:, :, None, None])
        widths = [width * factor for factor in _WIDENING]
        self.across_channels = nn.ModuleList(
            _RandomConv(a, b, 1, generator) for a, b in zip(frozen.widths, widths, strict=True)
        )
        self.across_scales = nn.ModuleList(
            _RandomConv(coarse, fine, 3, generator) for fine, coarse in itertools.pairwise(widths)
        )
        sizes = [self.input_size * 2**scale // COARSEST_STRIDE for scale in (3, 2, 1, 0)]
        self.heads = nn.ModuleList(
            _Head(channels, width, max(0, round(math.log2(size / _SCORED_SIZE))), config.condition_width)
            for channels, size in zip(widths, sizes, strict=True)
        )
        kernels_last(self)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move the frozen network along with the rest (`to`, `cuda`, `half` and their like all come by here)."""
        self._frozen[0]._apply(fn, recurse)
        super()._apply(fn, recurse)
        return self

    def project(self, images: Tensor) -> list[Tensor]:
        """Mixed feature maps of images, from fine to coarse; gradients reach the images.

        Parameters
        ----------
        images : Tensor, shape (batch, image_channels, size, size)
            In scaled units, about [-1, 1]. Three channels are taken as red, green and blue, a single one is repeated,
            and any other number is mixed into three at random. They are not clipped: no real image leaves the range,
            so that the heads can push an image that does back into it, which a clipped one's gradient could not.

        Returns
        -------
        list of Tensor
            Four maps (batch, channels, y, x), at strides 4, 8, 16 and 32 of `input_size`.
        """
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        elif images.shape[1] != 3:
            images = F.conv2d(images, self.to_rgb)
        if images.shape[-1] != self.input_size:
            smaller = images.shape[-1] > self.input_size
            images = F.interpolate(images, size=(self.input_size, self.input_size), mode="bilinear", antialias=smaller)
        maps = self._frozen[0]((images + 1) / 2)
        mixed = [
            convolution(one / scale)
            for convolution, one, scale in zip(self.across_channels, maps, _MAP_SCALES, strict=True)
        ]
        for level in range(len(mixed) - 2, -1, -1):
            mixed[level] = (mixed[level] + upsample(self.across_scales[level](mixed[level + 1]))) * math.sqrt(0.5)
        return mixed

    def score(self, features: list[Tensor], condition: Tensor | None, condition_weight: float = 1.0) -> Tensor:
        """Scores of the maps that `project` gives.

        Parameters
        ----------
        features : list of Tensor
        condition : Tensor, shape (batch, condition width), or None
        condition_weight : float
            Weight of the projection on the condition, which training ramps in as in `Discriminator`.

        Returns
        -------
        Tensor, shape (batch, k)
            The heads' scores side by side, from fine to coarse: 16 for each, at the default `input_size`.
        """
        scores = [head(one, condition, condition_weight) for head, one in zip(self.heads, features, strict=True)]
        return torch.cat(scores, dim=1)

    def forward(self, images: Tensor, condition: Tensor | None, condition_weight: float = 1.0) -> Tensor:
        """Scores (batch, k) of images (batch, image_channels, size, size): `score` of what `project` gives."""
        return self.score(self.project(images), condition, condition_weight)
