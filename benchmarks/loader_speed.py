"""Samples per second into a training loop: from a synthetic cube, on the fly, and as PNG files by torchvision.

    python -m benchmarks.loader_speed [--workers 2] [--rounds 3] [--seconds 4]

Run from the root of the repository with nothing else running. At 64, 256 and 512 pixels, three channels, the same
pictures are read in shuffled batches of 32 by

- *cube*: `SyntheticSolarDataset` on a cube as `sunaug generate` writes it, float32, scaled to [-1, 1], through
  `ReadAhead`, in as many threads as the others have worker processes;
- *processes*: the same dataset in PyTorch's `DataLoader`, with worker processes and its default collate;
- *ImageFolder*: torchvision's dataset on PNG files of 8 bits, with its ``ToTensor``, which gives float32 in [0, 1], in
  the same `DataLoader` with as many worker processes.

Each batch is touched as a training would, every pixel of it once. The pictures are samples of ``sdo2012-128``, averaged
to 64 pixels or interpolated to 256 and 512 with noise of one count in each pixel, without which interpolated ones would
compress far better than real ones. Samples made *on the fly* in worker processes are measured at the bundles' own
sizes. What is compared is read in turns, after a round that does not count; the files are in the page cache. The last
line is the cube's speed over ImageFolder's at the size where it is least.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import avg_pool2d, interpolate
from torch.utils.data import DataLoader, Dataset

import sunaug
from benchmarks.train_speed import processor, versions
from forecasting_adapters import SyntheticSolarDataset, reading
from forecasting_adapters.loading import ReadAhead, collate_samples
from sunaug.bundle import bundled_names
from sunaug.cube import FrameStatus, create_cube, write_frames
from sunaug.torchvision_import import import_torchvision

RESULTS = Path(__file__).parent / "results" / "loader-speed.txt"
PICTURES = {64: 2048, 256: 512, 512: 192}
BATCH = 32
by_name = itemgetter("image")
CHANNELS = ("aia171", "aia131", "aia94")


def pictures(size: int, count: int, base: torch.Tensor) -> np.ndarray:
    """Display counts (count, 3, size, size) float32 out of samples (n, 3, 128, 128)."""
    base = base[torch.arange(count) % len(base)]
    small = size < base.shape[-1]
    scaled = avg_pool2d(base, base.shape[-1] // size) if small else interpolate(base, (size, size), mode="bicubic")
    grain = np.random.default_rng(size).normal(0, 1, scaled.shape)
    return (scaled.numpy() + grain).clip(0, 255).astype(np.float32)


def write(folder: Path, size: int, images: np.ndarray) -> tuple[Path, Path]:
    """The same pictures as a synthetic cube and as a folder of PNG files."""
    cube, files, n = folder / f"{size}.zarr", folder / f"{size}-png", len(images)
    create_cube(cube, channels=CHANNELS, size=size, disk_radius=7 / 16 * size, intensity_scale="browse", n_samples=n)
    frames = {
        "intensity": images,
        "forecast_flux": np.full(n, 2e-5),
        "nowcast_flux": np.full(n, 1e-6),
        "frame_status": np.full(n, FrameStatus.COMPLETE, np.int8),
    }
    write_frames(cube, 0, frames)
    (files / "flare").mkdir(parents=True)
    for number, image in enumerate(images.transpose(0, 2, 3, 1).round().astype(np.uint8)):
        Image.fromarray(image).save(files / "flare" / f"{number:06d}.png")
    return cube, files


def image_folder(files: Path) -> Dataset[Any]:
    import_torchvision()
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import ToTensor

    return ImageFolder(str(files), ToTensor())


def worker_loader(dataset: Dataset[Any], workers: int) -> DataLoader[Any]:
    return DataLoader(
        dataset, batch_size=BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0, drop_last=True
    )


def thread_loader(dataset: Dataset[Any]) -> ReadAhead[Any]:
    return ReadAhead(
        DataLoader(dataset, batch_size=BATCH, shuffle=True, drop_last=True, collate_fn=collate_samples), batches=4
    )


def speed(loader: Iterable[Any], images_of: Callable[[Any], torch.Tensor], seconds: float) -> float:
    """Samples per second of a loader, from its second batch on, epoch after epoch."""
    batches: Iterable[Any] = itertools.chain.from_iterable(itertools.repeat(loader))
    done, began = 0, 0.0
    for number, batch in enumerate(batches):
        images = images_of(batch)
        images.sum()
        if not number:
            began = time.perf_counter()
            continue
        done += len(images)
        if (spent := time.perf_counter() - began) > seconds:
            return done / spent
    raise AssertionError("a loader without end ended")


def measured(runs: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Median speed of each, measured in turns after one round that does not count."""
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(rounds + 1):
        for name, run in runs.items():
            found = run()
            if round_:
                speeds[name].append(found)
    return {name: statistics.median(found) for name, found in speeds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each measurement")
    arguments = parser.parse_args()
    workers, seconds = arguments.workers, arguments.seconds
    torch.set_num_threads(1)
    reading.MOST_THREADS = workers
    base = torch.from_numpy(sunaug.generate("sdo2012-128", n=64, seed=1)["intensity"].values)
    lines = [
        f"shuffled batches of {BATCH}, {workers} workers, median of {arguments.rounds} rounds of {seconds:g} s; "
        f"{processor()}; {versions()}",
        f"{'size':>5} {'cube':>8} {'processes':>10} {'ImageFolder':>12} {'ratio':>6}   samples per second",
    ]
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for size, count in PICTURES.items():
            cube, files = write(Path(folder), size, pictures(size, count, base))
            ours, theirs = SyntheticSolarDataset(cube, allow_ungated=True), image_folder(files)
            runs = {
                "cube": partial(speed, thread_loader(ours), by_name, seconds),
                "processes": partial(speed, worker_loader(ours, workers), by_name, seconds),
                "folder": partial(speed, worker_loader(theirs, workers), itemgetter(0), seconds),
            }
            found = measured(runs, arguments.rounds)
            ratios.append(found["cube"] / found["folder"])
            speeds = f"{found['cube']:>8.0f} {found['processes']:>10.0f} {found['folder']:>12.0f}"
            lines.append(f"{size:>5} {speeds} {ratios[-1]:>6.1f}")
            print(lines[-1], flush=True)
    for name in bundled_names():
        made = SyntheticSolarDataset(name, n=4096, rare=True, allow_ungated=True)
        loader = worker_loader(made, workers)
        found = measured({"made": partial(speed, loader, by_name, seconds)}, arguments.rounds)
        lines.append(f"{made.size:>5} {found['made']:>8.0f} on the fly, rare samples of {name}")
        print(lines[-1], flush=True)
    lines.append(f"ratio {min(ratios):.2f}")
    RESULTS.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
