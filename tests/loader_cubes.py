"""Tiny cubes, observed and synthetic, for the tests of data loaders."""

from pathlib import Path

import numpy as np

from sunaug.cube import FrameStatus, create_cube, write_frames

SIZE = 8
CHANNELS = ("aia171", "aia94")
TRAINED_ON = [["2012-01-01T00:00:00", "2012-08-01T00:00:00"]]


def make_observed(path: Path, times: np.ndarray, **changes: np.ndarray) -> Path:
    """A cube of browse counts that differ from frame to frame; every fifth frame precedes an M5 flare."""
    create_cube(path, channels=CHANNELS, size=SIZE, disk_radius=3.5, intensity_scale="browse", times=times)
    n = len(times)
    frames = {
        "intensity": np.random.default_rng(1).uniform(0, 255, (n, 2, SIZE, SIZE)).astype(np.float32),
        "forecast_flux": np.where(np.arange(n) % 5 == 0, 5e-5, 2e-6),
        "nowcast_flux": np.full(n, 3e-7),
        "frame_status": np.full(n, FrameStatus.COMPLETE, np.int8),
    }
    write_frames(path, 0, frames | changes)
    return path


def make_synthetic(path: Path, n: int = 20, size: int = SIZE, **attrs: object) -> Path:
    create_cube(
        path,
        channels=CHANNELS,
        size=size,
        disk_radius=3.5,
        intensity_scale="browse",
        n_samples=n,
        attrs={"training_ranges": TRAINED_ON, "bundle_hash": "abc", "gate": {"verdict": "passed"}} | attrs,
    )
    frames = {
        "intensity": np.random.default_rng(2).uniform(0, 255, (n, 2, size, size)).astype(np.float32),
        "forecast_flux": np.full(n, 2e-5),
        "nowcast_flux": np.full(n, 1e-6),
        "frame_status": np.full(n, FrameStatus.COMPLETE, np.int8),
        "seed": np.zeros(n, np.int64),
        "draw": np.arange(n),
    }
    write_frames(path, 0, frames)
    return path
