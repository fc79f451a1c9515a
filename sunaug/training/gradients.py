"""Gradients of a step that the processes of a training share."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

from sunaug.networks.bands import parameters_in_bands

__all__ = ["average_gradients"]


def average_gradients(network: nn.Module, processes: int) -> None:
    """Give each process the gradients of all, in one message: the same bits everywhere, so that weights cannot drift.

    They are averaged over the processes, and summed where each process has computed a band of the images
    (`sunaug.networks.bands`). What is spread (`sunaug.training.sharding`) was averaged by the backward pass.

    Parameters
    ----------
    network : torch.nn.Module
    processes : int
        All processes of the training; with one, nothing is done.
    """
    if processes == 1:
        return
    summed = parameters_in_bands(network)
    shares, gradients = [], []
    for parameter in network.parameters():
        if parameter.grad is not None and not isinstance(parameter.grad, DTensor):
            gradients.append(parameter.grad)
            shares.append(1 if parameter in summed else processes)
    if not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    for gradient, share, total in zip(gradients, shares, flat.split([one.numel() for one in gradients]), strict=True):
        gradient.copy_((total / share).view_as(gradient))
