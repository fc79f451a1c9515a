"""Conditional StyleGAN2, written from the paper (Karras et al. 2020, "Analyzing and Improving the Image Quality of
StyleGAN", arXiv 1912.04958), for any number of channels.

The generator is the skip variant, the discriminator the residual one (section 4.1). Conditions are continuous numbers:
the log10 fluxes that `encode_flux` makes. They enter the mapping network beside the latent, and the discriminator by
projection (Miyato & Koyama 2018, equation 3).
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, nn

from sunaug.networks.layers import (
    EqualConv2d,
    EqualLinear,
    ResidualDown,
    StyledConv,
    ToImage,
    activate,
    kernels_last,
    minibatch_stddev,
    upsample,
)

QUIET_FLUX = 1e-8
"""Flux (W m-2) that stands for "no flare listed": A1.0, below every listed flare."""

_CONST_SIZE = 4


def encode_flux(flux: ArrayLike) -> NDArray[np.float32]:
    """Condition value of a flux: log10(flux) + 6, so that C1 = 0, M1 = 1, X1 = 2; anything below A1.0, and 0, is -2."""
    return np.asarray(np.log10(np.maximum(np.asarray(flux, np.float64), QUIET_FLUX)) + 6, dtype=np.float32)


class StyleGAN2Config(BaseModel):
    """Shape of the networks; stored in the bundle.

    Attributes
    ----------
    size : int
        Width and height of the image, a power of two from 8 to 4096.
    image_channels : int
        Number of channels.
    conditions : tuple of str
        Names of the fluxes that the network is conditioned on, in order; empty for an unconditional one.
    base_width, max_width : int
        A layer at resolution r has min(base_width / r, max_width) channels.
    z_dim, w_dim : int
        Width of the latent and of the intermediate latent.
    mapping_layers : int
        Layers of the mapping network.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(64, ge=8, le=4096)
    image_channels: int = Field(1, ge=1)
    conditions: tuple[str, ...] = ("nowcast_flux", "forecast_flux")
    base_width: int = Field(2048, ge=8)
    max_width: int = Field(128, ge=4)
    z_dim: int = Field(128, ge=1)
    w_dim: int = Field(128, ge=1)
    mapping_layers: int = Field(4, ge=1)

    @field_validator("size")
    @classmethod
    def _power_of_two(cls, size: int) -> int:
        if size & (size - 1):
            raise ValueError(f"size {size} is not a power of two")
        return size

    def width(self, resolution: int) -> int:
        """Channels of a layer at `resolution`."""
        return max(1, min(self.base_width // resolution, self.max_width))

    @property
    def resolutions(self) -> list[int]:
        """Resolutions from 4 up to the image's size."""
        return [2**power for power in range(2, int(math.log2(self.size)) + 1)]


def _normalise(x: Tensor) -> Tensor:
    """Second moment to one over the features (the paper's pixel norm on the latent)."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


class Mapping(nn.Module):
    """From the latent z and the conditions to the intermediate latent w."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.embed = EqualLinear(len(config.conditions), config.w_dim) if config.conditions else None
        first = config.z_dim + (config.w_dim if config.conditions else 0)
        widths = [first, *[config.w_dim] * config.mapping_layers]
        self.layers = nn.ModuleList(EqualLinear(a, b, lr_multiplier=0.01) for a, b in itertools.pairwise(widths))

    def forward(self, z: Tensor, condition: Tensor | None) -> Tensor:
        """Z (batch, z_dim) and condition (batch, n_conditions) to w (batch, w_dim)."""
        x = _normalise(z)
        if self.embed is not None:
            assert condition is not None
            x = torch.cat([x, _normalise(self.embed(condition))], dim=1)
        for layer in self.layers:
            x = activate(layer(x))
        return x


class Generator(nn.Module):
    """Mapping network and skip synthesis network.

    Attributes
    ----------
    n_styles : int
        Number of layers that take a w of their own.
    noise_shapes : list of tuple of int
        (y, x) of each noise input in the order of use.
    noise_size : int
        Numbers that one sample's noise takes in all.
    """

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config = config
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
        self.n_styles = len(self.convs) + 1
        self.noise_shapes = [(r, r) for r in resolutions for _ in range(1 if r == _CONST_SIZE else 2)]
        self.noise_size = sum(height * width for height, width in self.noise_shapes)
        kernels_last(self)

    def synthesize(self, w: Tensor, noise: Tensor | None = None) -> Tensor:
        """Images from intermediate latents.

        Parameters
        ----------
        w : Tensor, shape (batch, w_dim) or (batch, n_styles, w_dim)
            One w for all layers or one for each.
        noise : Tensor, shape (batch, noise_size), optional
            Standard normal numbers; None leaves the noise out.

        Returns
        -------
        Tensor, shape (batch, image_channels, size, size)
            In scaled units, about [-1, 1]; not clipped.
        """
        if w.dim() == 2:
            w = w[:, None].expand(-1, self.n_styles, -1)
        planes: list[Tensor | None] = [None] * len(self.convs)
        if noise is not None:
            parts = noise.split([height * width for height, width in self.noise_shapes], dim=1)
            planes = [part.reshape(-1, 1, *shape) for part, shape in zip(parts, self.noise_shapes, strict=True)]
        x = self.const.expand(w.shape[0], -1, -1, -1).contiguous(memory_format=torch.channels_last)
        x = self.convs[0](x, w[:, 0], planes[0])
        image = self.to_image[0](x, w[:, 1])
        for block, to_image in enumerate(self.to_image[1:]):
            first = 2 * block + 1
            x = self.convs[first](x, w[:, first], planes[first])
            x = self.convs[first + 1](x, w[:, first + 1], planes[first + 1])
            image = upsample(image) + to_image(x, w[:, first + 2])
        return image

    def forward(
        self,
        z: Tensor,
        condition: Tensor | None,
        noise: Tensor | None = None,
        z_mix: Tensor | None = None,
        crossover: Tensor | None = None,
    ) -> Tensor:
        """Images from latents, with style mixing where asked for.

        Parameters
        ----------
        z : Tensor, shape (batch, z_dim)
        condition : Tensor, shape (batch, n_conditions), or None
        noise : Tensor, shape (batch, noise_size), optional
        z_mix : Tensor, shape (batch, z_dim), optional
            Second latents, whose w the layers from `crossover` on take (Karras et al. 2019, section 3.1).
        crossover : Tensor of int, shape (batch,), optional
            First layer of the second w; n_styles for no mixing.
        """
        w = self.mapping(z, condition)
        if z_mix is None or crossover is None:
            return self.synthesize(w, noise)
        second = self.mapping(z_mix, condition)
        layer = torch.arange(self.n_styles, device=z.device)
        mixed = torch.where((layer < crossover[:, None])[:, :, None], w[:, None], second[:, None])
        return self.synthesize(mixed, noise)


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
        self.score = EqualLinear(last, 1)
        self.embed: nn.ModuleList | None = None
        if config.conditions:
            self.embed = nn.ModuleList([EqualLinear(len(config.conditions), last), EqualLinear(last, last)])
        kernels_last(self)

    def forward(self, images: Tensor, condition: Tensor | None, condition_weight: float = 1.0) -> Tensor:
        """Scores (batch,) of images (batch, image_channels, size, size) under conditions (batch, n_conditions)."""
        x = activate(self.from_image(images.contiguous(memory_format=torch.channels_last)))
        for block in self.blocks:
            x = block(x)
        x = activate(self.final_conv(minibatch_stddev(x)))
        features = activate(self.final_linear(x.flatten(1)))
        score = self.score(features)[:, 0]
        if self.embed is not None and condition is not None:
            first, second = self.embed
            embedded = second(activate(first(condition)))
            score = score + condition_weight * (features * embedded).sum(dim=1) / math.sqrt(features.shape[1])
        return score
