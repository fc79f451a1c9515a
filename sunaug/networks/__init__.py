"""The networks: generators, discriminators and the layers they share."""

from sunaug.networks.stylegan2 import Discriminator, Generator, StyleGAN2Config

__all__ = ["Discriminator", "Generator", "StyleGAN2Config"]
