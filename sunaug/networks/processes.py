"""What networks and losses need from the other processes of a training."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_reduce

__all__ = ["mean_over_processes"]


def mean_over_processes(values: Tensor) -> Tensor:
    """Mean of a tensor over all processes of the training, differentiable; all of them have to call it.

    With one process, and where none has been started, the tensor itself.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return values
    total: Tensor = all_reduce(values)
    return total / dist.get_world_size()
