"""Synthetic cubes as `sunaug generate` writes them, for the tests of exports: a disk with a spot in the north-east."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

import sunaug
from sunaug.bundle import load_bundle
from sunaug.cube import FrameStatus, create_cube, write_frames
from sunaug.lexicon import CHANNELS

FLUXES = np.array([0.0, 4e-7, 9.9e-6, np.nextafter(1e-5, 0), 3e-5, 1.3e-3])
"""quiet, B4.0, C9.9, M1.0 with a flux half an ulp below it, M3.0, X13."""
LETTERS = ["", "B", "C", "M", "M", "X"]
TRAINED_ON = [["2012-01-01T00:00:00", "2012-08-01T00:00:00"]]


def make_rare_cube(
    path: Path, channels: tuple[str, ...] = ("aia171", "aia131"), scale: str = "physical", size: int = 32
) -> Path:
    """Six frames, each a little brighter than the one before, in the middle of each channel's range."""
    radius = 7 / 16 * size
    offset = np.arange(size) - (size - 1) / 2
    disk = np.hypot(offset[:, None], offset) <= radius
    share = np.where(disk, 0.5, 0.2) + np.random.default_rng(0).normal(0, 0.02, (6, len(channels), size, size))
    share += 0.01 * np.arange(6)[:, None, None, None]
    # y grows to the north, x to the west.
    share[..., 5 * size // 8 : 3 * size // 4, size // 4 : 3 * size // 8] = 0.9
    intensity = np.stack([_in_range(share[:, place], name, scale) for place, name in enumerate(channels)], axis=1)
    create_cube(
        path,
        channels=channels,
        size=size,
        disk_radius=radius,
        intensity_scale=scale,
        n_samples=6,
        attrs={"training_ranges": TRAINED_ON, "bundle_hash": "abc", "gate": {"verdict": "passed"}},
    )
    frames = {
        "intensity": intensity.astype(np.float32),
        "forecast_flux": FLUXES,
        "nowcast_flux": np.full(6, 3e-7),
        "frame_status": np.full(6, FrameStatus.COMPLETE, np.int8),
        "seed": np.zeros(6, np.int64),
        "draw": np.arange(6),
    }
    write_frames(path, 0, frames)
    return path


def _in_range(share: np.ndarray, channel: str, scale: str) -> np.ndarray:
    if scale == "browse":
        return 255 * share
    low, high = CHANNELS[channel].clip
    return low + share * (high - low) if CHANNELS[channel].signed else low * (high / low) ** share


def generated_cube() -> xr.Dataset:
    """Four rare samples of the bundled generator: browse counts of 171, 131 and 94 Å."""
    return sunaug.generate(load_bundle("sdo2012-64"), 4, rare=True, seed=1)
