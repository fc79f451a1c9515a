"""How the processes of a training share its work: what becomes of the batch, the networks and the optimisers.

A step gives the same with each of them, to rounding. Fabric's own FSDP and DeepSpeed want GPUs and wrap one network's
`forward`; here Fabric's DDP starts the processes, and these do the rest.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from sunaug.networks import BaseGenerator, PatchGenerator
from sunaug.networks.bands import Bands, set_bands
from sunaug.training.recipe import Recipe
from sunaug.training.sharding import shard
from sunaug.training.zero import ZeroAdam

__all__ = ["STRATEGIES", "InBands", "Sharded", "Strategy", "Zero", "make_strategy"]


class Strategy:
    """Each process holds the networks and has its share of each batch; one process alone has it all.

    Parameters
    ----------
    recipe : Recipe
    rank, processes : int
        Number of this process, and how many there are.
    """

    def __init__(self, recipe: Recipe, rank: int = 0, processes: int = 1) -> None:
        self.recipe, self.rank, self.processes = recipe, rank, processes

    @property
    def share(self) -> tuple[int, int]:
        """Number of this process's share of each batch, and how many shares there are."""
        return self.rank, self.processes

    def place(self, network: Any) -> None:
        """Spread a network that is the same on all processes and on its device, in place, before its optimiser."""

    def optimizer(self, network: nn.Module, rate: float, passes: int) -> torch.optim.Optimizer | ZeroAdam:
        """An optimiser of what is trained of a network; `passes` backward passes make one step."""
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        return torch.optim.Adam(trained, rate, self.recipe.betas, eps=1e-8)


class Sharded(Strategy):
    """Each process keeps a slice of the networks, see `sunaug.training.sharding`."""

    def place(self, network: Any) -> None:
        """Spread a network's weights."""
        if self.processes == 1 and not self.recipe.offload:
            return
        if isinstance(network, PatchGenerator):
            network.tile = None  # `synthesize` alone puts the weights together
        if isinstance(network, BaseGenerator):
            methods, inner = ["synthesize"], [network.mapping]
        else:
            methods, inner = [name for name in ("score", "encode") if hasattr(network, name)], []
        shard(network, self.processes, methods, inner, offload=self.recipe.offload)


class Zero(Strategy):
    """Each process keeps a part of the gradients and of the optimisers' state, see `sunaug.training.zero`."""

    def optimizer(self, network: nn.Module, rate: float, passes: int) -> ZeroAdam:
        """DeepSpeed's."""
        return ZeroAdam(network, rate, self.recipe.betas, passes=passes, offload=self.recipe.offload)


class InBands(Strategy):
    """Each process sees the whole batch and computes a band of rows of every image, see `sunaug.networks.bands`."""

    @property
    def bands(self) -> Bands:
        """This process's band."""
        return Bands(self.rank, self.processes)

    @property
    def share(self) -> tuple[int, int]:
        """The batch is one."""
        return 0, 1

    def place(self, network: Any) -> None:
        """Tell a network of its band."""
        if self.processes > 1:
            set_bands(network, self.bands)


STRATEGIES: dict[str, type[Strategy]] = {
    "auto": Strategy,
    "ddp": Strategy,
    "fsdp": Sharded,
    "deepspeed": Zero,
    "bands": InBands,
}


def make_strategy(name: str, recipe: Recipe, fabric: Fabric) -> Strategy:
    """The strategy of a name in `STRATEGIES`, in the processes of a fabric that was launched."""
    return STRATEGIES[name](recipe, fabric.global_rank, fabric.world_size)
