"""Adam whose state and gradients are spread over the processes of a training: ZeRO, by DeepSpeed.

Stage 2 of ZeRO (Rajbhandari et al. 2020, "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models", arXiv
1910.02054): each process holds all weights, and one part of the gradients, of Adam's moments and of the weights that
Adam moves. With offload that part lies in the main memory and Adam runs on the CPU (Ren et al. 2021, "ZeRO-Offload",
arXiv 2101.06840). Nothing changes in a forward pass, so that second derivatives and layers that are computed again
work as ever. Stage 3, which spreads the weights as well, does so by hooks on forward passes; for that there is
`sunaug.training.sharding`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sunaug.errors import UsageError

__all__ = ["BUCKET", "ZeroAdam", "backward", "check_installed"]

BUCKET = 2**24
"""Gradients that are sent in one message, and wait for it together on the device."""

_MOMENTS = ("exp_avg", "exp_avg_sq")


def check_installed() -> None:
    """Refuse to go on without DeepSpeed.

    Raises
    ------
    UsageError
    """
    if find_spec("deepspeed") is None:
        raise UsageError(
            "--strategy deepspeed: the package deepspeed is not installed; install `sunaug[deepspeed]`, or take "
            "--strategy fsdp."
        )


class ZeroAdam:
    """Adam on a network that all processes hold alike, each with its part of the state.

    It has what the trainer uses of `torch.optim.Adam`, and the same state dict, with whole tensors. Weights without a
    dimension (the strengths of the noise) are left to an ordinary Adam, since DeepSpeed cannot send them: their
    gradients are still to be averaged over the processes.

    Parameters
    ----------
    network : torch.nn.Module
        On its device; the process group must have begun. Its weights move into one flat tensor, kernels as they are
        counted and no longer channels-last.
    rate : float
    betas : tuple of float
    passes : int
        Backward passes that make one step.
    offload : bool
        Keep gradients, moments and the weights that Adam moves in the main memory.
    """

    def __init__(
        self, network: nn.Module, rate: float, betas: tuple[float, float], *, passes: int, offload: bool
    ) -> None:
        self._network, self._passes, self._passed = network, passes, 0
        self._trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._spread = {number: one for number, one in enumerate(self._trained) if one.dim()}
        self._left = [number for number, one in enumerate(self._trained) if not one.dim()]
        self._device = self._trained[0].device
        for parameter in self._spread.values():
            # As bytes, which DeepSpeed sends, kernels that are laid out channels-last cannot be seen.
            parameter.data = parameter.data.contiguous()
        # On the CPU the fused Adam of PyTorch is as fast as DeepSpeed's own, which has to be compiled first.
        fused = offload or self._device.type == "cpu"
        self._adam = torch.optim.Adam(list(self._spread.values()), rate, betas, eps=1e-8, fused=fused)
        small = {"params": [self._trained[number] for number in self._left]}
        self._small = torch.optim.Adam([small], rate, betas, eps=1e-8)
        self._engine = _engine(self._adam, self._device.type, offload=offload)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """One group, with the learning rate; its only parameter is this process's part of the weights."""
        return self._adam.param_groups

    def zero_grad(self, *, set_to_none: bool = True) -> None:
        """Forget the gradients so far."""
        self._network.zero_grad(set_to_none=set_to_none)
        self._passed = 0

    def backward(self, loss: Tensor) -> None:
        """A backward pass, which takes the gradients apart while it runs."""
        self._passed += 1
        self._engine.set_gradient_accumulation_boundary(self._passed == self._passes)
        self._engine.backward(loss, scale_wrt_gas=False)

    def step(self) -> None:
        """Move the weights, each process its part, and give them to all."""
        self._small.param_groups[0]["lr"] = self.param_groups[0]["lr"]
        self._small.step()
        self._engine.step()

    @property
    def _part(self) -> Tensor:
        """The weights that this process moves, flat."""
        part: Tensor = self.param_groups[0]["params"][0]
        return part

    def state_dict(self) -> dict[str, Any]:
        """That of `torch.optim.Adam`, with whole tensors on the CPU; all processes have to call it."""
        state = self._adam.state.get(self._part, {})
        slots: dict[int, dict[str, Tensor]] = {}
        if state:
            sizes = [one.numel() for one in self._spread.values()]
            moments = {name: self._gathered(state[name])[: sum(sizes)].split(sizes) for name in _MOMENTS}
            for place, (number, own) in enumerate(self._spread.items()):
                slots[number] = {name: moments[name][place].view(own.shape).clone() for name in _MOMENTS}
                slots[number]["step"] = state["step"].cpu().clone()
        left = self._small.state_dict()
        slots |= {self._left[place]: slot for place, slot in left["state"].items()}
        group = left["param_groups"][0] | {"params": list(range(len(self._trained)))}
        return {"state": dict(sorted(slots.items())), "param_groups": [group]}

    def _gathered(self, part: Tensor) -> Tensor:
        """The parts of all processes in a row, on the CPU."""
        sent = part.to(self._device)
        parts = [torch.empty_like(sent) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, sent)
        return torch.cat([one.cpu() for one in parts])

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what any Adam's `state_dict` gave, after the network took back its weights."""
        # DeepSpeed moves a copy of the weights, which still is that from before.
        self._engine.optimizer.refresh_fp32_params()
        slots, part = state["state"], self._part
        small = self._small.state_dict()
        small["state"] = {place: slots[number] for place, number in enumerate(self._left) if number in slots}
        self._small.load_state_dict(small)
        self._adam.state.clear()
        counts = [float(slots[number]["step"]) for number in self._spread if number in slots]
        if not counts:
            return
        on = part.device if self._adam.defaults["fused"] else "cpu"
        self._adam.state[part] = {"step": torch.tensor(max(counts), device=on)}
        for name in _MOMENTS:
            # A weight that no loss depended on so far has no moments.
            whole = [
                slots[number][name].flatten() if number in slots else torch.zeros(own.numel())
                for number, own in self._spread.items()
            ]
            self._adam.state[part][name] = self._mine(torch.cat(whole)).to(part.device)

    def _mine(self, flat: Tensor) -> Tensor:
        """This process's part of a flat tensor; the last one is filled up with zeros."""
        size = self._part.numel()
        padded = flat.new_zeros(size * dist.get_world_size())
        padded[: len(flat)] = flat
        return padded[dist.get_rank() * size :][:size].clone()


def _engine(adam: torch.optim.Adam, device: str, *, offload: bool) -> Any:
    """DeepSpeed's engine round an optimiser."""
    # DeepSpeed looks for GPUs while it is imported, and takes them where a training is to be on the CPU.
    os.environ.setdefault("DS_ACCELERATOR", device)
    import deepspeed

    weights = nn.ParameterList(adam.param_groups[0]["params"])
    settings = {
        "train_micro_batch_size_per_gpu": 1,
        # Without this it clips: a norm of 1 is its default.
        "gradient_clipping": 0.0,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": {
            "stage": 2,
            "reduce_bucket_size": min(BUCKET, sum(one.numel() for one in weights)),
            "overlap_comm": False,
            "offload_optimizer": {"device": "cpu", "pin_memory": device != "cpu"} if offload else None,
        },
    }
    engine, *_ = deepspeed.initialize(model=weights, optimizer=adam, config=settings)
    return engine


def backward(loss: Tensor, optimizer: torch.optim.Optimizer | ZeroAdam) -> None:
    """Add the gradients of a loss to those of the network that an optimiser moves."""
    if isinstance(optimizer, ZeroAdam):
        optimizer.backward(loss)
    else:
        loss.backward()
