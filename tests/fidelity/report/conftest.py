"""Evaluations of made-up Suns for reports to be made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sunaug.fidelity import evaluate as room
from sunaug.fidelity.backbones import Backbone
from sunaug.fidelity.evaluate import Evaluation, run_evaluation
from sunaug.fidelity.instruments import Instruments
from tests.suns import write_cube

SIZE = 32
CLASSES = (0.0, 3e-7, 2e-6, 1.5e-5)


class _Means(torch.nn.Module):
    """Features without weights to find: the means of a few patches."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()), requires_grad=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(images, 8).flatten(1)[:, :12] * self.scale


@pytest.fixture(scope="session")
def quick() -> Iterator[None]:
    """A small network, and nothing that has to be fitted."""
    with pytest.MonkeyPatch.context() as patch:
        network = Backbone("means-12", _Means(), 12, "means of patches")
        patch.setattr(room, "load_backbones", lambda weights: ([network], ["a note of the networks"]))
        patch.setattr(room, "fit_instruments", lambda cube, backbones, **options: Instruments.of(cube, backbones))
        patch.setattr(room, "RESAMPLES", 3)
        yield


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write frames into a cube: with `times` an observed one, without them a synthetic one."""
    folder = tmp_path_factory.mktemp("cubes")

    return lambda name, *frames, **attrs: write_cube(folder / name, *frames, **attrs)


@pytest.fixture(scope="session")
def observed(make: Callable[..., Path], suns: Callable[..., Any]) -> Path:
    """240 frames of five train months and 96 of the validation months, of all classes."""
    firsts = [np.datetime64(f"2012-{month:02d}-02", "ns") for month in (1, 2, 3, 4, 5, 8, 9)]
    times = np.concatenate([first + np.arange(48) * np.timedelta64(14, "h") for first in firsts])
    return make("observed.zarr", suns(len(times), 1, size=SIZE), np.resize(CLASSES, len(times)), times)


@pytest.fixture(scope="session")
def samples(make: Callable[..., Path], suns: Callable[..., Any]) -> Callable[..., Path]:
    """Make a synthetic cube; its pixels times `brightness`."""

    def write(name: str, count: int = 48, seed: int = 2, brightness: float = 1.0) -> Path:
        frames = np.clip(suns(count, seed, size=SIZE) * brightness, 0, 255).astype(np.float32)
        ranges = [["2012-01-01T00:00:00Z", "2012-07-31T23:59:59Z"]]
        known = {"bundle_hash": "abc123" * 10, "bundle_name": "suns-32", "training_ranges": ranges}
        return make(name, frames, np.resize(CLASSES, count), **known)

    return write


@pytest.fixture(scope="session")
def evaluation(quick: None, observed: Path, samples: Callable[..., Path]) -> Evaluation:
    """Of samples that are too bright."""
    return run_evaluation(samples("bright.zarr", brightness=1.06), observed)


@pytest.fixture(scope="session")
def other(quick: None, observed: Path, samples: Callable[..., Path]) -> Evaluation:
    """Of samples that are as bright as real frames."""
    return run_evaluation(samples("fine.zarr", seed=3), observed)
