"""Training on patches of large images: what a step takes is decided by the patch, whatever the size of the image.

One generator makes the whole image at the patch's resolution, and from the same layers a patch at full resolution, as
AnyRes-GAN does at continuous scales (Chai et al. 2022, "Any-resolution Training for High-resolution Image Synthesis",
arXiv 2204.07156, section 3). The discriminator is shown both as one *view*: the channels of the patch, two planes with
the places of its pixels, and the channels of the whole image at low resolution. All samples of a step have their patch
at the same place, so that a batch can be split as any other.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sunaug.networks import NetworkConfig, PatchGenerator, make_discriminator
from sunaug.networks.windows import Window
from sunaug.training.diffaugment import mirror

__all__ = ["PatchDiscriminator", "fake_view", "patch_window", "real_views"]

_PLACES = 2
_PLACE_STREAM = 1
"""Set apart from the step's other numbers, which are a function of the same three."""


def patch_window(seed: int, attempt: int, step: int, *, size: int, patch: int, pixel: int = 1) -> Window:
    """Where the patch of a step lies: anywhere within the image, in steps of `pixel` pixels.

    Parameters
    ----------
    seed, attempt, step : int
        What the place is a function of, see `sunaug.training.draws`.
    size, patch : int
        Pixels of the image and of the patch.
    pixel : int
        See `sunaug.networks.patches.PatchGenerator.pixel`.
    """
    random = np.random.default_rng((seed, attempt, step, _PLACE_STREAM))
    top, left = (pixel * int(random.integers((size - patch) // pixel, endpoint=True)) for _ in range(2))
    return Window.square(top, left, patch)


def _view(patch: Tensor, whole: Tensor, window: Window, size: int) -> Tensor:
    """Patch, places and whole image as channels; places go from -1 to 1 over the image."""
    rows, columns = (
        (torch.arange(start, stop, device=patch.device, dtype=patch.dtype) + 0.5) * (2 / size) - 1
        for start, stop in ((window.top, window.bottom), (window.left, window.right))
    )
    places = torch.stack(torch.meshgrid(rows, columns, indexing="ij")).expand(len(patch), -1, -1, -1)
    return torch.cat([patch, places, whole], dim=1)


def real_views(bank: Tensor, frames: Tensor, mirrored: Tensor | None, window: Window, device: torch.device) -> Tensor:
    """Views of real frames, one frame after the other, so that only one is whole in memory.

    Parameters
    ----------
    bank : Tensor, shape (n, channel, y, x)
    frames : Tensor of int64, shape (batch,)
        Which of them.
    mirrored : Tensor of bool, shape (batch, 2), optional
        As for `sunaug.training.diffaugment.mirror`.
    window : Window
    device : torch.device
        Where the views are wanted.

    Returns
    -------
    Tensor, shape (batch, 2 channel + 2, window.height, window.width)
        The low resolution is the mean over squares of pixels.
    """
    views = []
    for row in range(len(frames)):
        image = bank[frames[row : row + 1].to(bank.device)].to(device)
        if mirrored is not None:
            image = mirror(image, mirrored[row : row + 1])
        patch = image[..., window.top : window.bottom, window.left : window.right]
        size = image.shape[-1]
        views.append(_view(patch, F.avg_pool2d(image, size // window.height), window, size))
    return torch.cat(views)


def fake_view(
    generator: PatchGenerator, w: Tensor, window: Window, normal: Callable[[int], Tensor] | None = None
) -> Tensor:
    """View of generated images.

    Parameters
    ----------
    generator : PatchGenerator
    w : Tensor, shape (batch, latent_width) or (batch, n_styles, latent_width)
    window : Window
        Square.
    normal : callable, optional
        Gives standard normal numbers (batch, size) for a size; None leaves the noise out. A patch takes numbers of its
        own, and not a cut from a whole image's, of which it would use few.

    Returns
    -------
    Tensor, shape (batch, 2 image_channels + 2, window.height, window.width)
    """
    size = window.height
    first, planes = None, None
    if normal is not None:
        shapes = [(one.window.height, one.window.width) for one in generator.noise_windows(window, size)]
        lengths = [generator.coarse_noise_size(size), *(height * width for height, width in shapes)]
        first, *flat = normal(sum(lengths)).split(lengths, dim=1)
        planes = [one.unflatten(1, shape) for one, shape in zip(flat, shapes, strict=True)]
    coarse = generator.coarse(w, first, size)
    patch = generator.refine(coarse, w, window, planes)
    return _view(patch, generator.image(coarse), window, generator.config.size)


class PatchDiscriminator(nn.Module):
    """Two discriminators of the architecture, one for the patch and its place and one for the whole image.

    Parameters
    ----------
    config : NetworkConfig
        Of the whole image.
    patch : int
        Width of the patch, and of the whole image at low resolution.
    """

    def __init__(self, config: NetworkConfig, patch: int) -> None:
        super().__init__()
        self.config, channels = config, config.image_channels
        self.near = make_discriminator(config.model_copy(update={"size": patch, "image_channels": channels + _PLACES}))
        self.whole = make_discriminator(config.model_copy(update={"size": patch}))

    @property
    def checkpoint_from(self) -> int | None:
        """As of the discriminators."""
        found: int | None = self.whole.checkpoint_from
        return found

    @checkpoint_from.setter
    def checkpoint_from(self, resolution: int | None) -> None:
        self.near.checkpoint_from = self.whole.checkpoint_from = resolution

    def project(self, views: Tensor) -> Tensor:
        """What `score` judges: the views themselves."""
        return views

    def score(self, views: Tensor, condition: Tensor | None, condition_weight: float = 1.0) -> Tensor:
        """Scores (batch, 2) of views (batch, 2 image_channels + 2, patch, patch): of the patch and of the whole."""
        channels = self.config.image_channels
        parts = views.split([channels + _PLACES, channels], dim=1)
        return torch.stack(
            [
                network.score(part, condition, condition_weight)
                for network, part in zip((self.near, self.whole), parts, strict=True)
            ],
            dim=1,
        )

    def forward(self, views: Tensor, condition: Tensor | None, condition_weight: float = 1.0) -> Tensor:
        """As `score`."""
        return self.score(views, condition, condition_weight)
