"""What the encoder of solar frames sees and what it overlooks, on real frames.

    python -m benchmarks.encoder --cube sdo2012-128.zarr [--bundle sdo2012-128] [--steps 400] [--save FILE]

Fits an encoder on the cube's train months, with the bundle's scaling, and takes 300 frames of them and 300 of the
validation months, spread evenly. The floor is the Fréchet distance between the two. Then the validation frames are
damaged, and the distance to the same train frames is given in floors; the bundle's samples are set against both. All of
it again for an encoder whose convolutions were not trained. What is invariant: the median distance between a frame and
its turned, shifted or brighter copy, in medians of the distance between frames of different days. Retrieval: share of
validation frames for which a frame two hours away is nearer than all that are a day or more away. Speed: frames a
second of processor time.

Writes benchmarks/results/encoder.json. The last line, ``ratio X``, is the smallest of the damages' distances in floors,
of the trained encoder; the bundle's samples are not among the damages.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy import ndimage
from torch import Tensor

from sunaug.bundle import Bundle, load_bundle
from sunaug.cube import open_cube, select_split
from sunaug.encoder import SolarEncoder, fit_encoder
from sunaug.encoder.fit import STEPS, moved
from sunaug.fidelity.frechet import FeatureStatistics, frechet_distance
from sunaug.generation import Request, generate_cube
from sunaug.training.frames import load_frames

RESULTS = Path(__file__).parent / "results"
FRAMES = 300
FULL_RANGE = 2.0
DAY = np.timedelta64(1, "D")
TWO_HOURS = np.timedelta64(90, "m"), np.timedelta64(150, "m")
TIMED = 512


def without_active_regions(images: Tensor) -> Tensor:
    """Frames whose bright pixels (1.5 robust deviations above the median at their radius) are set to that median."""
    size = images.shape[-1]
    offset = np.arange(size) - (size - 1) / 2
    ring = np.hypot(offset[:, None], offset).round().astype(int).ravel()
    flat = images.numpy().copy().reshape(-1, size * size)
    for radius in range(ring.max() + 1):
        here = ring == radius
        values = flat[:, here]
        if not values.size:
            continue
        median = np.median(values, axis=1, keepdims=True)
        deviation = 1.4826 * np.median(np.abs(values - median), axis=1, keepdims=True)
        flat[:, here] = np.where(values > median + 1.5 * deviation, median, values)
    return torch.from_numpy(flat.reshape(images.shape))


def damages(images: Tensor) -> dict[str, Tensor]:
    """Damaged copies of scaled frames, by name."""
    size = images.shape[-1]
    random = torch.Generator().manual_seed(5)
    board = (torch.arange(size)[:, None] + torch.arange(size)) % 2 * 2.0 - 1
    noise = torch.randn(images.shape, generator=random)
    found = {
        "blur, sigma 1 pixel": torch.from_numpy(ndimage.gaussian_filter(images.numpy(), (0, 0, 1, 1))),
        "noise, 2 % of the range": images + 0.02 * FULL_RANGE * noise,
        "noise, 1 % of the range": images + 0.01 * FULL_RANGE * noise,
        "no active regions": without_active_regions(images),
        "checkerboard, 1 % up and down": images + 0.01 * FULL_RANGE * board,
        "checkerboard, 0.5 % up and down": images + 0.005 * FULL_RANGE * board,
    }
    if images.shape[1] > 1:
        found["first two channels swapped"] = images[:, [1, 0, *range(2, images.shape[1])]]
    return {name: frames.clamp(-1, 1) for name, frames in found.items()}


def copies(images: Tensor) -> dict[str, Tensor]:
    """Copies of scaled frames that show the same, by name."""
    none = torch.zeros(len(images))
    spline = ndimage.rotate(images.numpy(), 5, axes=(2, 3), reshape=False, order=3, mode="nearest")
    found = {
        "turned by 5 degrees": moved(images, none + math.radians(5), none, none),
        "turned by 5 degrees, cubic spline, which blurs": torch.from_numpy(spline),
        "shifted by 1 pixel": images.roll((1, 1), dims=(2, 3)),
        "shifted by 0.5 pixels": moved(images, none, none + 0.5, none),
        "brighter by 2 %": (images + 1) * 1.02 - 1,
        "brighter by 5 %": (images + 1) * 1.05 - 1,
    }
    return {name: frames.clamp(-1, 1) for name, frames in found.items()}


def median_distance(vectors: NDArray[np.float64], times: NDArray[np.datetime64]) -> float:
    """Median distance of frames that are a day or more apart."""
    distances = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    return float(np.median(distances[np.abs(times[:, None] - times) >= DAY]))


def retrieval(vectors: NDArray[np.float64], times: NDArray[np.datetime64]) -> float:
    """Share of the frames to which one two hours away is nearer than all that are a day or more away."""
    distances = torch.cdist(torch.from_numpy(vectors), torch.from_numpy(vectors)).numpy()
    gap = np.abs(times[:, None] - times)
    near = np.where((gap >= TWO_HOURS[0]) & (gap <= TWO_HOURS[1]), distances, np.inf).min(axis=1)
    far = np.where(gap >= DAY, distances, np.inf).min(axis=1)
    return float((near < far)[np.isfinite(near)].mean())


def speed(encoder: SolarEncoder, images: Tensor) -> float:
    """Frames a second of processor time, the best of three runs."""
    seconds = []
    for _ in range(3):
        began = time.process_time()
        encoder.embed(images)
        seconds.append(time.process_time() - began)
    return len(images) / min(seconds)


def measure(
    encoder: SolarEncoder, train: Tensor, validation: Tensor, times: NDArray[np.datetime64], samples: Tensor
) -> dict[str, Any]:
    """All figures but the speed.

    Parameters
    ----------
    train : Tensor, shape (300, channel, y, x)
    validation : Tensor, shape (n, channel, y, x)
        All frames of the validation months, observed at `times`.
    samples : Tensor, shape (300, channel, y, x)
    """

    def statistics(images: Tensor) -> FeatureStatistics:
        return FeatureStatistics.of(encoder.embed(images).numpy())

    chosen = np.linspace(0, len(validation) - 1, FRAMES).astype(int)
    vectors = encoder.embed(validation).numpy().astype(np.float64)
    real, unseen, made = statistics(train), FeatureStatistics.of(vectors[chosen]), statistics(samples)
    floor = frechet_distance(real, unseen)
    typical = median_distance(vectors[chosen], times[chosen])

    def change(images: Tensor) -> float:
        return float(np.median(np.linalg.norm(encoder.embed(images).numpy() - vectors[chosen], axis=1)) / typical)

    return {
        "floor": floor,
        "damages": {
            name: frechet_distance(real, statistics(images)) / floor
            for name, images in damages(validation[chosen]).items()
        },
        "samples": {
            "against validation": frechet_distance(unseen, made) / floor,
            "against train": frechet_distance(real, made) / floor,
        },
        "copies": {name: change(images) for name, images in copies(validation[chosen]).items()},
        "retrieval": retrieval(vectors, times),
    }


def made_by(bundle: Bundle) -> Tensor:
    """Scaled samples of a bundle."""
    with tempfile.TemporaryDirectory() as folder:
        cube = open_cube(generate_cube(Path(folder) / "samples.zarr", bundle, Request(FRAMES)))
        return torch.from_numpy(bundle.info.scaling.scale(cube["intensity"].values.astype(np.float32)))


def show(title: str, trained: dict[str, float], untrained: dict[str, float]) -> None:
    print(f"\n{title:50} {'trained':>10} {'untrained':>10}")
    for name, value in trained.items():
        print(f"{name:50} {value:10.3g} {untrained[name]:10.3g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cube", required=True, help="cube of the year 2012")
    parser.add_argument("--bundle", help="by default sdo2012-SIZE, for its scaling and its samples")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--save", type=Path, help="file to write the encoder to")
    arguments = parser.parse_args()
    cube = open_cube(arguments.cube)
    bundle = load_bundle(arguments.bundle or f"sdo2012-{cube.sizes['x']}")
    scaling = bundle.info.scaling
    samples = made_by(bundle)
    frames = load_frames(cube, scaling, (), 0.0)
    unseen = select_split(cube, "validation")
    times = unseen["time"].values.astype("datetime64[ns]")
    intensity = unseen["intensity"].values.astype(np.float32)
    validation = torch.from_numpy(np.nan_to_num(scaling.scale(intensity), nan=-1.0))
    began, began_clock = time.process_time(), time.monotonic()
    encoder = fit_encoder(frames.images, frames.times, steps=arguments.steps)
    spent, spent_clock = time.process_time() - began, time.monotonic() - began_clock
    untrained = fit_encoder(frames.images, frames.times, steps=0)
    if encoder is None or untrained is None:
        raise SystemExit(f"{arguments.cube}: too few train frames to fit an encoder.")
    if arguments.save:
        tensors, text = encoder.state()
        save_file(tensors, arguments.save, metadata=text)
    train = frames.images[np.linspace(0, len(frames.images) - 1, FRAMES).astype(int)]
    found, plain = (measure(one, train, validation, times, samples) for one in (encoder, untrained))
    small = torch.nn.functional.interpolate(frames.images[:TIMED], (64, 64), mode="area")
    at_64 = SolarEncoder(small.shape[1], 64)
    report = {
        "cube": Path(arguments.cube).name,
        "bundle": bundle.info.name,
        "frames_fitted_on": len(frames.images),
        "frames_per_side": FRAMES,
        "steps": arguments.steps,
        "fit_processor_seconds": round(spent, 1),
        "fit_seconds": round(spent_clock, 1),
        "frames_per_second": {
            "64 pixels": round(speed(at_64, small)),
            f"{cube.sizes['x']} pixels": round(speed(encoder, frames.images[:TIMED])),
        },
        "trained": found,
        "untrained": plain,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
    }
    (RESULTS / "encoder.json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"fitted on {len(frames.images):,} frames: {spent:.0f} s of processor time, {spent_clock:.0f} s by the clock")
    print(
        "frames a second: " + ", ".join(f"{value:,} at {name}" for name, value in report["frames_per_second"].items())
    )
    show("Fréchet distance", {"floor": found["floor"]}, plain)
    show("in floors, damaged", found["damages"], plain["damages"])
    show("in floors, samples of the bundle", found["samples"], plain["samples"])
    show("distance of a copy, another day's frame = 1", found["copies"], plain["copies"])
    show("two hours are nearer than a day", {"retrieval": found["retrieval"]}, plain)
    print(f"ratio {min(found['damages'].values()):.2f}")


if __name__ == "__main__":
    main()
