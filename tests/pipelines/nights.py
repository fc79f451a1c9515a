"""A pipeline small enough for tests: FITS files of a night, the flares of the time, and a recipe for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipelines.recipe import STEPS
from tests.make_data import write_fits
from tests.models import RECIPE

FEW = np.datetime64("2012-08-01") + np.arange(5)
"""Some days of a validation month."""
FIRST = np.concatenate([np.datetime64("2012-01-01") + np.arange(26), FEW])
"""As many days of a train month more as it takes for a gate."""
LATER = np.datetime64("2013-01-02") + np.arange(2)
"""Days of the files that come later."""
HOURS = (1, 7, 13, 19)

PASSES = {
    "gating": [],
    "minimum_frames": 12,
    "enough": 12,
    "samples": 32,
    "judges": 0,
    "drop": False,
    "drop_share": 1.0,
}
"""A policy that refuses no set that can be judged."""
REFUSES = {**PASSES, "gating": ["frechet *"]}
"""What a network of a few steps cannot pass."""


def write_nights(folder: Path, days: Sequence[Any]) -> list[Path]:
    """Four frames a day, 193 Å, 32 x 32 pixels: a Sun whose regions change from day to day."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for day in days:
        for hour in HOURS:
            time = f"{day}T{hour:02d}:00:00.00"
            seed = int(day.astype(int))
            name = f"AIA{time[:13].replace('-', '').replace('T', '_')}.fits"
            paths.append(write_fits(folder / name, time=time, size=32, radius=12.0, seed=seed))
    return paths


def write_flares(path: Path, until: str = "2014-01-01") -> Path:
    """A flare every five hours from 2012 on, from B to X, listed until that day."""
    starts = np.arange(np.datetime64("2012-01-01T00:30"), np.datetime64(until, "m"), np.timedelta64(5, "h"))
    flux = 10 ** np.random.default_rng(0).uniform(-6.5, -3.5, len(starts))
    rows = [
        f"{start}Z,{start + np.timedelta64(10, 'm')}Z,{start + np.timedelta64(30, 'm')}Z,{peak:.3g},0"
        for start, peak in zip(starts, flux, strict=True)
    ]
    cover = f"# covers 2012-01-01T00:00Z to {until}T00:00Z"
    path.write_text("\n".join([cover, "start,peak,end,peak_flux,region", *rows]) + "\n")
    return path


def write_pipeline(home: Path, **sections: Any) -> Path:
    """The recipe of a whole pipeline in a folder; `sections` replace its own, None leaves one out."""
    (home / "passes.yaml").write_text(yaml.safe_dump(PASSES))
    (home / "refuses.yaml").write_text(yaml.safe_dump(REFUSES))
    (home / "tiny.yaml").write_text(yaml.safe_dump({**RECIPE, "images": 32, "checkpoint_images": 16}))
    recipe = {
        "name": "tiny",
        "work": "work",
        "cube": "sun.zarr",
        "ingest": {"folder": "incoming", "settle": 0, "options": {"size": 16}},
        "labels": {"flares": "flares.csv"},
        "train": {"new_frames": 12, "recipe": "tiny.yaml", "accelerator": "cpu"},
        "generate": {"request": {"n": 24, "force": True, "critic": False}},
        "gate": {"policy": "passes.yaml"},
        "publish": {"folder": "published", "keep": 2},
    } | sections
    path = home / "recipe.yaml"
    path.write_text(yaml.safe_dump({name: value for name, value in recipe.items() if value is not None}))
    return path


def make_home(home: Path, days: Sequence[Any] = FIRST, **sections: Any) -> Path:
    """A folder with files of some days, the flares of the time and a recipe; the recipe's path."""
    write_nights(home / "incoming", days)
    write_flares(home / "flares.csv")
    return write_pipeline(home, **sections)


def only(*names: str) -> dict[str, None]:
    """What leaves a recipe these steps alone."""
    return {name: None for name in STEPS if name not in names}
