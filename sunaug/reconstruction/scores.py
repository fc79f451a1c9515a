"""How far images are from real frames, channel by channel, over the pixels that the real frames have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sunaug.bundle import BundleInfo

__all__ = ["Errors", "rms_error", "total_error"]


@dataclass(frozen=True)
class Errors:
    """Errors of n images; see `rms_error` and `total_error`.

    Attributes
    ----------
    rms, total : ndarray of float32, shape (n, channel)
    """

    rms: NDArray[np.float32]
    total: NDArray[np.float32]

    @classmethod
    def of(cls, made: NDArray[np.float32], real: NDArray[np.float32], info: BundleInfo) -> Errors:
        """Errors of images in scaled units against real frames in the cube's units, both (n, channel, y, x)."""
        images = info.within_range(info.scaling.unscale(made))
        return cls(rms_error(made, info.scaling.scale(real)), total_error(images, real))

    @classmethod
    def joined(cls, parts: Sequence[Errors]) -> Errors:
        """Errors of several blocks of images as one."""
        return cls(np.concatenate([part.rms for part in parts]), np.concatenate([part.total for part in parts]))


def rms_error(made: NDArray[np.float32], real: NDArray[np.float32]) -> NDArray[np.float32]:
    """Root mean square difference.

    Parameters
    ----------
    made, real : ndarray, shape (n, channel, y, x)
        In scaled units; `real` is NaN where there are no data.

    Returns
    -------
    ndarray of float32, shape (n, channel)
        NaN where the real frame lacks the channel, or `made` does.
    """
    known = np.isfinite(real)
    squares = np.where(known, made - real, 0).astype(np.float64) ** 2
    return np.sqrt(_divided(squares.sum(axis=(2, 3)), known.sum(axis=(2, 3))))


def total_error(made: NDArray[np.float32], real: NDArray[np.float32]) -> NDArray[np.float32]:
    """Relative error of the total: sum of `made` over that of `real`, less 1.

    Parameters
    ----------
    made, real : ndarray, shape (n, channel, y, x)
        In the cube's units; `real` is NaN where there are no data.

    Returns
    -------
    ndarray of float32, shape (n, channel)
        NaN where the real frame lacks the channel or is dark, or `made` lacks it.
    """
    known = np.isfinite(real)
    ours, theirs = (np.where(known, one, 0).astype(np.float64).sum(axis=(2, 3)) for one in (made, real))
    return _divided(ours, theirs) - np.float32(1)


def _divided(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float32]:
    """The quotient, NaN where the denominator is zero."""
    quotient = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator != 0)
    return quotient.astype(np.float32)
