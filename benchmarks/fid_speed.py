"""Images per second through the FID's Inception network, against pytorch-fid's own command.

    python -m benchmarks.fid_speed [--size 128] [--n 200] [--rounds 5] [--threads 1]

Run from the root of the repository with nothing else running; Inception weights are looked for as `sunaug evaluate`
looks for them. Both sides see the same pixels with the same weights up to the same layer, with the same threads, in
turns in one process, after a round that does not count:

- *theirs*: pytorch-fid's ``get_activations`` as its command calls it: a folder of PNG files, its own loader with one
  process per core, batches of 50;
- *from PNG*: the same files, read by this process, through `sunaug.fidelity.backbones.image_features`;
- *from a cube*: the same frames as `sunaug evaluate` reads them;
- *EffNet-Lite0*: the other network of `sunaug evaluate`, from the PNG files, where its packages are installed.

Processor time (that of loaders included) stands beside time by the clock, for other work on the machine cannot change
it by much. The last line is *from PNG* over *theirs* by the clock, the median over the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.train_speed import processor, versions
from sunaug.cube import FrameStatus, create_cube, open_cube, write_frames
from sunaug.errors import SunaugError
from sunaug.fidelity.backbones import Backbone, effnet_backbone, image_features, inception_backbone
from sunaug.fidelity.frechet import FeatureStatistics, frechet_distance
from sunaug.fidelity.images import BATCH, image_batches
from sunaug.fidelity.inception import _read_weights, _unfolded_network, find_weights

RESULTS = Path(__file__).parent / "results" / "fid-speed.txt"
CHANNELS = ["aia171", "aia131", "aia94"]
PEER_BATCH = 50
"""The default of pytorch-fid's command."""

Features = NDArray[np.floating]


@dataclass
class Side:
    """Something that makes features of all images, and what each round of it took."""

    run: Callable[[], Features]
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def round(self, counts: bool) -> Features:
        """All images once."""
        began, used = time.perf_counter(), os.times()
        found = self.run()
        spent, now = time.perf_counter() - began, os.times()
        if counts:
            self.seconds.append(spent)
            self.processor.append(sum(now[:4]) - sum(used[:4]))
        return found


def made_up_suns(count: int, size: int) -> NDArray[np.uint8]:
    """Grainy disks with a few bright spots, (count, 3, size, size)."""
    random = np.random.default_rng(0)
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    disk = 1 / (1 + np.exp((np.hypot(axis, axis[:, None]) - 7 / 8) * size / 4))
    images = np.empty((count, 3, size, size), np.uint8)
    for image in images:
        spots = np.zeros_like(disk)
        for x, y in random.uniform(-0.5, 0.5, (random.integers(2, 8), 2)):
            spots += 120 * np.exp(-((axis - x) ** 2 + (axis[:, None] - y) ** 2) / random.uniform(0.002, 0.02))
        for channel, brightness in zip(image, (90, 70, 30), strict=True):
            channel[:] = np.clip(disk * (brightness + spots + random.normal(0, 8, disk.shape)), 0, 255)
    return images


def write_pngs(folder: Path, images: NDArray[np.uint8]) -> list[Path]:
    paths = [folder / f"{number:05}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image.transpose(1, 2, 0)).save(path)
    return paths


def write_cube(path: Path, images: NDArray[np.uint8]) -> None:
    size = images.shape[-1]
    create_cube(
        path,
        channels=CHANNELS,
        size=size,
        disk_radius=7 / 16 * size,
        intensity_scale="browse",
        n_samples=len(images),
    )
    complete = np.full(len(images), FrameStatus.COMPLETE, np.int8)
    write_frames(path, 0, {"intensity": images.astype(np.float32), "frame_status": complete})


def read_pngs(paths: Sequence[Path]) -> Iterator[dict[str, NDArray[np.uint8]]]:
    for start in range(0, len(paths), BATCH):
        images = [np.asarray(Image.open(path).convert("RGB")) for path in paths[start : start + BATCH]]
        yield {"image": np.stack(images).transpose(0, 3, 1, 2)}


def from_png(paths: Sequence[Path], backbone: Backbone) -> Features:
    return image_features(read_pngs(paths), [backbone])[backbone.label]["image"]


def from_cube(path: Path, count: int, backbone: Backbone) -> Features:
    batches = image_batches(open_cube(path), np.arange(count))
    return image_features(batches, [backbone])[backbone.label]["+".join(CHANNELS)]


def theirs(paths: Sequence[Path], network: torch.nn.Module, dims: int) -> Features:
    from pytorch_fid.fid_score import get_activations

    # As its `main` chooses them.
    workers = min(len(os.sched_getaffinity(0)), 8)
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        found: Features = get_activations(paths, network, PEER_BATCH, dims, torch.device("cpu"), workers)
    return found


def their_distance(found: Features) -> float:
    from pytorch_fid.fid_score import calculate_frechet_distance

    halves = found[: len(found) // 2], found[len(found) // 2 :]
    statistics_of = [(half.mean(axis=0), np.cov(half, rowvar=False)) for half in halves]
    return float(calculate_frechet_distance(*statistics_of[0], *statistics_of[1]))


def our_distance(found: Features) -> float:
    half = len(found) // 2
    return frechet_distance(FeatureStatistics.of(found[:half]), FeatureStatistics.of(found[half:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=128, help="pixels")
    parser.add_argument("--n", type=int, default=200, help=f"images; best a multiple of {PEER_BATCH}")
    parser.add_argument("--rounds", type=int, default=5, help="turns")
    parser.add_argument("--threads", type=int, help="of torch; by default as many as there are cores")
    parser.add_argument("--weights", type=Path, help="Inception weights")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    n, path = arguments.n, find_weights(arguments.weights)
    backbone = inception_backbone(path, device="cpu")
    peer = _unfolded_network(_read_weights(path), backbone.dims, path)
    lines: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    say(f"python -m benchmarks.fid_speed {shlex.join(sys.argv[1:])}".rstrip())
    say(f"{processor()}, {len(os.sched_getaffinity(0))} cores, {torch.get_num_threads()} threads; {versions()}")
    say(f"load average {os.getloadavg()[0]:.1f} before the start")
    say(f"{n} images of {arguments.size} x {arguments.size} pixels, {backbone.description}")
    with tempfile.TemporaryDirectory() as folder:
        images = made_up_suns(n, arguments.size)
        files, cube = write_pngs(Path(folder), images), Path(folder) / "cube.zarr"
        write_cube(cube, images)
        sides = {
            "theirs": Side(lambda: theirs(files, peer, backbone.dims)),
            "from PNG": Side(lambda: from_png(files, backbone)),
            "from a cube": Side(lambda: from_cube(cube, n, backbone)),
        }
        try:
            other = effnet_backbone(device="cpu")
        except SunaugError as error:
            say(f"EffNet-Lite0 is missing: {error}")
        else:
            sides[other.label] = Side(lambda: from_png(files, other))
        found: dict[str, Features] = {}
        for round_ in range(arguments.rounds + 1):
            found = {name: side.round(counts=round_ > 0) for name, side in sides.items()}
    for name in ("from PNG", "from a cube"):
        difference = np.abs(found[name] - found["theirs"]).max() / np.abs(found["theirs"]).max()
        say(f"{name}: features are theirs within {difference:.1e} of the largest one")
    expected, got = their_distance(found["theirs"]), our_distance(found["from PNG"])
    say(f"FID-{backbone.dims} of the two halves: theirs {expected:.6f}, ours {got:.6f}, {got / expected - 1:+.1e}")
    say(f"{'images per second':20} {'median':>7}   each round")
    for name, side in sides.items():
        speeds = [n / seconds for seconds in side.seconds]
        say(f"{name:20} {statistics.median(speeds):7.2f}   {' '.join(f'{speed:.2f}' for speed in speeds)}")
    say(f"{'ours over theirs':20} {'median':>7}   smallest to largest of the rounds")
    ratios: dict[str, list[float]] = {}
    for name in ("from PNG", "from a cube"):
        for kind in ("seconds", "processor"):
            pairs = zip(getattr(sides["theirs"], kind), getattr(sides[name], kind), strict=True)
            label = name if kind == "seconds" else f"{name}, processor"
            ratios[label] = [peers / ours for peers, ours in pairs]
    for label, values in ratios.items():
        say(f"{label:24} {statistics.median(values):.2f}   {min(values):.2f} to {max(values):.2f}")
    say(f"ratio {statistics.median(ratios['from PNG']):.2f}")
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    arguments.results.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
