"""Networks whose weights, gradients and optimiser state are spread over the processes of a training (FSDP).

Each process keeps a slice of every weight, and the whole only while a forward or a backward pass needs it (Zhao et al.
2023, "PyTorch FSDP", arXiv 2304.11277; here its second version, `torch.distributed.fsdp.fully_shard`). It gives the
steps of one process to rounding, second derivatives included. It saves the part of a process's memory that does not
grow with the image: at StyleGAN2's full width about one gigabyte, where the activations of 1024 pixels take tens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map

__all__ = ["gathered", "load_gathered", "shard", "whole"]


def shard(
    network: nn.Module,
    processes: int,
    methods: Sequence[str] = (),
    inner: Sequence[nn.Module] = (),
    *,
    offload: bool = False,
) -> None:
    """Spread a network over all processes, in place; make its optimiser afterwards.

    The gradients of what is spread are averaged over the processes by the backward pass. Weights without a dimension
    (the strengths of the noise) are left whole: FSDP has no slice for them, and their gradients are still to be
    averaged.

    Parameters
    ----------
    network : torch.nn.Module
        The same on all processes, on its device.
    processes : int
        All processes of the training, which must have begun.
    methods : sequence of str
        Methods that are called beside `forward` and use its weights, like ``score``.
    inner : sequence of torch.nn.Module
        Parts of the network that are also called by themselves, like the mapping network.
    offload : bool
        Keep the slices, their gradients and with them the optimiser's state in the main memory.
    """
    device = next(network.parameters()).device
    mesh = init_device_mesh(device.type, (processes,))
    for parameter in network.parameters():
        # FSDP slices the first dimension and refuses kernels that are laid out channels-last.
        parameter.data = parameter.data.contiguous()
    scalars = {parameter for parameter in network.parameters() if parameter.dim() == 0}
    # Pages are pinned for the way to a device; where there is none, that is refused.
    policy = CPUOffloadPolicy(pin_memory=device.type != "cpu") if offload else OffloadPolicy()
    for part in inner:
        fully_shard(part, mesh=mesh, reshard_after_forward=True, offload_policy=policy)
    fully_shard(network, mesh=mesh, reshard_after_forward=True, ignored_params=scalars, offload_policy=policy)
    for method in methods:
        register_fsdp_forward_method(network, method)


def whole(tensor: Tensor) -> Tensor:
    """A spread tensor put together on the device of every process (all have to call it); any other one as it is."""
    if not isinstance(tensor, DTensor):
        return tensor
    # What lies in the main memory is sent from device to device all the same.
    return cast(DTensor, tensor.to(tensor.device_mesh.device_type)).full_tensor()


def gathered(state: Any) -> Any:
    """A state dict with all its tensors whole: what a checkpoint holds, whatever number of processes wrote it.

    One after the other they go to the CPU: all at once may be more than a device holds.

    All processes have to call it.
    """
    return tree_map(lambda one: whole(one).cpu() if isinstance(one, DTensor) else one, state)


def load_gathered(part: Any, state: Mapping[str, Any]) -> None:
    """Load a state dict with whole tensors into a network or an optimiser, each process its own slices.

    Parameters
    ----------
    part : torch.nn.Module or torch.optim.Optimizer
        Spread or not; anything else with `load_state_dict` gets the state as it is.
    state : mapping
    """
    if isinstance(part, nn.Module):
        own = part.state_dict()
        part.load_state_dict({name: _like(own[name], value) for name, value in state.items()})
    elif isinstance(part, torch.optim.Optimizer):
        owners = [one for group in part.param_groups for one in group["params"]]
        slots = {
            index: {name: _like(owners[index], value) for name, value in slot.items()}
            for index, slot in state["state"].items()
        }
        part.load_state_dict({**state, "state": slots})
    else:
        part.load_state_dict(state)


def _like(own: Any, value: Any) -> Any:
    """`value` spread as `own` is, where both have the same shape (the optimisers' step counts have none)."""
    if isinstance(own, DTensor) and isinstance(value, Tensor) and value.shape == own.shape:
        mesh = own.device_mesh
        return distribute_tensor(value.to(mesh.device_type), mesh, own.placements).to(own.device)
    return value
