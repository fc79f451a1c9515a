"""Layers that the style-based networks are made of.

All weights use the equalised learning rate (Karras et al. 2018, section 4.1): they are drawn from N(0, 1) and scaled by
gain / sqrt(fan_in) when they are used, so that Adam moves every layer at the same relative speed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LEAK = 0.2
ACTIVATION_GAIN = math.sqrt(2)
"""Keeps the variance through a leaky ReLU of slope 0.2 (He et al. 2015, equation 14, to 4 %)."""


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU that keeps the variance of its input."""
    return F.leaky_relu(x, _LEAK) * ACTIVATION_GAIN


def rectify(x: Tensor) -> Tensor:
    """Leaky ReLU in place, for layers that were called with the factor `ACTIVATION_GAIN`.

    Positive factors commute with it, so that the gain goes into the kernel: one pass over the activations less.
    """
    return F.leaky_relu_(x, _LEAK)


def at_least_single(x: Tensor) -> Tensor:
    """`x` in single precision, or in double where it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def upsample(x: Tensor) -> Tensor:
    """Double the resolution with the separable filter [1, 3, 3, 1] / 4, which is bilinear interpolation."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def kernels_last(network: nn.Module) -> None:
    """Lay a network's convolution kernels out channels-last: 1.2 times as fast on a CPU, and what tensor cores want."""
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


class EqualLinear(nn.Module):
    """Fully connected layer with equalised learning rate.

    Parameters
    ----------
    in_features, out_features : int
    bias_init : float
        Start value of the bias.
    lr_multiplier : float
        Share of the learning rate that weights and bias see (0.01 in the mapping network; Karras et al. 2019).
    bias : bool
        Whether there is one.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias_init: float = 0.0,
        lr_multiplier: float = 1.0,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), bias_init / lr_multiplier)) if bias else None
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        bias = None if self.bias is None else self.bias * self.bias_gain
        return F.linear(x, self.weight * self.weight_gain, bias)


class EqualConv2d(nn.Module):
    """Convolution with equalised learning rate, padded to keep the size."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.gain = 1 / math.sqrt(in_channels * kernel**2)
        self.padding = kernel // 2

    def forward(self, x: Tensor, factor: float = 1.0) -> Tensor:
        """(batch, in_channels, y, x) to `factor` times (batch, out_channels, y, x)."""
        bias = None if self.bias is None else self.bias * factor
        return F.conv2d(x, self.weight * (self.gain * factor), bias, padding=self.padding)


class ModulatedConv2d(nn.Module):
    """Convolution whose kernel is modulated and demodulated by a style (Karras et al. 2020, equations 1 and 3).

    The paper scales the kernel for each sample, w'_ijk = s_i w_ijk, and divides it by sqrt(sum_ik w'_ijk^2 + eps).
    Both factors commute with the convolution, so that here the input is scaled by s_i, convolved once with the shared
    kernel, and the output scaled by 1 / sqrt(sum_i s_i^2 sum_k w_ijk^2 + eps): the same to rounding, without a
    grouped convolution over the batch.

    Parameters
    ----------
    in_channels, out_channels, kernel : int
    w_dim : int
        Width of the intermediate latent w that the style is an affine function of.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, w_dim: int) -> None:
        super().__init__()
        self.affine = EqualLinear(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.gain = 1 / math.sqrt(in_channels * kernel**2)
        self.padding = kernel // 2

    def forward(self, x: Tensor, w: Tensor, bias: Tensor | None = None, factor: float = 1.0) -> Tensor:
        """(batch, in_channels, y, x) and w (batch, w_dim) to `factor` times (batch, out_channels, y, x) plus `bias`."""
        style = self.affine(w)
        weight = self.weight * self.gain
        out = F.conv2d(x * style[:, :, None, None], weight, padding=self.padding)
        energy = style.square() @ weight.square().sum(dim=(2, 3)).T
        scale = (factor * torch.rsqrt(energy + 1e-8))[:, :, None, None].to(out.dtype)
        if bias is None:
            return out * scale
        return torch.addcmul((factor * bias)[:, None, None].to(out.dtype), out, scale)


class StyledConv(nn.Module):
    """Modulated convolution, bias, optional doubling of the resolution, noise and activation.

    The convolution runs before the upsampling: at a quarter of the pixels, and the interpolation then takes the place
    of the low-pass filter that follows a transposed convolution. So does the bias, which the interpolation keeps.
    """

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, *, up: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(in_channels, out_channels, 3, w_dim)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.up = up

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """`noise` is (batch, 1, y, x) at the output's resolution, or None for none."""
        x = self.conv(x, w, self.bias, ACTIVATION_GAIN)
        if self.up:
            x = upsample(x)
        if noise is not None:
            x = x + (noise * (ACTIVATION_GAIN * self.noise_strength)).to(x.dtype)
        return rectify(x)


class _ImageKernel(nn.Module):
    """Kernels (batch, image_channels, in_channels) of `ToImage`, modulated by w (batch, w_dim)."""

    def __init__(self, in_channels: int, image_channels: int, w_dim: int) -> None:
        super().__init__()
        self.affine = EqualLinear(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(image_channels, in_channels, 1, 1))
        self.gain = 1 / math.sqrt(in_channels)

    def forward(self, w: Tensor) -> Tensor:
        return self.weight.flatten(1) * self.gain * self.affine(w)[:, None]


class ToImage(nn.Module):
    """1x1 modulated convolution from features to the image's channels.

    Without demodulation, because the magnitude carries meaning here. With so few outputs, one product of matrices for
    each sample's own kernel is less work than scaling all features.
    """

    def __init__(self, in_channels: int, image_channels: int, w_dim: int) -> None:
        super().__init__()
        self.conv = _ImageKernel(in_channels, image_channels, w_dim)
        self.bias = nn.Parameter(torch.zeros(image_channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(batch, in_channels, y, x) to (batch, image_channels, y, x), in single precision under any autocast.

        The eight bits of a bfloat16's mantissa would show as steps in the image.
        """
        with torch.autocast(x.device.type, enabled=False):
            x = at_least_single(x)
            image = torch.baddbmm(self.bias[:, None], self.conv(at_least_single(w)), x.flatten(2))
            return image.unflatten(2, x.shape[2:])


class Grouped(nn.Module):
    """A layer for each group of channels, side by side.

    Parameters
    ----------
    branches : sequence of torch.nn.Module
        `StyledConv` or `ToImage`.
    width : int or None
        Features of each branch in what comes in; None where all branches take all of them.
    order : sequence of int, optional
        Place in the image of each channel that comes out, branch after branch.
    """

    def __init__(
        self, branches: Sequence[nn.Module], width: int | None = None, order: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.width = width
        self.places = None if order is None else sorted(range(len(order)), key=order.__getitem__)

    def forward(self, x: Tensor, *arguments: Any) -> Tensor:
        """(batch, features, y, x) and what each branch takes beside it, to the branches' results in one tensor."""
        parts = [x] * len(self.branches) if self.width is None else x.split(self.width, dim=1)
        out = torch.cat([branch(part, *arguments) for branch, part in zip(self.branches, parts, strict=True)], dim=1)
        return out if self.places is None else out[:, self.places]


class ResidualDown(nn.Module):
    """Residual block of the discriminator that halves the resolution (Karras et al. 2020, figure 7c).

    Average pooling stands before the second convolution, which then runs at a quarter of the pixels.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = EqualConv2d(in_channels, in_channels, 3)
        self.second = EqualConv2d(in_channels, out_channels, 3)
        self.skip = EqualConv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, y, x) to (batch, out_channels, y / 2, x / 2)."""
        half = math.sqrt(0.5)  # keeps the variance of the sum
        shortcut = self.skip(F.avg_pool2d(x, 2), half)
        x = rectify(self.first(x, ACTIVATION_GAIN))
        return rectify(self.second(F.avg_pool2d(x, 2), half * ACTIVATION_GAIN)) + shortcut


def condition_embedding(condition_width: int, width: int) -> nn.ModuleList:
    """Layers that embed a condition vector, for `projection`."""
    return nn.ModuleList([EqualLinear(condition_width, width), EqualLinear(width, width)])


def projection(features: Tensor, embedding: nn.ModuleList, condition: Tensor) -> Tensor:
    """What conditions add to a discriminator's scores: e(c) . f / sqrt(d) (Miyato & Koyama 2018, equation 3).

    Parameters
    ----------
    features : Tensor, shape (batch, d)
    embedding : torch.nn.ModuleList
        From `condition_embedding`.
    condition : Tensor, shape (batch, condition_width)

    Returns
    -------
    Tensor, shape (batch,)
    """
    first, second = embedding
    embedded = second(activate(first(condition)))
    return (features * embedded).sum(dim=1) / math.sqrt(features.shape[1])


def minibatch_stddev(x: Tensor, group: int = 4) -> Tensor:
    """Append one channel: the mean standard deviation within groups of samples (Karras et al. 2018, section 3).

    It shows the discriminator how varied a batch is. Neighbours in the batch form a group, so that a batch which is
    split over processes or steps at multiples of `group` has the same groups. A batch that `group` does not divide
    forms groups of the greatest common divisor.
    """
    batch, _, height, width = x.shape
    group = math.gcd(batch, group)
    grouped = at_least_single(x).reshape(batch // group, group, *x.shape[1:])
    spread = torch.sqrt(grouped.var(dim=1, unbiased=False) + 1e-8).mean(dim=(1, 2, 3))
    plane = spread.repeat_interleave(group)[:, None, None, None].expand(-1, 1, height, width)
    return torch.cat([x, plane.to(x.dtype)], dim=1)
