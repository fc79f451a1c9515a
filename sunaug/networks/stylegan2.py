"""Conditional StyleGAN2, written from the paper (Karras et al. 2020, "Analyzing and Improving the Image Quality of
StyleGAN", arXiv 1912.04958), for any number of channels.

The generator is the skip variant, the discriminator the residual one (section 4.1). Conditions are log10 fluxes and
GOES classes (`sunaug.networks.conditions`). They enter the mapping network beside the latent, and the discriminator by
projection (Miyato & Koyama 2018, equation 3).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sunaug.networks.bands import InBands, halve_in_bands, synthesize_in_bands
from sunaug.networks.base import BaseGenerator
from sunaug.networks.layers import (
    ACTIVATION_GAIN,
    EqualConv2d,
    EqualLinear,
    Grouped,
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
from sunaug.networks.patches import Coarse, NoiseWindow, PatchGenerator
from sunaug.networks.windows import BlockWindows, Window, block_windows, crop

_CONST_SIZE = 4
SMALLEST_TOP = 8
"""Smallest resolution that the networks may end at."""


class StyleGAN2Config(StyleConfig):
    """Shape of the networks.

    Attributes
    ----------
    unshuffle : int
        The layers end at size / unshuffle, where each pixel holds unshuffle^2 pixels of each channel of the image
        (pixel shuffle; Shi et al. 2016, equation 4), and the discriminator begins there: the highest resolutions, which
        take the most memory and time, are left out. 1 leaves none out.
    channel_groups : tuple of tuple of int
        Channels by number, each in one group, that have layers of their own at the highest resolutions, above a trunk
        that all share: loops at one temperature need not look like those at another, where both see the same Sun. A
        group's layers are as wide as the network's over the number of groups, so that all of them take no more work
        than shared ones; they take the same styles and noise. Empty for none.
    group_resolutions : int
        Number of the highest resolutions with layers of their own for each group.
    """

    architecture: ClassVar[str] = "stylegan2"

    unshuffle: int = Field(1, ge=1)
    channel_groups: tuple[tuple[int, ...], ...] = ()
    group_resolutions: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _layers_are_left(self) -> Self:
        if self.unshuffle & (self.unshuffle - 1) or self.size // self.unshuffle < SMALLEST_TOP:
            raise ValueError(
                f"unshuffle {self.unshuffle}: a power of two that leaves layers of {SMALLEST_TOP} pixels or more of "
                f"images of {self.size}"
            )
        return self

    @model_validator(mode="after")
    def _each_channel_in_one_group(self) -> Self:
        numbers = sorted(itertools.chain.from_iterable(self.channel_groups))
        if self.channel_groups and (numbers != list(range(self.image_channels)) or () in self.channel_groups):
            raise ValueError(
                f"channel_groups {[list(group) for group in self.channel_groups]}: each of the {self.image_channels} "
                "channels has to be in one group, and no group empty"
            )
        if self.channel_groups and self.group_resolutions >= len(self.resolutions):
            raise ValueError(
                f"group_resolutions {self.group_resolutions}: of {len(self.resolutions)} resolutions, one at least has "
                "to be shared"
            )
        return self

    @property
    def grouped_from(self) -> int:
        """Lowest resolution with layers of their own for each group; more than any resolution for none."""
        if not self.channel_groups:
            return 2 * self.size
        return self.resolutions[max(len(self.resolutions) - self.group_resolutions, 1)]

    @property
    def resolutions(self) -> list[int]:
        """Resolutions of the layers, from 4 up to the image's size over `unshuffle`."""
        return [resolution for resolution in super().resolutions if resolution * self.unshuffle <= self.size]

    @property
    def last_channels(self) -> int:
        """Channels of what the last layer makes and the discriminator's first one takes."""
        return self.image_channels * self.unshuffle**2


class Generator(PatchGenerator, InBands):
    """Mapping network and skip synthesis network."""

    config: StyleGAN2Config
    quiet_when_new = r"to_image\.\d+\.(branches\.\d+\.)?conv\.weight"

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__(config)
        self.mapping = Mapping(config)
        resolutions = config.resolutions
        self.const = nn.Parameter(torch.randn(1, config.width(_CONST_SIZE), _CONST_SIZE, _CONST_SIZE))
        self.convs = nn.ModuleList([StyledConv(config.width(4), config.width(4), config.w_dim)])
        self.to_image = nn.ModuleList([ToImage(config.width(4), config.last_channels, config.w_dim)])
        for below, resolution in itertools.pairwise(resolutions):
            if resolution >= config.grouped_from:
                self._append_grouped(below, resolution)
                continue
            width = config.width(resolution)
            self.convs.append(StyledConv(config.width(below), width, config.w_dim, up=True))
            self.convs.append(StyledConv(width, width, config.w_dim))
            self.to_image.append(ToImage(width, config.last_channels, config.w_dim))
        # A style for each convolution, and one for the layer that makes the last image.
        layers = [resolution for resolution in resolutions for _ in range(1 if resolution == _CONST_SIZE else 2)]
        self.style_resolutions = [*layers, resolutions[-1]]
        self.noise_shapes = [(r, r) for r in self.style_resolutions[:-1]]
        kernels_last(self)

    def _append_grouped(self, below: int, resolution: int) -> None:
        """Layers of a resolution, each group's beside the others'."""
        config, groups = self.config, self.config.channel_groups
        width, squares = max(config.width(resolution) // len(groups), 1), config.unshuffle**2
        before = max(config.width(below) // len(groups), 1) if below >= config.grouped_from else None
        first = [StyledConv(before or config.width(below), width, config.w_dim, up=True) for _ in groups]
        self.convs.append(Grouped(first, before))
        self.convs.append(Grouped([StyledConv(width, width, config.w_dim) for _ in groups], width))
        planes = [[number * squares + one for number in group for one in range(squares)] for group in groups]
        to_image = [ToImage(width, len(some), config.w_dim) for some in planes]
        self.to_image.append(Grouped(to_image, width, list(itertools.chain.from_iterable(planes))))

    def taken_from(self, smaller: BaseGenerator) -> MappingOf[str, Tensor]:
        """As `BaseGenerator.taken_from`; with `unshuffle`, each pixel of the smaller one's image becomes a square."""
        theirs = smaller.state_dict()
        if not isinstance(smaller, Generator) or smaller.config.unshuffle != 1:
            return theirs
        squares = self.config.unshuffle**2
        made = (name for name in theirs if name.startswith("to_image.") and ".affine." not in name)
        return theirs | {name: theirs[name].repeat_interleave(squares, dim=0) for name in made}

    def _block(
        self,
        block: int,
        x: Tensor,
        image: Tensor,
        w: Tensor,
        first: Tensor | None,
        second: Tensor | None,
        windows: BlockWindows | None,
    ) -> tuple[Tensor, Tensor]:
        """Double the resolution: two styled convolutions, and what they add to the image; all of it or a part."""
        layer = 2 * block + 1
        x, image = self.convs[layer](x, w[:, layer], first), upsample(image)
        if windows:
            x = crop(x, windows.doubled, windows.middle)
        x = self.convs[layer + 1](x, w[:, layer + 1], second)
        if windows:
            x = crop(x, windows.middle, windows.made)
            image = crop(image, windows.doubled, windows.made)
        return x, image + self.to_image[block + 1](x, w[:, layer + 2])

    def _run_block(
        self, block: int, before: Coarse, w: Tensor, planes: Sequence[Tensor | None], windows: BlockWindows | None
    ) -> Coarse:
        first, second = planes
        arguments = (block, before.features, before.image, w, first, second, windows)
        resolution = self.config.resolutions[block + 1]
        if self.training and self.checkpoint_from is not None and resolution >= self.checkpoint_from:
            return Coarse(*checkpoint(self._block, *arguments, use_reentrant=False))
        return Coarse(*self._block(*arguments))

    def coarse(self, w: Tensor, noise: Tensor | None, size: int) -> Coarse:
        """As `PatchGenerator.coarse`."""
        w = self.styles(w)
        top = size // self.config.unshuffle
        shapes = [shape for shape in self.noise_shapes if shape[0] <= top]
        planes: list[Tensor | None] = [None] * len(shapes)
        if noise is not None:
            parts = noise.split([height * width for height, width in shapes], dim=1)
            planes = [part.reshape(-1, 1, *shape) for part, shape in zip(parts, shapes, strict=True)]
        x = self.const.expand(w.shape[0], -1, -1, -1).contiguous(memory_format=torch.channels_last)
        x = self.convs[0](x, w[:, 0], planes[0])
        found = Coarse(x, self.to_image[0](x, w[:, 1]))
        for block in range(len(shapes) // 2):
            found = self._run_block(block, found, w, planes[2 * block + 1 : 2 * block + 3], None)
        return found

    def image(self, coarse: Coarse) -> Tensor:
        """As `PatchGenerator.image`."""
        return coarse.image if self.config.unshuffle == 1 else F.pixel_shuffle(coarse.image, self.config.unshuffle)

    def synthesize(self, w: Tensor, noise: Tensor | None = None) -> Tensor:
        """As `BaseGenerator.synthesize`."""
        if self.bands and self.training:
            return synthesize_in_bands(self, w, noise, self.bands)
        return self.image(self.coarse(w, noise, self.config.size))

    def layers_in_bands(self) -> list[nn.Module]:
        """As `InBands.layers_in_bands`."""
        above = self.bands.count(self.config.resolutions) if self.bands else 0
        return [*self.convs[len(self.convs) - 2 * above :], *self.to_image[len(self.to_image) - above :]]

    def _block_windows(self, window: Window, size: int) -> list[BlockWindows]:
        factor = self.config.unshuffle
        return block_windows(window.divided(factor), self.config.resolutions[-1], size // factor)

    def noise_windows(self, window: Window, size: int) -> list[NoiseWindow]:
        """As `PatchGenerator.noise_windows`."""
        found: list[NoiseWindow] = []
        windows = self._block_windows(window, size)
        first = len(self.noise_shapes) - 2 * len(windows)
        for number, one in enumerate(windows):
            layer = first + 2 * number
            found += [NoiseWindow(layer, one.doubled), NoiseWindow(layer + 1, one.middle)]
        return found

    def refine(self, coarse: Coarse, w: Tensor, window: Window, noise: Sequence[Tensor] | None) -> Tensor:
        """As `PatchGenerator.refine`."""
        w = self.styles(w)
        resolution = coarse.features.shape[-1]
        windows = self._block_windows(window, resolution * self.config.unshuffle)
        first = windows[0].below if windows else window.divided(self.config.unshuffle)
        everything = Window.square(0, 0, resolution)
        found = Coarse(*(crop(one, everything, first) for one in coarse))
        planes = [None] * 2 * len(windows) if noise is None else [plane[:, None] for plane in noise]
        blocks = range(len(self.config.resolutions) - 1 - len(windows), len(self.config.resolutions) - 1)
        for number, (block, one) in enumerate(zip(blocks, windows, strict=True)):
            found = self._run_block(block, found, w, planes[2 * number : 2 * number + 2], one)
        return self.image(found)


class Discriminator(nn.Module, InBands):
    """Residual discriminator with a projection head.

    The score is v . f(x) + a e(c) . f(x) / sqrt(d): an unconditional part and the projection of the image's features
    f(x) on the embedded condition e(c) (Miyato & Koyama 2018, equation 3). The weight a ramps the conditioning in while
    training, because on few images a discriminator that is conditional from the start collapses (Shahbazi et al. 2022).
    """

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config = config
        resolutions = config.resolutions[::-1]
        self.from_image = EqualConv2d(config.last_channels, config.width(resolutions[0]), 1)
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

    def layers_in_bands(self) -> list[nn.Module]:
        """As `InBands.layers_in_bands`."""
        return [self.from_image, *self.blocks[: self.bands.count(self.config.resolutions)]] if self.bands else []

    def _halve(self, x: Tensor, blocks: range) -> Tensor:
        resolutions = self.config.resolutions[::-1]
        for number in blocks:
            block = self.blocks[number]
            if self.training and self.checkpoint_from is not None and resolutions[number] >= self.checkpoint_from:
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        return x

    def _first(self, images: Tensor, blocks: int) -> Tensor:
        """What the first blocks make of images, or of a band of them."""
        x = rectify(self.from_image(images.contiguous(memory_format=torch.channels_last), ACTIVATION_GAIN))
        return self._halve(x, range(blocks))

    def _features(self, images: Tensor) -> Tensor:
        """Features (batch, width, 4, 4)."""
        if not (self.bands and self.training):
            return self._first(images, len(self.blocks))
        resolutions = self.config.resolutions
        above = self.bands.count(resolutions)
        x = halve_in_bands(partial(self._first, blocks=above), images, resolutions[-1 - above], self.bands)
        return self._halve(x, range(above, len(self.blocks)))

    def score(self, images: Tensor, condition: Tensor | None, condition_weight: float = 1.0) -> Tensor:
        """Scores (batch,) of images (batch, image_channels, size, size) under conditions (batch, condition_width)."""
        if self.config.unshuffle > 1:
            images = F.pixel_unshuffle(images, self.config.unshuffle)
        x = self._features(images)
        x = rectify(self.final_conv(minibatch_stddev(x), ACTIVATION_GAIN))
        features = activate(self.final_linear(x.flatten(1)))
        score = self.head(features)[:, 0]
        if self.embed is not None and condition is not None:
            score = score + condition_weight * projection(features, self.embed, condition)
        return score

    def forward(self, images: Tensor, condition: Tensor | None, condition_weight: float = 1.0) -> Tensor:
        """As `score`."""
        return self.score(images, condition, condition_weight)
