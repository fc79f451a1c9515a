"""Progressive growing (Karras et al. 2018, section 2), as StyleALAE is trained: which stage a training is at.

A stage is a function of the images shown so far and of nothing else, so that a training which was stopped goes on at
the stage where it was.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from sunaug.errors import UsageError
from sunaug.networks.growing import Growing, Stage
from sunaug.training.recipe import Recipe

__all__ = ["Growth", "stage_at"]


def stage_at(images: int, size: int, recipe: Recipe) -> Stage:
    """The stage of a training.

    Parameters
    ----------
    images : int
        Shown so far.
    size : int
        Of the whole image.
    recipe : Recipe
        Of it `growth_images`, `growth_from` and `growth_fade`.

    Returns
    -------
    Stage
        The first resolution comes without a fade. The last one stays to the end of the training.
    """
    if not recipe.growth_images:
        return Stage(size)
    number, shown = divmod(images, recipe.growth_images)
    resolution = min(recipe.growth_from * 2**number, 2 * size)
    if resolution > size or number == 0:
        return Stage(min(resolution, size))
    faded = recipe.growth_fade * recipe.growth_images
    return Stage(resolution, min(shown / faded, 1.0) if faded else 1.0)


class Growth:
    """Keeps all networks of a training at its stage.

    Parameters
    ----------
    recipe : Recipe
    size : int
        Of the whole image.
    start : int, optional
        Size of the generator that the training starts from.

    Raises
    ------
    UsageError
        If the recipe begins to grow at another size than that.
    """

    def __init__(self, recipe: Recipe, size: int, start: int | None = None) -> None:
        self.recipe, self.size = recipe, size
        first = stage_at(0, size, recipe).resolution
        if start not in (None, first):
            raise UsageError(
                f"start: {recipe.start} has {start} pixels and the networks begin at {first}; set `growth_images`, and "
                f"`growth_from: {start}`, in the recipe."
            )

    def apply(self, networks: Iterable[nn.Module], images: int) -> Stage:
        """Put every growing network among these, or within them, at the stage after so many images; returns it."""
        stage = stage_at(images, self.size, self.recipe)
        for network in networks:
            for part in network.modules():
                if isinstance(part, Growing):
                    part.stage = stage
        return stage
