"""Layers that BigGAN's networks are made of (Brock et al. 2019, arXiv 1809.11096).

All weights begin orthogonal (section 3), and spectral norm divides them by their largest singular value wherever they
are used (Miyato et al. 2018, arXiv 1802.05957), in the generator too, as in the paper.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from sunaug.networks.layers import at_least_single
from sunaug.networks.processes import mean_over_processes

__all__ = [
    "BatchNorm",
    "ConditionalBatchNorm",
    "DeepDown",
    "DeepUp",
    "OutputNorm",
    "PlainDown",
    "PlainUp",
    "SelfAttention",
    "conv",
    "linear",
]

_EPSILON = 1e-4
_MOMENTUM = 0.1
_BOTTLENECK = 4
_KEY_SHARE, _VALUE_SHARE = 8, 2


def conv(in_channels: int, out_channels: int, kernel: int, *, bias: bool = True) -> nn.Conv2d:
    """Convolution with spectral norm from an orthogonal start, padded to keep the size."""
    layer = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=bias)
    _normalise(layer)
    return layer


def linear(in_features: int, out_features: int, *, bias: bool = True) -> nn.Linear:
    """Fully connected layer with spectral norm from an orthogonal start."""
    layer = nn.Linear(in_features, out_features, bias=bias)
    _normalise(layer)
    return layer


def _normalise(layer: nn.Conv2d | nn.Linear) -> None:
    nn.init.orthogonal_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    spectral_norm(layer)


class BatchNorm(nn.Module):
    """Normalisation of each channel to zero mean and unit variance, without gains and biases of its own.

    While training, mean and variance are those of the whole batch, over all processes. Otherwise they are those that
    are stored, so that an image does not depend on the images beside it: the running ones of the training, until
    standing ones take their place (see `Generator.settle` of `sunaug.networks.biggan`).

    Attributes
    ----------
    mean, variance : Tensor, shape (channels,)
    passes : list of (Tensor, Tensor), or None
        While standing statistics are taken: mean and variance of each pass so far.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))
        self.passes: list[tuple[Tensor, Tensor]] | None = None

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self.training and self.passes is None:
            return self.mean, self.variance
        variance, mean = torch.var_mean(at_least_single(x), dim=(0, 2, 3), correction=0)
        if self.training:
            own = mean
            mean = mean_over_processes(own)
            variance = mean_over_processes(variance + (own - mean).square())
            with torch.no_grad():
                self.mean.lerp_(mean.to(self.mean.dtype), _MOMENTUM)
                self.variance.lerp_(variance.to(self.variance.dtype), _MOMENTUM)
        else:
            assert self.passes is not None
            self.passes.append((mean, variance))
        return mean, variance

    def settle(self) -> None:
        """Store the statistics of all passes taken together; within and between them, as variances add up."""
        assert self.passes
        means, variances = (torch.stack(one) for one in zip(*self.passes, strict=True))
        self.mean.copy_(means.mean(dim=0))
        self.variance.copy_(variances.mean(dim=0) + means.var(dim=0, correction=0))
        self.passes = None

    def forward(self, x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        """Normalise x (batch, channels, y, x), then scale and shift it.

        `gain` and `bias` are (batch, channels), or (1, channels) for all samples. One pass over the activations does
        it all, after the one for their statistics.
        """
        mean, variance = self._statistics(x)
        scale = gain * torch.rsqrt(variance + _EPSILON)
        shift = bias - mean * scale
        return torch.addcmul(shift[:, :, None, None].to(x.dtype), x, scale[:, :, None, None].to(x.dtype))


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose gains and biases are linear in a latent (section 3; Dumoulin et al. 2017).

    The gains are centred at one, the biases at zero (appendix C).
    """

    def __init__(self, channels: int, latent: int) -> None:
        super().__init__()
        self.norm = BatchNorm(channels)
        self.gain = linear(latent, channels, bias=False)
        self.bias = linear(latent, channels, bias=False)

    def forward(self, x: Tensor, latent: Tensor) -> Tensor:
        """X (batch, channels, y, x) and latent (batch, width) to the shape of x."""
        out: Tensor = self.norm(x, 1 + self.gain(latent), self.bias(latent))
        return out


class OutputNorm(nn.Module):
    """Batch norm with gains and biases that are trained, the same for all samples: before the last layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = BatchNorm(channels)
        self.gain = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, y, x) to the same shape."""
        out: Tensor = self.norm(x, self.gain[None], self.bias[None])
        return out


class SelfAttention(nn.Module):
    """Attention of each pixel to all others (Zhang et al. 2019, arXiv 1805.08318, equations 1 to 3).

    A share gamma of it, trained from zero on, is added to the input. As in BigGAN, keys and values are pooled to half
    the resolution.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        keys, values = max(1, channels // _KEY_SHARE), max(1, channels // _VALUE_SHARE)
        self.query = conv(channels, keys, 1, bias=False)
        self.key = conv(channels, keys, 1, bias=False)
        self.value = conv(channels, values, 1, bias=False)
        self.out = conv(values, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, y, x) to the same shape."""
        query = self.query(x).flatten(2)
        key, value = (F.max_pool2d(layer(x), 2).flatten(2) for layer in (self.key, self.value))
        weights = (query.transpose(1, 2) @ key).softmax(dim=2)
        attended = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        out: Tensor = self.out(attended)
        return x + self.gamma * out


def _double(x: Tensor) -> Tensor:
    """Each pixel four times."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


class PlainUp(nn.Module):
    """Residual block of the plain generator, which doubles the resolution (figure 15b)."""

    def __init__(self, in_channels: int, out_channels: int, latent: int) -> None:
        super().__init__()
        self.first_norm = ConditionalBatchNorm(in_channels, latent)
        self.first = conv(in_channels, out_channels, 3)
        self.second_norm = ConditionalBatchNorm(out_channels, latent)
        self.second = conv(out_channels, out_channels, 3)
        self.skip = conv(in_channels, out_channels, 1)

    def forward(self, x: Tensor, latent: Tensor) -> Tensor:
        """X (batch, in_channels, y, x) and latent (batch, width) to (batch, out_channels, 2 y, 2 x)."""
        y = self.first(_double(F.relu(self.first_norm(x, latent))))
        y = self.second(F.relu(self.second_norm(y, latent)))
        # A convolution of one pixel commutes with the doubling, and runs at a quarter of the pixels before it.
        return y + _double(self.skip(x))


class DeepUp(nn.Module):
    """Residual block of the deep generator: a bottleneck of four convolutions (appendix B, figure 16b).

    The shortcut has no weights: it drops the channels that are too many.
    """

    def __init__(self, in_channels: int, out_channels: int, latent: int, *, up: bool) -> None:
        super().__init__()
        inner = max(1, in_channels // _BOTTLENECK)
        widths = (in_channels, inner, inner, inner)
        self.norms = nn.ModuleList(ConditionalBatchNorm(width, latent) for width in widths)
        kernels = zip(widths, (inner, inner, inner, out_channels), (1, 3, 3, 1), strict=True)
        self.convs = nn.ModuleList(conv(*shape) for shape in kernels)
        self.out_channels, self.up = out_channels, up

    def forward(self, x: Tensor, latent: Tensor) -> Tensor:
        """X (batch, in_channels, y, x) and latent (batch, width) to (batch, out_channels, ...), doubled if up."""
        y = x
        for number, (norm, layer) in enumerate(zip(self.norms, self.convs, strict=True)):
            y = F.relu(norm(y, latent))
            if self.up and number == 1:
                y = _double(y)
            y = layer(y)
        shortcut = x[:, : self.out_channels]
        return y + (_double(shortcut) if self.up else shortcut)


class PlainDown(nn.Module):
    """Residual block of the plain discriminator (figure 15c).

    Parameters
    ----------
    in_channels, out_channels : int
    down : bool
        Halve the resolution; the last block keeps it.
    activate : bool
        Whether the first convolution is of activations; the first block sees the image.
    """

    def __init__(self, in_channels: int, out_channels: int, *, down: bool = True, activate: bool = True) -> None:
        super().__init__()
        self.first = conv(in_channels, out_channels, 3)
        self.second = conv(out_channels, out_channels, 3)
        self.skip = conv(in_channels, out_channels, 1) if in_channels != out_channels else None
        self.down, self.activate = down, activate

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, y, x) to (batch, out_channels, ...), half as large if down."""
        y = self.first(F.relu(x) if self.activate else x)
        y = self.second(F.relu(y))
        shortcut = x
        if self.down:
            y, shortcut = F.avg_pool2d(y, 2), F.avg_pool2d(shortcut, 2)
        if self.skip is not None:
            shortcut = self.skip(shortcut)
        return y + shortcut


class DeepDown(nn.Module):
    """Residual block of the deep discriminator (appendix B, figure 16c).

    The shortcut keeps its input, and a convolution makes the channels that are missing.
    """

    def __init__(self, in_channels: int, out_channels: int, *, down: bool) -> None:
        super().__init__()
        inner = max(1, out_channels // _BOTTLENECK)
        shapes = ((in_channels, inner, 1), (inner, inner, 3), (inner, inner, 3), (inner, out_channels, 1))
        self.convs = nn.ModuleList(conv(*shape) for shape in shapes)
        missing = out_channels - in_channels
        self.more = conv(in_channels, missing, 1, bias=False) if missing else None
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, y, x) to (batch, out_channels, ...), half as large if down."""
        y = x
        for layer in self.convs[:3]:
            y = layer(F.relu(y))
        y, shortcut = F.relu(y), x
        if self.down:
            y, shortcut = F.avg_pool2d(y, 2), F.avg_pool2d(shortcut, 2)
        if self.more is not None:
            shortcut = torch.cat([shortcut, self.more(shortcut)], dim=1)
        return self.convs[3](y) + shortcut
