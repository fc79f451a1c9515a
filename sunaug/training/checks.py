"""What a training refuses before it begins: cubes, strategies and runs that a recipe does not go with."""

from __future__ import annotations

from typing import Any

import xarray as xr

from sunaug.errors import UsageError
from sunaug.lexicon import channel
from sunaug.networks.stylegan2 import SMALLEST_TOP
from sunaug.training.bands import check_bands
from sunaug.training.recipe import Recipe
from sunaug.training.spread import check_spread
from sunaug.training.strategies import STRATEGIES

__all__ = ["check_cube", "check_resumed", "check_strategy"]


def _check_parts(size: int, recipe: Recipe) -> None:
    """Refuse patches, shuffled pixels and scales that do not fit frames of `size` pixels."""
    smallest = SMALLEST_TOP * recipe.unshuffle
    if recipe.unshuffle & (recipe.unshuffle - 1) or size < smallest:
        raise UsageError(
            f"unshuffle: {recipe.unshuffle} is no power of two that leaves {SMALLEST_TOP} of a frame's {size} pixels."
        )
    if recipe.patch is not None and (recipe.patch & (recipe.patch - 1) or not smallest <= recipe.patch < size):
        raise UsageError(
            f"patch: {recipe.patch} is no power of two from {smallest} to {size // 2}, as frames of {size} pixels ask "
            "for; change it, or leave it out."
        )
    halvings = recipe.discriminator_scales - 1
    if size >> halvings < smallest:
        raise UsageError(
            f"discriminator_scales: {halvings + 1} of them ask for frames of {smallest << halvings} pixels or more, "
            f"these have {size}; lower it."
        )


def check_cube(cube: xr.Dataset, recipe: Recipe) -> None:
    """Refuse a cube that a recipe cannot be trained on.

    Raises
    ------
    UsageError
        If its frames are not of a power-of-two size, or too small for the recipe's patches or discriminators, or a
        magnetogram would be mirrored.
    """
    size = cube.sizes["y"]
    if size & (size - 1) or size < 8:
        raise UsageError(f"frames of {size} pixels cannot be trained on: ingest them with a power-of-two --size.")
    _check_parts(size, recipe)
    if recipe.mirror and any(channel(str(name)).signed for name in cube["channel"].values):
        raise UsageError("magnetograms must not be mirrored: set `mirror: false` in the recipe.")
    if any(channel(str(name)).signed for name in cube["channel"].values) and "flip" in recipe.augment:
        raise UsageError("magnetograms must not be mirrored: take flip out of the recipe's `augment`.")


def check_strategy(strategy: str, recipe: Recipe, size: int, devices: int) -> None:
    """Refuse a strategy that a recipe cannot be trained with on frames of `size` pixels.

    Raises
    ------
    UsageError
        If there is none of that name, or it cannot do what the recipe asks for.
    """
    if strategy not in STRATEGIES:
        raise UsageError(f"--strategy {strategy}: choose {', '.join(STRATEGIES)}.")
    check_spread(strategy, recipe)
    if strategy == "bands":
        check_bands(recipe, size, devices)


def check_resumed(recipe: Recipe, saved: dict[str, Any]) -> None:
    """Refuse to resume a checkpoint under another recipe; its length may change, and how often the run is looked at."""
    free = {"images", "checkpoint_images", "keep_checkpoints", "sample_images", "evaluate_images", "offload"}
    now = recipe.model_dump(mode="json", exclude=free)
    # An earlier sunaug did not know some fields: their defaults are what it did.
    before = Recipe.model_validate({}).model_dump(mode="json") | saved["recipe"]
    changed = [name for name in now if now[name] != before[name]]
    if changed:
        raise UsageError(
            f"the run was started with another recipe ({', '.join(changed)} differ); resume with the same one, or "
            "give another --out."
        )
    if recipe.start and "seen" not in saved:
        raise UsageError(
            "the run was started by an earlier sunaug, which did not keep what the bundle it starts from was trained "
            "on; start it again with another --out."
        )
