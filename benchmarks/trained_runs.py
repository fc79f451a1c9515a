"""Generators trained for a comparison: each run in a process of its own, measured by the same judges, drawn on a sheet.

A comparison is a list of `Job`. Runs stay in their folders: one that was stopped goes on where it was, and one that is
finished is not made again. Each makes as many samples as there are validation frames, under their conditions and with
the same latents, which are measured against these frames on what people would see, the cube's intensities in 8 bits.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
import yaml
from numpy.typing import NDArray
from PIL import Image

from sunaug.cube import open_cube, select_split
from sunaug.errors import SunaugError
from sunaug.fidelity.backbones import Backbone
from sunaug.fidelity.judge import Judge
from sunaug.networks import BaseGenerator, make_generator
from sunaug.pictures import contact_sheet
from sunaug.scaling import IntensityScaling, default_scaling
from sunaug.training.health import diversity, spread
from sunaug.training.loop import train
from sunaug.training.recipe import Recipe
from sunaug.training.shape import network_config

RESULT, SHEET = "result.json", "sheet.npz"
BATCH = 64
ON_SHEET, COLUMNS = 12, 6
SHEET_BYTES = 300_000
SAMPLE_SEED = 0
"""Of the latents, and of the frames that the floor is made of."""
CONDITIONS = ("nowcast_flux", "forecast_flux")
_PACKAGES = ("sunaug", "torch", "lightning-fabric", "numpy", "xarray")


@dataclass(frozen=True)
class Job:
    """A run: what is trained, with which seed, and where it stays."""

    name: str
    seed: int
    recipe: Recipe
    out: Path


def make(generator: BaseGenerator, fluxes: NDArray[np.float64], scaling: IntensityScaling) -> NDArray[np.float32]:
    """Samples (n, channel, y, x) in DN/s under conditions (n, n_labels), the same latents at every call."""
    random = torch.Generator().manual_seed(SAMPLE_SEED)
    made = []
    with torch.inference_mode():
        for part in torch.from_numpy(generator.config.encode(fluxes)).split(BATCH):
            z = torch.randn(len(part), generator.config.z_dim, generator=random)
            noise = torch.randn(len(part), generator.noise_size, generator=random)
            made.append(generator(z, part, noise).numpy())
    low = np.asarray(scaling.low, np.float32)[:, None, None]
    return np.maximum(scaling.unscale(np.concatenate(made)), low)


def validation_frames(cube: xr.Dataset, labels: Sequence[str]) -> tuple[xr.Dataset, NDArray[np.float64]]:
    """Validation frames whose labels are known, and these (n, n_labels)."""
    frames = select_split(cube, "validation")
    fluxes = np.stack([np.asarray(frames[name].values, np.float64) for name in labels], axis=1)
    known = np.flatnonzero(np.isfinite(fluxes).all(axis=1))
    return frames.isel(time=known), fluxes[known]


def sheet_rows(fluxes: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows for a sheet: evenly from the quietest to the strongest forecast."""
    order = np.argsort(fluxes[:, -1], kind="stable")
    rows: NDArray[np.int64] = order[np.linspace(0, len(order) - 1, ON_SHEET).round().astype(int)]
    return rows


def seen_spread(intensity: NDArray[np.float32], scaling: IntensityScaling) -> float:
    """`sunaug.training.health.spread` of frames in DN/s as they are shown."""
    scaled: Any = np.clip(np.nan_to_num(scaling.scale(intensity), nan=-1.0), -1, 1)
    return spread(torch.from_numpy(scaled))


def collapses(out: Path) -> list[int]:
    """Images after which the training found that it had collapsed."""
    events = out / "events.txt"
    text = events.read_text() if events.exists() else ""
    return sorted(
        {int(number) for number in re.findall(r"^(\d+) images: the generator has collapsed", text, re.MULTILINE)}
    )


def run(
    cube: xr.Dataset,
    out: Path,
    recipe: Recipe,
    judges: Iterable[Judge],
    own: tuple[xr.Dataset, IntensityScaling] | None = None,
) -> dict[str, Any]:
    """Train, measure, and leave `RESULT` and `SHEET` in the run's folder.

    Where the network is fed something else than the cube's own frames, `own` has that and the scaling back.
    """
    parent, shown, first = os.getppid(), 0, 0

    def watch(images: int) -> None:
        nonlocal shown, first
        if not shown:
            first = images - recipe.batch
        shown = images
        if os.getppid() != parent:  # stopped, and may be started again: no two runs in one folder
            raise SystemExit("what started this run has gone.")

    names = [str(name) for name in cube["channel"].values]
    own_cube, scaling = own or (cube, default_scaling(names, cube.attrs["intensity_scale"], recipe.scaling))
    began, processor = time.monotonic(), time.process_time()
    result: dict[str, Any] = {"recipe": recipe.model_dump(mode="json"), "finite": True, "figures": {}}
    try:
        trained = train(own_cube, out, recipe, resume=True, accelerator="cpu", report=watch)
    except SunaugError as error:  # figures that are no longer finite, and no way back
        print(error, flush=True)
        result |= {"finite": False, "images": shown, "seconds": round(time.monotonic() - began, 1), "diversity": None}
        return keep(out, result | {"collapses": collapses(out)})
    seconds, processor = trained.seconds, time.process_time() - processor
    print(f"{trained.images:,} images in {seconds:.1f} s", flush=True)
    for judge in judges:
        result["figures"][judge.label] = judge.judge(make(trained.generator, judge.fluxes, scaling))
    frames, fluxes = validation_frames(cube, recipe.labels)
    shown_as = default_scaling(trained.channels, cube.attrs["intensity_scale"])
    real = seen_spread(frames["intensity"].values, shown_as)
    rows = np.random.default_rng(SAMPLE_SEED).permutation(len(fluxes))[:256]
    samples = make(trained.generator, fluxes[rows], scaling)
    np.savez_compressed(out / SHEET, intensity=make(trained.generator, fluxes[sheet_rows(fluxes)], scaling))
    result |= {
        "images": trained.images,
        "seconds": round(seconds, 1),
        "images_per_second": round(trained.images / seconds, 2),
        # Of what this process trained: with one thread, the time on a machine that does nothing else.
        "processor_seconds_per_thousand": round(1000 * processor / (shown - first), 1) if shown else None,
        "collapses": collapses(out),
        "diversity": diversity_of(samples, real, shown_as),
    }
    return keep(out, result)


def untrained(cube: xr.Dataset, recipe: Recipe, judges: Iterable[Judge]) -> dict[str, dict[str, float]]:
    """Figures of the network that a training begins with, by the judges' labels."""
    names = [str(name) for name in cube["channel"].values]
    scaling = default_scaling(names, cube.attrs["intensity_scale"], recipe.scaling)
    torch.manual_seed(recipe.seed)
    generator = make_generator(network_config(recipe, cube.sizes["y"], len(names), names)).eval()
    found = {}
    for judge in judges:
        with torch.inference_mode():
            generator.settle(torch.from_numpy(generator.config.encode(judge.fluxes)))
        found[judge.label] = judge.judge(make(generator, judge.fluxes, scaling))
    return found


def diversity_of(samples: NDArray[np.float32], real_spread: float, scaling: IntensityScaling) -> float:
    """How much samples differ, in shares of `real_spread`."""
    scaled: Any = np.clip(scaling.scale(samples), -1, 1)
    return diversity(torch.from_numpy(scaled), real_spread)


def keep(out: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Write a result, whole or not at all."""
    partial = out / f"{RESULT}.partial"
    partial.write_text(json.dumps(result, indent=2) + "\n")
    partial.replace(out / RESULT)
    return result


def judges_of(cube: xr.Dataset, samples: int, out: Path, backbones: Iterable[Backbone]) -> list[Judge]:
    """A judge for each feature network, of some validation frames or, with 0, of all of them."""
    n, cache = samples or cube.sizes["time"], out / "features"
    return [
        Judge.of(cube, n=n, backbone=backbone, cache=cache, conditions=CONDITIONS, seed=SAMPLE_SEED)
        for backbone in backbones
    ]


def finished(job: Job) -> dict[str, Any] | None:
    """The result of a run; None where it is still to be made."""
    out, settings = job.out, job.out / "recipe.yaml"
    if settings.exists() and Recipe.model_validate(yaml.safe_load(settings.read_text())) != job.recipe:
        raise SystemExit(f"{out}: holds a run with another recipe; give another --out.")
    return json.loads((out / RESULT).read_text()) if (out / RESULT).exists() else None


def run_all(jobs: Sequence[Job], module: str, argv: Sequence[str], workers: int) -> None:
    """Make the runs that are not finished: ``python -m MODULE ARGV... --run NAME SEED``, one thread each.

    Raises
    ------
    SystemExit
        If a run fails; its folder has ``run.log``.
    """
    waiting = [job for job in jobs if finished(job) is None]
    print(f"{len(jobs)} runs, {len(waiting)} of them to be made", flush=True)

    def start(job: Job) -> bool:
        job.out.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", module, *argv, "--run", job.name, str(job.seed)]
        began = time.monotonic()
        with (job.out / "run.log").open("a") as log:
            code = subprocess.run(
                command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=log, stderr=subprocess.STDOUT
            ).returncode
        print(f"{job.out.name}: {'done' if code == 0 else 'FAILED'} after {time.monotonic() - began:.0f} s", flush=True)
        return code == 0

    with ThreadPoolExecutor(workers) as pool:
        done = list(pool.map(start, waiting))
    if failed := [job for job, good in zip(waiting, done, strict=True) if not good]:
        raise SystemExit(f"{len(failed)} runs failed; see {failed[0].out}/run.log, and start again to go on.")


def result_of(job: Job) -> dict[str, Any]:
    """What a finished run has left, without its recipe."""
    found = {"seed": job.seed, **json.loads((job.out / RESULT).read_text())}
    del found["recipe"]
    return found


def versions() -> dict[str, str]:
    """What the figures were made with."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def add_options(parser: argparse.ArgumentParser, *, out: Path, images: int) -> None:
    """The options that all comparisons have."""
    parser.add_argument("--images", type=int, default=images, help="shown to the discriminator in each run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--workers", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--samples", type=int, default=0, help="by default as many as there are validation frames")
    parser.add_argument("--weights", help="Inception weights; looked for by default")
    parser.add_argument("--out", type=Path, default=out, help="folder of the runs")
    parser.add_argument("--page", action="store_true", help="only make the page again from the results")
    parser.add_argument("--run", nargs=2, metavar=("NAME", "SEED"), help=argparse.SUPPRESS)


def machine() -> str:
    """Processor and cores."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        name = models[0].split(":", 1)[1].strip() if models else name
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def describe(path: Path, judges: Sequence[Judge]) -> dict[str, Any]:
    """What a cube holds, and its floors."""
    cube = open_cube(path)
    return {
        "size": cube.sizes["y"],
        "channels": [str(name) for name in cube["channel"].values],
        "intensity_scale": cube.attrs["intensity_scale"],
        "frames": {name: select_split(cube, name).sizes["time"] for name in ("train", "validation")},
        "samples": judges[0].n,
        "floor": {judge.label: judge.floor for judge in judges},
        "networks": [judge.backbone.description for judge in judges],
    }


def draw(path: Path, titles: Sequence[str], frames: NDArray[np.float32], cube: xr.Dataset, *, synthetic: bool) -> None:
    """A sheet of frames, at most `SHEET_BYTES` long."""
    contact_sheet(
        path,
        list(zip(titles, frames, strict=True)),
        [str(name) for name in cube["channel"].values],
        intensity_scale=cube.attrs["intensity_scale"],
        columns=COLUMNS,
        synthetic=synthetic,
    )
    colours = 256
    while path.stat().st_size > SHEET_BYTES and colours >= 32:  # grain does not compress; fewer colours do
        with Image.open(path) as picture:
            fewer = picture.convert("RGB").quantize(colours)
        fewer.save(path, optimize=True)
        colours //= 2


def put_between(marks: tuple[str, str], content: str, page: Path, text: str) -> None:
    """Put content between the marks of a page; one that is not there yet begins with `text`.

    Raises
    ------
    SystemExit
        If the page has no such marks.
    """
    whole = page.read_text() if page.exists() else text
    before, _, rest = whole.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not end:
        raise SystemExit(f"{page}: put {marks[0]} and {marks[1]} where the table is to stand.")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(f"{before}{marks[0]}\n{content}\n{marks[1]}{after}")
