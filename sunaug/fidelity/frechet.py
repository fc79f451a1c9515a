"""Fréchet distance between two sets of feature vectors.

The distance is that of Heusel et al. 2017 (arXiv 1706.08500, eq. 6), |m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^1/2). Its
value depends on the features and on their number: it means something beside the floor of the same network and number
only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sunaug.errors import UsageError

__all__ = ["FeatureStatistics", "frechet_distance"]


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean and covariance of a set of features.

    Attributes
    ----------
    mean : ndarray of float64, shape (dims,)
    root : ndarray of float64, shape (min(n, dims), dims)
        A root of the covariance: ``root.T @ root`` is the covariance with n - 1 in the denominator.
    count : int
        Number of images, n.
    """

    mean: NDArray[np.float64]
    root: NDArray[np.float64]
    count: int

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> FeatureStatistics:
        """Statistics of features (n, dims), n at least 2."""
        if len(values) < 2:
            raise UsageError(f"a covariance needs two images at least, not {len(values)}.")
        exact = values.astype(np.float64)
        mean = exact.mean(axis=0)
        root = (exact - mean) / np.sqrt(len(values) - 1)
        if len(root) > root.shape[1]:
            root = np.linalg.qr(root, mode="r")
        return cls(mean, root, len(values))


def frechet_distance(first: FeatureStatistics, second: FeatureStatistics) -> float:
    """Fréchet distance of two Gaussians (Heusel et al. 2017, eq. 6).

    With C1 = A'A and C2 = B'B, the eigenvalues of the product C1 C2 are the squares of the singular values of A B', so
    the trace of its root is the sum of these. That needs no `sqrtm`, stays real, and holds for rank-deficient
    covariances, where `pytorch_fid.fid_score.calculate_frechet_distance` has to add to the diagonal.
    """
    offset = first.mean - second.mean
    overlap = np.linalg.svd(first.root @ second.root.T, compute_uv=False).sum()
    return float(offset @ offset + np.square(first.root).sum() + np.square(second.root).sum() - 2 * overlap)
