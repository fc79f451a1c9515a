"""How near one comes to a missing channel without a generator: the mean frame, and a regression on the others.

The regression has coefficients of its own at each place of the frame. It sees the same pixel of the channels that are
given: their intensities, their squares and their products, all in scaled units. Both know the train months alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from sunaug.bundle import BundleInfo
from sunaug.cube import select_split
from sunaug.reconstruction.scores import Errors
from sunaug.reconstruction.source import RealFrames

__all__ = ["Baselines", "fit_baselines"]

_BLOCK = 64
_RIDGE = 1e-4
"""In units of the number of frames: squares of scaled intensities are of the order of 1."""


@dataclass(frozen=True)
class Baselines:
    """Fitted on the train frames of a cube.

    Attributes
    ----------
    info : BundleInfo
        Of the bundle whose scaling and channels they go by.
    given, wanted : list of int
        Places of channels in the bundle's order.
    mean : Tensor, shape (wanted, y, x)
        Mean of the scaled train frames.
    coefficients : Tensor, shape (y, x, terms, wanted)
        Of the regression.
    """

    info: BundleInfo
    given: list[int]
    wanted: list[int]
    mean: Tensor
    coefficients: Tensor

    def predict(self, scaled: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """What the baselines take the wanted channels for.

        Parameters
        ----------
        scaled : ndarray, shape (n, channel, y, x)
            Frames in scaled units, all of the bundle's channels.

        Returns
        -------
        dict of str to ndarray
            ``mean frame`` and ``regression``, each of the same shape; NaN in the channels that are not wanted.
        """
        seen = _terms(torch.from_numpy(scaled)[:, self.given])
        said = {
            "mean frame": self.mean.expand(len(scaled), -1, -1, -1),
            "regression": torch.einsum("yxnt,yxtw->nwyx", seen, self.coefficients),
        }
        found = {name: np.full_like(scaled, np.nan) for name in said}
        for name, images in said.items():
            found[name][:, self.wanted] = images.numpy()
        return found

    def errors(self, frames: RealFrames) -> dict[str, Errors]:
        """Errors of what `predict` says of frames, by the same names; NaN in the channels that are not wanted."""
        said: dict[str, list[Errors]] = {}
        for start in range(0, len(frames), _BLOCK):
            real = frames.intensity(slice(start, start + _BLOCK))
            for name, images in self.predict(self.info.scaling.scale(real)).items():
                said.setdefault(name, []).append(Errors.of(images, real, self.info))
        return {name: Errors.joined(parts) for name, parts in said.items()}


def _planes(frames: Tensor) -> Tensor:
    """Frames (n, channel, y, x) as (y, x, n, channel), float64; 0 for NaN."""
    return frames.double().nan_to_num().permute(2, 3, 0, 1)


def _terms(given: Tensor) -> Tensor:
    """1, intensities, squares and products of frames (n, channel, y, x): (y, x, n, terms), float64; 0 for NaN."""
    planes = _planes(given)
    count = planes.shape[-1]
    first, second = torch.triu_indices(count, count)
    return torch.cat([torch.ones_like(planes[..., :1]), planes, planes[..., first] * planes[..., second]], dim=-1)


def fit_baselines(cube: xr.Dataset, info: BundleInfo, given: Sequence[str]) -> Baselines:
    """Fit the baselines on a cube's train months, in blocks of frames.

    A pixel counts where all channels in question have data.

    Parameters
    ----------
    cube : xarray.Dataset
        The observed cube.
    info : BundleInfo
    given : sequence of str
        Channels that the regression sees. Wanted are the bundle's others, as far as the cube has them.

    Raises
    ------
    SunaugError
        If the cube has no train frame.
    """
    train = RealFrames(select_split(cube, "train"), info, tuple(given), "train")
    wanted = [name for name in info.channels if name not in given and name in cube["channel"].values]
    seen, sought = ([info.channels.index(name) for name in names] for names in (given, wanted))
    terms = 1 + len(seen) + len(seen) * (len(seen) + 1) // 2
    places = (info.network.size, info.network.size)
    gram = torch.zeros(*places, terms, terms, dtype=torch.float64)
    moments = torch.zeros(*places, terms, len(sought), dtype=torch.float64)
    for start in range(0, len(train), _BLOCK):
        scaled = torch.from_numpy(info.scaling.scale(train.intensity(slice(start, start + _BLOCK))))
        known = scaled[:, seen + sought].isfinite().all(dim=1).permute(1, 2, 0)[..., None]
        rows = _terms(scaled[:, seen]) * known
        gram += rows.transpose(-1, -2) @ rows
        moments += rows.transpose(-1, -2) @ _planes(scaled[:, sought])
    ridge = torch.full((terms,), _RIDGE * len(train), dtype=torch.float64)
    ridge[0] = torch.finfo(torch.float64).eps  # a place without data gets zeros
    return Baselines(
        info=info,
        given=seen,
        wanted=sought,
        mean=(moments[..., 0, :] / gram[..., :1, 0].clamp_min(1)).permute(2, 0, 1),
        coefficients=torch.linalg.solve(gram + ridge.diag(), moments),
    )
