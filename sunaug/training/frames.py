"""Training frames: the train months of a cube, scaled, in memory, with their conditions and sampling weights."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from sunaug.cube import select_split
from sunaug.cube.splits import time_ranges
from sunaug.errors import SunaugError
from sunaug.flares import class_letters
from sunaug.scaling import IntensityScaling

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
    """

    images: Tensor
    fluxes: NDArray[np.float64]
    weights: Tensor
    time_ranges: list[list[str]]
    times: NDArray[np.datetime64] = field(default_factory=lambda: np.empty(0, "datetime64[ns]"))


def known_frames(cube: xr.Dataset, labels: tuple[str, ...]) -> xr.Dataset:
    """The train frames of a cube whose labels are known.

    Raises
    ------
    SunaugError
        If there is none.
    """
    train = select_split(cube, "train")
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
    cube: xr.Dataset, scaling: IntensityScaling, labels: tuple[str, ...], class_balance: float
) -> TrainingFrames:
    """Read the train months of a cube into memory.

    Frames without the labels that the model is conditioned on are left out. A missing pixel takes the scaling's lowest
    value.

    Raises
    ------
    SunaugError
        If no frame is left.
    """
    train = known_frames(cube, labels)
    fluxes = np.stack([train[name].values for name in labels], axis=1) if labels else np.empty((train.sizes["time"], 0))
    # In blocks: what zarr needs for all frames at once stays with the process, several times the frames themselves.
    scaled = np.empty(train["intensity"].shape, np.float32)
    for start in range(0, len(scaled), _BLOCK):
        block = train["intensity"].isel(time=slice(start, start + _BLOCK)).values.astype(np.float32)
        scaled[start : start + _BLOCK] = np.nan_to_num(scaling.scale(block), nan=-1.0)
    letters = class_letters(train["forecast_flux"].values)
    _, membership, counts = np.unique(letters, return_inverse=True, return_counts=True)
    weights = counts[membership] ** -float(class_balance)
    return TrainingFrames(
        images=torch.from_numpy(scaled),
        fluxes=fluxes,
        weights=torch.from_numpy(weights / weights.sum()),
        time_ranges=time_ranges(train["time"].values),
        times=train["time"].values.astype("datetime64[ns]"),
    )
