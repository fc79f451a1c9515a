"""Styles as the statistics of feature maps: read off them, or given to them (adaptive instance normalisation)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sunaug.networks.layers import EqualLinear, at_least_single

__all__ = ["AdaIN", "StyleReading", "instance_statistics"]

_EPSILON = 1e-5


def instance_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each sample's feature maps.

    Parameters
    ----------
    x : Tensor, shape (batch, channels, y, x)

    Returns
    -------
    mean, deviation : Tensor, shape (batch, channels)
        In single precision under any autocast.
    """
    variance, mean = torch.var_mean(at_least_single(x), dim=(2, 3), correction=0)
    return mean, torch.sqrt(variance + _EPSILON)


def _rescaled(x: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
    """Each feature map times its factor plus its shift (batch, channels)."""
    factor, shift = (one[:, :, None, None].to(x.dtype) for one in (factor, shift))
    return torch.addcmul(shift, x, factor)


class AdaIN(nn.Module):
    """Adaptive instance normalisation: y_s (x - mu(x)) / sigma(x) + y_b (Karras et al. 2019, equation 1).

    The style y = (y_s, y_b) is an affine function of w that begins at y_s = 1, y_b = 0 for w = 0.
    """

    def __init__(self, channels: int, w_dim: int) -> None:
        super().__init__()
        self.affine = EqualLinear(w_dim, 2 * channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(batch, channels, y, x) and w (batch, w_dim) to (batch, channels, y, x)."""
        mean, deviation = instance_statistics(x)
        scale, bias = self.affine(w).chunk(2, dim=1)
        factor = (1 + scale) / deviation
        return _rescaled(x, factor, bias - mean * factor)


class StyleReading(nn.Module):
    """Instance normalisation that reads a style: C [mu(x); sigma(x)] (Pidhorskyi et al. 2020, section 4)."""

    def __init__(self, channels: int, w_dim: int) -> None:
        super().__init__()
        self.linear = EqualLinear(2 * channels, w_dim, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (batch, channels, y, x) to the normalised ones and what they say of w (batch, w_dim)."""
        mean, deviation = instance_statistics(x)
        reading = self.linear(torch.cat([mean, deviation], dim=1))
        return _rescaled(x, 1 / deviation, -mean / deviation), reading
