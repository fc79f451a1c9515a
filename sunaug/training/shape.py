"""The shape of the networks that a recipe asks for."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from sunaug.errors import UsageError
from sunaug.field_errors import field_error
from sunaug.networks import ARCHITECTURES, NetworkConfig
from sunaug.training.channels import group_numbers
from sunaug.training.recipe import Recipe

__all__ = ["network_config"]


def network_config(recipe: Recipe, size: int, image_channels: int, channels: Sequence[str] = ()) -> NetworkConfig:
    """The shape of the networks that a recipe asks for.

    Parameters
    ----------
    recipe : Recipe
    size, image_channels : int
        Of the images.
    channels : sequence of str, optional
        Their names, where the recipe has groups of channels by name.

    Raises
    ------
    UsageError
        If the architecture has none for it, or a group names no channel.
    """
    kind = ARCHITECTURES[recipe.architecture].config
    shape = recipe.model_dump(include=set(kind.model_fields) & set(Recipe.model_fields))
    if "channel_groups" in shape:
        shape["channel_groups"] = group_numbers(recipe.channel_groups, channels)
    try:
        return kind(size=size, image_channels=image_channels, **shape)
    except ValidationError as error:
        raise UsageError(f"recipe: {field_error(error)}.") from error
