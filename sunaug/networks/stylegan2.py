"""Conditional StyleGAN2, written from the paper (Karras et al. 2020, "Analyzing and Improving the Image Quality of
StyleGAN", arXiv 1912.04958), for any number of channels.

The generator is the skip variant, the discriminator the residual one (section 4.1). Conditions are log10 fluxes and
GOES classes (`sunaug.networks.conditions`). They enter the mapping network beside the latent, and the discriminator by
projection (Miyato & Koyama 2018, equation 3).
"""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sunaug.networks.conditions import CLASSES, encode_condition
from sunaug.networks.layers import (
    ACTIVATION_GAIN,
    EqualConv2d,
    EqualLinear,
    ResidualDown,
    StyledConv,
    ToImage,
    activate,
    kernels_last,
    minibatch_stddev,
    rectify,
    upsample,
)

_CONST_SIZE = 4


class StyleGAN2Config(BaseModel):
    """Shape of the networks; stored in the bundle.

    Attributes
    ----------
    size : int
        Width and height of the image, a power of two from 8 to 4096.
    image_channels : int
        Number of channels.
    conditions : tuple of str
        Labels whose log10 flux the networks are conditioned on, in order.
    class_conditions : tuple of str
        Labels whose GOES class they are conditioned on, by a class embedding. Both empty: an unconditional network.
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
    class_conditions: tuple[str, ...] = ()
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
    def labels(self) -> tuple[str, ...]:
        """Labels that a frame has to have, each once: the columns of a table of fluxes."""
        return tuple(dict.fromkeys((*self.conditions, *self.class_conditions)))

    @property
    def condition_width(self) -> int:
        """Length of a condition vector; 0 where the networks are unconditional."""
        return len(self.conditions) + len(CLASSES) * len(self.class_conditions)

    def encode(self, fluxes: ArrayLike) -> NDArray[np.float32]:
        """Condition vectors (n, condition_width) of fluxes (n, len(labels)) in W m-2."""
        return encode_condition(fluxes, self.labels, self.conditions, self.class_conditions)

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
        width = config.condition_width
        self.embed = EqualLinear(width, config.w_dim) if width else None
        first = config.z_dim + (config.w_dim if width else 0)
        widths = [first, *[config.w_dim] * config.mapping_layers]
        self.layers = nn.ModuleList(EqualLinear(a, b, lr_multiplier=0.01) for a, b in itertools.pairwise(widths))

    def forward(self, z: Tensor, condition: Tensor | None) -> Tensor:
        """Z (batch, z_dim) and condition (batch, condition_width) to w (batch, w_dim)."""
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
    checkpoint_from : int or None
        While training, blocks of this resolution and above keep no activations and are computed again in the backward
        pass: less memory for a third more time in these blocks. None keeps all.
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
        self.checkpoint_from: int | None = None
        kernels_last(self)

    def mean_w(self, condition: Tensor | None, draws: int = 1024, seed: int = 0) -> Tensor:
        """Mean intermediate latent of each condition, the centre that truncation pulls towards.

        One mean for all conditions would pull a rare sample towards the quiet Sun that most frames show.

        Parameters
        ----------
        condition : Tensor, shape (batch, condition_width), or None
        draws : int
            Latents that the mean is taken over, the same ones for every condition.
        seed : int

        Returns
        -------
        Tensor, shape (batch, w_dim); (1, w_dim) without a condition
        """
        z = torch.randn(draws, self.config.z_dim, generator=torch.Generator().manual_seed(seed)).to(self.const.device)
        rows = [None] if condition is None else [row.expand(draws, -1) for row in condition]
        return torch.stack([self.mapping(z, row).mean(dim=0) for row in rows])

    def truncate(self, w: Tensor, condition: Tensor | None, psi: float) -> Tensor:
        """Pull w (batch, w_dim) towards the mean of its own condition (Karras et al. 2019, appendix B).

        At `psi` 1 nothing changes; at 0 every sample is its condition's mean.
        """
        centre = self.mean_w(condition)
        return centre + psi * (w - centre)

    def _block(
        self, block: int, x: Tensor, image: Tensor, w: Tensor, first: Tensor | None, second: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Double the resolution: two styled convolutions, and what they add to the image."""
        layer = 2 * block + 1
        x = self.convs[layer](x, w[:, layer], first)
        x = self.convs[layer + 1](x, w[:, layer + 1], second)
        return x, upsample(image) + self.to_image[block + 1](x, w[:, layer + 2])

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
        for block, resolution in enumerate(self.config.resolutions[1:]):
            arguments = (block, x, image, w, planes[2 * block + 1], planes[2 * block + 2])
            if self.training and self.checkpoint_from is not None and resolution >= self.checkpoint_from:
                x, image = checkpoint(self._block, *arguments, use_reentrant=False)
            else:
                x, image = self._block(*arguments)
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
        condition : Tensor, shape (batch, condition_width), or None
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
        self.head = EqualLinear(last, 1)
        self.embed: nn.ModuleList | None = None
        if config.condition_width:
            self.embed = nn.ModuleList([EqualLinear(config.condition_width, last), EqualLinear(last, last)])
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
            first, second = self.embed
            embedded = second(activate(first(condition)))
            score = score + condition_weight * (features * embedded).sum(dim=1) / math.sqrt(features.shape[1])
        return score

    def forward(self, images: Tensor, condition: Tensor | None, condition_weight: float = 1.0) -> Tensor:
        """As `score`."""
        return self.score(images, condition, condition_weight)


def start_from(generator: Generator, smaller: Generator) -> None:
    """Give a generator the layers of one that was trained at a lower or the same resolution (progressive start).

    The layers at new resolutions add nothing to the image at first, so that training starts from the smaller one's
    images, enlarged.

    Raises
    ------
    ValueError
        If the shared layers have other shapes.
    """
    ours, theirs = generator.state_dict(), smaller.state_dict()
    odd = [name for name, value in theirs.items() if name not in ours or ours[name].shape != value.shape]
    if odd:
        raise ValueError(f"{len(odd)} of its layers have other shapes or places here, {odd[0]} among them")
    new = set(ours) - set(theirs)
    quiet = {name: torch.zeros_like(ours[name]) for name in new if re.fullmatch(r"to_image\.\d+\.conv\.weight", name)}
    generator.load_state_dict({**ours, **theirs, **quiet})
