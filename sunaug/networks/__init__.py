"""The networks: generators, discriminators, the layers they share, and the conditions they are told."""

from sunaug.networks.stylegan2 import Discriminator, Generator, StyleGAN2Config, start_from

__all__ = ["Discriminator", "Generator", "StyleGAN2Config", "start_from"]
