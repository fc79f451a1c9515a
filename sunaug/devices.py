"""Devices that torch can compute on."""

from __future__ import annotations

import torch

from sunaug.errors import UsageError

__all__ = ["torch_device"]


def torch_device(name: str | torch.device) -> torch.device:
    """A device that works on this machine.

    Parameters
    ----------
    name : str or torch.device
        As torch names it: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise UsageError(f"device {name}: torch cannot use it here ({reason}); choose cpu or another.") from None
    return device
