"""BigGAN, plain and deep, for any number of channels, written from the paper (Brock et al. 2019, "Large Scale GAN
Training for High Fidelity Natural Image Synthesis", arXiv 1809.11096; the deep variant: appendix B).

The paper's classes are our conditions: log10 fluxes and GOES classes (`sunaug.networks.conditions`), embedded once by a
linear layer that all blocks share. In the generator they set the gains and biases of the batch norms, in the
discriminator they enter by projection (Miyato & Koyama 2018, equation 3).

One thing is not the paper's: its last layer is a tanh, and here there is none. Scaled intensities are about [-1, 1] but
not bounded by it, and flares, the frames that matter most, lie where a tanh saturates: its gradient would vanish there,
and a step of steering would change nothing.
"""

from __future__ import annotations

import itertools
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from sunaug.networks.base import BaseGenerator
from sunaug.networks.biggan_layers import (
    BatchNorm,
    DeepDown,
    DeepUp,
    OutputNorm,
    PlainDown,
    PlainUp,
    SelfAttention,
    conv,
    linear,
)
from sunaug.networks.config import NetworkConfig, PowerOfTwo
from sunaug.networks.layers import at_least_single, kernels_last

__all__ = ["BigGANConfig", "Discriminator", "Generator"]

_FIRST_SIZE = 4
_STANDING_BATCH = 32


class BigGANConfig(NetworkConfig):
    """Shape of the networks.

    Attributes
    ----------
    blocks : {"plain", "deep"}
        ``plain``: each block sees a part of z of its own (hierarchical z, figure 15). ``deep``: twice as many blocks,
        with bottlenecks, all of which see the whole z (appendix B).
    embedding_dim : int
        Width of the shared embedding of the condition.
    attention_resolution : int or None
        Resolution at which both networks have self-attention; None, or one that the image has not, for none.
    """

    architecture: ClassVar[str] = "biggan"
    batch_statistics: ClassVar[bool] = True

    blocks: Literal["plain", "deep"] = "plain"
    embedding_dim: int = Field(64, ge=1)
    attention_resolution: PowerOfTwo | None = Field(32, ge=8, le=4096)

    @model_validator(mode="after")
    def _enough_latent(self) -> BigGANConfig:
        parts = len(self.resolutions)
        if self.blocks == "plain" and self.z_dim < parts:
            raise ValueError(f"z_dim: {self.z_dim} numbers cannot be shared out to {parts} plain blocks; take more")
        return self

    @property
    def embedded_width(self) -> int:
        """Width of the embedded condition; 0 where the networks are unconditional."""
        return self.embedding_dim if self.condition_width else 0

    @property
    def latent_width(self) -> int:
        """Width of w: z, then the embedded condition."""
        return self.z_dim + self.embedded_width

    @property
    def z_parts(self) -> list[slice]:
        """Part of z that the first layer and each plain block see: disjoint, in order, of about equal lengths."""
        count = len(self.resolutions)
        borders = [self.z_dim * number // count for number in range(count + 1)]
        return [slice(*pair) for pair in itertools.pairwise(borders)]


class Mapping(nn.Module):
    """From the latent z and the condition c to w = [z, e(c)], where e is the shared embedding."""

    def __init__(self, config: BigGANConfig) -> None:
        super().__init__()
        self.embed = nn.Linear(config.condition_width, config.embedding_dim) if config.condition_width else None

    def forward(self, z: Tensor, condition: Tensor | None) -> Tensor:
        """Z (batch, z_dim) and condition (batch, condition_width) to w (batch, latent_width)."""
        if self.embed is None:
            return z
        assert condition is not None
        return torch.cat([z, self.embed(condition)], dim=1)


class _Stage(NamedTuple):
    """Where a block stands: its widths, the resolution that it ends at, and whether that is another one."""

    in_channels: int
    out_channels: int
    resolution: int
    resized: bool


def _attention(stages: list[_Stage], resolution: int | None) -> nn.ModuleDict:
    """Self-attention by the number of the block that it follows: the one that comes to `resolution`, if any does."""
    return nn.ModuleDict(
        {
            str(number): SelfAttention(stage.out_channels)
            for number, stage in enumerate(stages)
            if stage.resized and stage.resolution == resolution
        }
    )


def _parameters(*modules: nn.Module) -> int:
    return sum(one.numel() for module in modules for one in module.parameters())


class _Blocks(nn.Module):
    """Residual blocks in a row, with self-attention after one of them."""

    def __init__(self, stages: list[_Stage], blocks: list[nn.Module], attention_resolution: int | None) -> None:
        super().__init__()
        self.stages = stages
        self.blocks = nn.ModuleList(blocks)
        self.attention = _attention(stages, attention_resolution)

    def forward(self, x: Tensor, latents: list[Tensor] | None = None) -> Tensor:
        """Maps (batch, channels, y, x) through all blocks, each with a latent (batch, width) if they take one."""
        for number, block in enumerate(self.blocks):
            x = block(x) if latents is None else block(x, latents[number])
            if str(number) in self.attention:
                x = self.attention[str(number)](x)
        return x

    def rows(self) -> list[tuple[str, int | None, int]]:
        """Resolution, width and parameters of each block, with its attention."""
        return [
            (
                f"{stage.resolution}x{stage.resolution}",
                stage.out_channels,
                _parameters(block, *(self.attention[name] for name in [str(number)] if name in self.attention)),
            )
            for number, (stage, block) in enumerate(zip(self.stages, self.blocks, strict=True))
        ]


def _up_stages(config: BigGANConfig) -> list[_Stage]:
    """The generator's blocks; in the deep variant one that keeps the resolution stands before each that doubles it."""
    stages = []
    for below, above in itertools.pairwise(config.resolutions):
        if config.blocks == "deep":
            stages.append(_Stage(config.width(below), config.width(below), below, resized=False))
        stages.append(_Stage(config.width(below), config.width(above), above, resized=True))
    return stages


def _down_stages(config: BigGANConfig) -> list[_Stage]:
    """The discriminator's blocks, after what it does first with the image.

    Plain: one for each resolution, the last of which stays at 4x4. Deep: one that halves the resolution, then one that
    keeps it.
    """
    stages = []
    for above, below in itertools.pairwise(config.resolutions[::-1]):
        if config.blocks == "deep":
            stages.append(_Stage(config.width(above), config.width(below), below, resized=True))
            stages.append(_Stage(config.width(below), config.width(below), below, resized=False))
        else:
            before = config.image_channels if above == config.size else config.width(2 * above)
            stages.append(_Stage(before, config.width(above), below, resized=True))
    if config.blocks == "plain":
        first = config.width(_FIRST_SIZE)
        stages.append(_Stage(config.width(2 * _FIRST_SIZE), first, _FIRST_SIZE, resized=False))
    return stages


class Generator(BaseGenerator):
    """A linear layer to 4x4 pixels, residual blocks, and a convolution to the image.

    The linear layer and each block take a w of their own. A plain block reads its part of z and the embedded condition
    off it, and the linear layer its part of z alone; in the deep variant all of them read the whole.
    """

    config: BigGANConfig

    def __init__(self, config: BigGANConfig) -> None:
        super().__init__(config)
        self.mapping = Mapping(config)
        stages = _up_stages(config)
        self.reads = _reads(config, len(stages))
        self.linear = linear(len(self.reads[0]), config.width(_FIRST_SIZE) * _FIRST_SIZE**2)
        blocks = [_up_block(config, stage, len(read)) for stage, read in zip(stages, self.reads[1:], strict=True)]
        self.blocks = _Blocks(stages, blocks, config.attention_resolution)
        self.output_norm = OutputNorm(config.width(config.size))
        self.to_image = conv(config.width(config.size), config.image_channels, 3)
        self.style_resolutions = [_FIRST_SIZE, *(stage.resolution for stage in stages)]
        kernels_last(self)

    def synthesize(self, w: Tensor, noise: Tensor | None = None) -> Tensor:
        """As `BaseGenerator.synthesize`; there are no noise inputs."""
        w = self.styles(w)
        first, *latents = (w[:, layer, read] for layer, read in enumerate(self.reads))
        x = self.linear(first).unflatten(1, (-1, _FIRST_SIZE, _FIRST_SIZE))
        x = self.blocks(x.contiguous(memory_format=torch.channels_last), latents)
        x = F.relu(self.output_norm(x))
        # The eight bits of a bfloat16's mantissa would show as steps in the image.
        with torch.autocast(x.device.type, enabled=False):
            image: Tensor = self.to_image(at_least_single(x))
        return image

    def mean_w(self, condition: Tensor | None, draws: int = 1024, seed: int = 0) -> Tensor:
        """As `BaseGenerator.mean_w`, and exact: the mean of z is zero, and the embedded condition stays as it is.

        So truncation scales z alone. The paper draws those numbers of z again that are beyond a threshold (section
        3.1); a scaled z goes from the sample to the centre of its condition without a jump, takes the same random
        numbers at any `psi`, and `psi` means the same for all architectures.
        """
        z = next(self.parameters()).new_zeros(1 if condition is None else len(condition), self.config.z_dim)
        w: Tensor = self.mapping(z, condition)
        return w

    def activation_map(self) -> Tensor:
        """As `BaseGenerator.activation_map`: of the first linear layer, as in the paper of GANSpace (section 2.2).

        In the plain variant that layer sees but a part of z. There the gains and biases of each block's first batch
        norm, the first that the other parts of z make, stand beside it; each layer has the same variance in all.
        """
        layers = [(self.linear.weight, self.reads[0])]
        if self.config.blocks == "plain":
            norms = [block.first_norm for block in self.blocks.blocks if isinstance(block, PlainUp)]
            weights = [torch.cat([norm.gain.weight, norm.bias.weight]) for norm in norms]
            layers += zip(weights, self.reads[1:], strict=True)
        rows = []
        for weight, read in layers:
            whole = weight.new_zeros(len(weight), self.config.latent_width)
            whole[:, read] = weight.detach()
            rows.append(whole / whole[:, : self.config.z_dim].norm())
        return torch.cat(rows)

    @torch.no_grad()
    def settle(self, condition: Tensor, seed: int = 0) -> None:
        """As `BaseGenerator.settle`: standing statistics (appendix C), in place of the running ones.

        Each pass normalises a batch by its own statistics, as in training; those of all passes are kept.
        """
        norms = [module for module in self.modules() if isinstance(module, BatchNorm)]
        random = torch.Generator().manual_seed(seed)
        for norm in norms:
            norm.passes = []
        for part in condition.split(_STANDING_BATCH):
            z = torch.randn(len(part), self.config.z_dim, generator=random)
            self(z.to(condition.device), part)
        for norm in norms:
            norm.settle()

    def layer_rows(self) -> list[tuple[str, int | None, int]]:
        """Name, width and parameters of its layers, in the order in which an image is made."""
        config = self.config
        rows: list[tuple[str, int | None, int]] = [("embedding", config.embedded_width, _parameters(self.mapping))]
        rows.append((f"{_FIRST_SIZE}x{_FIRST_SIZE} linear", config.width(_FIRST_SIZE), _parameters(self.linear)))
        rows += self.blocks.rows()
        rows.append(("image", config.image_channels, _parameters(self.output_norm, self.to_image)))
        return rows


def _reads(config: BigGANConfig, blocks: int) -> list[list[int]]:
    """Numbers of w that the first linear layer and each block read."""
    everything = list(range(config.latent_width))
    if config.blocks == "deep":
        return [everything] * (blocks + 1)
    embedded = everything[config.z_dim :]
    first, *others = (everything[part] for part in config.z_parts)
    return [first, *(part + embedded for part in others)]


def _up_block(config: BigGANConfig, stage: _Stage, latent: int) -> nn.Module:
    if config.blocks == "deep":
        return DeepUp(stage.in_channels, stage.out_channels, latent, up=stage.resized)
    return PlainUp(stage.in_channels, stage.out_channels, latent)


class Discriminator(nn.Module):
    """Residual discriminator with a projection head.

    The score is v . f(x) + a e(c) . f(x): an unconditional part and the projection of the image's features f(x), summed
    over all pixels, on the embedded condition (Miyato & Koyama 2018, equation 3). The weight a ramps the conditioning
    in while training, as in `sunaug.networks.stylegan2.Discriminator`.
    """

    def __init__(self, config: BigGANConfig) -> None:
        super().__init__()
        self.config = config
        stages = _down_stages(config)
        self.from_image: nn.Module | None = None
        if config.blocks == "deep":
            self.from_image = conv(config.image_channels, config.width(config.size), 3)
        blocks = [_down_block(config, number, stage) for number, stage in enumerate(stages)]
        self.blocks = _Blocks(stages, blocks, config.attention_resolution)
        last = config.width(_FIRST_SIZE)
        self.head = linear(last, 1)
        self.embed = linear(config.condition_width, last) if config.condition_width else None
        self.checkpoint_from: int | None = None
        kernels_last(self)

    def project(self, images: Tensor) -> Tensor:
        """What `score` judges: the images themselves."""
        return images

    def score(self, images: Tensor, condition: Tensor | None, condition_weight: float = 1.0) -> Tensor:
        """Scores (batch,) of images (batch, image_channels, size, size) under conditions (batch, condition_width)."""
        x = images.contiguous(memory_format=torch.channels_last)
        if self.from_image is not None:
            x = self.from_image(x)
        features = F.relu(self.blocks(x)).sum(dim=(2, 3))
        score: Tensor = self.head(features)[:, 0]
        if self.embed is not None and condition is not None:
            score = score + condition_weight * (features * self.embed(condition)).sum(dim=1)
        return score

    def forward(self, images: Tensor, condition: Tensor | None, condition_weight: float = 1.0) -> Tensor:
        """As `score`."""
        return self.score(images, condition, condition_weight)

    def layer_rows(self) -> list[tuple[str, int | None, int]]:
        """Name, width and parameters of its layers, in the order in which an image is judged."""
        rows: list[tuple[str, int | None, int]] = []
        if self.from_image is not None:
            rows.append(("image", self.config.width(self.config.size), _parameters(self.from_image)))
        rows += self.blocks.rows()
        heads = [one for one in (self.head, self.embed) if one is not None]
        rows.append(("head", self.config.width(_FIRST_SIZE), _parameters(*heads)))
        return rows


def _down_block(config: BigGANConfig, number: int, stage: _Stage) -> nn.Module:
    if config.blocks == "deep":
        return DeepDown(stage.in_channels, stage.out_channels, down=stage.resized)
    return PlainDown(stage.in_channels, stage.out_channels, down=stage.resized, activate=number > 0)
