"""Generators that can make a patch of an image without the rest of it, and whole images tile by tile.

The image is made whole up to a low resolution (`PatchGenerator.coarse`); from there on, each patch is made from the
part of the coarser layers that it depends on (`PatchGenerator.refine`). A patch is the same crop of the whole image, to
rounding: its place needs no coordinates, because it begins at its place of the learned constant.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sunaug.networks.base import BaseGenerator
from sunaug.networks.config import NetworkConfig
from sunaug.networks.windows import Window, crop, tiles
from sunaug.threads import in_order, worker_count

__all__ = [
    "TILE",
    "Coarse",
    "NoiseWindow",
    "PatchGenerator",
    "in_tiles",
    "synthesize_tiles",
    "synthesize_whole",
    "window_noise",
]

TILE = 512
"""Width of the tiles that large images are made in: their margins cost a tenth of the work or less."""


class Coarse(NamedTuple):
    """What patches start from: the layers' values and the image so far, both (batch, channel, y, x)."""

    features: Tensor
    image: Tensor


class NoiseWindow(NamedTuple):
    """The part of a noise input that a patch takes: number of the input, in the order of `noise_shapes`, and place."""

    layer: int
    window: Window


class PatchGenerator(BaseGenerator):
    """A generator whose layers see their neighbourhood alone, so that it can make patches.

    Sizes and windows are in pixels of the image.

    Attributes
    ----------
    tile : int or None
        `synthesize_whole` makes images of more than twice as many pixels in tiles of this width; None for never.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.tile: int | None = TILE

    @property
    def pixel(self) -> int:
        """Pixels of the image along each side of what its last layer makes at once; windows have to be multiples."""
        return self.config.size // self.style_resolutions[-1]

    @abstractmethod
    def coarse(self, w: Tensor, noise: Tensor | None, size: int) -> Coarse:
        """Whole layers, up to those that make the image at `size` pixels.

        Parameters
        ----------
        w : Tensor, shape (batch, latent_width) or (batch, n_styles, latent_width)
        noise : Tensor, shape (batch, coarse_noise_size(size)), optional
        size : int
            A power of two.
        """

    @abstractmethod
    def image(self, coarse: Coarse) -> Tensor:
        """The whole image at low resolution (batch, image_channels, size, size): what finer layers add to."""

    @abstractmethod
    def refine(self, coarse: Coarse, w: Tensor, window: Window, noise: Sequence[Tensor] | None) -> Tensor:
        """A patch.

        Parameters
        ----------
        coarse : Coarse
            From `coarse`, of the same w.
        w : Tensor, shape (batch, latent_width) or (batch, n_styles, latent_width)
        window : Window
        noise : sequence of Tensor, optional
            Noise (batch, y, x) for each of `noise_windows`.

        Returns
        -------
        Tensor, shape (batch, image_channels, window.height, window.width)
        """

    @abstractmethod
    def noise_windows(self, window: Window, size: int) -> list[NoiseWindow]:
        """Noise that `refine` takes for `window` after `coarse` at `size`."""

    def coarse_noise_size(self, size: int) -> int:
        """Numbers that one sample's noise takes in `coarse` at `size`."""
        return sum(height * width for height, width in self.noise_shapes if height * self.pixel <= size)


def window_noise(generator: PatchGenerator, noise: Tensor | None, window: Window, size: int) -> list[Tensor] | None:
    """What a patch takes of whole images' noise (batch, noise_size), as `PatchGenerator.refine` wants it.

    Parameters
    ----------
    generator : PatchGenerator
    noise : Tensor, shape (batch, noise_size), or None
    window : Window
    size : int
        Pixels that `PatchGenerator.coarse` ended at.

    Returns
    -------
    list of Tensor or None
        Views, no copies; None without noise.
    """
    if noise is None:
        return None
    parts = noise.split([height * width for height, width in generator.noise_shapes], dim=1)
    planes = [part.unflatten(1, shape) for part, shape in zip(parts, generator.noise_shapes, strict=True)]
    return [
        crop(planes[layer], Window.square(0, 0, planes[layer].shape[-1]), part)
        for layer, part in generator.noise_windows(window, size)
    ]


def synthesize_tiles(
    generator: PatchGenerator, w: Tensor, noise: Tensor | None = None, *, tile: int = TILE
) -> Iterator[tuple[Window, Tensor]]:
    """Images of any size in memory that a tile decides, as `BaseGenerator.synthesize` makes them, to rounding.

    Parameters
    ----------
    generator : PatchGenerator
    w : Tensor, shape (batch, latent_width) or (batch, n_styles, latent_width)
    noise : Tensor, shape (batch, noise_size), optional
    tile : int
        Width of a tile in pixels, a power of two.

    Yields
    ------
    Window
        Place of the tile.
    Tensor, shape (batch, image_channels, tile, tile)
    """
    size, coarse = _coarse(generator, w, noise, tile)
    for window in tiles(generator.config.size, tile):
        yield window, generator.refine(coarse, w, window, window_noise(generator, noise, window, size))


def _coarse(generator: PatchGenerator, w: Tensor, noise: Tensor | None, tile: int) -> tuple[int, Coarse]:
    """What all tiles start from, and its size."""
    size = min(tile, generator.config.size)
    first = None if noise is None else noise[:, : generator.coarse_noise_size(size)]
    return size, generator.coarse(w, first, size)


def synthesize_whole(generator: BaseGenerator, w: Tensor, noise: Tensor | None = None) -> Tensor:
    """As `BaseGenerator.synthesize`, by tiles where that saves memory; for use without gradients.

    On a CPU each tile is made by one thread, as many tiles at a time as `sunaug.threads.worker_count` says.

    Returns
    -------
    Tensor, shape (batch, image_channels, size, size)
        On the CPU where it was made by tiles.
    """
    config = generator.config
    if not isinstance(generator, PatchGenerator) or generator.tile is None or not in_tiles(generator):
        return generator.synthesize(w, noise)
    image = torch.empty(len(w), config.image_channels, config.size, config.size)
    size, coarse = _coarse(generator, w, noise, generator.tile)
    inference = torch.is_inference_mode_enabled()

    def fill(window: Window) -> None:
        # Both are settings of a thread.
        with torch.no_grad(), torch.inference_mode(inference):
            made = generator.refine(coarse, w, window, window_noise(generator, noise, window, size))
            image[..., window.top : window.bottom, window.left : window.right] = made

    at_a_time = worker_count() if w.device.type == "cpu" else 1
    for _ in in_order(fill, list(tiles(config.size, generator.tile)), workers=at_a_time, ahead=1):
        pass
    return image


def in_tiles(generator: BaseGenerator) -> bool:
    """Whether `synthesize_whole` makes this generator's images by tiles."""
    tile = generator.tile if isinstance(generator, PatchGenerator) else None
    return tile is not None and generator.config.size > 2 * tile
