"""Suns, cubes of them and feature networks without weights, for the tests of this room."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sunaug.fidelity.backbones import Backbone
from tests.suns import make_suns, write_cube


@pytest.fixture(scope="session")
def suns() -> Callable[..., NDArray[np.float32]]:
    return make_suns


@pytest.fixture
def make_cube(tmp_path: Path) -> Callable[..., Path]:
    """Write frames into a cube of this name: see `tests.suns.write_cube`."""
    return lambda name, *frames, **attrs: write_cube(tmp_path / name, *frames, **attrs)


class Patches(torch.nn.Module):
    """Random filters, averaged over the image: a feature network without weights to find."""

    def __init__(self, dims: int, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.filters = torch.nn.Conv2d(3, dims, 5, stride=2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.filters(images).relu().mean(dim=(2, 3))


@pytest.fixture
def patches() -> Callable[..., Backbone]:
    """Make a small backbone: `patches(dims, seed)`."""
    return lambda dims=16, seed=0: Backbone(f"patches-{dims}", Patches(dims, seed), dims, f"random filters {seed}")


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without Inception weights."""
    monkeypatch.delenv("SUNAUG_FID_WEIGHTS", raising=False)
    monkeypatch.setenv("SUNAUG_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path
