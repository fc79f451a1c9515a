"""The ladder: what each step from a plain StyleGAN2 to today's recipe does, on the same frames, images and judges.

    for size in 32 64; do
        sunaug ingest sdo2012 --out sdo2012-dn-$size.zarr --size $size --undo-stretch --flares FLARES --xrs XRS
    done
    python -m benchmarks.ladder --cube-small sdo2012-dn-32.zarr --cube-large sdo2012-dn-64.zarr

Run from the root of the repository with nothing else running. Each rung keeps what the rungs below it changed; `RUNGS`
says what that is, `COMMON` what is alike in all of them. Every rung is trained on the train months of its cube, for as
many images, with each of the seeds, in a process with one thread, two of them at a time. Runs stay in --out: a ladder
that was stopped goes on where it was, and a run that is finished is not made again.

Then each makes as many samples as there are validation frames, under their conditions and with the same latents, which
are measured against these frames. That is done on what people would see, the logarithm of DN/s in 8 bits, for every
rung, whatever its network was fed. *floor* is the same figure for as many real frames of the train months; distances
at two sizes are compared by their ratio to it. *diversity* is how much the samples differ, in shares of how much the
validation frames do (`sunaug.training.health`). No frame of the test months is looked at.

The figures go to results/ladder.json, and from there the page docs/ladder.md is made (what stands outside of its marks
is kept) with a sheet of samples for each rung. --page makes the page again from the figures as they are. The last line
is the last rung's Fréchet distance over its floor, in the first feature network, as a mean over the seeds.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from benchmarks.trained_runs import (
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
    validation_frames,
    versions,
)
from sunaug.cube import open_cube, select_split
from sunaug.fidelity.backbones import load_backbones
from sunaug.goes_classes import format_goes_class
from sunaug.lexicon import channel
from sunaug.scaling import IntensityScaling, default_scaling
from sunaug.training.recipe import Recipe

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "ladder.json"
PAGE = ROOT / "docs" / "ladder.md"
MARKS = ("<!-- table -->", "<!-- /table -->")

# ---- The rungs -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rung:
    """A step of the ladder.

    Attributes
    ----------
    name : str
        Of its runs' folders and of its sheet.
    title : str
    changes : dict
        Fields of the recipe that differ from the rung below.
    large : bool
        Trained on the large cube.
    deck : str
        The figure of the talk that the project began with.
    """

    name: str
    title: str
    changes: dict[str, Any]
    large: bool
    deck: str


COMMON: dict[str, Any] = {
    "batch": 8,
    "base_width": 1024,
    "max_width": 64,
    "z_dim": 64,
    "w_dim": 64,
    "mapping_layers": 4,
    # The flux at the time and that of the flare to come; the discriminators are told of them little by little.
    "conditions": ("nowcast_flux", "forecast_flux"),
    "class_conditions": (),
    "condition_ramp": (0.15, 0.35),
    "mirror": True,
    # StyleGAN2's path length regularisation is left out of all rungs: it makes interpolations smooth and costs a third.
    "path_length_weight": 0.0,
    "betas": (0.0, 0.99),
    "rate_decay": 0.3,
    # Short runs: an average over many images would still be half-way to the disk.
    "ema_half_life": 1000,
    "ema_power": (),
    # A collapse is a result here: it is written down, and the run goes on.
    "on_collapse": "note",
    "max_rollbacks": 0,
}

RUNGS = (
    # What StyleGAN2 gives whoever starts it as it is (Karras et al. 2020, configuration F).
    Rung(
        "raw",
        "plain StyleGAN2 on DN/s",
        {
            "scaling": "linear",
            "loss": "non_saturating",
            "generator_rate": 2e-3,
            "discriminator_rate": 2e-3,
            "r1_gamma": 10.0,
            "r1_gamma_end": 10.0,
            "penalty_interval": 16,
            "augment": (),
            "discriminator": "pixel",
        },
        False,
        "collapses at once",
    ),
    Rung("log", "+ logarithm", {"scaling": "log"}, False, "108"),
    Rung("rates", "+ tuned discriminator rate", {"discriminator_rate": 1.5e-3}, False, "84"),
    Rung("diffaugment", "+ DiffAugment", {"augment": ("translation", "cutout")}, False, "35"),
    # Twice the base width is as many channels at the top as before, and the layers below get no thinner.
    Rung("resolution", "+ doubled resolution", {"base_width": 2048}, True, "18"),
    # The loss with the penalty that goes with it, as in the recipe cpu-64.
    Rung(
        "relativistic",
        "+ relativistic loss",
        {"loss": "relativistic_paired", "r1_gamma": 2.0, "r1_gamma_end": 0.3, "penalty_interval": 4},
        True,
        "12",
    ),
    # Not of the talk. EfficientNet-Lite0 is what this discriminator sees, so that network's figures flatter it.
    Rung("projected", "+ projected discriminator", {"discriminator": "both"}, True, "none"),
)


def rungs(projected: bool) -> tuple[Rung, ...]:
    """The talk's rungs, and the one that is not the talk's."""
    return RUNGS if projected else RUNGS[:-1]


def recipe_of(rung: Rung, images: int, seed: int) -> Recipe:
    """Everything below a rung, and its own changes."""
    fields = dict(COMMON)
    for one in RUNGS[: RUNGS.index(rung) + 1]:
        fields |= one.changes
    often = max(images // 4, 1)
    return Recipe(
        images=images,
        seed=seed,
        checkpoint_images=often,
        sample_images=often,
        health_images=max(images // 20, 1),
        keep_checkpoints=1,
        **fields,
    )


def changed(rung: Rung) -> dict[str, list[Any]]:
    """Fields of the recipe that a rung changes, before and after; for the first rung, from the recipe's defaults."""
    place = RUNGS.index(rung)
    before = recipe_of(RUNGS[place - 1], 1, 0) if place else Recipe()
    after = recipe_of(rung, 1, 0)
    return {
        name: [before.model_dump(mode="json")[name], after.model_dump(mode="json")[name]]
        for name in rung.changes
        if place == 0 or getattr(before, name) != getattr(after, name)
    }


# ---- What a rung sees and is trained by --------------------------------------------------------------------


def network_range(cube: xr.Dataset, kind: str | None) -> tuple[xr.Dataset, IntensityScaling]:
    """The cube to train on, and the scaling that takes the samples back to DN/s.

    The logarithm goes over the lexicon's clip ranges, which leave room for flares a hundred times brighter than what
    a browse image can show. Linearly that would squeeze the Sun into a hundredth of the range, and the first rung would
    fail for that alone: there, the brightest pixel of the train months is 1. Frames are stretched to the clip range
    for that, as the training itself takes no other.
    """
    names = [str(name) for name in cube["channel"].values]
    clip = default_scaling(names, cube.attrs["intensity_scale"], kind)
    if kind != "linear":
        return cube, clip
    brightest = select_split(cube, "train")["intensity"].max(("time", "y", "x")).values
    own = IntensityScaling(kind="linear", low=clip.low, high=tuple(map(float, brightest)))
    stretched = clip.unscale(own.scale(cube["intensity"].values))
    return cube.assign(intensity=(cube["intensity"].dims, stretched)), own


# ---- All runs --------------------------------------------------------------------------------------------------------


def cube_of(rung: Rung, arguments: argparse.Namespace) -> Path:
    path: Path = arguments.cube_large if rung.large else arguments.cube_small
    return path


def jobs_of(arguments: argparse.Namespace) -> dict[Rung, list[Job]]:
    """The runs of each rung, in the order of the seeds."""
    return {
        rung: [
            Job(rung.name, seed, recipe_of(rung, arguments.images, seed), arguments.out / f"{rung.name}-seed{seed}")
            for seed in arguments.seeds
        ]
        for rung in rungs(arguments.projected)
    }


def report(arguments: argparse.Namespace, argv: Sequence[str], floors: dict[str, Any]) -> dict[str, Any]:
    """Make the runs and put together what goes into the results file."""
    jobs = jobs_of(arguments)
    run_all([job for some in jobs.values() for job in some], "benchmarks.ladder", argv, arguments.workers)
    found: dict[str, Any] = {
        "command": f"python -m benchmarks.ladder {shlex.join(argv)}".rstrip(),
        "machine": machine(),
        "versions": versions(),
        "images": arguments.images,
        "seeds": arguments.seeds,
        "threads_per_run": 1,
        "runs_at_a_time": arguments.workers,
        "common": next(iter(jobs.values()))[0].recipe.model_dump(mode="json"),
        "cubes": floors,
        "rungs": [
            {
                "name": rung.name,
                "title": rung.title,
                "cube": cube_of(rung, arguments).name,
                "deck": rung.deck,
                "changes": changed(rung),
                "runs": [result_of(job) for job in some],
            }
            for rung, some in jobs.items()
        ],
    }
    found["ratio"] = mean_ratio(found, found["rungs"][-1], first_label(found))
    return found


# ---- The page --------------------------------------------------------------------------------------------------------


def first_label(found: dict[str, Any]) -> str:
    return next(iter(next(iter(found["cubes"].values()))["floor"]))


def ratios(found: dict[str, Any], rung: dict[str, Any], label: str) -> list[float]:
    """Fréchet distance over the floor for each seed that has one."""
    floor = found["cubes"][rung["cube"]]["floor"][label]["frechet"]
    return [one["figures"][label]["frechet"] / floor for one in rung["runs"] if one["figures"]]


def mean_ratio(found: dict[str, Any], rung: dict[str, Any], label: str) -> float | None:
    known = ratios(found, rung, label)
    return statistics.fmean(known) if known else None


def _spread(values: Sequence[float]) -> float:
    return max(values) - min(values) if values else 0.0


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _what_changed(rung: dict[str, Any], below: dict[str, Any] | None, found: dict[str, Any]) -> str:
    if below is None:
        return ", ".join(f"`{name}` {_shown(after)}" for name, (_, after) in rung["changes"].items())
    parts = [f"`{name}` {_shown(before)} → {_shown(after)}" for name, (before, after) in rung["changes"].items()]
    if rung["cube"] != below["cube"]:
        before, after = (found["cubes"][one["cube"]]["size"] for one in (below, rung))
        parts = [f"{before} → {after} pixels", *parts]
    return ", ".join(parts)


def _note(rung: dict[str, Any], below: dict[str, Any] | None, found: dict[str, Any], label: str) -> str:
    notes = []
    for one in rung["runs"]:
        if not one["finite"]:
            notes.append(f"seed {one['seed']}: not finite after {one['images']:,} images")
        elif one["collapses"]:
            end = "and at the end" if one["collapses"][-1] == one["images"] else "not at the end"
            first = one["collapses"][0]
            notes.append(f"seed {one['seed']}: collapsed, first noticed after {first:,} images, {end}")
    mine, before = ratios(found, rung, label), ratios(found, below, label) if below else []
    if len(mine) > 1 and len(before) > 1:
        step = statistics.fmean(mine) - statistics.fmean(before)
        if abs(step) <= max(_spread(mine), _spread(before)):
            notes.append("no step beyond the seeds' difference")
        elif step > 0:
            notes.append("worse than the rung below")
    return "; ".join(notes)


def table(found: dict[str, Any]) -> str:
    """What stands between the page's marks, from the figures alone."""
    label = first_label(found)
    labels = list(next(iter(found["cubes"].values()))["floor"])
    others = labels[1:]
    seeds = ", ".join(map(str, found["seeds"]))
    head = ["rung", "what changed", "pixels", f"{label}, seeds {seeds}", "over its floor", "KID · 1000", *others]
    head += [f"{other} over its floor" for other in others]
    head += ["diversity", "images/s", "note", "the talk's FID"]
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    below = None
    for rung in found["rungs"]:
        runs = rung["runs"]

        def listed(values: Iterable[Any], form: str) -> str:
            return ", ".join("–" if value is None else format(value, form) for value in values)

        def mean(values: list[float]) -> str:
            return f"{statistics.fmean(values):.1f}" if values else "–"

        def figures(name: str, measure: str, runs: list[dict[str, Any]] = runs) -> list[float | None]:
            return [one["figures"][name][measure] if one["figures"] else None for one in runs]

        kid = zip(figures(label, "kid"), figures(label, "kid_stderr"), strict=True)
        cells = [rung["title"], _what_changed(rung, below, found), str(found["cubes"][rung["cube"]]["size"])]
        cells += [listed(figures(label, "frechet"), ".3g"), f"**{mean(ratios(found, rung, label))}**"]
        cells += [", ".join("–" if one is None else f"{1000 * one:.3g} ± {1000 * error:.1g}" for one, error in kid)]
        cells += [listed(figures(other, "frechet"), ".3g") for other in others]
        cells += [mean(ratios(found, rung, other)) for other in others]
        cells += [listed((one["diversity"] for one in runs), ".2f")]
        cells += [listed((one.get("images_per_second") for one in runs), ".0f")]
        cells += [_note(rung, below, found, label), rung["deck"]]
        lines.append(f"| {' | '.join(cells)} |")
        below = rung

    floors = []
    for name, one in found["cubes"].items():
        values = ", ".join(
            f"{key} {value['frechet']:.3g} (KID · 1000 {1000 * value['kid']:.2g} ± {1000 * value['kid_stderr']:.1g})"
            for key, value in one["floor"].items()
        )
        floors.append(
            f"- {one['size']} pixels (`{name}`, {one['frames']['train']:,} train and {one['frames']['validation']:,} "
            f"validation frames): {values}; {one['samples']:,} frames a side."
        )
    common = ", ".join(f"`{name}` {_shown(found['common'][name])}" for name in COMMON if name in found["common"])
    sheets = [f"**{rung['title']}**\n\n![{ON_SHEET} samples](ladder/{rung['name']}.png)" for rung in found["rungs"]]
    observed = [
        f"**Observed, {one['size']} pixels**\n\n![{ON_SHEET} observed frames](ladder/observed-{one['size']}.png)"
        for one in found["cubes"].values()
    ]
    channels = ", ".join(channel(name).label for name in next(iter(found["cubes"].values()))["channels"])
    return "\n".join(
        [
            *lines,
            "",
            f"{found['images']:,} images each; {channels}; samples under the conditions of the validation months. *Over"
            " its floor* is the mean over the seeds that stayed finite. The talk's column is for its order only: those "
            "are other data (193 Å), other sizes (512 and 1024 pixels) and another feature network, and none of its "
            "numbers can be set beside one of ours.",
            "",
            "Floors, what real frames of the train months get in place of samples:",
            "",
            *floors,
            "",
            f"Alike in all rungs: {common} (`base_width` but for the doubled resolution).",
            "",
            f"Feature networks: {'; '.join(next(iter(found['cubes'].values()))['networks'])}.",
            "",
            f"`{found['command']}`",
            "",
            f"{found['machine']}, {found['runs_at_a_time']} runs at a time with one thread each; "
            + ", ".join(f"{name} {number}" for name, number in found["versions"].items())
            + ".",
            "",
            f"## Samples of seed {found['seeds'][0]}, not picked",
            "",
            "The same conditions at the same places of every sheet, from the quietest to the strongest forecast of the "
            "validation months.",
            "",
            "\n\n".join([*sheets, *observed]),
        ]
    )


TEXT = f"""# The ladder: what each step does

The talk that this project began with went from a StyleGAN2 that collapsed on raw solar images to one with natural Suns,
step by step. Here the steps are made again with this package, on other data and at small sizes that two CPU cores can
train: each rung keeps what the rungs below it changed.

{MARKS[0]}
{MARKS[1]}

## How to read it

- Runs are short. A rung that helps late, as augmentation does, shows less than it would after a long training.
- Everything is measured on what people would see, the logarithm of DN/s in 8 bits. The first rung was trained on DN/s,
  from the channel's lower limit to the brightest pixel of the train months, and is measured in the same way: small
  errors in the dark are large there.
- The frames are browse images turned back into DN/s (`--undo-stretch`), so their range ends where the 8 bits did.
  Calibrated DN/s go on a hundred times further, and the logarithm does more there.
- Two seeds tell large steps from small ones, no more; the notes say where a step is within the seeds' difference.
- A diversity far above 1 is noise, not variety.
- Distances at two sizes cannot be compared; their ratios to the floor can, roughly.
- A projected discriminator sees EfficientNet-Lite0's features, so that network's figures flatter its rung.
"""


def write_page(found: dict[str, Any], page: Path) -> None:
    """Put the table between the marks; a page that is not there yet begins with `TEXT`."""
    put_between(MARKS, table(found), page, TEXT)


def write_sheets(arguments: argparse.Namespace, folder: Path) -> None:
    """A sheet of samples for each rung, and one of observed frames for each size."""
    for path in (arguments.cube_small, arguments.cube_large):
        cube = open_cube(path)
        frames, fluxes = validation_frames(cube, COMMON["conditions"])
        rows = sheet_rows(fluxes)
        classes = [f"{format_goes_class(flux)} follows" for flux in fluxes[rows, -1]]
        days = np.datetime_as_string(frames["time"].values[rows], unit="D")
        titles = [f"{day}, {name}" for day, name in zip(days, classes, strict=True)]
        observed = frames["intensity"].isel(time=rows).values
        draw(folder / f"observed-{cube.sizes['y']}.png", titles, observed, cube, synthetic=False)
        for rung in rungs(arguments.projected):
            kept = arguments.out / f"{rung.name}-seed{arguments.seeds[0]}" / SHEET
            if cube_of(rung, arguments) == path and kept.exists():
                with np.load(kept) as content:
                    draw(folder / f"{rung.name}.png", classes, content["intensity"], cube, synthetic=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cube-small", type=Path, default=Path("sdo2012-dn-32.zarr"), help="of the first four rungs")
    parser.add_argument("--cube-large", type=Path, default=Path("sdo2012-dn-64.zarr"), help="of the others")
    parser.add_argument("--projected", action="store_true", help="one rung more, with a projected discriminator")
    add_options(parser, out=Path("runs/ladder"), images=10_000)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page-file", type=Path, default=PAGE, help="its sheets lie in a folder of the same name")
    argv = sys.argv[1:] if argv is None else argv
    arguments = parser.parse_args(argv)
    if arguments.page:
        write_page(json.loads(arguments.results.read_text()), arguments.page_file)
        return
    torch.set_num_threads(1)
    backbones, notes = load_backbones(arguments.weights, device="cpu")
    if arguments.run:
        rung = next(one for one in RUNGS if one.name == arguments.run[0])
        recipe = recipe_of(rung, arguments.images, int(arguments.run[1]))
        cube = open_cube(cube_of(rung, arguments))
        out = arguments.out / f"{rung.name}-seed{recipe.seed}"
        judges = judges_of(cube, arguments.samples, arguments.out, backbones)
        run(cube, out, recipe, judges, network_range(cube, recipe.scaling))
        return
    for note in notes:
        print(note)
    # Before the runs, so that they find the reference's features in the cache.
    floors = {
        path.name: describe(path, judges_of(open_cube(path), arguments.samples, arguments.out, backbones))
        for path in (arguments.cube_small, arguments.cube_large)
    }
    found = report(arguments, argv, floors)
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    arguments.results.write_text(json.dumps(found, indent=2) + "\n")
    write_page(found, arguments.page_file)
    write_sheets(arguments, arguments.page_file.with_suffix(""))
    for rung in found["rungs"]:
        for one in rung["runs"]:
            measured = ", ".join(f"{key} {value['frechet']:.4g}" for key, value in one["figures"].items())
            print(f"{rung['name']:13} seed {one['seed']}: {measured or 'not finite'}, diversity {one['diversity']}")
    print("ratio none: no finite run" if found["ratio"] is None else f"ratio {found['ratio']:.2f}")


if __name__ == "__main__":
    main()
