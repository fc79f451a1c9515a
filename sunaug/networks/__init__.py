"""The networks: generators, discriminators, the layers they share, and the conditions they are told.

An architecture is a class of configuration with a generator and a discriminator; what is built here is all that the
rest of sunaug needs to know of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sunaug.networks.base import BaseGenerator, start_from
from sunaug.networks.config import NetworkConfig
from sunaug.networks.patches import PatchGenerator, synthesize_tiles
from sunaug.networks.stylegan2 import Discriminator, Generator, StyleGAN2Config

__all__ = [
    "ARCHITECTURES",
    "BaseGenerator",
    "Discriminator",
    "Generator",
    "NetworkConfig",
    "PatchGenerator",
    "StyleGAN2Config",
    "make_discriminator",
    "make_generator",
    "start_from",
    "synthesize_tiles",
]


@dataclass(frozen=True)
class Architecture:
    """How the networks of a configuration are made."""

    config: type[NetworkConfig]
    generator: Callable[[Any], BaseGenerator]
    discriminator: Callable[[Any], Any]


ARCHITECTURES = {one.config.architecture: one for one in (Architecture(StyleGAN2Config, Generator, Discriminator),)}
"""By name, as recipes and bundles give it."""


def make_generator(config: NetworkConfig) -> BaseGenerator:
    """A generator with random weights."""
    return ARCHITECTURES[config.architecture].generator(config)


def make_discriminator(config: NetworkConfig) -> Any:
    """A discriminator with random weights; it has `project` and `score` as `Discriminator` has."""
    return ARCHITECTURES[config.architecture].discriminator(config)
