"""Training frames: the train months of a cube, scaled, in memory, with their conditions and sampling weights."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from sunaug.cube import select_split
from sunaug.cube.time_ranges import time_ranges
from sunaug.errors import SunaugError
from sunaug.flares import class_letters
from sunaug.scaling import IntensityScaling, missing_values

_BLOCK = 64


@dataclass(frozen=True)
class TrainingFrames:
    """Frames to train on.

    Attributes
    ----------
    images : Tensor, shape (n, channel, y, x)
        Scaled intensities, float32.
    fluxes : ndarray of float64, shape (n, n_labels)
        W m-2.
    weights : Tensor, shape (n,)
        Sampling weights, float64, sum one.
    time_ranges : list of [str, str]
        The exact time ranges of the frames, half-open, ISO 8601 in UTC.
    times : ndarray of datetime64[ns], shape (n,)
        Empty where nobody asks for them.
    observed : Tensor of bool, shape (n, channel), optional
        Channels that each frame has, one at least; None where all frames have all.
    """

    images: Tensor
    fluxes: NDArray[np.float64]
    weights: Tensor
    time_ranges: list[list[str]]
    times: NDArray[np.datetime64] = field(default_factory=lambda: np.empty(0, "datetime64[ns]"))
    observed: Tensor | None = None

    def take(self, rows: NDArray[np.bool_]) -> TrainingFrames:
        """Some of the frames; the time ranges stay those of all."""
        chosen = torch.from_numpy(rows)
        return replace(
            self,
            images=self.images[chosen],
            fluxes=self.fluxes[rows],
            weights=self.weights[chosen] / self.weights[chosen].sum(),
            times=self.times[rows],
            observed=None if self.observed is None else self.observed[chosen],
        )

    def whole(self) -> TrainingFrames:
        """The frames that lack no channel."""
        return self if self.observed is None else self.take(self.observed.all(dim=1).numpy())


def known_frames(cube: xr.Dataset, labels: tuple[str, ...], missing_channels: str = "skip") -> xr.Dataset:
    """The train frames of a cube whose labels are known.

    Parameters
    ----------
    cube : xarray.Dataset
    labels : tuple of str
    missing_channels : {"skip", "learn"}
        Whether frames that lack channels are among them.

    Raises
    ------
    SunaugError
        If there is none.
    """
    train = select_split(cube, "train", partial=missing_channels == "learn")
    known = np.ones(train.sizes["time"], bool)
    for name in labels:
        known &= np.isfinite(train[name].values)
    if not known.any():
        raise SunaugError(
            f"{cube.encoding.get('source', 'the cube')}: no train frame has a known {' and '.join(labels)}; ingest "
            "it with --flares, or train with a recipe that has no conditions (`conditions: []`)."
        )
    return train.isel(time=np.flatnonzero(known))


def load_frames(
    cube: xr.Dataset,
    scaling: IntensityScaling,
    labels: tuple[str, ...],
    class_balance: float,
    missing_channels: str = "skip",
) -> TrainingFrames:
    """Read the train months of a cube into memory.

    Frames without the labels that the model is conditioned on are left out. A missing pixel takes the scaling's value
    for it (`sunaug.scaling.missing_values`).

    Parameters
    ----------
    cube : xarray.Dataset
    scaling : IntensityScaling
    labels : tuple of str
    class_balance : float
        Exponent a of the sampling weight n_class^-a.
    missing_channels : {"skip", "learn"}
        Whether frames that lack channels are kept.

    Raises
    ------
    SunaugError
        If no frame is left.
    """
    train = known_frames(cube, labels, missing_channels)
    filled = missing_values([str(name) for name in cube["channel"].values])[:, None, None]
    fluxes = np.stack([train[name].values for name in labels], axis=1) if labels else np.empty((train.sizes["time"], 0))
    # In blocks: what zarr needs for all frames at once stays with the process, several times the frames themselves.
    scaled = np.empty(train["intensity"].shape, np.float32)
    observed = np.ones(scaled.shape[:2], bool)
    for start in range(0, len(scaled), _BLOCK):
        block = train["intensity"].isel(time=slice(start, start + _BLOCK)).values.astype(np.float32)
        missing = np.isnan(block)
        observed[start : start + _BLOCK] = ~missing.all(axis=(2, 3))
        scaled[start : start + _BLOCK] = np.where(missing, filled, scaling.scale(block))
    letters = class_letters(train["forecast_flux"].values)
    _, membership, counts = np.unique(letters, return_inverse=True, return_counts=True)
    weights = counts[membership] ** -float(class_balance)
    frames = TrainingFrames(
        images=torch.from_numpy(scaled),
        fluxes=fluxes,
        weights=torch.from_numpy(weights / weights.sum()),
        time_ranges=time_ranges(train["time"].values),
        times=train["time"].values.astype("datetime64[ns]"),
        observed=torch.from_numpy(observed) if missing_channels == "learn" else None,
    )
    something = np.asarray(observed.any(axis=1))
    return frames if something.all() else frames.take(something)
