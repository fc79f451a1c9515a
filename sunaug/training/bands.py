"""Which recipes can be trained with images in bands over the processes, see `sunaug.networks.bands`."""

from __future__ import annotations

from sunaug.errors import UsageError
from sunaug.training.recipe import Recipe

__all__ = ["check_bands"]

_FEWEST_ROWS = 8
"""Of a band where the layers end: two at the junction."""


def check_bands(recipe: Recipe, size: int, processes: int) -> None:
    """Refuse a recipe that cannot be trained in bands.

    Parameters
    ----------
    recipe : Recipe
    size : int
        Pixels of the frames.
    processes : int
        Bands.

    Raises
    ------
    UsageError
        If the recipe asks for what cannot be combined with bands, or the frames cannot be split into as many.
    """
    refused = {
        f"`architecture: {recipe.architecture}`": recipe.architecture != "stylegan2",
        f"`discriminator: {recipe.discriminator}`": recipe.discriminator != "pixel",
        "`patch`": recipe.patch is not None,
        "`compile`": recipe.compile,
        "`orthogonal_weight`": recipe.orthogonal_weight > 0,
    }
    if found := [name for name, asked in refused.items() if asked]:
        raise UsageError(
            f"bands cannot be combined with {', '.join(found)}: leave {'it' if len(found) == 1 else 'them'} out, or "
            "use ddp with `accumulate` and `checkpoint_from`."
        )
    most = size // recipe.unshuffle // _FEWEST_ROWS
    if processes & (processes - 1) or processes > most:
        raise UsageError(
            f"bands: {processes} processes cannot share frames of {size} pixels; give a power of two up to {most} as "
            "--devices."
        )
