"""Steps of small trainings with images in bands, run by several processes (``python -m torch.distributed.run``).

Arguments: a file for what is found, and the names of `CASES` to run.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from lightning_fabric import Fabric

from sunaug.networks import Discriminator, Generator, StyleGAN2Config
from sunaug.networks.bands import Bands, set_bands
from sunaug.training.estimate import StepCounter
from sunaug.training.frames import TrainingFrames
from sunaug.training.gradients import average_gradients
from sunaug.training.losses import gradient_penalty, path_lengths
from sunaug.training.recipe import Recipe
from sunaug.training.shape import network_config
from sunaug.training.strategies import make_strategy
from sunaug.training.trainer import Trainer
from tests.models import RECIPE, make_frames

CHANNELS = ["aia171", "aia131"]
CASES: dict[str, dict[str, Any]] = {
    "all": {
        "loss": "relativistic_average",
        "r2": True,
        "penalty_interval": 1,
        "path_length_weight": 2.0,
        "path_length_interval": 1,
        "style_mixing": 0.9,
        "ada": True,
        "ada_target": 0.0,
        "ada_span": 100,
    },
    "parts": {"accumulate": 2, "penalty_interval": 1, "checkpoint_from": 16},
    "shuffled": {"unshuffle": 2, "penalty_interval": 1},
    "groups": {"channel_groups": [["aia131"], ["aia171"]], "penalty_interval": 1},
    "views": {"discriminator_scales": 2, "channel_dropout": 0.3, "penalty_interval": 1},
    "half": {"precision": "bf16-mixed"},
}


def train(case: str, processes: int = 1) -> dict[str, Any]:
    """Three steps: figures of each, gradients of the first, weights and peak at the end."""
    recipe = Recipe(**{**RECIPE, **CASES[case]})
    fabric = Fabric(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        precision=recipe.precision,
    )
    fabric.launch()
    small = make_frames(channels=len(CHANNELS), labels=len(recipe.labels))
    images = F.interpolate(small.images, scale_factor=2, mode="bilinear")
    frames = TrainingFrames(images, small.fluxes, small.weights, [])
    config = network_config(recipe, images.shape[-1], len(CHANNELS), CHANNELS)
    trainer = Trainer(frames, config, recipe, fabric, strategy=make_strategy("bands", recipe, fabric))
    networks = {"generator": trainer.generator} | {name: one.network for name, one in trainer.critics.items()}
    figures, gradients = [], {}
    for step in range(3):
        for network in networks.values():
            network.zero_grad(set_to_none=True)  # what is alive before a step is not counted as its own
        with StepCounter() as counter:
            figures.append(trainer.step())
        if step == 0:
            gradients = {
                f"{name}.{key}": parameter.grad.clone()
                for name, network in networks.items()
                for key, parameter in network.named_parameters()
                if parameter.grad is not None
            }
    return {
        "figures": figures,
        "gradients": gradients,
        "probability": trainer.probability,
        "state": trainer.state_dict(),
        "peak": counter.peak,
    }


def second_derivatives(bands: Bands) -> dict[str, float]:
    """Gradients of R1 and of the path length in double precision: the largest error of those made in bands."""
    shape = {"base_width": 64, "max_width": 8, "z_dim": 8, "w_dim": 8, "mapping_layers": 2}
    config = StyleGAN2Config(size=32, image_channels=2, **shape)
    torch.manual_seed(0)
    generator, discriminator = Generator(config).double(), Discriminator(config).double()
    for name, parameter in generator.named_parameters():
        if name.endswith("noise_strength"):
            torch.nn.init.constant_(parameter, 0.3)
    shapes = ((2, 32, 32), (2, 32, 32), (generator.n_styles, 8), (2,), (generator.noise_size,))
    real, direction, styles, condition, noise = (torch.randn(4, *one).double() for one in shapes)

    def r1() -> torch.Tensor:
        images = real.clone().requires_grad_(True)
        return gradient_penalty(discriminator.score(images, condition), images)

    def length() -> torch.Tensor:
        w = styles.clone().requires_grad_(True)
        return path_lengths(generator.synthesize(w, noise), w, direction).square().mean()

    def gradients(network: torch.nn.Module, penalty: Any) -> torch.Tensor:
        network.zero_grad(set_to_none=True)
        penalty().backward()
        average_gradients(network, bands.of if network.bands else 1)
        return torch.cat([one.grad.flatten() for one in network.parameters() if one.grad is not None])

    found = {}
    for name, network, penalty in (("r1", discriminator, r1), ("path_length", generator, length)):
        whole = gradients(network, penalty)
        set_bands(network, bands)
        found[name] = ((gradients(network, penalty) - whole).abs().max() / whole.abs().max()).item()
    return found


def same_everywhere(state: dict[str, torch.Tensor], processes: int) -> bool:
    """Whether all processes hold the same bits."""
    flat = torch.cat([value.flatten().double() for value in state.values()])
    all_of_them = [torch.empty_like(flat) for _ in range(processes)]
    dist.all_gather(all_of_them, flat)
    return all(torch.equal(one, flat) for one in all_of_them)


def main(out: Path, *cases: str) -> None:
    """Run the cases; the first process writes."""
    dist.init_process_group("gloo")
    bands = Bands(dist.get_rank(), dist.get_world_size())
    found: dict[str, Any] = {"second derivatives": second_derivatives(bands)}
    for case in cases:
        found[case] = train(case, bands.of)
        found[case]["same"] = same_everywhere(found[case]["state"]["generator"], bands.of)
    if bands.number == 0:
        torch.save(found, out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
