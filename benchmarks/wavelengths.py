"""What ten channels take: time and memory of a training step against three, with and without groups of channels.

    python -m benchmarks.wavelengths

Run from the root of the repository with nothing else running. Each case makes steps on frames of noise, in turns with
the others, and the fastest of --rounds cycles counts: a cycle has all kinds of steps (one of four with the gradient
penalty). The memory is what the step has alive at its peak with weights, averages and moments, without the frames, as
``sunaug train --dry-run`` estimates it. The figures go to results/wavelengths.json, and from there the table in
docs/wavelengths.md is made. The last line is the time of ten channels over that of three, at the largest size.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from benchmarks.trained_runs import machine, put_between, versions
from sunaug.networks import make_generator
from sunaug.training.estimate import estimate
from sunaug.training.frames import TrainingFrames
from sunaug.training.recipe import Recipe
from sunaug.training.shape import network_config
from sunaug.training.trainer import Trainer

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "wavelengths.json"
PAGE = ROOT / "docs" / "wavelengths.md"
MARKS = ("<!-- ten -->", "<!-- /ten -->")
SIZES = (64, 128)
GROUPS = ((0, 1, 2, 3, 4, 5, 6), (7, 8), (9,))
"""Of ten AIA channels in the order of their wavelengths: the corona, the chromosphere, the photosphere."""

CASES: dict[str, tuple[int, dict[str, Any]]] = {
    "3 channels": (3, {}),
    "10 channels": (10, {}),
    "10 channels, some hidden": (10, {"missing_channels": "learn", "channel_dropout": 0.2}),
    "10 channels in 3 groups": (10, {"channel_groups": GROUPS}),
    "10 channels in 3 groups at 2 resolutions": (10, {"channel_groups": GROUPS, "group_resolutions": 2}),
}


def recipe_of(name: str) -> Recipe:
    """The defaults, which are those of the recipe cpu-64, at its batch."""
    return Recipe(batch=8, **CASES[name][1])


def trainer_of(name: str, size: int) -> Trainer:
    """A trainer on a few frames of noise."""
    recipe, channels = recipe_of(name), CASES[name][0]
    images = torch.rand(16, channels, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    fluxes = torch.logspace(-7, -4, 16, dtype=torch.float64)[:, None].expand(-1, 2).numpy()
    frames = TrainingFrames(images, fluxes, torch.full((16,), 1 / 16, dtype=torch.float64), [])
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    return Trainer(frames, network_config(recipe, size, channels), recipe, fabric)


def cycle(trainer: Trainer) -> float:
    """Seconds per image over all kinds of steps."""
    began = time.process_time()
    for _ in range(trainer.recipe.penalty_interval):
        trainer.step()
    return (time.process_time() - began) / (trainer.recipe.penalty_interval * trainer.recipe.batch)


def measure(size: int, rounds: int) -> list[dict[str, Any]]:
    """All cases at one size, in turns."""
    trainers = {name: trainer_of(name, size) for name in CASES}
    taken: dict[str, list[float]] = {name: [] for name in CASES}
    for number in range(rounds + 1):
        for name, trainer in trainers.items():
            seconds = cycle(trainer)
            if number:  # the first one warms up
                taken[name].append(seconds)
    return [described(name, size, min(taken[name])) for name in CASES]


def described(name: str, size: int, seconds: float) -> dict[str, Any]:
    """The figures of a case."""
    recipe = recipe_of(name)
    config = network_config(recipe, size, CASES[name][0])
    return {
        "case": name,
        "size": size,
        "images_per_second": round(1 / seconds, 2),
        "memory_mb": round(estimate(config, recipe).total / 1e6, 1),
        "parameters": sum(one.numel() for one in make_generator(config).parameters()),
    }


def table(found: dict[str, Any]) -> str:
    """What stands between the page's marks."""
    lines = [
        "| | pixels | images per second | against 3 channels | memory of a step, MB | parameters of the generator |",
        "|" + " --- |" * 6,
    ]
    for one in found["cases"]:
        first = next(other for other in found["cases"] if other["size"] == one["size"])
        ratio = one["images_per_second"] / first["images_per_second"]
        lines.append(
            f"| {one['case']} | {one['size']} | {one['images_per_second']} | {ratio:.2f} | {one['memory_mb']:,.0f} | "
            f"{one['parameters']:,} |"
        )
    return "\n".join([*lines, "", f"`python -m benchmarks.wavelengths`, {found['machine']}, one thread, batch 8."])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page-file", type=Path, default=PAGE)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    found = {
        "machine": machine(),
        "versions": versions(),
        "cases": [one for size in SIZES for one in measure(size, arguments.rounds)],
    }
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    arguments.results.write_text(json.dumps(found, indent=2) + "\n")
    put_between(MARKS, table(found), arguments.page_file, "\n".join(MARKS))
    largest = {one["case"]: one["images_per_second"] for one in found["cases"] if one["size"] == SIZES[-1]}
    print(f"ratio {largest['3 channels'] / largest['10 channels']:.2f}")


if __name__ == "__main__":
    main()
