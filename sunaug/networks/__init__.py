"""The networks: generators, discriminators, the layers they share, and the conditions they are told.

An architecture is a class of configuration with a generator and a discriminator; what is built here is all that the
rest of sunaug needs to know of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from sunaug.networks import biggan, stylealae
from sunaug.networks.base import BaseGenerator, start_from
from sunaug.networks.biggan import BigGANConfig
from sunaug.networks.config import NetworkConfig
from sunaug.networks.growing import Growing
from sunaug.networks.patches import PatchGenerator, synthesize_tiles
from sunaug.networks.stylegan2 import Discriminator, Generator, StyleGAN2Config

__all__ = [
    "ARCHITECTURES",
    "BaseGenerator",
    "BigGANConfig",
    "Discriminator",
    "Generator",
    "NetworkConfig",
    "PatchGenerator",
    "StyleGAN2Config",
    "make_discriminator",
    "make_encoder",
    "make_generator",
    "start_from",
    "synthesize_tiles",
]


@dataclass(frozen=True)
class Architecture:
    """How the networks of a configuration are made.

    Attributes
    ----------
    encoder : callable, optional
        Of architectures whose discriminator has an ``encoder``: from images to intermediate latents.
    """

    config: type[NetworkConfig]
    generator: Callable[[Any], BaseGenerator]
    discriminator: Callable[[Any], Any]
    encoder: Callable[[Any], nn.Module] | None = None

    @property
    def grows(self) -> bool:
        """Whether its networks can be trained from low resolutions up, see `sunaug.networks.growing`."""
        return isinstance(self.generator, type) and issubclass(self.generator, Growing)


_ALL = (
    Architecture(StyleGAN2Config, Generator, Discriminator),
    Architecture(BigGANConfig, biggan.Generator, biggan.Discriminator),
    Architecture(stylealae.StyleALAEConfig, stylealae.Generator, stylealae.Discriminator, stylealae.Encoder),
)

ARCHITECTURES = {one.config.architecture: one for one in _ALL}
"""By name, as recipes and bundles give it."""


def make_generator(config: NetworkConfig) -> BaseGenerator:
    """A generator with random weights."""
    return ARCHITECTURES[config.architecture].generator(config)


def make_discriminator(config: NetworkConfig) -> Any:
    """A discriminator with random weights; it has `project` and `score` as `Discriminator` has.

    Where the architecture has an encoder, it also has that as ``encoder``, and `encode` from images to w.
    """
    return ARCHITECTURES[config.architecture].discriminator(config)


def make_encoder(config: NetworkConfig) -> nn.Module | None:
    """An encoder with random weights, from images to w; None for architectures without one."""
    encoder = ARCHITECTURES[config.architecture].encoder
    return None if encoder is None else encoder(config)
