"""What spreads the networks of a training over its processes: which recipes it can have, and what memory it saves.

``fsdp`` (`sunaug.training.sharding`) leaves each process a slice of the weights, of their gradients and of Adam's
moments; ``deepspeed`` (`sunaug.training.zero`) all weights, and a part of the rest. With the recipe's `offload` what is
spread lies in the main memory. Neither touches the activations, which grow with the image.
"""

from __future__ import annotations

from typing import NamedTuple

from sunaug.errors import UsageError
from sunaug.training.estimate import Estimate
from sunaug.training.recipe import Recipe
from sunaug.training.zero import BUCKET, check_installed

__all__ = ["SPREADING", "Memory", "check_spread", "memory_of", "ways"]

SPREADING = ("fsdp", "deepspeed")
"""Strategies that spread the networks."""

_FLOAT = 4


class Memory(NamedTuple):
    """Bytes that each process takes on its device, and in the main memory beside it."""

    device: int
    host: int


def check_spread(strategy: str, recipe: Recipe) -> None:
    """Refuse a recipe that the strategy cannot train.

    Raises
    ------
    UsageError
    """
    if strategy not in SPREADING:
        if recipe.offload:
            raise UsageError("offload: only what is spread can be; add --strategy deepspeed or --strategy fsdp.")
        return
    if reason := _refusal(strategy, recipe):
        raise UsageError(reason)
    if strategy == "deepspeed":
        check_installed()


def _refusal(strategy: str, recipe: Recipe) -> str | None:
    """Why a recipe cannot be spread so; None where it can."""
    if recipe.compile:
        return f"{strategy} cannot be combined with `compile`: leave it out, or use ddp."
    if strategy == "fsdp" and recipe.patch is not None:
        return "fsdp cannot be combined with `patch`: use deepspeed, or ddp, which splits the batch."
    if strategy == "fsdp" and recipe.checkpoint_from is not None and recipe.path_length_weight:
        return (
            "fsdp cannot be combined with `checkpoint_from` and `path_length_weight` at once: leave one of them out, "
            "or use deepspeed."
        )
    if strategy == "deepspeed" and recipe.architecture == "stylealae":
        return "deepspeed cannot train stylealae, whose third step moves a part of the networks alone: use fsdp or ddp."
    return None


def ways(recipe: Recipe, processes: int) -> list[tuple[str, bool]]:
    """The strategies that a recipe can be trained with, each with and without offload.

    Parameters
    ----------
    recipe : Recipe
        Its own `offload` does not count.
    processes : int
        One alone has nothing to spread, but can offload.

    Returns
    -------
    list of tuple of str and bool
        Strategy, offload.
    """
    spreading = [one for one in SPREADING if _refusal(one, recipe) is None]
    alone = processes == 1
    return [("auto" if alone else "ddp", False)] + [
        (one, offload) for offload in (False, True) if offload or not alone for one in spreading
    ]


def memory_of(cost: Estimate, recipe: Recipe, strategy: str, processes: int, *, offload: bool) -> Memory:
    """What each process takes with a strategy.

    Parameters
    ----------
    cost : Estimate
        Of a process that holds all networks, from `estimate` with as many `devices`.
    recipe : Recipe
    strategy : str
        One of `sunaug.training.strategies.STRATEGIES`.
    processes : int
    offload : bool
        In place of the recipe's.

    Returns
    -------
    Memory
        With fsdp the largest network counts whole, with its gradients: so it is while a pass goes through it. With
        deepspeed one message of gradients.
    """
    if strategy not in SPREADING:
        return Memory(cost.total, 0)
    trained = cost.gradients  # as many bytes as the weights that they move
    part = -(-trained // processes)
    kept = cost.total - trained - cost.gradients - cost.moments
    if strategy == "fsdp":
        passing, own = 2 * _largest(cost), 4 * part
    else:
        passing, own = trained + min(BUCKET * _FLOAT, _largest(cost)), 4 * part
        if offload:
            # The weights on their way back, and the sum over the parts of a batch, which on the device is in the whole.
            own += part * (1 + (recipe.accumulate > 1))
    return Memory(kept + passing, own) if offload else Memory(kept + passing + own, 0)


def _largest(cost: Estimate) -> int:
    """Bytes of the weights of the largest network that is trained."""
    return _FLOAT * max(
        sum(row.parameters for row in rows if not row.name.startswith("frozen")) for rows in cost.layers.values()
    )
