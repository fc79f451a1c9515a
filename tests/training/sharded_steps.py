"""Some steps of a small training, run by one process or by several (``python -m torch.distributed.run``).

Arguments: a file for the losses and the gathered weights, and optionally one of an earlier run to go on from.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F

from sunaug.networks import Discriminator, Generator, StyleGAN2Config
from sunaug.training.losses import gradient_penalty, path_lengths
from sunaug.training.sharding import gathered, load_gathered, shard

BATCH = 8


def _mean(value: torch.Tensor, processes: int) -> torch.Tensor:
    if processes > 1:
        dist.all_reduce(value)
    return value / processes


def main(out: Path, before: Path | None) -> None:
    """Three steps with R1 and path length; the first process writes."""
    dist.init_process_group("gloo")
    rank, processes = dist.get_rank(), dist.get_world_size()
    config = StyleGAN2Config(size=16, image_channels=3, base_width=64, max_width=16, z_dim=8, w_dim=8, mapping_layers=2)
    torch.manual_seed(0)
    generator, discriminator = Generator(config), Discriminator(config)
    if processes > 1:
        shard(generator, processes, ["synthesize"], [generator.mapping])
        shard(discriminator, processes, ["score"])
    networks = {"generator": generator, "discriminator": discriminator}
    optimizers = {name: torch.optim.Adam(network.parameters(), 1e-3, (0.0, 0.99)) for name, network in networks.items()}
    parts = {**networks, **{f"{name}.optimizer": one for name, one in optimizers.items()}}
    if before:
        for name, state in torch.load(before, weights_only=True)["state"].items():
            load_gathered(parts[name], state)
    random = torch.Generator().manual_seed(int(before is not None))
    mine = slice(rank * BATCH // processes, (rank + 1) * BATCH // processes)
    losses = []
    for _ in range(3):
        shapes = ((3, 16, 16), (8,), (2,), (generator.noise_size,), (3, 16, 16))
        real, z, condition, noise, direction = (torch.randn(BATCH, *one, generator=random)[mine] for one in shapes)
        real.requires_grad_(True)
        fake = generator(z, condition, noise)
        scores = discriminator.score(real, condition)
        loss_d = F.softplus(discriminator.score(fake.detach(), condition) - scores).mean()
        loss_d = loss_d + gradient_penalty(scores, real)
        optimizers["discriminator"].zero_grad()
        loss_d.backward()
        optimizers["discriminator"].step()
        discriminator.requires_grad_(False)
        styles = generator.mapping(z, condition)[:, None].repeat(1, generator.n_styles, 1)
        lengths = path_lengths(generator.synthesize(styles, noise), styles, direction)
        loss_g = F.softplus(scores.detach() - discriminator.score(fake, condition)).mean() + lengths.square().mean()
        optimizers["generator"].zero_grad()
        loss_g.backward()
        for parameter in generator.parameters():
            if parameter.dim() == 0 and parameter.grad is not None:
                parameter.grad = _mean(parameter.grad, processes)
        optimizers["generator"].step()
        discriminator.requires_grad_(True)
        losses.append(_mean(torch.stack([loss_d.detach(), loss_g.detach()]), processes))
    state = {name: gathered(part.state_dict()) for name, part in parts.items()}
    held = sum(getattr(one, "_local_tensor", one).numel() for one in generator.parameters())
    if rank == 0:
        torch.save({"losses": torch.stack(losses), "state": state, "held": held}, out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
