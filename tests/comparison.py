"""Tiny cubes for comparisons of forecasters: frames whose brightest spot tells of the flare to come."""

from pathlib import Path

import numpy as np

from sunaug.cube import open_cube
from tests.models import CHANNELS, SIZE, make_cube
from tests.suns import write_cube

PASSED = {"verdict": "passed", "sentence": "Passed."}
TRAINED_ON = [["2012-01-01T00:00:00Z", "2012-08-01T00:00:00Z"]]


def make_observed(folder: Path) -> Path:
    """Twelve days in January, August and October 2012, four frames a day."""
    return make_cube(folder / "observed.zarr", months=(1, 8, 10), frames=48)


def make_synthetic(
    folder: Path, observed: Path, name: str = "made", *, rare: bool = False, **attributes: object
) -> Path:
    """Samples that look like the frames of January, three of each: both classes, or flares alone."""
    train = open_cube(observed).isel(time=slice(0, 48))
    flux = np.tile(train["forecast_flux"].values, 3)
    noise = np.random.default_rng(4).normal(0, 4, (len(flux), len(CHANNELS), SIZE, SIZE))
    frames = np.clip(np.tile(train["intensity"].values, (3, 1, 1, 1)) + noise, 0, 255).astype(np.float32)
    kept = flux >= 1e-5 if rare else np.ones(len(flux), bool)
    given = {"training_ranges": TRAINED_ON, "bundle_hash": "abc", "gate": PASSED} | attributes
    return write_cube(folder / f"{name}.zarr", frames[kept], flux[kept], disk_radius=7 / 16 * SIZE, **given)
