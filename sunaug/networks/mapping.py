"""The mapping network of the style-based architectures, and the part of their shape that it decides."""

from __future__ import annotations

import itertools

import torch
from pydantic import Field
from torch import Tensor, nn

from sunaug.networks.config import NetworkConfig
from sunaug.networks.layers import EqualLinear, activate

__all__ = ["Mapping", "StyleConfig"]


class StyleConfig(NetworkConfig):
    """Shape of networks with an intermediate latent that a mapping network makes.

    Attributes
    ----------
    w_dim : int
        Width of the intermediate latent.
    mapping_layers : int
        Layers of the mapping network.
    """

    w_dim: int = Field(128, ge=1)
    mapping_layers: int = Field(4, ge=1)

    @property
    def latent_width(self) -> int:
        """Width of the intermediate latent."""
        return self.w_dim


def _normalise(x: Tensor) -> Tensor:
    """Second moment to one over the features (the paper's pixel norm on the latent)."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


class Mapping(nn.Module):
    """From the latent z and the conditions to the intermediate latent w (Karras et al. 2019, section 2)."""

    def __init__(self, config: StyleConfig) -> None:
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
