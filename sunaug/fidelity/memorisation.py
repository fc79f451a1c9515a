"""Memorisation: does a generator hand out the frames that it was trained on?

Four questions, each with a number that real frames of other days set a limit to:

- *copies*: are samples nearer to a training frame than unseen real frames are (in pixels, and in feature space)?
- *authenticity* (Alaa et al. 2022, arXiv 2102.08921, section 3.3): the share of samples that are further from the
  training frame nearest to them than that frame is from its own nearest neighbour;
- *membership* (Chen et al. 2020, GAN-Leaks, arXiv 1909.03935, section 4.1): do distances to the nearest sample tell
  frames that were trained on from frames that were not? 0.5 says no.

A copy may be turned a little or mirrored, as frames are in training: pixels are compared in every such position.
Neighbouring hours look alike, so real frames are only compared with those of other days.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

__all__ = [
    "APART",
    "Nearest",
    "PixelSpace",
    "authenticity",
    "copies",
    "membership",
    "nearest_rows",
    "thumbnails",
]

APART = np.timedelta64(14, "D")
"""Real frames nearer in time are not compared: half a rotation later other active regions face the Earth."""

SIZE = 32
ANGLES = (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0)
"""Degrees that a copy is looked for at."""

COPY_SHARE = 0.01
"""Of unseen real frames, as many are nearer to a training frame than the distance that counts as a copy's."""

_DIMS = 96
_ROWS = 256


def thumbnails(scaled: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Frames of 32 pixels, averaged down.

    Parameters
    ----------
    scaled : ndarray, shape (n, channel, y, x)
        Scaled intensities in [-1, 1]; NaN is the lowest.

    Returns
    -------
    ndarray of uint8, shape (n, channel, 32, 32)
    """
    frames = torch.from_numpy(np.nan_to_num(np.asarray(scaled, np.float32), nan=-1.0)).clamp(-1, 1)
    small = F.adaptive_avg_pool2d(frames, SIZE) if frames.shape[-1] > SIZE else frames
    counts: NDArray[np.uint8] = ((small + 1) * 127.5).round().to(torch.uint8).numpy()
    return counts


def _positions(pictures: Tensor) -> list[Tensor]:
    """Pictures (n, c, y, x) turned by each of the angles, and each of these mirrored."""
    found = []
    for angle in ANGLES:
        radians = torch.deg2rad(torch.tensor(angle))
        turn = torch.tensor([[torch.cos(radians), -torch.sin(radians), 0], [torch.sin(radians), torch.cos(radians), 0]])
        grid = F.affine_grid(turn.expand(len(pictures), 2, 3), list(pictures.shape), align_corners=False)
        turned = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False) if angle else pictures
        found += [turned, turned.flip(3), turned.flip(2), turned.flip((2, 3))]
    return found


@dataclass(frozen=True)
class PixelSpace:
    """Leading components of the thumbnails of real frames, in which pictures are compared.

    Attributes
    ----------
    mean : ndarray of float32, shape (pixels,)
    axes : ndarray of float32, shape (dims, pixels)
        Orthonormal.
    """

    mean: NDArray[np.float32] = field(repr=False)
    axes: NDArray[np.float32] = field(repr=False)

    @classmethod
    def fit(cls, pictures: NDArray[np.uint8]) -> PixelSpace:
        """The components of some frames, as `thumbnails` gives them."""
        flat = torch.from_numpy(pictures).flatten(1).float()
        mean = flat.mean(dim=0)
        centred = flat - mean
        # Of the smaller of the two products: frames are fewer than pixels in small sets.
        if len(centred) <= centred.shape[1]:
            values, vectors = torch.linalg.eigh((centred @ centred.T).double())
            kept = values > 1e-9 * values.max().clamp_min(1e-12)
            axes = (vectors[:, kept].T.float() @ centred).flip(0)[:_DIMS]
            axes = axes / axes.norm(dim=1, keepdim=True).clamp_min(1e-12)
        else:
            axes = torch.linalg.eigh((centred.T @ centred).double())[1].T.float().flip(0)[:_DIMS]
        return cls(mean.numpy(), np.ascontiguousarray(axes.numpy()))

    def project(self, pictures: NDArray[np.uint8], *, everywhere: bool = False) -> NDArray[np.float32]:
        """Coordinates of pictures.

        Parameters
        ----------
        pictures : ndarray of uint8, shape (n, channel, 32, 32)
        everywhere : bool
            In all positions that a copy may stand in.

        Returns
        -------
        ndarray of float32, shape (n, dims), or (n, positions, dims)
            A distance of two is the root mean square difference of their pixels over the range of the scaling.
        """
        axes, mean = torch.from_numpy(self.axes), torch.from_numpy(self.mean)
        unit = 255 * self.mean.size**0.5
        parts = []
        for part in torch.from_numpy(pictures).float().split(_ROWS):
            turned = torch.stack(_positions(part) if everywhere else [part], dim=1)
            parts.append((turned.flatten(2) - mean) @ axes.T / unit)
        found: NDArray[np.float32] = torch.cat(parts).numpy() if parts else np.empty((0, 1, len(axes)), np.float32)
        return found if everywhere else found[:, 0]


@dataclass(frozen=True)
class Nearest:
    """The nearest of some rows to each of others.

    Attributes
    ----------
    distance : ndarray of float32, shape (n,)
        Infinite where there is none.
    row : ndarray of int64, shape (n,)
    """

    distance: NDArray[np.float32]
    row: NDArray[np.int64]


def nearest_rows(
    vectors: NDArray[np.floating],
    others: NDArray[np.floating],
    times: NDArray[np.datetime64] | None = None,
    other_times: NDArray[np.datetime64] | None = None,
) -> Nearest:
    """The nearest of `others` to each vector, `APART` or more away in time where both times are given.

    Parameters
    ----------
    vectors : ndarray, shape (n, dims) or (n, positions, dims)
        In several positions the nearest of them counts.
    others : ndarray, shape (m, dims)
    times, other_times : ndarray of datetime64, optional

    Returns
    -------
    Nearest
    """
    bank = torch.from_numpy(np.asarray(others, np.float32))
    queries = torch.from_numpy(np.asarray(vectors, np.float32))
    queries = queries if queries.ndim == 3 else queries[:, None]
    distances, rows = [], []
    for start in range(0, len(queries), _ROWS):
        part = queries[start : start + _ROWS]
        # By differences and not by products, for which a copy is not at distance zero.
        apart = torch.cdist(part.flatten(0, 1), bank, compute_mode="use_mm_for_euclid_dist")
        apart = apart.view(len(part), part.shape[1], -1).amin(dim=1)
        if times is not None and other_times is not None:
            close = np.abs(times[start : start + _ROWS, None] - other_times) < APART
            apart = apart.masked_fill(torch.from_numpy(close), torch.inf)
        least, row = apart.min(dim=1)
        distances.append(least.numpy())
        rows.append(row.numpy())
    return Nearest(np.concatenate(distances), np.concatenate(rows))


def copies(distance: NDArray[np.floating], unseen: NDArray[np.floating]) -> float:
    """Share of samples that lie nearer to a training frame than all but 1 % of the unseen real frames do.

    Parameters
    ----------
    distance : ndarray, shape (n,)
        Of each sample to the nearest training frame.
    unseen : ndarray, shape (m,)
        The same of real frames that were not trained on.
    """
    return float((distance < np.quantile(unseen, COPY_SHARE)).mean())


def authenticity(nearest: Nearest, train_distance: NDArray[np.floating]) -> float:
    """Share of samples further from the nearest training frame than that one from its own neighbour of another day.

    Parameters
    ----------
    nearest : Nearest
        Of each sample among the training frames.
    train_distance : ndarray, shape (m,)
        Of each training frame to the nearest other one.
    """
    return float((nearest.distance > train_distance[nearest.row]).mean())


def membership(members: NDArray[np.floating], others: NDArray[np.floating]) -> float:
    """How well the distance to the nearest sample tells training frames from other real frames: area under the ROC.

    Parameters
    ----------
    members, others : ndarray, shape (n,) and (m,)
        Distances of training frames, and of frames that were not trained on, to the nearest sample.

    Returns
    -------
    float
        0.5 for no difference, 1 where every training frame is nearer.
    """
    ranks = rankdata(np.concatenate([members, others]))
    above = ranks[len(members) :].sum() - len(others) * (len(others) + 1) / 2
    return float(above / (len(members) * len(others)))
