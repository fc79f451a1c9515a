"""Images per second of a training step, against NVIDIA's StyleGAN2-ADA-PyTorch.

    SUNAUG_PEERS=/tmp/peers python -m benchmarks.train_speed [--sizes 64 128] [--threads 2] [--device cpu]

Run from the root of the repository with nothing else running. `benchmarks.peers.stylegan2_ada` says how to get the
peer and how it is driven. Both sides train networks of the same widths, with the same latents, mapping layers, batch
and images, in one process, in turns: a block of steps of ours, a block of theirs. Each row is one amount of work:

- *lazy*: R1 in the discriminator every 16th step, path length in the generator every 4th, no augmentation, one
  averaged generator; the non-saturating loss; a block is whole rounds of 16 steps;
- *every step*: the same with R1 and path length at each step, in blocks of a quarter of the steps;
- *own*: what each side does by itself at these widths. Ours: the recipe --recipe with all that belongs to it. Theirs:
  lazy regularisation and its adaptive augmentation.

The penalties are computed as each side does it: theirs takes them in updates of their own where they are lazy, and
makes new fakes for the generator and for the discriminator; ours adds them to the loss of the step and uses the same
fakes for both. What a step is worth is another question, which `benchmarks.quality_against_peer` asks. Peak memory is
that of a fresh process per side, after a step with all penalties and one without. The last line is the smallest ratio
of all rows, ours over theirs.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import platform
import shlex
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric

from benchmarks.peaks import resident_peak
from benchmarks.peers.stylegan2_ada import AUGMENTATIONS, PeerSettings, PeerTrainer
from sunaug.networks.conditions import CLASSES
from sunaug.training.frames import TrainingFrames
from sunaug.training.recipe import Recipe, load_recipe
from sunaug.training.shape import network_config
from sunaug.training.trainer import Trainer

RESULTS = Path(__file__).parent / "results" / "train-speed.txt"
FRAMES = 256
PEER_PENALTIES = {"path length": 4, "R1": 16}
"""Steps from one to the next with the peer's lazy regularisation."""
ROUND = math.lcm(*PEER_PENALTIES.values())


class Training(Protocol):
    """Anything that trains step by step."""

    def step(self) -> Any:
        """Make one step."""


@dataclass(frozen=True)
class Work:
    """What is trained: a row of the table. It goes to other processes, so it holds plain values."""

    kind: str
    size: int
    channels: int
    device: str
    seed: int
    recipe: dict[str, Any]
    peer: PeerSettings

    @property
    def label(self) -> str:
        """As in the table."""
        return f"{self.size} x {self.size}, {self.kind}"

    def ours(self) -> Training:
        """Our trainer, on noise."""
        recipe = Recipe(**self.recipe)
        random = np.random.default_rng(self.seed)
        fluxes = 10 ** random.uniform(-7.5, -4, (FRAMES, len(recipe.labels)))
        frames = TrainingFrames(self._images(), fluxes, torch.full((FRAMES,), 1 / FRAMES, dtype=torch.float64), [])
        accelerator = "cuda" if self.device == "cuda" else "cpu"
        fabric = Fabric(accelerator=accelerator, devices=1, precision=recipe.precision)
        fabric.launch()
        return Trainer(frames, network_config(recipe, self.size, self.channels), recipe, fabric)

    def theirs(self) -> Training:
        """The peer's, on the same noise."""
        labels = torch.arange(FRAMES) % len(CLASSES)
        return PeerTrainer(self._images().to(self.device), labels, self.peer, self.device, self.seed)

    def _images(self) -> torch.Tensor:
        random = torch.Generator().manual_seed(self.seed)
        return 2 * torch.rand(FRAMES, self.channels, self.size, self.size, generator=random) - 1


def works(arguments: argparse.Namespace) -> list[Work]:
    """The rows of the table."""
    widths = {
        "base_width": arguments.base_width,
        "max_width": arguments.max_width,
        "z_dim": arguments.latent,
        "w_dim": arguments.latent,
        "mapping_layers": arguments.mapping_layers,
        "batch": arguments.batch,
    }
    ours = {**widths, "precision": arguments.precision, "compile": arguments.compile}
    found = []
    for size in arguments.sizes:
        peer = {
            **widths,
            "size": size,
            "image_channels": arguments.channels,
            "classes": len(CLASSES),
            "fp16_resolutions": arguments.peer_fp16,
        }

        pairs: dict[str, tuple[Recipe, PeerSettings]] = {}
        for lazy in (True, False):
            settings = PeerSettings(**peer, lazy=lazy, augment=())
            same = Recipe(
                **ours,
                conditions=(),
                class_conditions=("forecast_flux",),
                discriminator="pixel",
                loss="non_saturating",
                r1_gamma=settings.gamma,
                r1_gamma_end=settings.gamma,
                r2=False,
                penalty_interval=PEER_PENALTIES["R1"] if lazy else 1,
                path_length_weight=settings.path_length_weight,
                path_length_interval=PEER_PENALTIES["path length"] if lazy else 1,
                augment=(),
                mirror=False,
                style_mixing=settings.style_mixing,
                ema_power=(),
            )
            pairs["lazy" if lazy else "every step"] = same, settings
        pairs["own"] = load_recipe(arguments.recipe, **ours), PeerSettings(**peer)
        for kind, (recipe, settings) in pairs.items():
            plain = recipe.model_dump(mode="json")
            found.append(Work(kind, size, arguments.channels, arguments.device, 0, plain, settings))
    return found


def seconds_of(training: Training, steps: int, device: str) -> float:
    """Seconds that some steps take; on a GPU between two events on it."""
    if device == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(steps):
            training.step()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) / 1000
    began = time.perf_counter()
    for _ in range(steps):
        training.step()
    return time.perf_counter() - began


def peak_of(make: Callable[[], Training], threads: int, device: str) -> tuple[float, float]:
    """Peak memory in MiB before the first step and after a step with all penalties (the first), and one without."""
    torch.set_num_threads(threads)
    training = make()
    before = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else resident_peak()
    for _ in range(2):
        training.step()
    return before, torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else resident_peak()


def measure(work: Work, arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Images per second of each block, by side."""
    steps = max(arguments.steps // 4, 1) if work.kind == "every step" else arguments.steps
    sides = {"ours": work.ours(), "theirs": work.theirs()}
    # Memory is allocated, kernels are chosen and compiled. The first step has every penalty in it.
    for training in sides.values():
        seconds_of(training, ROUND if arguments.compile or work.device == "cuda" else 1, work.device)
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(arguments.rounds):
        for name, training in sides.items():
            speeds[name].append(steps * arguments.batch / seconds_of(training, steps, work.device))
    return speeds


def processor() -> str:
    """Name of the processor."""
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions() -> str:
    """Python and torch."""
    return f"Python {platform.python_version()}, torch {torch.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128], help="pixels")
    parser.add_argument("--channels", type=int, default=1, choices=[1, 3], help="of the images; the peer knows these")
    parser.add_argument("--base-width", type=int, default=8192)
    parser.add_argument("--max-width", type=int, default=256)
    parser.add_argument("--latent", type=int, default=512, help="width of z and w")
    parser.add_argument("--mapping-layers", type=int, default=8, help="of both generators")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=ROUND, help=f"of a block, a multiple of {ROUND}")
    parser.add_argument("--rounds", type=int, default=3, help="turns")
    parser.add_argument("--recipe", default="cpu-64", help="ours in the rows `own`: a name or a YAML file")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true", help="ours")
    parser.add_argument("--compile", action="store_true", help="ours with torch.compile")
    parser.add_argument("--peer-fp16", type=int, default=0, help="theirs: resolutions in half precision, 4 by default")
    parser.add_argument("--no-memory", action="store_true", help="leave peak memory out")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.steps % ROUND:
        parser.error(f"--steps {arguments.steps}: give a multiple of {ROUND}, so that a block has whole rounds.")
    if arguments.device == "auto":
        arguments.device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(arguments.threads)
    # As the peer's loop sets them, for both sides: every shape is the same all the time, and no TF32.
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    # Fabric's advice on the number of workers and on TF32.
    warnings.filterwarnings("ignore", module="lightning_fabric")

    lines: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    say(f"python -m benchmarks.train_speed {shlex.join(sys.argv[1:])}".rstrip())
    gpu = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}; " if arguments.device == "cuda" else ""
    say(f"{gpu}{processor()}, {os.cpu_count()} cores, {arguments.threads} threads")
    say(versions())
    say(
        f"{arguments.channels} channel(s), base width {arguments.base_width}, at most {arguments.max_width}, latents "
        f"{arguments.latent}, {arguments.mapping_layers} mapping layers, batch {arguments.batch}, {arguments.precision}"
        f"{', ours compiled' if arguments.compile else ''}, theirs with {arguments.peer_fp16} resolutions in half "
        f"precision; {arguments.rounds} turns of {arguments.steps} steps"
    )
    say(f"own: ours recipe {arguments.recipe}, theirs lazy with {' and '.join(AUGMENTATIONS)} augmentation")
    say(f"{'images per second':24} {'ours':>8} {'theirs':>8} {'ratio':>6}   spread of ours; of theirs")
    ratios = []
    rows = works(arguments)
    for work in rows:
        speeds = measure(work, arguments)
        middle = {name: statistics.median(values) for name, values in speeds.items()}
        ratios.append(middle["ours"] / middle["theirs"])
        spread = "; ".join(" ".join(f"{one:.3g}" for one in values) for values in speeds.values())
        say(f"{work.label:24} {middle['ours']:8.2f} {middle['theirs']:8.2f} {ratios[-1]:6.2f}   {spread}")
    if not arguments.no_memory:
        say(f"{'peak memory in MiB':24} {'ours':>8} {'theirs':>8}   (before the first step)")
        context = multiprocessing.get_context("spawn")
        for work in rows:
            peaks = []
            for make in (work.ours, work.theirs):
                with context.Pool(1) as pool:  # a fresh process each, for the peak is that of a process's whole life
                    peaks.append(pool.apply(peak_of, (make, arguments.threads, arguments.device)))
            (_, ours), (_, theirs) = peaks
            before = ", ".join(f"{one:,.0f}" for one, _ in peaks)
            say(f"{work.label:24} {ours:8,.0f} {theirs:8,.0f}   ({before})")
    say("the smallest ratio of all rows, ours over theirs:")
    say(f"ratio {min(ratios):.2f}")
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    arguments.results.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
