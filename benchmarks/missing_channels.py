"""Training on frames that lack channels, taken out at random, against training on complete frames.

    python -m benchmarks.missing_channels --cube sdo2012-32.zarr

Run from the root of the repository. `CASES` are trained on the train months of the same cube, for as many images, with
the same recipe but for what is said there; in all but one, each channel of each frame is gone with a probability of
30 or 60 %, whatever it would show. Their samples are then measured against the complete validation frames, as is an
untrained network's. No frame of the test months is looked at. Runs stay in --out: what was stopped goes on where it
was.

The figures go to results/missing-channels.json, and from there the table in docs/wavelengths.md is made. The last line
is the untrained network's Fréchet distance over that of the one that learnt from incomplete frames, in the first
feature network.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr

from benchmarks.trained_runs import (
    CONDITIONS,
    Job,
    add_options,
    describe,
    judges_of,
    machine,
    put_between,
    result_of,
    run,
    run_all,
    untrained,
    versions,
)
from sunaug.cube import FrameStatus, open_cube
from sunaug.fidelity.backbones import load_backbones
from sunaug.fidelity.judge import Judge
from sunaug.scaling import IntensityScaling, default_scaling
from sunaug.training.frames import known_frames
from sunaug.training.recipe import Recipe

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "missing-channels.json"
PAGE = ROOT / "docs" / "wavelengths.md"
MARKS = ("<!-- missing -->", "<!-- /missing -->")

COMMON: dict[str, Any] = {
    "batch": 8,
    "base_width": 1024,
    "max_width": 64,
    "z_dim": 64,
    "w_dim": 64,
    "conditions": CONDITIONS,
    "r1_gamma_end": 0.3,
    "ema_half_life": 1000,
    "ema_power": (),
    "on_collapse": "note",
    "max_rollbacks": 0,
}


class Case(NamedTuple):
    """What is trained: its name in the table, the share of the channels that is gone, and fields of the recipe."""

    title: str
    gone: float
    recipe: dict[str, Any]


LEARN: dict[str, Any] = {"missing_channels": "learn"}
CASES = {
    "complete": Case("all channels of all frames", 0.0, {}),
    "learn": Case("30 % gone, `missing_channels: learn`", 0.3, LEARN),
    "dropout": Case("30 % gone, `learn` and `channel_dropout: 0.2`", 0.3, {**LEARN, "channel_dropout": 0.2}),
    "skip": Case("30 % gone, `skip`: the frames that are still complete", 0.3, {}),
    "learn60": Case("60 % gone, `missing_channels: learn`", 0.6, LEARN),
    "skip60": Case("60 % gone, `skip`", 0.6, {}),
}


def recipe_of(name: str, images: int, seed: int) -> Recipe:
    """How a case is trained."""
    often = max(images // 2, 1)
    looks = {"checkpoint_images": often, "sample_images": often, "health_images": max(images // 10, 1)}
    return Recipe(images=images, seed=seed, keep_checkpoints=1, **looks, **COMMON, **CASES[name].recipe)


def lacking(cube: xr.Dataset, gone: float, seed: int) -> xr.Dataset:
    """The cube without a share of its channels, frame by frame and by chance; each frame keeps one at least."""
    random = np.random.default_rng(seed).random((cube.sizes["time"], cube.sizes["channel"]))
    taken = (random < gone) & (random < random.max(axis=1, keepdims=True))
    complete = cube["frame_status"].values == FrameStatus.COMPLETE
    status = np.where(complete & taken.any(axis=1), FrameStatus.PARTIAL, cube["frame_status"].values)
    intensity = np.where(taken[:, :, None, None], np.float32(np.nan), cube["intensity"].values)
    return cube.assign(
        intensity=(cube["intensity"].dims, intensity), frame_status=(cube["frame_status"].dims, status.astype(np.int8))
    )


def scaling_of(cube: xr.Dataset) -> IntensityScaling:
    """The scaling that the recipes take by default."""
    return default_scaling([str(name) for name in cube["channel"].values], cube.attrs["intensity_scale"])


def trained_on(cube: xr.Dataset, name: str, seed: int) -> xr.Dataset:
    """The cube of a case."""
    return lacking(cube, CASES[name].gone, seed) if CASES[name].gone else cube


def jobs_of(arguments: argparse.Namespace) -> dict[str, list[Job]]:
    """The runs of each case, in the order of the seeds."""
    return {
        name: [
            Job(name, seed, recipe_of(name, arguments.images, seed), arguments.out / f"{name}-seed{seed}")
            for seed in arguments.seeds
        ]
        for name in CASES
    }


def frames_of(cube: xr.Dataset, job: Job) -> dict[str, int]:
    """Frames that a case is trained on, and how many of them have all channels."""
    own = trained_on(cube, job.name, job.seed)
    frames = known_frames(own, job.recipe.labels, job.recipe.missing_channels)
    whole = int((frames["frame_status"].values == FrameStatus.COMPLETE).sum())
    return {"frames": frames.sizes["time"], "whole": whole}


def report(arguments: argparse.Namespace, argv: Sequence[str], judges: Sequence[Judge]) -> dict[str, Any]:
    """Make the runs and put together what goes into the results file."""
    cube, jobs = open_cube(arguments.cube), jobs_of(arguments)
    run_all([job for some in jobs.values() for job in some], "benchmarks.missing_channels", argv, arguments.workers)
    return {
        "command": f"python -m benchmarks.missing_channels {shlex.join(argv)}".rstrip(),
        "machine": machine(),
        "versions": versions(),
        "images": arguments.images,
        "seeds": arguments.seeds,
        "cube": describe(arguments.cube, judges),
        "untrained": untrained(cube, jobs["complete"][0].recipe, judges),
        "cases": [
            {
                "name": name,
                "gone": CASES[name].gone,
                **frames_of(cube, some[0]),
                "runs": [result_of(job) for job in some],
            }
            for name, some in jobs.items()
        ],
    }


def mean(one: dict[str, Any], label: str, measure: str) -> float:
    """A figure of a case, over its seeds."""
    return statistics.fmean(made["figures"][label][measure] for made in one["runs"])


def table(found: dict[str, Any]) -> str:
    """What stands between the page's marks, from the figures alone."""
    labels = list(found["cube"]["floor"])
    head = ["trained on", "frames, complete ones", *labels, "untrained over it", "processor seconds per 1,000 images"]
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for one in found["cases"]:
        better = found["untrained"][labels[0]]["frechet"] / mean(one, labels[0], "frechet")
        seconds = ", ".join(f"{made['processor_seconds_per_thousand'] or math.nan:.0f}" for made in one["runs"])
        cells = [
            CASES[one["name"]].title,
            f"{one['frames']:,}, {one['whole']:,}",
            *(", ".join(f"{made['figures'][label]['frechet']:.3g}" for made in one["runs"]) for label in labels),
        ]
        lines.append(f"| {' | '.join([*cells, f'**{better:.1f}**', seconds])} |")
    for title, figures in (("untrained", found["untrained"]), ("real train frames", found["cube"]["floor"])):
        cells = [title, "", *(f"{figures[label]['frechet']:.3g}" for label in labels), "", ""]
        lines.append(f"| {' | '.join(cells)} |")
    cube, seeds = found["cube"], ", ".join(map(str, found["seeds"]))
    lines += [
        "",
        f"Fréchet distances of {cube['samples']:,} samples to the complete validation frames of {cube['size']} pixels; "
        f"{found['images']:,} images each, seed{'s' * (len(found['seeds']) > 1)} {seeds}. `{found['command']}`, "
        f"{found['machine']}, one thread for each run.",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cube", type=Path, default=Path("sdo2012-32.zarr"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page-file", type=Path, default=PAGE)
    add_options(parser, out=Path("runs/missing-channels"), images=12_000)
    parser.set_defaults(seeds=[0], workers=1)
    argv = sys.argv[1:] if argv is None else argv
    arguments = parser.parse_args(argv)
    if arguments.page:
        put_between(MARKS, table(json.loads(arguments.results.read_text())), arguments.page_file, "\n".join(MARKS))
        return
    torch.set_num_threads(1)
    backbones, notes = load_backbones(arguments.weights, device="cpu")
    cube = open_cube(arguments.cube)
    judges = judges_of(cube, arguments.samples, arguments.out, backbones)
    if arguments.run:
        name, seed = arguments.run[0], int(arguments.run[1])
        job = next(one for one in jobs_of(arguments)[name] if one.seed == seed)
        run(cube, job.out, job.recipe, judges, (trained_on(cube, name, seed), scaling_of(cube)))
        return
    print("\n".join(notes))
    found = report(arguments, argv, judges)
    label = judges[0].label
    learnt = next(one for one in found["cases"] if one["name"] == "learn")
    found["ratio"] = found["untrained"][label]["frechet"] / mean(learnt, label, "frechet")
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    arguments.results.write_text(json.dumps(found, indent=2) + "\n")
    put_between(MARKS, table(found), arguments.page_file, "\n".join(MARKS))
    print(f"ratio {found['ratio']:.2f}")


if __name__ == "__main__":
    main()
