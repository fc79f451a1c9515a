"""The discriminators on pixels of a training, and what each of them is shown of an image.

Discriminators at full, half and quarter resolution judge an image at as many scales: the coarse ones see the whole Sun,
and the finest one is left with the detail (Wang et al. 2018, "High-Resolution Image Synthesis and Semantic Manipulation
with Conditional GANs", arXiv 1711.11585, section 3.2; the generator's loss is the sum over them, equation 3).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sunaug.networks import NetworkConfig, make_discriminator
from sunaug.training.patches import PatchDiscriminator
from sunaug.training.recipe import Recipe

__all__ = ["SMALLEST_VIEW", "ViewDiscriminator", "penalty_share", "pixel_discriminators"]

SMALLEST_VIEW = 8
"""Pixels that the smallest view has at least."""

_NAMES = ("pixel", "pixel_half", "pixel_quarter")


class ViewDiscriminator(nn.Module):
    """An architecture's discriminator on the image at a lower resolution, or on images that lack channels.

    Parameters
    ----------
    config : NetworkConfig
        Of the whole image.
    halvings : int
        Times that the image is averaged to half its resolution first.
    partial : bool
        Images lack channels: the network is shown one more plane for each channel, 1 where it is there, else 0.
    """

    def __init__(self, config: NetworkConfig, *, halvings: int = 0, partial: bool = False) -> None:
        super().__init__()
        self.factor = 2**halvings
        channels = config.image_channels * (2 if partial else 1)
        shape = {"size": config.size // self.factor, "image_channels": channels}
        self.network = make_discriminator(config.model_copy(update=shape))

    @property
    def checkpoint_from(self) -> int | None:
        """Resolution from which on activations are computed again, as the network's own."""
        resolution: int | None = self.network.checkpoint_from
        return resolution

    @checkpoint_from.setter
    def checkpoint_from(self, resolution: int | None) -> None:
        self.network.checkpoint_from = resolution

    def project(self, images: Tensor) -> Tensor:
        """The view: means over squares of the image."""
        return F.avg_pool2d(images, self.factor)

    def score(
        self, view: Tensor, condition: Tensor | None, condition_weight: float = 1.0, shown: Tensor | None = None
    ) -> Tensor:
        """Scores of what `project` gives, as the network's own `score`.

        Parameters
        ----------
        view : Tensor, shape (batch, image_channels, size / factor, size / factor)
        condition : Tensor, shape (batch, condition_width), or None
        condition_weight : float
        shown : Tensor of bool, shape (batch, image_channels), optional
            Channels that are there, for a discriminator of partial images.
        """
        if shown is not None:
            planes = shown.to(view)[:, :, None, None].expand_as(view)
            view = torch.cat([view, planes], dim=1)
        scores: Tensor = self.network.score(view, condition, condition_weight)
        return scores


def pixel_discriminators(config: NetworkConfig, recipe: Recipe) -> dict[str, Any]:
    """The discriminators on pixels that a recipe asks for, by name, with random weights.

    ``pixel`` sees the whole image, or patches of it; ``pixel_half`` and ``pixel_quarter`` see it at these resolutions.
    """
    if recipe.patch is not None:
        return {_NAMES[0]: PatchDiscriminator(config, recipe.patch)}
    if recipe.discriminator_scales == 1 and not recipe.partial:
        return {_NAMES[0]: make_discriminator(config)}
    return {
        name: ViewDiscriminator(config, halvings=halvings, partial=recipe.partial)
        for halvings, name in enumerate(_NAMES[: recipe.discriminator_scales])
    }


def penalty_share(network: nn.Module) -> float:
    """Weight of a discriminator's gradient penalty among those of all scales.

    The penalty is on the gradient with respect to the view. Each pixel of the image has 1 / factor^2 of the gradient of
    the pixel that it is averaged into: with this weight, the penalty is that on the gradient by the image itself.
    """
    return 1 / network.factor**2 if isinstance(network, ViewDiscriminator) else 1.0
