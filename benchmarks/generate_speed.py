"""Samples per second into a synthetic cube, against the forward pass of NVIDIA's StyleGAN2-ADA-PyTorch alone.

    SUNAUG_PEERS=/tmp/peers python -m benchmarks.generate_speed [--bundle sdo2012-128] [--samples 1024] [--rounds 3]

Run from the root of the repository with nothing else running. Four things are measured in turns, in one process with
the same threads, after one round that does not count:

- *cube*: `sunaug.generation.generate_cube`, all of it: random numbers, network, unscaling, compression, files;
- *network*: our network alone, on latents and noise that are there already, in the same groups of 8;
- *theirs*: the peer's generator of the same widths (random weights, which cost as much as trained ones), in groups of
  8; its own ``generate.py`` makes one image at a time, which is *theirs, one by one*.

The last line is our samples per second, writing included, over the faster of their two.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.peers.stylegan2_ada import PeerSettings
from benchmarks.train_speed import processor, versions
from sunaug.bundle import Bundle, load_bundle
from sunaug.generation import Request, generate_cube
from sunaug.generation.sampler import GROUP
from sunaug.networks.conditions import CLASSES

RESULTS = Path(__file__).parent / "results" / "generate-speed.txt"


def cube(bundle: Bundle, samples: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        generate_cube(Path(folder) / "made.zarr", bundle, Request(samples))


def network(bundle: Bundle, samples: int) -> None:
    config = bundle.info.network
    z, noise = torch.randn(GROUP, config.z_dim), torch.randn(GROUP, bundle.generator.noise_size)
    condition = torch.zeros(GROUP, config.condition_width) if config.labels else None
    with torch.inference_mode():
        for _ in range(samples // GROUP):
            bundle.generator(z, condition, noise)


def theirs(generator: torch.nn.Module, z_dim: int, samples: int, group: int) -> None:
    z, one_hot = torch.randn(group, z_dim), torch.zeros(group, len(CLASSES))
    one_hot[:, 0] = 1
    with torch.inference_mode():
        for _ in range(samples // group):
            generator(z, one_hot)


def peer_generator(bundle: Bundle) -> torch.nn.Module:
    config = bundle.info.network
    settings = PeerSettings(
        size=config.size,
        image_channels=config.image_channels,
        classes=len(CLASSES),
        base_width=config.base_width,
        max_width=config.max_width,
        z_dim=config.z_dim,
        w_dim=config.w_dim,
        mapping_layers=config.mapping_layers,
        batch=GROUP,
    )
    return settings.generator().eval().requires_grad_(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", default="sdo2012-128")
    parser.add_argument("--samples", type=int, default=1_024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="of torch; by default as many as there are cores")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    bundle = load_bundle(arguments.bundle)
    other, z_dim, n = peer_generator(bundle), bundle.info.network.z_dim, arguments.samples
    runs: dict[str, Callable[[], None]] = {
        "cube": lambda: cube(bundle, n),
        "network": lambda: network(bundle, n),
        "theirs": lambda: theirs(other, z_dim, n, GROUP),
        "theirs, one by one": lambda: theirs(other, z_dim, n, 1),
    }
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(arguments.rounds + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if round_:
                speeds[name].append(n / (time.perf_counter() - began))
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    shape = bundle.info.network
    lines = [
        f"{bundle.info.name}: {shape.size} pixels, {shape.image_channels} channels, base width {shape.base_width}, at "
        f"most {shape.max_width}; {n} samples, median of {arguments.rounds} rounds; {processor()}, "
        f"{torch.get_num_threads()} threads; {versions()}",
        *(f"{name}: {speed:.1f} samples per second" for name, speed in medians.items()),
        f"written, over our network alone: {medians['cube'] / medians['network']:.2f}",
        f"ratio {medians['cube'] / max(medians['theirs'], medians['theirs, one by one']):.2f}",
    ]
    RESULTS.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
