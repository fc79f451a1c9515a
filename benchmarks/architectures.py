"""StyleGAN2, BigGAN and StyleALAE on the same frames: as many images seen, as many parameters, two seeds.

    python -m benchmarks.architectures --cube sdo2012-32.zarr

Run from the root of the repository with nothing else running. `RECIPES` says how each is trained: its paper's losses
and regularisers, and everything else alike; the widths are those at which the generators have about as many parameters.
Runs and figures are made as `benchmarks.ladder` makes them; beside the distances, *coverage* is the share of validation
frames that have a sample among their neighbours, and its floor that of real frames of the train months in place of
samples. No frame of the test months is looked at.

The figures go to results/architectures.json, and from there the page docs/architectures.md is made (what stands
outside of its marks is kept), with a sheet of samples for each. The last line is StyleGAN2's Fréchet distance over the
smallest of the others, in the first feature network, as means over the seeds.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.trained_runs import (
    CONDITIONS,
    ON_SHEET,
    SHEET,
    Job,
    add_options,
    describe,
    draw,
    judges_of,
    machine,
    put_between,
    result_of,
    run,
    run_all,
    sheet_rows,
    untrained,
    validation_frames,
    versions,
)
from sunaug.cube import open_cube
from sunaug.fidelity.backbones import load_backbones
from sunaug.fidelity.judge import Judge
from sunaug.goes_classes import format_goes_class
from sunaug.networks import make_generator
from sunaug.training.recipe import Recipe
from sunaug.training.shape import network_config

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "architectures.json"
PAGE = ROOT / "docs" / "architectures.md"
MARKS = ("<!-- table -->", "<!-- /table -->")

COMMON: dict[str, Any] = {
    "batch": 8,
    "base_width": 1024,
    "max_width": 64,
    "z_dim": 64,
    "conditions": CONDITIONS,
    "augment": ("translation", "cutout"),
    "ema_half_life": 1000,
    "ema_power": (),
    # A collapse is a result here: it is written down, and the run goes on.
    "on_collapse": "note",
    "max_rollbacks": 0,
}

# As the preset biggan-64 but for the rates. Batch norm wants larger batches.
_BIGGAN: dict[str, Any] = {
    "architecture": "biggan",
    "batch": 16,
    "attention_resolution": 16,
    "loss": "hinge",
    "betas": (0.0, 0.999),
    "orthogonal_weight": 1e-4,
    "r1_gamma": 0.0,
    "r1_gamma_end": 0.0,
    "style_mixing": 0.0,
}

RECIPES: dict[str, dict[str, Any]] = {
    "stylegan2": {"w_dim": 64, "r1_gamma": 2.0, "r1_gamma_end": 0.3},
    "biggan": {**_BIGGAN, "generator_rate": 1e-3, "discriminator_rate": 1e-3},
    "biggan-preset": {**_BIGGAN, "generator_rate": 2e-4, "discriminator_rate": 4e-4},
    # As the preset stylealae-64.
    "stylealae": {
        "architecture": "stylealae",
        "w_dim": 64,
        "loss": "non_saturating",
        "discriminator_rate": 3e-3,
        "r1_gamma": 1.0,
        "r1_gamma_end": 0.1,
    },
}
TITLES = {
    "stylegan2": "StyleGAN2",
    "biggan": "BigGAN",
    "biggan-preset": "BigGAN, rates of the preset",
    "stylealae": "StyleALAE",
}

TEXT = f"""# Three architectures

The talk that this project began with compared StyleGAN2 with BigGAN, which collapsed, and StyleALAE, whose Suns were
blurred. All three are here behind the same recipe (`architecture: stylegan2 | biggan | stylealae`), bundle and
commands, and here they are compared again, on other data and at a small size that two CPU cores can train.

{MARKS[0]}
{MARKS[1]}
"""


def recipe_of(name: str, images: int, seed: int) -> Recipe:
    """How an architecture is trained."""
    often = max(images // 4, 1)
    return Recipe(
        images=images,
        seed=seed,
        checkpoint_images=often,
        sample_images=often,
        health_images=max(images // 20, 1),
        keep_checkpoints=1,
        **{**COMMON, **RECIPES[name]},
    )


def jobs_of(arguments: argparse.Namespace) -> dict[str, list[Job]]:
    """The runs of each architecture, in the order of the seeds."""
    return {
        name: [
            Job(name, seed, recipe_of(name, arguments.images, seed), arguments.out / f"{name}-seed{seed}")
            for seed in arguments.seeds
        ]
        for name in RECIPES
    }


def parameters(recipe: Recipe, size: int, channels: int) -> int:
    """Parameters of the generator."""
    return sum(one.numel() for one in make_generator(network_config(recipe, size, channels)).parameters())


def report(arguments: argparse.Namespace, argv: Sequence[str], judges: Sequence[Judge]) -> dict[str, Any]:
    """Make the runs and put together what goes into the results file."""
    jobs, cube, opened = jobs_of(arguments), describe(arguments.cube, judges), open_cube(arguments.cube)
    run_all([job for some in jobs.values() for job in some], "benchmarks.architectures", argv, arguments.workers)
    found: dict[str, Any] = {
        "command": f"python -m benchmarks.architectures {shlex.join(argv)}".rstrip(),
        "machine": machine(),
        "versions": versions(),
        "images": arguments.images,
        "seeds": arguments.seeds,
        "cube": cube,
        "architectures": [
            {
                "name": name,
                "parameters": parameters(some[0].recipe, cube["size"], len(cube["channels"])),
                "recipe": {**COMMON, **RECIPES[name]},
                "untrained": untrained(opened, some[0].recipe, judges),
                "runs": [result_of(job) for job in some],
            }
            for name, some in jobs.items()
        ],
    }
    return found


def values(one: dict[str, Any], label: str, measure: str) -> list[float]:
    """A figure of each seed that stayed finite."""
    return [made["figures"][label][measure] for made in one["runs"] if made["figures"]]


def ratio(found: dict[str, Any]) -> float | None:
    """StyleGAN2's distance over the smallest of the others."""
    label = next(iter(found["cube"]["floor"]))
    means = {one["name"]: values(one, label, "frechet") for one in found["architectures"]}
    known = {name: statistics.fmean(some) for name, some in means.items() if some}
    others = [mean for name, mean in known.items() if name != "stylegan2"]
    return known["stylegan2"] / min(others) if others and "stylegan2" in known else None


def table(found: dict[str, Any]) -> str:
    """What stands between the page's marks, from the figures alone."""
    floor = found["cube"]["floor"]
    head = ["architecture", "parameters of the generator"]
    for label in floor:
        head += [label, "over its floor", "untrained over it", "coverage"]
    head += ["diversity", "processor seconds per 1,000 images", "noticed collapses"]
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]

    def listed(some: Iterable[float | None], form: str) -> str:
        return ", ".join("–" if one is None else format(one, form) for one in some) or "–"

    for one in found["architectures"]:
        cells = [TITLES[one["name"]], f"{one['parameters']:,}"]
        for label, real in floor.items():
            distances = values(one, label, "frechet")
            over = better = "–"
            if distances:
                mean = statistics.fmean(distances)
                begun = one["untrained"][label]["frechet"]
                over, better = (f"**{ratio:.1f}**" for ratio in (mean / real["frechet"], begun / mean))
            cells += [listed(distances, ".3g"), over, better, listed(values(one, label, "coverage"), ".2f")]
        runs = one["runs"]
        cells += [listed((made["diversity"] for made in runs), ".2f")]
        cells += [listed((made.get("processor_seconds_per_thousand") for made in runs), ".0f")]
        cells += [", ".join(str(len(made["collapses"])) if made["finite"] else "not finite" for made in runs)]
        lines.append(f"| {' | '.join(cells)} |")
    real = ["real train frames", ""]
    for figures in floor.values():
        real += [f"{figures['frechet']:.3g}", "1", "", f"{figures['coverage']:.2f}"]
    lines.append(f"| {' | '.join([*real, '1', '', ''])} |")
    cube = found["cube"]
    sheets = [
        f"**{TITLES[one['name']]}**\n\n![{ON_SHEET} samples](architectures/{one['name']}.png)"
        for one in found["architectures"]
    ]
    return "\n".join(
        [
            *lines,
            "",
            f"{found['images']:,} images each, seeds {', '.join(map(str, found['seeds']))}; {cube['size']} pixels, "
            f"{', '.join(cube['channels'])}, {cube['intensity_scale']} intensities; {cube['samples']:,} samples under "
            "the conditions of the validation months.",
            "",
            f"Feature networks: {'; '.join(cube['networks'])}.",
            "",
            f"`{found['command']}`",
            "",
            f"{found['machine']}, one thread for each run; "
            + ", ".join(f"{name} {number}" for name, number in found["versions"].items())
            + ".",
            "",
            f"## Samples of seed {found['seeds'][0]}, not picked",
            "",
            "The same conditions at the same places of every sheet, from the quietest to the strongest forecast of the "
            "validation months.",
            "",
            "\n\n".join([*sheets, f"**Observed**\n\n![{ON_SHEET} observed frames](architectures/observed.png)"]),
        ]
    )


def write_sheets(arguments: argparse.Namespace, folder: Path) -> None:
    """A sheet of samples for each architecture, and one of observed frames."""
    cube = open_cube(arguments.cube)
    frames, fluxes = validation_frames(cube, CONDITIONS)
    rows = sheet_rows(fluxes)
    titles = [f"{format_goes_class(flux)} follows" for flux in fluxes[rows, -1]]
    draw(folder / "observed.png", titles, frames["intensity"].isel(time=rows).values, cube, synthetic=False)
    for name, jobs in jobs_of(arguments).items():
        if (jobs[0].out / SHEET).exists():
            with np.load(jobs[0].out / SHEET) as content:
                draw(folder / f"{name}.png", titles, content["intensity"], cube, synthetic=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cube", type=Path, default=Path("sdo2012-32.zarr"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page-file", type=Path, default=PAGE, help="its sheets lie in a folder of the same name")
    add_options(parser, out=Path("runs/architectures"), images=12_000)
    argv = sys.argv[1:] if argv is None else argv
    arguments = parser.parse_args(argv)
    if arguments.page:
        put_between(MARKS, table(json.loads(arguments.results.read_text())), arguments.page_file, TEXT)
        return
    torch.set_num_threads(1)
    backbones, notes = load_backbones(arguments.weights, device="cpu")
    cube = open_cube(arguments.cube)
    judges = judges_of(cube, arguments.samples, arguments.out, backbones)
    if arguments.run:
        name, seed = arguments.run
        job = next(one for one in jobs_of(arguments)[name] if one.seed == int(seed))
        run(cube, job.out, job.recipe, judges)
        return
    print("\n".join(notes))
    found = report(arguments, argv, judges)
    found["ratio"] = ratio(found)
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    arguments.results.write_text(json.dumps(found, indent=2) + "\n")
    put_between(MARKS, table(found), arguments.page_file, TEXT)
    write_sheets(arguments, arguments.page_file.with_suffix(""))
    print("ratio none: no finite run" if found["ratio"] is None else f"ratio {found['ratio']:.2f}")


if __name__ == "__main__":
    main()
