"""Quality after the same time of training on the same frames: ours against NVIDIA's StyleGAN2-ADA-PyTorch.

    SUNAUG_PEERS=/tmp/peers python -m benchmarks.quality_against_peer --cube sdo2012-64.zarr --minutes 60

Run from the root of the repository with nothing else running. Both sides train on the train months of the cube, with
networks of the same widths, for the same number of minutes and with the same number of threads: at the same time, each
pinned to its half of the cores, or with --one-after-the-other each on all of them. Loading and evaluating do not
count; checkpoints and our sample sheets do.

- *ours*: `sunaug.training.loop.train` with the recipe --recipe. Its schedules need to know how many images there will
  be: a few seconds of its time are spent on measuring that. No frame of the validation months is looked at, so the
  last average is taken, not the best one.
- *theirs*: `benchmarks.peers.stylegan2_ada`: its own losses, penalties, rates, adaptive augmentation and average, with
  the GOES class of the next 24 hours as its label, the recipe's batch, and mirrored images where the recipe has them.

Then both make samples under the conditions of the validation months, which are measured against the frames of these
months in two feature networks. *floor* is the same figure for real frames of the train months. --evaluate-only
measures again what a run has left in --out. Beside the report stands a sheet of observed frames and of samples of both
under the same conditions. The last line is our Fréchet distance over theirs, in the first feature network.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
import yaml
from lightning_fabric import Fabric
from numpy.typing import NDArray

from benchmarks.peers.stylegan2_ada import PeerSettings, PeerTrainer, sample
from benchmarks.train_speed import processor, versions
from sunaug.cube import open_cube, select_split
from sunaug.fidelity.backbones import image_features, load_backbones
from sunaug.fidelity.distribution import distances, mean_over_images
from sunaug.fidelity.images import display_images
from sunaug.goes_classes import format_goes_class
from sunaug.networks import Generator
from sunaug.networks.conditions import CLASSES, encode_class
from sunaug.pictures import contact_sheet
from sunaug.scaling import IntensityScaling, default_scaling
from sunaug.training.checkpoint import load_checkpoint
from sunaug.training.frames import TrainingFrames, load_frames
from sunaug.training.loop import train
from sunaug.training.recipe import Recipe, load_recipe
from sunaug.training.shape import network_config
from sunaug.training.trainer import Trainer

RESULTS = Path(__file__).parent / "results" / "quality-against-peer.json"
SIDES = ("ours", "theirs")
LABEL = "forecast_flux"
PEER_STATE = "state.pt"
PEER_SAVES = 4_000
"""Images between two states of the peer that are kept: a tick of its own loop."""
BATCH = 64
COLUMNS = 6
MEASURES = ("frechet", "kid", "kid_stderr")


def scaling_of(cube: xr.Dataset, recipe: Recipe) -> IntensityScaling:
    channels = [str(name) for name in cube["channel"].values]
    return default_scaling(channels, cube.attrs["intensity_scale"], recipe.scaling)


def labels_of(recipe: Recipe) -> tuple[str, ...]:
    """Labels that a frame has to have for both sides."""
    return tuple(dict.fromkeys((*recipe.labels, LABEL)))


def classes_of(flux: NDArray[np.float64]) -> NDArray[np.int64]:
    return encode_class(flux).argmax(axis=1)


# ---- Training, each side in a process of its own ---------------------------------------------------------------------


def images_in(frames: TrainingFrames, recipe: Recipe, shape: tuple[int, int], device: str, seconds: float) -> int:
    """Images that a training will show in this time, from a try of a fiftieth of it, 30 seconds at most."""
    fabric = Fabric(accelerator=device, devices=1, precision=recipe.precision)
    fabric.launch()
    trainer = Trainer(frames, network_config(recipe, *shape), recipe, fabric)
    trainer.step()
    began = time.monotonic()
    while True:
        for _ in range(recipe.penalty_interval):
            trainer.step()
        elapsed = time.monotonic() - began
        if elapsed > min(30, seconds / 50):
            return round((trainer.images - recipe.batch) / elapsed * seconds)


def train_ours(arguments: argparse.Namespace, recipe: Recipe, out: Path) -> None:
    cube = open_cube(arguments.cube)
    seconds = 60 * arguments.minutes
    frames = load_frames(cube, scaling_of(cube, recipe), recipe.labels, recipe.class_balance)
    began = time.monotonic()
    shape = cube.sizes["y"], cube.sizes["channel"]
    # Looks between the steps take a little; a schedule that is cut off before its end is worse than a second unused.
    images = images_in(frames, recipe, shape, arguments.device, seconds * 0.96)
    del frames
    recipe = recipe.model_copy(update={"images": images})
    spent = time.monotonic() - began
    print(f"{images:,} images, found out in {spent:.1f} s", flush=True)
    trained = train(
        cube,
        out,
        recipe,
        accelerator=arguments.device,
        minutes=(seconds - spent) / 60,
        say=lambda text: print(text, flush=True),
    )
    print(f"{trained.images:,} images in {trained.seconds + spent:.1f} s", flush=True)


def peer_settings(arguments: argparse.Namespace, recipe: Recipe, size: int, channels: int) -> PeerSettings:
    return PeerSettings(
        size=size,
        image_channels=channels,
        classes=len(CLASSES),
        base_width=recipe.base_width,
        max_width=recipe.max_width,
        z_dim=recipe.z_dim,
        w_dim=recipe.w_dim,
        mapping_layers=recipe.mapping_layers,
        batch=arguments.peer_batch or recipe.batch,
        augment_p=arguments.peer_p or 0.0,
        ada_target=0.6 if arguments.peer_p is None else None,
        ada_kimg=arguments.peer_ada_kimg,
        r1_gamma=arguments.peer_gamma,
        mirror=recipe.mirror,
        fp16_resolutions=arguments.peer_fp16,
    )


def train_theirs(arguments: argparse.Namespace, recipe: Recipe, out: Path) -> None:
    cube = open_cube(arguments.cube)
    frames = load_frames(cube, scaling_of(cube, recipe), labels_of(recipe), recipe.class_balance)
    flux = frames.fluxes[:, labels_of(recipe).index(LABEL)]
    settings = peer_settings(arguments, recipe, cube.sizes["y"], cube.sizes["channel"])
    images, labels = frames.images.to(arguments.device), torch.from_numpy(classes_of(flux))
    trainer = PeerTrainer(images, labels, settings, arguments.device, recipe.seed)
    out.mkdir(parents=True, exist_ok=True)
    began, elapsed = time.monotonic(), 0.0
    while elapsed < 60 * arguments.minutes:
        trainer.step()
        elapsed = time.monotonic() - began
        if trainer.images_shown // PEER_SAVES > (trainer.images_shown - settings.batch) // PEER_SAVES:
            save_peer(trainer, out, elapsed)
    save_peer(trainer, out, elapsed)


def save_peer(trainer: PeerTrainer, out: Path, seconds: float) -> None:
    partial = out / f"{PEER_STATE}.partial"
    torch.save({**trainer.state(), "seconds": seconds}, partial)
    partial.replace(out / PEER_STATE)
    print(f"{trainer.images_shown:,} images in {seconds:.1f} s, augmentation {trainer.augment_p:.4f}", flush=True)


def run_sides(arguments: argparse.Namespace) -> None:
    """Start the sides' processes and wait for them."""
    cores = sorted(os.sched_getaffinity(0))
    both = arguments.device == "cpu" and not arguments.one_after_the_other
    if both and len(cores) < 2:
        raise SystemExit("one core only: add --one-after-the-other.")
    half = len(cores) // 2
    shares = {"ours": cores[:half], "theirs": cores[half : 2 * half]} if both else dict.fromkeys(SIDES, cores)
    waiting = []
    for side in SIDES:
        command = [sys.executable, "-m", "benchmarks.quality_against_peer", *sys.argv[1:], "--side", side]
        command += ["--cores", *map(str, shares[side])]
        environment = {**os.environ, "OMP_NUM_THREADS": str(len(shares[side]))}
        with (arguments.out / f"{side}.log").open("w") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        waiting.append((side, process))
        if not both:
            process.wait()
    failed = [side for side, process in waiting if process.wait()]
    if failed:
        raise SystemExit(f"the training of {' and '.join(failed)} failed; see {arguments.out}/{failed[0]}.log.")


# ---- Samples of what each side has left ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trained:
    """A side's generator after its training.

    Attributes
    ----------
    images, seconds : int, float
        Shown to the discriminator, and of the training.
    details : dict
        Settings and counters, for the report.
    make : callable
        Scaled samples (n, channel, y, x) under fluxes (n, n_labels), columns as in `labels_of`.
    """

    images: int
    seconds: float
    details: dict[str, Any]
    make: Callable[[NDArray[np.float64]], NDArray[np.float32]]


def trained_ours(out: Path, cube: xr.Dataset, seed: int) -> Trained:
    saved = load_checkpoint(out)
    if saved is None:
        raise SystemExit(f"{out}: no checkpoint in it; run without --evaluate-only first.")
    recipe = Recipe(**yaml.safe_load((out / "recipe.yaml").read_text()))
    config = network_config(recipe, cube.sizes["y"], cube.sizes["channel"])
    generator = Generator(config).eval()
    generator.load_state_dict(saved["trainer"]["averages"][recipe.ema])

    def make(fluxes: NDArray[np.float64]) -> NDArray[np.float32]:
        random = torch.Generator().manual_seed(seed)
        condition = torch.from_numpy(config.encode(fluxes[:, : len(recipe.labels)]))
        made = []
        with torch.inference_mode():
            for part in condition.split(BATCH):
                z = torch.randn(len(part), config.z_dim, generator=random)
                noise = torch.randn(len(part), generator.noise_size, generator=random)
                made.append(generator(z, part, noise if recipe.noise else None).numpy())
        return np.concatenate(made)

    state = saved["trainer"]
    details = {"steps": state["steps"], "roll_backs": state["attempt"], "recipe": recipe.model_dump(mode="json")}
    return Trained(state["images"], saved["seconds"], details, make)


def trained_theirs(out: Path, seen: NDArray[np.int64], column: int, seed: int) -> Trained:
    """`seen`: classes of the train months; a class that is none of them takes its neighbour's place."""
    if not (out / PEER_STATE).exists():
        raise SystemExit(f"{out}: no {PEER_STATE} in it; run without --evaluate-only first.")
    state = torch.load(out / PEER_STATE, map_location="cpu", weights_only=True)
    settings = replace(PeerSettings(**state["settings"]), fp16_resolutions=0)  # half precision is for CUDA

    def make(fluxes: NDArray[np.float64]) -> NDArray[np.float32]:
        classes = classes_of(fluxes[:, column])
        classes = seen[np.abs(classes[:, None] - seen).argmin(axis=1)]
        return sample(settings, state["average"], torch.from_numpy(classes), seed, BATCH).numpy()

    details = {"steps": state["steps"], "augment_p": state["augment_p"], "settings": state["settings"]}
    return Trained(state["images"], state["seconds"], details, make)


# ---- Measuring -------------------------------------------------------------------------------------------------------


def known_frames(cube: xr.Dataset, split: str, labels: Sequence[str]) -> tuple[xr.Dataset, NDArray[np.float64]]:
    """Frames of a split whose labels are known, and these (n, n_labels)."""
    frames = select_split(cube, split)
    fluxes = np.stack([np.asarray(frames[name].values, np.float64) for name in labels], axis=1)
    known = np.flatnonzero(np.isfinite(fluxes).all(axis=1))
    return frames.isel(time=known), fluxes[known]


def evaluate(arguments: argparse.Namespace, recipe: Recipe) -> dict[str, Any]:
    """Samples of both sides against the validation months, and real frames of the train months as the floor."""
    cube = open_cube(arguments.cube)
    channels, scale = [str(name) for name in cube["channel"].values], cube.attrs["intensity_scale"]
    labels, scaling = labels_of(recipe), scaling_of(cube, recipe)
    low = np.asarray(scaling.low, np.float32)[:, None, None]
    validation, fluxes = known_frames(cube, "validation", labels)
    train_frames, train_fluxes = known_frames(cube, "train", labels)
    seen = np.unique(classes_of(train_fluxes[:, labels.index(LABEL)]))
    sides = {
        "ours": trained_ours(arguments.out / "ours", cube, arguments.seed),
        "theirs": trained_theirs(arguments.out / "theirs", seen, labels.index(LABEL), arguments.seed),
    }

    random = np.random.default_rng(arguments.seed)
    n = arguments.samples or len(fluxes)
    # Each frame's condition once before any comes a second time.
    rows = np.concatenate([random.permutation(len(fluxes)) for _ in range(-(-n // len(fluxes)))])[:n]
    floor = np.sort(random.permutation(len(train_fluxes))[:n])

    def made(side: Trained, under: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.maximum(scaling.unscale(side.make(under)), low)

    sets = {
        "real": validation["intensity"].values,
        "floor": train_frames["intensity"].isel(time=floor).values,
        **{name: made(side, fluxes[rows]) for name, side in sides.items()},
    }
    backbones, notes = load_backbones(arguments.weights)
    found = {
        name: image_features(
            (display_images(part, channels, scale) for part in np.array_split(frames, -(-len(frames) // BATCH))),
            backbones,
        )
        for name, frames in sets.items()
    }
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for backbone in backbones:
        real = found["real"][backbone.label]
        for name in (*SIDES, "floor"):
            by_image = {
                image: distances(vectors, real[image]) for image, vectors in found[name][backbone.label].items()
            }
            mean = mean_over_images(by_image)
            # Not precision and coverage: frames of two hours later are so alike that each real frame's nearest
            # neighbours are closer than any frame of another month, and the floor is 0.
            figures.setdefault(backbone.label, {})[name] = {key: mean[key] for key in MEASURES}
    if recipe.discriminator != "pixel":
        notes.append("our discriminator sees EfficientNet-Lite0's features, so figures made with these flatter ours.")
    makers = {name: partial(made, side) for name, side in sides.items()}
    draw(arguments, validation, fluxes, labels, makers)
    return {
        "figures": figures,
        "networks": [backbone.description for backbone in backbones],
        "samples": n,
        "real_frames": len(fluxes),
        "floor_frames": len(floor),
        "notes": notes,
        **{
            name: {
                "images": side.images,
                "seconds": round(side.seconds, 1),
                "images_per_second": round(side.images / side.seconds, 2),
                **side.details,
            }
            for name, side in sides.items()
        },
    }


def draw(
    arguments: argparse.Namespace,
    validation: xr.Dataset,
    fluxes: NDArray[np.float64],
    labels: Sequence[str],
    makers: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float32]]],
) -> None:
    """A sheet: observed frames from the quietest to the strongest, then samples of both under their conditions."""
    order = np.argsort(fluxes[:, labels.index(LABEL)], kind="stable")
    rows = order[np.linspace(0, len(order) - 1, COLUMNS).round().astype(int)]
    classes = [format_goes_class(flux) for flux in fluxes[rows, labels.index(LABEL)]]
    days = np.datetime_as_string(validation["time"].values[rows], unit="D")
    frames = validation["intensity"].isel(time=rows).values
    panels = [(f"observed {day}, {name} follows", one) for day, name, one in zip(days, classes, frames, strict=True)]
    for title, side in (("StyleGAN2-ADA", "theirs"), ("sunaug", "ours")):
        # Twice as many as fit into a row: a generator that makes the same Sun each time shows it.
        for made in makers[side](np.concatenate([fluxes[rows], fluxes[rows]])).reshape(2, COLUMNS, *frames.shape[1:]):
            panels += [(f"{title} {name}", one) for name, one in zip(classes, made, strict=True)]
    contact_sheet(
        arguments.results.with_suffix(".png"),
        panels,
        [str(name) for name in validation["channel"].values],
        intensity_scale=validation.attrs["intensity_scale"],
        columns=COLUMNS,
        heading=f"Each trained for {arguments.minutes:g} min",
        synthetic=[False] * COLUMNS + [True] * (len(panels) - COLUMNS),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cube", required=True, help="with train and validation months and flare labels")
    parser.add_argument("--minutes", type=float, default=60, help="of training, each")
    parser.add_argument("--recipe", default="cpu-64", help="ours: a name or a YAML file")
    parser.add_argument("--out", type=Path, default=Path("runs/quality-against-peer"), help="folder of both runs")
    parser.add_argument("--one-after-the-other", action="store_true", help="each with all cores")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="on cuda one after the other, always")
    parser.add_argument("--evaluate-only", action="store_true", help="measure what lies in --out")
    parser.add_argument("--samples", type=int, default=0, help="by default as many as there are validation frames")
    parser.add_argument("--seed", type=int, default=0, help="of the evaluation; the recipe has that of the training")
    parser.add_argument("--weights", help="Inception weights; looked for by default")
    parser.add_argument("--peer-batch", type=int, help="theirs, if not the recipe's")
    parser.add_argument("--peer-gamma", type=float, help="theirs, if not its heuristic's")
    parser.add_argument("--peer-p", type=float, help="theirs: a fixed probability of augmentation in place of ADA")
    parser.add_argument("--peer-ada-kimg", type=float, default=500, help="theirs: ADA's span in thousands of images")
    parser.add_argument("--peer-fp16", type=int, default=0, help="theirs: resolutions in half precision on CUDA")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--cores", type=int, nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe)
    if arguments.side:
        os.sched_setaffinity(0, arguments.cores)
        torch.set_num_threads(len(arguments.cores))
        training = train_ours if arguments.side == "ours" else train_theirs
        training(arguments, recipe, arguments.out / arguments.side)
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    if not arguments.evaluate_only:
        if left := [side for side in SIDES if (arguments.out / side).exists()]:
            raise SystemExit(f"{arguments.out / left[0]}: holds a run; give another --out, or add --evaluate-only.")
        run_sides(arguments)
    gpu = f"{torch.cuda.get_device_name()}; " if arguments.device == "cuda" else ""
    report = {
        "command": f"python -m benchmarks.quality_against_peer {shlex.join(sys.argv[1:])}",
        "machine": f"{gpu}{processor()}, {len(os.sched_getaffinity(0))} cores, {versions()}",
        "cube": Path(arguments.cube).name,
        "minutes": arguments.minutes,
        **evaluate(arguments, recipe),
    }
    first = next(iter(report["figures"].values()))
    report["ratio"] = first["ours"]["frechet"] / first["theirs"]["frechet"]
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    arguments.results.write_text(json.dumps(report, indent=2) + "\n")
    for side in SIDES:
        one = report[side]
        print(f"{side}: {one['images']:,} images in {one['seconds']:,.0f} s, {one['images_per_second']} images/s")
    for label, by_side in report["figures"].items():
        for name, values in by_side.items():
            print(f"{label} {name:7} " + ", ".join(f"{key} {value:.4g}" for key, value in values.items()))
    print(f"ratio {report['ratio']:.2f}")


if __name__ == "__main__":
    main()
