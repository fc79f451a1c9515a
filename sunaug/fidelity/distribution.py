"""All figures that compare two sets of feature vectors as distributions, from one pair of sets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sunaug.fidelity.coverage import NEIGHBOURS, overlap
from sunaug.fidelity.frechet import FeatureStatistics, frechet_distance
from sunaug.fidelity.kernel import kernel_distance

__all__ = ["OVERLAPS", "distances", "mean_over_images"]

OVERLAPS = ("precision", "recall", "density", "coverage")


def distances(
    synthetic: NDArray[np.floating],
    real: NDArray[np.floating],
    *,
    synthetic_times: NDArray[np.datetime64] | None = None,
    real_times: NDArray[np.datetime64] | None = None,
) -> dict[str, float]:
    """Set two sets of feature vectors side by side.

    Parameters
    ----------
    synthetic : ndarray, shape (n, dims)
    real : ndarray, shape (m, dims)
        At least two vectors each.
    synthetic_times, real_times : ndarray of datetime64, shape (n,) and (m,), optional
        When the frames were observed, for those which were: see `sunaug.fidelity.coverage.overlap`.

    Returns
    -------
    dict of str to float
        ``frechet`` (`sunaug.fidelity.frechet`), ``kid`` and ``kid_stderr`` (`sunaug.fidelity.kernel`), ``precision``,
        ``recall``, ``density``, ``coverage`` (`sunaug.fidelity.coverage`; NaN where a side has too few vectors).

    Raises
    ------
    UsageError
        If there are too few vectors.
    """
    kid = kernel_distance(synthetic, real)
    figures = {
        "frechet": frechet_distance(FeatureStatistics.of(synthetic), FeatureStatistics.of(real)),
        "kid": kid.value,
        "kid_stderr": kid.stderr,
    }
    if min(len(synthetic), len(real)) <= NEIGHBOURS:
        return figures | dict.fromkeys(OVERLAPS, float("nan"))
    both = overlap(real, synthetic, real_times=real_times, synthetic_times=synthetic_times)
    return figures | {name: getattr(both, name) for name in OVERLAPS}


def mean_over_images(figures: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The mean of each figure over the images that a frame makes, given by the image's name."""
    by_image = list(figures.values())
    return {measure: float(np.mean([one[measure] for one in by_image])) for measure in by_image[0]}
