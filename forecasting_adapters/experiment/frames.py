"""Frames of a comparison in memory: one tensor of images, and what is known of each.

Cubes are read once and kept in the comparison's folder, where every process maps the same file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from torch import Tensor

from forecasting_adapters import SolarDataset, SyntheticSolarDataset
from sunaug.storage import location, replace_object

__all__ = ["Frames", "fingerprint", "keep_frames", "load_frames"]

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


def keep_frames(path: Path, frames: SolarDataset | SyntheticSolarDataset, report: Report) -> None:
    """Write the frames of a dataset to a file that `load_frames` reads.

    `report` is called with the number of frames read so far.
    """
    images = torch.empty(len(frames), len(frames.channels), frames.size, frames.size, dtype=torch.float16)
    for number in range(len(frames)):
        images[number] = frames[number]["image"]
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
    found = load_file(path)
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
