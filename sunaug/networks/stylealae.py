"""Conditional StyleALAE, written from the paper (Pidhorskyi et al. 2020, "Adversarial Latent Autoencoders",
arXiv 2004.04467), for any number of channels.

Four networks: F maps a latent and the conditions to w, the generator G makes an image of it, the encoder E reads a w
off an image, and the discriminator D tells w of real images from those of made ones. F and G are StyleGAN's (Karras et
al. 2019) and are one `Generator` here; E mirrors G, block by block, and is one `Discriminator` with D. Beside the
adversarial loss of D(E(x)) there is a third step, in which E and G learn that E(G(w)) is w (`sunaug.training.trainer`).

All but F and D can grow (`sunaug.networks.growing`). Conditions enter F beside the latent, and D by projection.
"""

from __future__ import annotations

import itertools
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sunaug.networks.adain import AdaIN, StyleReading
from sunaug.networks.base import BaseGenerator
from sunaug.networks.growing import Growing, Stage, enlarge, shrink
from sunaug.networks.layers import (
    ACTIVATION_GAIN,
    EqualConv2d,
    EqualLinear,
    activate,
    at_least_single,
    condition_embedding,
    kernels_last,
    projection,
    rectify,
    upsample,
)
from sunaug.networks.mapping import Mapping, StyleConfig

__all__ = ["Discriminator", "Encoder", "Generator", "StyleALAEConfig"]

_CONST_SIZE = 4
_LATENT_LAYERS = 3


class StyleALAEConfig(StyleConfig):
    """Shape of the networks."""

    architecture: ClassVar[str] = "stylealae"


def _blocks_below(resolution: int) -> int:
    """Blocks of a lower resolution than this one: none for 4, one for 8."""
    return (resolution // _CONST_SIZE).bit_length() - 1


class _Styled(nn.Module):
    """Noise, activation and AdaIN: what follows each convolution of G, and its constant."""

    def __init__(self, channels: int, w_dim: int) -> None:
        super().__init__()
        self.noise_strength = nn.Parameter(torch.zeros(channels))
        self.adain = AdaIN(channels, w_dim)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        if noise is not None:
            x = x + (noise * self.noise_strength[:, None, None]).to(x.dtype)
        adapted: Tensor = self.adain(rectify(x), w)
        return adapted


class _FirstBlock(nn.Module):
    """The learned constant of 4x4 pixels, and a convolution."""

    def __init__(self, channels: int, w_dim: int) -> None:
        super().__init__()
        self.const = nn.Parameter(torch.randn(1, channels, _CONST_SIZE, _CONST_SIZE))
        self.conv = EqualConv2d(channels, channels, 3)
        self.styled = nn.ModuleList(_Styled(channels, w_dim) for _ in range(2))

    def forward(self, w: Tensor, first: Tensor | None, second: Tensor | None) -> Tensor:
        """W (batch, 2, w_dim) to features (batch, channels, 4, 4)."""
        x = self.const.repeat(len(w), 1, 1, 1).contiguous(memory_format=torch.channels_last)
        x = self.styled[0](x, w[:, 0], first)
        adapted: Tensor = self.styled[1](self.conv(x), w[:, 1], second)
        return adapted


class _GrowthBlock(nn.Module):
    """Two convolutions, of which the first doubles the resolution.

    It runs before the interpolation, at a quarter of the pixels, as in `sunaug.networks.layers.StyledConv`.
    """

    def __init__(self, in_channels: int, out_channels: int, w_dim: int) -> None:
        super().__init__()
        self.first = EqualConv2d(in_channels, out_channels, 3)
        self.second = EqualConv2d(out_channels, out_channels, 3)
        self.styled = nn.ModuleList(_Styled(out_channels, w_dim) for _ in range(2))

    def forward(self, x: Tensor, w: Tensor, first: Tensor | None, second: Tensor | None) -> Tensor:
        """(batch, in_channels, y, x) and w (batch, 2, w_dim) to (batch, out_channels, 2 y, 2 x)."""
        x = self.styled[0](upsample(self.first(x)), w[:, 0], first)
        adapted: Tensor = self.styled[1](self.second(x), w[:, 1], second)
        return adapted


class _ToImage(EqualConv2d):
    """1x1 convolution to the image's channels, in single precision under any autocast."""

    def __init__(self, in_channels: int, image_channels: int) -> None:
        super().__init__(in_channels, image_channels, 1)

    def forward(self, x: Tensor, factor: float = 1.0) -> Tensor:
        """(batch, in_channels, y, x) to `factor` times (batch, image_channels, y, x)."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(at_least_single(x), factor)


class Generator(BaseGenerator, Growing):
    """Mapping network F and synthesis network G, which makes its image at the highest resolution of its stage."""

    config: StyleALAEConfig

    def __init__(self, config: StyleALAEConfig) -> None:
        super().__init__(config)
        self.mapping = Mapping(config)
        widths = [config.width(resolution) for resolution in config.resolutions]
        self.first = _FirstBlock(widths[0], config.w_dim)
        self.blocks = nn.ModuleList(_GrowthBlock(a, b, config.w_dim) for a, b in itertools.pairwise(widths))
        self.to_image = nn.ModuleList(_ToImage(width, config.image_channels) for width in widths)
        self.style_resolutions = [resolution for resolution in config.resolutions for _ in range(2)]
        self.noise_shapes = [(resolution, resolution) for resolution in self.style_resolutions]
        self.stage = Stage(config.size)
        kernels_last(self)

    def synthesize(self, w: Tensor, noise: Tensor | None = None) -> Tensor:
        """As `BaseGenerator.synthesize`; the image of an early stage is enlarged."""
        w, planes = self.styles(w), self.noise_planes(noise)
        top = _blocks_below(self.stage.resolution)
        below = x = self.first(w[:, :2], *planes[:2])
        for number, block in enumerate(self.blocks[:top], start=1):
            below, own = x, slice(2 * number, 2 * number + 2)
            resolution = self.config.resolutions[number]
            if self.training and self.checkpoint_from is not None and resolution >= self.checkpoint_from:
                x = checkpoint(block, x, w[:, own], *planes[own], use_reentrant=False)
            else:
                x = block(x, w[:, own], *planes[own])
        image: Tensor = self.to_image[top](x)
        if self.stage.fade < 1:
            image = torch.lerp(enlarge(self.to_image[top - 1](below), image.shape[-1]), image, self.stage.fade)
        return enlarge(image, self.config.size)

    def layers(self) -> list[tuple[str, int, list[nn.Module]]]:
        """Name, width and modules of each layer, in the order in which an image is made."""
        rows: list[tuple[str, int, list[nn.Module]]] = [("mapping", self.config.latent_width, [self.mapping])]
        for resolution, *modules in zip(
            self.config.resolutions, (self.first, *self.blocks), self.to_image, strict=True
        ):
            rows.append((f"{resolution}x{resolution}", self.config.width(resolution), modules))
        return rows


class _EncoderBlock(nn.Module):
    """Two convolutions, a style read after each, and between them half the resolution where the block is not the last.

    The mirror image of the generator's block of the same resolution.
    """

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, *, down: bool) -> None:
        super().__init__()
        self.first = EqualConv2d(in_channels, in_channels, 3)
        self.second = EqualConv2d(in_channels, out_channels, 3)
        self.readings = nn.ModuleList(StyleReading(width, w_dim) for width in (in_channels, out_channels))
        self.down = down

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, in_channels, y, x) to features of the next block and what was read (batch, w_dim)."""
        x, reading = self.readings[0](rectify(self.first(x, ACTIVATION_GAIN)))
        if self.down:
            x = nn.functional.avg_pool2d(x, 2)
        x, other = self.readings[1](rectify(self.second(x, ACTIVATION_GAIN)))
        return x, reading + other


class Encoder(Growing):
    """E, from images to intermediate latents: w = sum_i C_i [mu(y_i); sigma(y_i)] (section 4 of the paper).

    y_i are the features after the i-th convolution, which instance normalisation then frees of these statistics.
    """

    def __init__(self, config: StyleALAEConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width(resolution) for resolution in config.resolutions[::-1]]
        self.from_image = nn.ModuleList(EqualConv2d(config.image_channels, width, 1) for width in widths)
        pairs = [*itertools.pairwise(widths), (widths[-1], widths[-1])]
        self.blocks = nn.ModuleList(
            _EncoderBlock(a, b, config.w_dim, down=number < len(pairs) - 1) for number, (a, b) in enumerate(pairs)
        )
        self.stage = Stage(config.size)
        self.checkpoint_from: int | None = None
        kernels_last(self)

    def _block(self, number: int, x: Tensor) -> tuple[Tensor, Tensor]:
        block, resolution = self.blocks[number], self.config.resolutions[-1 - number]
        if self.training and self.checkpoint_from is not None and resolution >= self.checkpoint_from:
            features, reading = checkpoint(block, x, use_reentrant=False)
        else:
            features, reading = block(x)
        return features, reading

    def _features(self, number: int, images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        return rectify(self.from_image[number](images, ACTIVATION_GAIN))

    def forward(self, images: Tensor) -> Tensor:
        """Intermediate latents of images.

        Parameters
        ----------
        images : Tensor, shape (batch, image_channels, size, size)
            Scaled; of the stage's resolution, or larger ones that are averaged down to it.

        Returns
        -------
        Tensor, shape (batch, latent_width)
        """
        resolution, fade = self.stage
        images = shrink(images, resolution)
        first = len(self.blocks) - 1 - _blocks_below(resolution)
        x, w = self._block(first, self._features(first, images))
        if fade < 1:
            x = torch.lerp(self._features(first + 1, shrink(images, resolution // 2)), x, fade)
            w = fade * w
        for number in range(first + 1, len(self.blocks)):
            x, reading = self._block(number, x)
            w = w + reading
        return w


class Discriminator(nn.Module):
    """D(E(x)): the encoder, and a network that tells apart the w of real and of made images.

    The score is v . f(w) + a e(c) . f(w) / sqrt(d), see `sunaug.networks.stylegan2.Discriminator`.

    Attributes
    ----------
    encoder : Encoder
    """

    def __init__(self, config: StyleALAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.hidden = nn.ModuleList(EqualLinear(config.w_dim, config.w_dim) for _ in range(_LATENT_LAYERS - 1))
        self.head = EqualLinear(config.w_dim, 1)
        width = config.condition_width
        self.embed = condition_embedding(width, config.w_dim) if width else None

    @property
    def checkpoint_from(self) -> int | None:
        """As of `BaseGenerator`."""
        return self.encoder.checkpoint_from

    @checkpoint_from.setter
    def checkpoint_from(self, resolution: int | None) -> None:
        self.encoder.checkpoint_from = resolution

    def project(self, images: Tensor) -> Tensor:
        """What `score` judges: the images, averaged down to the resolution of the encoder's stage."""
        return shrink(images, self.encoder.stage.resolution)

    def encode(self, images: Tensor) -> Tensor:
        """As `Encoder.forward`."""
        w: Tensor = self.encoder(images)
        return w

    def score(self, images: Tensor, condition: Tensor | None, condition_weight: float = 1.0) -> Tensor:
        """Scores (batch,) of images that `project` gave, under conditions (batch, condition_width)."""
        features = self.encoder(images)
        for layer in self.hidden:
            features = activate(layer(features))
        score: Tensor = self.head(features)[:, 0]
        if self.embed is not None and condition is not None:
            score = score + condition_weight * projection(features, self.embed, condition)
        return score

    def forward(self, images: Tensor, condition: Tensor | None, condition_weight: float = 1.0) -> Tensor:
        """Scores (batch,) of images (batch, image_channels, size, size)."""
        return self.score(self.project(images), condition, condition_weight)

    def layers(self) -> list[tuple[str, int, list[nn.Module]]]:
        """Name, width and modules of each layer, in the order in which an image is judged."""
        rows: list[tuple[str, int, list[nn.Module]]] = []
        for resolution, *modules in zip(
            self.config.resolutions[::-1], self.encoder.from_image, self.encoder.blocks, strict=True
        ):
            rows.append((f"{resolution}x{resolution}", self.config.width(resolution), modules))
        rest = [self.hidden, self.head] + ([self.embed] if self.embed is not None else [])
        return [*rows, ("latent discriminator", self.config.w_dim, rest)]
