"""Steps of small trainings, one after the other, by one process or several (``python -m torch.distributed.run``).

Arguments: a JSON file of trainings by name, each with its ``strategy``, its ``recipe`` (fields that differ from the
tests' own), its ``steps``, and optionally ``before``, the name of a training of the others to go on from; a file for
what comes out of them; and the file of the others, where there are any.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.distributed.tensor import DTensor

from sunaug.training.recipe import Recipe
from sunaug.training.shape import network_config
from sunaug.training.strategies import make_strategy
from sunaug.training.trainer import Trainer
from sunaug.training.zero import ZeroAdam
from tests.models import RECIPE, SIZE, make_frames


def _bytes(tensors: list[Any]) -> int:
    own = [one.to_local() if isinstance(one, DTensor) else one for one in tensors]
    return sum(one.numel() * one.element_size() for one in own if isinstance(one, Tensor))


def _adams(optimizer: Any) -> list[torch.optim.Optimizer]:
    return [optimizer._adam, optimizer._small] if isinstance(optimizer, ZeroAdam) else [optimizer]


def _copies(optimizer: Any) -> list[Any]:
    """What ZeRO holds beside weights and moments, the gradients left out: the weights that it moves, and buffers."""
    if not isinstance(optimizer, ZeroAdam):
        return []
    zero = optimizer._engine.optimizer
    buffers = getattr(zero, "param_buffer_of_bit16_for_cpu_offload_groups", [])
    return [optimizer._part, *buffers, *getattr(zero, "accumulated_grads_in_cpu", {}).values()]


def held(trainer: Trainer) -> dict[str, int]:
    """Bytes that this process holds between two steps."""
    networks = [trainer.generator, *(critic.network for critic in trainer.critics.values())]
    optimizers = [trainer.optimizer, *(critic.optimizer for critic in trainer.critics.values())]
    slots = [slot for one in optimizers for adam in _adams(one) for slot in adam.state.values()]
    return {
        "weights": _bytes([parameter.detach() for network in networks for parameter in network.parameters()]),
        "moments": _bytes([slot[name] for slot in slots for name in ("exp_avg", "exp_avg_sq")]),
        "copies": _bytes([copy for one in optimizers for copy in _copies(one)]),
    }


def main(trainings: Path, out: Path, others: Path | None) -> None:
    """Make the steps; the first process writes."""
    fabric = Fabric(accelerator="cpu", strategy="ddp", devices=int(os.environ["WORLD_SIZE"]))
    fabric.launch()
    before = torch.load(others, weights_only=True) if others else {}
    found = {}
    for name, asked in json.loads(trainings.read_text()).items():
        recipe = Recipe(**{**RECIPE, **asked["recipe"]})
        frames = make_frames(labels=len(recipe.labels))
        config = network_config(recipe, SIZE, frames.images.shape[1])
        strategy = make_strategy(asked["strategy"], recipe, fabric)
        trainer = Trainer(frames, config, recipe, fabric, strategy=strategy)
        if "before" in asked:
            trainer.load_state_dict(before[asked["before"]]["state"])
        figures = [trainer.step() for _ in range(asked["steps"])]
        found[name] = {"figures": figures, "state": trainer.state_dict(), "held": held(trainer)}
    if fabric.is_global_zero:
        torch.save(found, out)
    fabric.barrier()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
