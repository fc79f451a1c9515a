"""Are rare samples rare events? What issue with them a forecaster may have, measured on a bundle.

    python -m benchmarks.rare_events --cube sdo2012-128.zarr [--bundle sdo2012-128] [--samples 1000]

The cube is the one that the bundle was trained on. A second critic, with other random numbers than the bundle's, is
trained on the cube's train months (and kept in --work for the next time): it has no part in which samples are made.
Then are measured, on 1,000 rare and 1,000 plain samples, and on the frames of the validation months:

- *read*: the share that the second critic puts at M1.0 or more, by label;
- *steering*: 100 latents from -3 to +3 standard deviations along the flare direction, each drawn with several noises:
  the flux that is read at each step, the share of latents for which every step rises (the median over a latent's
  noises; beside it the same for single pictures), and how much the limb moves;
- *nearest*: distances between samples and to the nearest training frame, as root mean square of scaled intensities at
  64 pixels and in the second critic's features, beside those of validation frames; and the share of samples that are
  nearer to a training frame than the nearest 1 % of validation frames;
- *latitudes*: of active regions, with a picture in docs/directions/latitudes.png.

Writes benchmarks/results/rare-events.json. The last line is the share of rare samples read at M1.0 or more over that
of real frames of class M and X.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy.stats import wasserstein_distance
from torch import Tensor

import sunaug
from benchmarks.train_speed import processor
from sunaug.bundle import Bundle, load_bundle
from sunaug.critic import Critic, fit_critic
from sunaug.cube import open_cube, select_split
from sunaug.latent.effects import shifted
from sunaug.latent.ganspace import draw_latents
from sunaug.latent.steering import FLARE, pictures
from sunaug.measures.frame import REGION_CHANNELS
from sunaug.measures.limb import Geometry, fit_limb
from sunaug.measures.regions import active_regions
from sunaug.training.frames import load_frames

mpl.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "rare-events.json"
PICTURE = HERE.parent / "docs" / "directions" / "latitudes.png"
STEPS = np.arange(-3.0, 3.1)
LATENTS = 100
NOISES = 5
"""Pictures of each latent: noise is the fine grain of a picture, which W and so the direction do not decide."""
BORDER = 1e-5
SIZE = 64
SECOND_SEED = 1


def second_critic(arguments: argparse.Namespace, bundle: Bundle, frames: Any) -> Critic:
    path = Path(arguments.work) / f"second-critic-{Path(arguments.cube).name}.safetensors"
    if path.exists():
        with safe_open(path, framework="pt") as file:
            return Critic.from_state(load_file(path), file.metadata())
    labels = bundle.info.network.labels
    critic = fit_critic(frames.images, frames.fluxes, frames.times, labels, frames.weights, seed=SECOND_SEED)
    assert critic is not None
    tensors, text = critic.state()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata=text)
    return critic


def scaled(bundle: Bundle, images: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.nan_to_num(bundle.info.scaling.scale(images), nan=-1.0)).float().clamp(-1, 1)


def shares(critic: Critic, sets: dict[str, Tensor]) -> dict[str, dict[str, float]]:
    """By label, the share of each set that is read at M1.0 or more."""
    found: dict[str, dict[str, float]] = {}
    for name, images in sets.items():
        flux = critic.read(images).flux
        for column, label in enumerate(critic.labels):
            found.setdefault(label, {})[name] = float((flux[:, column] >= BORDER).mean())
    return found


def steering(bundle: Bundle, critic: Critic) -> dict[str, Any]:
    """Fluxes read, and the limb, along the flare direction."""
    info, n_styles = bundle.info, bundle.generator.n_styles
    geometry = Geometry(info.network.size, info.disk_radius)
    w = next(draw_latents(bundle, LATENTS, 5, batch=LATENTS))[0]
    flux, radius, centre = [], [], []
    for step in STEPS:
        moved = shifted(w, float(step) * bundle.directions[FLARE], (0, n_styles - 1), n_styles)
        images = pictures(bundle, moved)
        others = [pictures(bundle, moved, seed) for seed in range(1, NOISES)]
        flux.append([critic.read(one).flux for one in (images, *others)])
        limb = fit_limb(((images[:, 0].numpy() + 1) / 2).clip(0, 1), geometry)
        radius.append(limb[0])
        centre.append(limb[1])
    moved_radius = np.abs(np.array(radius) - radius[len(STEPS) // 2])
    moved_centre = np.hypot(*np.moveaxis(np.array(centre) - centre[len(STEPS) // 2], -1, 0))
    found: dict[str, Any] = {"steps": STEPS.tolist(), "latents": LATENTS, "noises": NOISES}
    for column, label in enumerate(critic.labels):
        each = np.log10(np.array(flux)[..., column])
        read = np.median(each, axis=1)
        found[label] = {
            "median": (10 ** np.median(read, axis=1)).tolist(),
            "latents_that_rise_at_every_step": float((np.diff(read, axis=0) > 0).all(axis=0).mean()),
            "pictures_that_rise_at_every_step": float((np.diff(each, axis=0) > 0).all(axis=0).mean()),
            "share_that_rises_at_each_step": (np.diff(read, axis=0) > 0).mean(axis=1).tolist(),
            "latents_higher_at_the_end": float((read[-1] > read[0]).mean()),
        }
    for name, moved in (("radius", moved_radius), ("centre", moved_centre)):
        found[f"{name}_moves_px"] = {
            "median_of_largest": float(np.median(moved.max(axis=0))),
            "p95_of_largest": float(np.quantile(moved.max(axis=0), 0.95)),
        }
    return found


def at_size(images: Tensor) -> Tensor:
    return F.avg_pool2d(images, images.shape[-1] // SIZE).flatten(1) if images.shape[-1] > SIZE else images.flatten(1)


def nearest(rows: Tensor, others: Tensor, *, same: bool = False) -> NDArray[np.float64]:
    """Root mean square distance of each row to the nearest other one."""
    distances = torch.cdist(rows, others)
    if same:
        distances.fill_diagonal_(torch.inf)
    return (distances.min(dim=1).values / rows.shape[1] ** 0.5).double().numpy()


def neighbours(critic: Critic, rare: Tensor, validation: Tensor, train: Tensor) -> dict[str, Any]:
    def features(images: Tensor) -> Tensor:
        return torch.cat([witness.network.embed(images) for witness in critic.witnesses], dim=1)

    spaces = {"pixels": at_size, "features": features}
    found = {}
    for space, embed in spaces.items():
        ours, theirs, seen = (
            torch.cat([embed(part) for part in images.split(128)]) for images in (rare, validation, train)
        )
        to_train, reference = nearest(ours, seen), nearest(theirs, seen)
        found[space] = {
            "rare_to_rare_median": float(np.median(nearest(ours, ours, same=True))),
            "validation_to_validation_median": float(np.median(nearest(theirs, theirs, same=True))),
            "rare_to_train_median": float(np.median(to_train)),
            "validation_to_train_median": float(np.median(reference)),
            "share_nearer_than_1_percent_of_validation": float((to_train < np.quantile(reference, 0.01)).mean()),
        }
    return found


def latitudes(bundle: Bundle, sets: dict[str, NDArray[np.float32]]) -> dict[str, Any]:
    info = bundle.info
    name = next(one for one in REGION_CHANNELS if one in info.channels)
    threshold = REGION_CHANNELS[name][0 if info.intensity_scale == "browse" else 1]
    geometry = Geometry(info.network.size, info.disk_radius)
    found, per_set = {}, {}
    for label, images in sets.items():
        planes = np.nan_to_num(images[:, info.channels.index(name)])
        planes = planes if info.intensity_scale == "browse" else np.log10(np.maximum(planes, 1e-3))
        regions = active_regions(planes, geometry, threshold=threshold).regions
        per_set[label] = np.array([one.latitude for frame in regions for one in frame])
        found[label] = {
            "regions_per_frame": len(per_set[label]) / len(images),
            "median_abs_latitude": float(np.median(np.abs(per_set[label]))),
            "share_within_40_degrees": float((np.abs(per_set[label]) <= 40).mean()),
        }
    real = per_set["real validation"]
    distances = {label: float(wasserstein_distance(values, real)) for label, values in per_set.items()}
    figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
    for label, values in per_set.items():
        axis.hist(values, bins=np.arange(-90, 91, 5), density=True, histtype="step", linewidth=1.6, label=label)
    axis.set_xlabel("heliographic latitude of active regions (degrees, B0 taken as 0)")
    axis.set_ylabel("density")
    axis.legend(frameon=False, fontsize=8)
    axis.set_title(f"Activity belts, {name}, {info.name}", fontsize=10)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=110)
    return {"sets": found, "wasserstein_degrees_to_validation": distances}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cube", required=True)
    parser.add_argument("--bundle", default="sdo2012-128")
    parser.add_argument("--samples", type=int, default=1_000)
    parser.add_argument("--work", default="/tmp/sunaug-rare-events", help="folder that keeps the second critic")
    arguments = parser.parse_args()
    bundle, cube = load_bundle(arguments.bundle), open_cube(arguments.cube)
    labels = bundle.info.network.labels
    frames = load_frames(cube, bundle.info.scaling, labels, 0.5)
    critic = second_critic(arguments, bundle, frames)
    validation = select_split(cube, "validation")
    forecast = validation["forecast_flux"].values
    real = validation["intensity"].values.astype(np.float32)
    rare = sunaug.generate(bundle, arguments.samples, rare=True, seed=21)
    plain = sunaug.generate(bundle, arguments.samples, seed=22)
    train = bundle.info.scaling.unscale(frames.images).numpy()
    sets = {
        "rare": scaled(bundle, rare["intensity"].values),
        "plain": scaled(bundle, plain["intensity"].values),
        "real M and X": scaled(bundle, real[forecast >= BORDER]),
        "real others": scaled(bundle, real[forecast < BORDER]),
    }
    attempts = rare["attempt"].values
    report = {
        "bundle": bundle.info.name,
        "bundle_hash": bundle.hash,
        "cube": Path(arguments.cube).name,
        "samples": arguments.samples,
        "real_frames": {"M and X": int((forecast >= BORDER).sum()), "others": int((forecast < BORDER).sum())},
        "machine": processor(),
        "acceptance_rate": float(len(attempts) / (attempts + 1).sum()),
        "flare_steps": float(rare["steering"].values[0, 0]),
        "second_critic_on_unseen_train_frames": critic.skill(),
        "share_read_at_M1_or_more": shares(critic, sets),
        "steering": steering(bundle, critic),
        "nearest": neighbours(critic, sets["rare"], scaled(bundle, real), frames.images),
        "latitudes": latitudes(
            bundle,
            {
                "rare samples": rare["intensity"].values,
                "plain samples": plain["intensity"].values,
                "real validation": real,
                "real train": train,
            },
        ),
    }
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))
    found = report["share_read_at_M1_or_more"]["forecast_flux"]  # type: ignore[index]
    print(f"ratio {found['rare'] / max(found['real M and X'], 1e-9):.2f}")


if __name__ == "__main__":
    main()
