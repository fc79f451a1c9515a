"""Synthetic cubes for tests of exports: made-up Suns with an origin, and samples of the bundled generator."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import sunaug
from tests.suns import make_suns, write_cube

RANGES = [["2012-02-01T00:00:00Z", "2012-08-01T00:00:00Z"]]
"""Days that no split of an exporting project holds out, but for two of Pandey's folds."""
FLUXES = (5e-5, 1e-5, 9.99e-6, 1.3e-4, 9.3e-4, 0.0, 2e-7, 1.33e-3)
"""An X13 among them, and an M1.0 and a C9.9 on both sides of the border."""


def synthetic_cube(path: Path, n: int = 8, size: int = 32, **attrs: Any) -> Path:
    """A cube of `n` Suns in display counts, passed by the gate, with what a generator says of its samples."""
    origin = {
        "SYNTHETIC": "made by sunaug; not an observation",
        "bundle_name": "tiny",
        "bundle_hash": "0123456789abcdef" * 4,
        "training_ranges": RANGES,
        "request": {"n": n, "seed": 0, "rare": False, "steering": {}},
        "gate": {"verdict": "passed", "sentence": "Passed."},
    }
    flux = np.resize(np.array(FLUXES), n)
    return write_cube(path, make_suns(n, 0, size=size), flux, **{**origin, **attrs})


@cache
def generated(n: int = 12) -> xr.Dataset:
    """Samples of the bundled generator, rare ones, in memory."""
    return sunaug.generate("sdo2012-64", n, rare=True, seed=3)
