"""Images in bands of rows, one for each process of a training: for those whose activations no single device can hold.

Every process has all weights and sees the whole batch. Low resolutions are computed by all alike. Above a junction each
process computes its band of rows, and a margin of its neighbours' rows, so that nothing is sent between the layers.

What is computed alike and what is computed in bands meet in two pairs of operations, as in tensor parallelism (Shoeybi
et al. 2019, "Megatron-LM", arXiv 1909.08053, section 3): to *gather* bands and to *split* into bands, to *copy* a
tensor into all bands and to *sum* over bands. In each pair one is the derivative of the other. Each backward pass
applies the other operation as one that has a derivative itself, so that the gradients of gradients are right as well.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sunaug.networks.patches import Coarse, PatchGenerator, window_noise
from sunaug.networks.windows import Window, crop

__all__ = [
    "Bands",
    "InBands",
    "gather",
    "halve_in_bands",
    "into_bands",
    "parameters_in_bands",
    "set_bands",
    "synthesize_in_bands",
]

JUNCTION = 64
"""Largest junction: below it a band would be mostly margin, and images of these resolutions are small."""

_SPOILT_ROWS = 3
"""Rows beside an inner border that halving blocks spoil, at the resolution that they end at, whatever their number.

A block convolves, averages over squares and convolves again. Of s spoilt rows it makes ceil((s + 1) / 2) + 1, which is
3 where s is, and never more from 0 on.
"""


@dataclass(frozen=True)
class Bands:
    """One of the bands that images are computed in, and how it is exchanged with the others.

    All processes have to call `gather` and `sum` in the same order.

    Attributes
    ----------
    number, of : int
        Number of this process's band, from the top, and how many there are: all processes of the training, a power of
        two.
    """

    number: int
    of: int

    def junction(self, top: int) -> int:
        """Resolution up to which all processes compute alike, of layers that end at `top` pixels.

        A quarter of `top`, so that little of the memory is below it, with a row for each band at least.
        """
        return max(min(JUNCTION, top // 4), self.of, 4)

    def count(self, resolutions: Sequence[int]) -> int:
        """How many of a network's resolutions are above the junction."""
        junction = self.junction(max(resolutions))
        return sum(resolution > junction for resolution in resolutions)

    def window(self, size: int) -> Window:
        """Place of the band in images of `size` pixels."""
        height = size // self.of
        return Window(self.number * height, (self.number + 1) * height, 0, size)

    def gather(self, band: Tensor) -> Tensor:
        """The bands (batch, channel, y / of, x) of all processes, from the top down, without a derivative."""
        # The same order of numbers everywhere: what is channels-last in one process may not be so in another.
        own = band.movedim(1, -1).contiguous()
        bands = [torch.empty_like(own) for _ in range(self.of)]
        self._all_gather(bands, own)
        return torch.cat(bands, dim=1).movedim(-1, 1)

    def sum(self, part: Tensor) -> Tensor:
        """Sum of a tensor (batch, channel, ...) over all processes, without a derivative."""
        total = part.movedim(1, -1).clone(memory_format=torch.contiguous_format)
        self._all_reduce(total)
        return total.movedim(-1, 1)

    def _all_gather(self, bands: list[Tensor], own: Tensor) -> None:
        dist.all_gather(bands, own)

    def _all_reduce(self, total: Tensor) -> None:
        dist.all_reduce(total)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, band: Tensor, bands: Bands) -> Tensor:
        ctx.bands = bands
        return bands.gather(band)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return _Split.apply(*gradients, ctx.bands), None


class _Split(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, whole: Tensor, bands: Bands) -> Tensor:
        ctx.bands = bands
        window = bands.window(whole.shape[2])
        return whole[:, :, window.top : window.bottom]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return _Gather.apply(*gradients, ctx.bands), None


class _Copy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, whole: Tensor, bands: Bands) -> Tensor:
        ctx.bands = bands
        return whole.view_as(whole)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return _Sum.apply(*gradients, ctx.bands), None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor, bands: Bands) -> Tensor:
        ctx.bands = bands
        return bands.sum(part)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return _Copy.apply(*gradients, ctx.bands), None


def gather(band: Tensor, bands: Bands) -> Tensor:
    """The whole (batch, channel, y, x) of everybody's bands (batch, channel, y / of, x), the same on all processes."""
    whole: Tensor = _Gather.apply(band, bands)
    return whole


def into_bands(whole: Tensor, bands: Bands) -> Tensor:
    """A tensor that is the same on all processes, for use in bands: its gradient is the sum of those of all bands."""
    copied: Tensor = _Copy.apply(whole, bands)
    return copied


def synthesize_in_bands(generator: PatchGenerator, w: Tensor, noise: Tensor | None, bands: Bands) -> Tensor:
    """As `BaseGenerator.synthesize`, to rounding; each process makes its band and gets the whole images.

    Parameters
    ----------
    generator : PatchGenerator
    w : Tensor, shape (batch, latent_width) or (batch, n_styles, latent_width)
    noise : Tensor, shape (batch, noise_size), optional
        Of the whole images.
    bands : Bands

    Returns
    -------
    Tensor, shape (batch, image_channels, size, size)
    """
    size, pixel = generator.config.size, generator.pixel
    junction = bands.junction(size // pixel) * pixel
    first = None if noise is None else noise[:, : generator.coarse_noise_size(junction)]
    coarse = Coarse(*(into_bands(one, bands) for one in generator.coarse(w, first, junction)))
    window = bands.window(size)
    planes = window_noise(generator, noise, window, junction)
    return gather(generator.refine(coarse, into_bands(w, bands), window, planes), bands)


def halve_in_bands(layers: Callable[[Tensor], Tensor], images: Tensor, junction: int, bands: Bands) -> Tensor:
    """What layers that halve the resolution again and again make of images, to rounding.

    Parameters
    ----------
    layers : callable
        From (batch, channel, y, x) to features (batch, width, y / factor, x / factor), by blocks of a convolution of
        three pixels, an average over squares and another convolution.
    images : Tensor, shape (batch, channel, size, size)
    junction : int
        Resolution that the layers end at.
    bands : Bands

    Returns
    -------
    Tensor, shape (batch, width, junction, junction)
    """
    wanted = bands.window(junction)
    # At the image's own edges there is no margin, and the layers' padding is what it is for the whole image.
    covered = wanted.grown(_SPOILT_ROWS, junction)
    size = images.shape[-1]
    band = crop(into_bands(images, bands), Window.square(0, 0, size), covered.scaled(size // junction))
    return gather(crop(layers(band), covered, wanted), bands)


class InBands(ABC):
    """A network whose high resolutions can be computed in bands while it trains.

    Attributes
    ----------
    bands : Bands or None
        None computes all of them here.
    """

    bands: Bands | None = None

    @abstractmethod
    def layers_in_bands(self) -> list[nn.Module]:
        """Layers that see a band and no more where there are bands."""


def set_bands(network: nn.Module, bands: Bands) -> None:
    """Compute a network's high resolutions in bands from now on, and those of its parts."""
    for module in _parts(network):
        module.bands = bands


def parameters_in_bands(network: nn.Module) -> set[nn.Parameter]:
    """Parameters whose gradient is the sum over all bands; that of any other is the same on all processes."""
    layers = [layer for module in _parts(network) if module.bands for layer in module.layers_in_bands()]
    return {parameter for layer in layers for parameter in layer.parameters()}


def _parts(network: nn.Module) -> list[InBands]:
    return [module for module in network.modules() if isinstance(module, InBands)]
