"""Small experiments for judges: cubes that can be told apart, and a server of the page in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sunaug.cube import FrameStatus, create_cube, open_cube, write_frames
from sunaug.judging import Answers, Experiment, Frames, choose
from tests.models import CHANNELS, SIZE, make_cube

SAMPLES = 16


def make_samples(path: Path, seed: int = 0) -> Path:
    """A synthetic cube of 16 samples without a disk, with forecast fluxes from M1.0 to M9.0."""
    images = np.random.default_rng(seed).uniform(0, 255, (SAMPLES, len(CHANNELS), SIZE, SIZE)).astype(np.float32)
    attrs = {"bundle_hash": "cafe", "bundle_name": "tiny"}
    create_cube(
        path,
        channels=CHANNELS,
        size=SIZE,
        disk_radius=7 / 16 * SIZE,
        intensity_scale="browse",
        n_samples=SAMPLES,
        attrs=attrs,
    )
    flux = np.geomspace(1e-5, 9e-5, SAMPLES)
    status = np.full(SAMPLES, FrameStatus.COMPLETE, np.int8)
    write_frames(path, 0, {"intensity": images, "forecast_flux": flux, "nowcast_flux": flux, "frame_status": status})
    return path


def make_cubes(folder: Path) -> tuple[Path, Path]:
    """A synthetic and an observed cube."""
    return make_samples(folder / "rare.zarr"), make_cube(folder / "real.zarr")


def make_experiment(cubes: tuple[Path, Path], database: Path, *, channel=None, seconds=None, **options):
    """What the page is made of: answers, frames and choice."""
    made, real = map(open_cube, cubes)
    frames, choice = Frames(made, real, channel), choose(made, real, **options)
    experiment = Experiment(
        synthetic=str(cubes[0]),
        against=str(cubes[1]),
        bundle_hash=made.attrs["bundle_hash"],
        fingerprint=frames.fingerprint(choice),
        split=options.get("split", "validation"),
        seed=options.get("seed", 0),
        mode=choice.mode,
        n=choice.n,
        seconds=seconds,
        channels=frames.channels,
        matched=choice.matched,
        samples=choice.samples,
        times=choice.times,
    )
    return Answers(database, experiment), frames, choice


@contextmanager
def served(cubes: tuple[Path, Path], database: Path, *options: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The page of ``sunaug judge`` on a free port: its process and its address."""
    command = [sys.executable, "-m", "sunaug", "judge", cubes[0], "--against", cubes[1], "--database", database]
    process = subprocess.Popen(
        [*map(str, command), "--port", "0", *map(str, options)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        address = None
        while address is None:
            line = process.stdout.readline()
            assert line, f"the server ended with {process.wait()}"
            address = re.search(r"http://\S+(?=/)", line)
        yield process, address[0]
    finally:
        process.kill()
        process.wait()
