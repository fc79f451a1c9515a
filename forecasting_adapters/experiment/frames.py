"""Frames of a comparison in memory: one tensor of images, averaged to one size, and what is known of each.

Cubes are read once and kept in the comparison's folder, where every process maps the same file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from forecasting_adapters import SolarDataset, SyntheticSolarDataset
from sunaug.errors import UsageError
from sunaug.storage import location, replace_object

__all__ = ["Frames", "average_down", "keep_frames", "load_frames"]

Report = Callable[[int], None]


@dataclass(frozen=True)
class Frames:
    """Frames of one split, or of one synthetic cube.

    Attributes
    ----------
    images : Tensor of float16, shape (n, channel, y, x)
        Scaled to about [-1, 1].
    labels : ndarray of bool, shape (n,)
    fluxes : ndarray of float64, shape (n, 2)
        Forecast and nowcast flux in W m-2; NaN where unknown.
    times : ndarray of datetime64[s], shape (n,)
        UTC; NaT for synthetic frames.
    """

    images: Tensor
    labels: NDArray[np.bool_]
    fluxes: NDArray[np.float64]
    times: NDArray[np.datetime64]

    def __len__(self) -> int:
        return len(self.images)

    def select(self, rows: NDArray[np.int64]) -> Frames:
        """The frames with these numbers."""
        return Frames(self.images[torch.from_numpy(rows)], self.labels[rows], self.fluxes[rows], self.times[rows])


def average_down(images: Tensor, size: int) -> Tensor:
    """Average images (..., y, x) to `size` pixels squared.

    Raises
    ------
    UsageError
        If their width is no multiple of `size`.
    """
    width = images.shape[-1]
    if width % size:
        raise UsageError(f"frames of {width} pixels cannot be averaged to {size}; give --size a divisor of {width}.")
    return F.avg_pool2d(images, width // size) if width != size else images


def keep_frames(path: Path, frames: SolarDataset | SyntheticSolarDataset, size: int, report: Report) -> None:
    """Average the frames of a dataset down and write them to a file that `load_frames` reads.

    `report` is called with the number of frames read so far.
    """
    images = torch.empty(len(frames), len(frames.channels), size, size, dtype=torch.float16)
    for number in range(len(frames)):
        images[number] = average_down(frames[number]["image"], size)
        report(number + 1)
    times = frames.times if isinstance(frames, SolarDataset) else np.full(len(frames), "NaT", "datetime64[s]")
    tensors = {
        "images": images,
        "labels": torch.from_numpy(frames.labels.astype(np.bool_)),
        "fluxes": torch.from_numpy(np.stack([frames.forecast_flux, frames.nowcast_flux], axis=1)),
        "times": torch.from_numpy(times.astype("datetime64[s]").astype(np.int64)),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_object(location(path), save(tensors))


def load_frames(path: Path) -> Frames:
    """Read what `keep_frames` wrote; the images stay on disk until they are used, and are shared between processes."""
    with safe_open(str(path), framework="pt") as file:
        found: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return Frames(
        images=found["images"],
        labels=found["labels"].numpy(),
        fluxes=found["fluxes"].numpy(),
        times=found["times"].numpy().astype("datetime64[s]"),
    )


def fingerprint(frames: SolarDataset | SyntheticSolarDataset) -> str:
    """Short hash of what a cube's frames are and are labelled as, without reading their images."""
    digest = hashlib.sha256()
    axis = frames.times if isinstance(frames, SolarDataset) else np.arange(len(frames))
    for part in (axis.astype(np.int64), frames.labels, frames.forecast_flux, frames.nowcast_flux):
        digest.update(np.ascontiguousarray(part).tobytes())
    digest.update(repr((frames.channels, frames.scaling, frames.label, frames.threshold)).encode())
    return digest.hexdigest()[:16]
