"""Does a multi-scale discriminator mend the lack of fine detail? The bundled model, trained on with and without it.

    python -m benchmarks.multiscale --cube sdo2012-64.zarr

Run from the root of the repository. Each case starts from the bundled sdo2012-64 generator, with new discriminators at
one, two or three resolutions (``discriminator_scales``), and is shown as many images, with each of the seeds. Samples
under the conditions of the validation months are then set against these months' frames by the power spectrum of the
disk and of its annuli (`sunaug.fidelity.physics`): the *deficit* is the mean log10 power of real frames minus that of
the samples, over the fine structure (above 2/3 of the Nyquist frequency) and over the band below. The floor is what as
many real frames of the train months get. No frame of the test months is looked at.

The figures go to results/multiscale.json, and from there the table in docs/wavelengths.md is made. The last line is the
fine deficit of the disk with three scales minus that with one, in dex, as a mean over seeds and channels.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from lightning_fabric import Fabric
from numpy.typing import NDArray

from benchmarks.trained_runs import (
    CONDITIONS,
    judges_of,
    machine,
    make,
    put_between,
    validation_frames,
    versions,
)
from sunaug.bundle import Bundle, load_bundle
from sunaug.cube import open_cube
from sunaug.fidelity.backbones import load_backbones
from sunaug.fidelity.judge import Judge
from sunaug.fidelity.physics import Geometry, Table, tabulate
from sunaug.fidelity.physics.spectrum import ANNULI, FINE_BAND
from sunaug.networks import BaseGenerator
from sunaug.training.frames import known_frames, load_frames
from sunaug.training.recipe import Recipe
from sunaug.training.trainer import Trainer

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "multiscale.json"
PAGE = ROOT / "docs" / "wavelengths.md"
MARKS = ("<!-- multiscale -->", "<!-- /multiscale -->")
START = "sdo2012-64"
SCALES = (1, 2, 3)
PARTS = {"disk": "power_spectrum", **{part: f"power_spectrum_{part}" for part in ANNULI}}
BAND = 1 / 3
"""Lower end of the middle band, in shares of the Nyquist frequency; its upper one is `FINE_BAND`."""


def recipe_of(bundle: Bundle, scales: int, images: int, seed: int) -> Recipe:
    """The bundle's own shape, and a recipe for going on from it."""
    shape = bundle.info.network.model_dump(include={"base_width", "max_width", "z_dim", "w_dim", "mapping_layers"})
    return Recipe(
        images=images,
        seed=seed,
        batch=8,
        start=START,
        conditions=CONDITIONS,
        discriminator_scales=scales,
        generator_delay=images // 8,
        condition_ramp=(0.05, 0.25),
        r1_gamma=1.0,
        r1_gamma_end=0.3,
        ema_half_life=1000,
        ema_power=(),
        **shape,
    )


def make_trainer(cube: xr.Dataset, bundle: Bundle, recipe: Recipe) -> Trainer:
    """A training that goes on from the bundle."""
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    frames = load_frames(cube, bundle.info.scaling, recipe.labels, recipe.class_balance)
    return Trainer(frames, bundle.info.network, recipe, fabric, start=bundle.generator)


def went_on(cube: xr.Dataset, bundle: Bundle, recipe: Recipe) -> BaseGenerator:
    """The averaged generator after a training."""
    trainer = make_trainer(cube, bundle, recipe)
    while trainer.images < recipe.images:
        trainer.step()
    return trainer.averages.networks[recipe.ema]


def speeds(cube: xr.Dataset, bundle: Bundle, rounds: int = 5) -> dict[int, float]:
    """By number of scales, processor seconds per 1,000 images: whole cycles of steps in turn, the median of rounds."""
    trainers = {scales: make_trainer(cube, bundle, recipe_of(bundle, scales, 2_000, 0)) for scales in SCALES}
    taken: dict[int, list[float]] = {scales: [] for scales in SCALES}
    for _ in range(1 + rounds):
        for scales, trainer in trainers.items():
            steps, began = trainer.recipe.penalty_interval, time.process_time()
            for _ in range(steps):
                trainer.step()
            taken[scales].append(1000 * (time.process_time() - began) / (steps * trainer.recipe.batch))
    return {scales: statistics.median(found[1:]) for scales, found in taken.items()}


def measured(intensity: NDArray[np.float32], cube: xr.Dataset) -> Table:
    """Physical measures of frames."""
    channels = [str(name) for name in cube["channel"].values]
    geometry = Geometry(cube.sizes["y"], float(cube.attrs["solar_radius_pixels"]))
    return tabulate(intensity, channels, cube.attrs["intensity_scale"], geometry)


def deficits(table: Table, real: Table) -> dict[str, dict[str, dict[str, float]]]:
    """By part of the disk and channel: dex that the samples lack, of the fine structure and of the band below."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for part, measure in PARTS.items():
        for name in (one for one in real if one.startswith(f"{measure} ")):
            lack = real[name].values.mean(axis=0) - table[name].values.mean(axis=0)
            low, high = (int(share * len(lack)) for share in (BAND, FINE_BAND))
            bands = {"fine": float(lack[high:].mean()), "middle": float(lack[low:high].mean())}
            found.setdefault(part, {})[name.removeprefix(f"{measure} ")] = bands
    return found


def figures(
    generator: BaseGenerator, bundle: Bundle, cube: xr.Dataset, real: Table, judges: Sequence[Judge]
) -> dict[str, Any]:
    """Deficits and Fréchet distances of a generator's samples."""
    samples = make(generator, judges[0].fluxes, bundle.info.scaling)
    return {
        "deficits": deficits(measured(samples, cube), real),
        "frechet": {judge.label: judge.judge(samples)["frechet"] for judge in judges},
    }


def run(arguments: argparse.Namespace, argv: Sequence[str]) -> dict[str, Any]:
    """Train and measure every case; what is finished in --out is not made again."""
    cube, bundle = open_cube(arguments.cube), load_bundle(START)
    backbones, notes = load_backbones(arguments.weights, device="cpu")
    print("\n".join(notes))
    judges = judges_of(cube, arguments.samples, arguments.out, backbones)
    frames, _ = validation_frames(cube, CONDITIONS)
    real = measured(frames["intensity"].values, cube)
    train = known_frames(cube, CONDITIONS)
    rows = np.sort(np.random.default_rng(0).permutation(train.sizes["time"])[: judges[0].n])
    others = train["intensity"].isel(time=rows).values
    cases: list[dict[str, Any]] = []
    for seed in arguments.seeds:
        for scales in SCALES:
            kept = arguments.out / f"scales{scales}-seed{seed}-{arguments.images}.json"
            if not kept.exists():
                generator = went_on(cube, bundle, recipe_of(bundle, scales, arguments.images, seed))
                made = {"scales": scales, "seed": seed}
                kept.write_text(json.dumps(made | figures(generator, bundle, cube, real, judges)))
            cases.append(json.loads(kept.read_text()))
            print(f"{scales} scales, seed {seed}: done", flush=True)
    return {
        "command": f"python -m benchmarks.multiscale {shlex.join(argv)}".rstrip(),
        "machine": machine(),
        "versions": versions(),
        "images": arguments.images,
        "seeds": arguments.seeds,
        "samples": judges[0].n,
        "start": figures(bundle.generator, bundle, cube, real, judges),
        "floor": {
            "deficits": deficits(measured(others, cube), real),
            "frechet": {judge.label: judge.floor["frechet"] for judge in judges},
        },
        "cases": cases,
        "seconds": {str(scales): round(seconds, 1) for scales, seconds in speeds(cube, bundle).items()},
    }


def over_channels(found: dict[str, Any], part: str, band: str) -> float:
    """A deficit, as the mean over the channels."""
    return statistics.fmean(bands[band] for bands in found["deficits"][part].values())


def table(found: dict[str, Any]) -> str:
    """What stands between the page's marks, from the figures alone."""
    labels = list(found["floor"]["frechet"])
    head = ["discriminators", *(f"{part}, {band}" for band in ("fine", "middle") for part in PARTS), *labels]
    head.append("processor seconds per 1,000 images")
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]

    def row(title: str, runs: Sequence[dict[str, Any]], seconds: str) -> None:
        cells = [title]
        for band in ("fine", "middle"):
            for part in PARTS:
                cells.append(", ".join(f"{over_channels(one, part, band):+.2f}" for one in runs))
        cells += [", ".join(f"{one['frechet'][label]:.3g}" for one in runs) for label in labels]
        lines.append(f"| {' | '.join([*cells, seconds])} |")

    row("at the start", [found["start"]], "")
    for scales in SCALES:
        runs = [one for one in found["cases"] if one["scales"] == scales]
        row(f"at {scales} resolution{'s' if scales > 1 else ''}", runs, f"{found['seconds'][str(scales)]:.0f}")
    row("real train frames", [found["floor"]], "")
    lines += [
        "",
        "dex that samples lack of the validation frames' power, as means over the channels; a figure for each of the "
        f"seeds {', '.join(map(str, found['seeds']))}. {found['images']:,} images on from `{START}`, "
        f"{found['samples']:,} samples. `{found['command']}`, {found['machine']}, one thread.",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cube", type=Path, default=Path("sdo2012-64.zarr"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page-file", type=Path, default=PAGE)
    parser.add_argument("--images", type=int, default=6_000, help="shown to the discriminators in each run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--samples", type=int, default=0, help="by default as many as there are validation frames")
    parser.add_argument("--weights", help="Inception weights; looked for by default")
    parser.add_argument("--out", type=Path, default=Path("runs/multiscale"), help="folder of what is finished")
    parser.add_argument("--page", action="store_true", help="only make the page again from the results")
    argv = sys.argv[1:] if argv is None else argv
    arguments = parser.parse_args(argv)
    if not arguments.page:
        torch.set_num_threads(1)
        arguments.out.mkdir(parents=True, exist_ok=True)
        found = run(arguments, argv)
        arguments.results.parent.mkdir(parents=True, exist_ok=True)
        arguments.results.write_text(json.dumps(found, indent=2) + "\n")
    found = json.loads(arguments.results.read_text())
    put_between(MARKS, table(found), arguments.page_file, "\n".join(MARKS))
    by_scales = {
        scales: statistics.fmean(
            over_channels(one, "disk", "fine") for one in found["cases"] if one["scales"] == scales
        )
        for scales in SCALES
    }
    print(f"difference {by_scales[3] - by_scales[1]:+.3f} dex")


if __name__ == "__main__":
    main()
