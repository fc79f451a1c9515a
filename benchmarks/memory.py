"""Peak memory and time of one training step against resolution, with each saving on and off.

    python -m benchmarks.memory [--budget-gib 10] [--budget-seconds 240] [--sizes 64 ... 4096]
    python -m benchmarks.memory --only proof

Each point is a process of its own, or two where images are computed in bands, of which the first counts. Its peak is
what the kernel counted (VmHWM) beyond what the process had after a step of the smallest networks, so that the libraries
are not in it. Points that would take more memory or time than the budget are not made: the table gives what
`sunaug.training.estimate` expects of them, and says so. The results go to ``benchmarks/results/memory.json``, the
tables into ``docs/large-images.md``.

The proof makes a training step at 4096x4096 pixels on whole images, one on patches, and one generated image.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from benchmarks.peaks import resident, resident_peak
from sunaug.networks import make_generator
from sunaug.networks.patches import PatchGenerator, synthesize_tiles
from sunaug.training.estimate import Estimate, estimate
from sunaug.training.frames import TrainingFrames
from sunaug.training.recipe import Recipe
from sunaug.training.shape import network_config
from sunaug.training.strategies import make_strategy
from sunaug.training.trainer import Trainer

SIZES = (64, 128, 256, 512, 1024, 2048, 4096)
COMMON = {
    "batch": 2,
    "base_width": 8192,
    "max_width": 64,
    "z_dim": 64,
    "w_dim": 64,
    "mapping_layers": 2,
    "penalty_interval": 1,
}
"""Small widths, two channels at 4096 pixels, and the gradient penalty at every step: the step that takes most."""
SAVINGS: dict[str, dict[str, Any]] = {
    "none": {},
    "checkpoint": {"checkpoint_from": 64},
    "bf16": {"precision": "bf16-mixed"},
    "unshuffle": {"unshuffle": 4},
    "patch": {"patch": 256},
    "checkpoint + patch": {"checkpoint_from": 64, "patch": 256},
    "two bands": {"processes": 2},
}
PROOFS: dict[str, dict[str, Any]] = {
    "whole image, checkpointing": {"checkpoint_from": 64},
    "patch of 512, widths 32768 / 512": {"base_width": 32768, "max_width": 512, "patch": 512, "checkpoint_from": 64},
}
PROOF_SECONDS = 3600.0
RESULTS = Path(__file__).parent / "results" / "memory.json"
DOCUMENT = Path(__file__).parents[1] / "docs" / "large-images.md"
BEGIN, END = "<!-- memory: begin -->", "<!-- memory: end -->"
MIB = 2**20
_NOT_OF_SIZE = ("precision", "checkpoint_from", "processes")
"""Savings that the smallest networks can have as well."""
# glibc then gives back what is freed: without it, the peak is that of its heap, and not of what is alive.
_GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": str(MIB), "OMP_NUM_THREADS": "1"}


def recipe(changes: dict[str, Any]) -> Recipe:
    """The benchmark's recipe with one saving."""
    return Recipe(**{**COMMON, **{name: value for name, value in changes.items() if name != "processes"}})


def expected(size: int, changes: dict[str, Any]) -> Estimate:
    """What `sunaug.training.estimate` says of a point, with one frame in memory; of a process where there are two."""
    chosen, devices = recipe(changes), changes.get("processes", 1)
    return estimate(network_config(chosen, size, 1), chosen, n_frames=1, devices=devices, in_bands=devices > 1)


def make_trainer(size: int, changes: dict[str, Any]) -> Trainer:
    """A trainer on one frame of noise."""
    chosen = recipe(changes)
    config = network_config(chosen, size, 1)
    image = torch.rand(1, 1, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    weights = torch.ones(1, dtype=torch.float64)
    frames = TrainingFrames(image, np.full((1, len(chosen.labels)), 1e-6), weights, [])
    processes = changes.get("processes", 1)
    strategy = "ddp" if processes > 1 else "auto"
    fabric = Fabric(accelerator="cpu", devices=processes, strategy=strategy, precision=chosen.precision)
    fabric.launch()
    return Trainer(frames, config, chosen, fabric, strategy=make_strategy("bands", chosen, fabric))


def _beyond_libraries(run: Callable[[], float], changes: dict[str, Any]) -> dict[str, float]:
    """Seconds and peak (MiB) of what `run` does, beyond what the process has when all libraries are loaded."""
    small = {name: value for name, value in changes.items() if name in _NOT_OF_SIZE}
    make_trainer(16, {**small, "base_width": 64, "max_width": 8}).step()
    base = resident()
    seconds = run()
    return {"seconds": round(seconds, 2), "peak_mib": round(resident_peak() - base, 1), "base_mib": round(base, 1)}


def measure_step(size: int, changes: dict[str, Any], patience: float) -> dict[str, float]:
    """One step, in this process: the second one, when Adam's moments are there, unless the first took too long."""

    def run() -> float:
        trainer, seconds = make_trainer(size, changes), 0.0
        for _ in range(2):
            started = time.perf_counter()
            figures = trainer.step()
            seconds = time.perf_counter() - started
            assert all(torch.isfinite(value) for value in figures.values())
            if seconds > patience / 3:
                break
        return seconds

    return _beyond_libraries(run, changes)


def measure_image(size: int, changes: dict[str, Any]) -> dict[str, float]:
    """One generated image, in this process, made in tiles that go into a file one by one."""

    def run() -> float:
        started = time.perf_counter()
        generator = make_generator(network_config(recipe(changes), size, 1)).eval()
        assert isinstance(generator, PatchGenerator)
        place = Path(f"/tmp/sunaug-{os.getpid()}.f32")
        image = np.memmap(place, np.float32, "w+", shape=(1, size, size))
        with torch.inference_mode():
            w, noise = torch.randn(1, generator.config.latent_width), torch.randn(1, generator.noise_size)
            for window, tile in synthesize_tiles(generator, w, noise):
                image[:, window.top : window.bottom, window.left : window.right] = tile[0]
        assert np.isfinite(image).all()
        place.unlink()
        return time.perf_counter() - started

    return _beyond_libraries(run, changes)


def in_process(what: str, size: int, changes: dict[str, Any], patience: float) -> dict[str, float]:
    """Measure a ``step`` or an ``image`` in a process of its own, or the first of several.

    Raises
    ------
    subprocess.CalledProcessError, subprocess.TimeoutExpired
        If it fails, or takes more than `patience` seconds.
    """
    point = json.dumps({"what": what, "size": size, "changes": changes, "patience": patience})
    processes = changes.get("processes", 1)
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
    command = [sys.executable, "-m", *(launcher if processes > 1 else []), "benchmarks.memory", "--point", point]
    environment = os.environ | _GIVE_BACK
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, timeout=patience)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def speed_of_steps() -> float:
    """FLOP per second of a small step, to foresee how long large ones take."""
    found = in_process("step", 128, {}, PROOF_SECONDS)
    return expected(128, {}).flops * COMMON["batch"] / found["seconds"]


def row(size: int, saving: str, budget_gib: float, budget_seconds: float, speed: float) -> dict[str, Any]:
    """A point of the table: estimated, and measured where the budget allows."""
    cost = expected(size, SAVINGS[saving])
    seconds = cost.flops * COMMON["batch"] / speed / SAVINGS[saving].get("processes", 1)
    found: dict[str, Any] = {
        "size": size,
        "saving": saving,
        "estimated_mib": round(cost.total / MIB, 1),
        "estimated_seconds": round(seconds, 2),
        "measured": None,
    }
    if cost.total <= budget_gib * 2**30 and seconds <= budget_seconds:
        with suppress(subprocess.TimeoutExpired):
            found["measured"] = in_process("step", size, SAVINGS[saving], budget_seconds)
    return found


def fits(size: int, saving: str) -> bool:
    """Whether a saving exists at a size."""
    return size > SAVINGS[saving].get("patch", 0)


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown: a line for each size, a column for each saving."""
    by_point = {(one["size"], one["saving"]): one for one in rows}
    sizes = sorted({one["size"] for one in rows})
    lines = ["| pixels | " + " | ".join(SAVINGS) + " |", "| --- |" + " --- |" * len(SAVINGS)]
    for size in sizes:
        cells = [_cell(by_point.get((size, saving))) for saving in SAVINGS]
        lines.append(f"| {size} | " + " | ".join(cells) + " |")
    return lines


def _cell(one: dict[str, Any] | None) -> str:
    if one is None:
        return ""
    if one["measured"] is None:
        return f"*{_size(one['estimated_mib'])}*"
    return f"{_size(one['measured']['peak_mib'])}, {one['measured']['seconds']:.3g} s"


def _size(mib: float) -> str:
    return f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib:.0f} MiB"


def proof_lines(proofs: dict[str, dict[str, Any]]) -> list[str]:
    """Markdown: a line for each proof."""
    lines = ["| at 4096 pixels | peak | estimated | time |", "| --- | --- | --- | --- |"]
    for name, one in proofs.items():
        foreseen = _size(one["estimated_mib"]) if one.get("estimated_mib") else ""
        lines.append(f"| {name} | {_size(one['peak_mib'])} | {foreseen} | {one['seconds']:,.0f} s |")
    return lines


def prove() -> dict[str, dict[str, Any]]:
    """A step on whole images, one on patches and an image at 4096 pixels."""
    found: dict[str, dict[str, Any]] = {}
    for name, changes in PROOFS.items():
        measured = in_process("step", 4096, changes, PROOF_SECONDS)
        cost = expected(4096, changes).total / MIB
        found[f"training step, {name}"] = {**measured, "estimated_mib": round(cost, 1)}
        print(name, found[f"training step, {name}"], flush=True)
    for changes in PROOFS.values():
        shape = {key: value for key, value in changes.items() if key in ("base_width", "max_width")}
        widths = f"{shape.get('base_width', COMMON['base_width'])} / {shape.get('max_width', COMMON['max_width'])}"
        found[f"generated image, widths {widths}"] = in_process("image", 4096, shape, PROOF_SECONDS)
        print(widths, found[f"generated image, widths {widths}"], flush=True)
    return found


def worst(rows: list[dict[str, Any]]) -> str:
    """How far estimates are from measurements, in words."""
    ratios = [one["estimated_mib"] / one["measured"]["peak_mib"] for one in rows if one["measured"]]
    return f"Estimated over measured, {len(ratios)} points: {min(ratios):.2f} to {max(ratios):.2f}."


def write(results: dict[str, Any]) -> None:
    """Keep results, and put the tables between the marks of the document."""
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    lines = [*table(results.get("rows", [])), ""]
    if results.get("rows"):
        lines += [worst(results["rows"]), ""]
    lines += [*proof_lines(results.get("proof", {}))]
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}")


def main() -> None:
    """Measure and write the table, or one point for the process that asks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--budget-gib", type=float, default=10.0)
    parser.add_argument("--budget-seconds", type=float, default=240.0)
    parser.add_argument("--only", choices=("table", "proof"))
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.point:
        point = arguments.point
        if point["what"] == "step":
            measured = measure_step(point["size"], point["changes"], point["patience"])
        else:
            measured = measure_image(point["size"], point["changes"])
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps(measured))
        return
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    results["hardware"] = f"{platform.machine()}, {os.cpu_count()} CPU cores, one thread; torch {torch.__version__}"
    results["recipe"] = COMMON
    if arguments.only != "proof":
        speed = speed_of_steps()
        rows = []
        for size in arguments.sizes:
            for saving in (one for one in SAVINGS if fits(size, one)):
                rows.append(row(size, saving, arguments.budget_gib, arguments.budget_seconds, speed))
                print(rows[-1], flush=True)
        results["rows"] = rows
        write(results)
    if arguments.only != "table":
        results["proof"] = prove()
        write(results)


if __name__ == "__main__":
    main()
