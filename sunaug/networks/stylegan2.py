"""Conditional StyleGAN2, written from the paper (Karras et al. 2020, "Analyzing and Improving the Image Quality of
StyleGAN", arXiv 1912.04958), for any number of channels.

The generator is the skip variant, the discriminator the residual one (section 4.1). Conditions are log10 fluxes and
GOES classes (`sunaug.networks.conditions`). They enter the mapping network beside the latent, and the discriminator by
projection (Miyato & Koyama 2018, equation 3).
"""

from __future__ import annotations

import itertools
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sunaug.networks.base import BaseGenerator
from sunaug.networks.layers import (
    ACTIVATION_GAIN,
    EqualConv2d,
    EqualLinear,
    ResidualDown,
    StyledConv,
    ToImage,
    activate,
    condition_embedding,
    kernels_last,
    minibatch_stddev,
    projection,
    rectify,
    upsample,
)
from sunaug.networks.mapping import Mapping, StyleConfig

_CONST_SIZE = 4


class StyleGAN2Config(StyleConfig):
    """Shape of the networks."""

    architecture: ClassVar[str] = "stylegan2"


class Generator(BaseGenerator):
    """Mapping network and skip synthesis network."""

    config: StyleGAN2Config
    quiet_when_new = r"to_image\.\d+\.conv\.weight"

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__(config)
        self.mapping = Mapping(config)
        resolutions = config.resolutions
        self.const = nn.Parameter(torch.randn(1, config.width(_CONST_SIZE), _CONST_SIZE, _CONST_SIZE))
        self.convs = nn.ModuleList([StyledConv(config.width(4), config.width(4), config.w_dim)])
        self.to_image = nn.ModuleList([ToImage(config.width(4), config.image_channels, config.w_dim)])
        for below, resolution in itertools.pairwise(resolutions):
            width = config.width(resolution)
            self.convs.append(StyledConv(config.width(below), width, config.w_dim, up=True))
            self.convs.append(StyledConv(width, width, config.w_dim))
            self.to_image.append(ToImage(width, config.image_channels, config.w_dim))
        # A style for each convolution, and one for the layer that makes the last image.
        self.style_resolutions = [*(r for r in resolutions for _ in range(1 if r == _CONST_SIZE else 2)), config.size]
        self.noise_shapes = [(r, r) for r in self.style_resolutions[:-1]]
        kernels_last(self)

    def _block(
        self, block: int, x: Tensor, image: Tensor, w: Tensor, first: Tensor | None, second: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Double the resolution: two styled convolutions, and what they add to the image."""
        layer = 2 * block + 1
        x = self.convs[layer](x, w[:, layer], first)
        x = self.convs[layer + 1](x, w[:, layer + 1], second)
        return x, upsample(image) + self.to_image[block + 1](x, w[:, layer + 2])

    def synthesize(self, w: Tensor, noise: Tensor | None = None) -> Tensor:
        """As `BaseGenerator.synthesize`."""
        w = self.styles(w)
        planes = self.noise_planes(noise)
        x = self.const.expand(w.shape[0], -1, -1, -1).contiguous(memory_format=torch.channels_last)
        x = self.convs[0](x, w[:, 0], planes[0])
        image = self.to_image[0](x, w[:, 1])
        for block, resolution in enumerate(self.config.resolutions[1:]):
            arguments = (block, x, image, w, planes[2 * block + 1], planes[2 * block + 2])
            if self.training and self.checkpoint_from is not None and resolution >= self.checkpoint_from:
                x, image = checkpoint(self._block, *arguments, use_reentrant=False)
            else:
                x, image = self._block(*arguments)
        return image


class Discriminator(nn.Module):
    """Residual discriminator with a projection head.

    The score is v . f(x) + a e(c) . f(x) / sqrt(d): an unconditional part and the projection of the image's features
    f(x) on the embedded condition e(c) (Miyato & Koyama 2018, equation 3). The weight a ramps the conditioning in while
    training, because on few images a discriminator that is conditional from the start collapses (Shahbazi et al. 2022).
    """

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config = config
        resolutions = config.resolutions[::-1]
        self.from_image = EqualConv2d(config.image_channels, config.width(config.size), 1)
        self.blocks = nn.ModuleList(
            ResidualDown(config.width(a), config.width(b)) for a, b in itertools.pairwise(resolutions)
        )
        last = config.width(_CONST_SIZE)
        self.final_conv = EqualConv2d(last + 1, last, 3)
        self.final_linear = EqualLinear(last * _CONST_SIZE**2, last)
        self.head = EqualLinear(last, 1)
        self.embed: nn.ModuleList | None = None
        if config.condition_width:
            self.embed = condition_embedding(config.condition_width, last)
        self.checkpoint_from: int | None = None
        kernels_last(self)

    def project(self, images: Tensor) -> Tensor:
        """What `score` judges: the images themselves (a frozen-feature discriminator projects them first)."""
        return images

    def score(self, images: Tensor, condition: Tensor | None, condition_weight: float = 1.0) -> Tensor:
        """Scores (batch,) of images (batch, image_channels, size, size) under conditions (batch, condition_width)."""
        x = rectify(self.from_image(images.contiguous(memory_format=torch.channels_last), ACTIVATION_GAIN))
        for block, resolution in zip(self.blocks, self.config.resolutions[:0:-1], strict=True):
            if self.training and self.checkpoint_from is not None and resolution >= self.checkpoint_from:
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        x = rectify(self.final_conv(minibatch_stddev(x), ACTIVATION_GAIN))
        features = activate(self.final_linear(x.flatten(1)))
        score = self.head(features)[:, 0]
        if self.embed is not None and condition is not None:
            score = score + condition_weight * projection(features, self.embed, condition)
        return score

    def forward(self, images: Tensor, condition: Tensor | None, condition_weight: float = 1.0) -> Tensor:
        """As `score`."""
        return self.score(images, condition, condition_weight)
