"""Does a sample show what its condition claims? Read back by networks that have seen real frames only.

A regressor (three networks of `sunaug.critic`, trained with other random numbers than the critic that samples are
chosen by) reads the fluxes; a classifier (logistic regression on the solar encoder's features) says whether a flare of
class M or more is to follow. What either reads off one image is little, on real frames too: the figures mean something
beside those of real frames of the same conditions that neither has seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.stats import rankdata, wasserstein_distance
from torch import Tensor

from sunaug.critic.fit import FOLDS, held_out, near

__all__ = ["Classifier", "claims", "rank_correlation", "roc_area"]

BORDER = 1e-5
FEWEST = 10
"""Frames on either side of a border that a figure needs."""

_DECAY = 1e-2
_STEPS = 60


@dataclass(frozen=True)
class Classifier:
    """Logistic regressions, one without each third of the blocks of ten days: M class or more in the next 24 hours?

    Attributes
    ----------
    weights : ndarray of float32, shape (folds, dims + 1)
        The last one is the constant.
    mean, spread : ndarray of float32, shape (dims,)
    """

    weights: NDArray[np.float32]
    mean: NDArray[np.float32]
    spread: NDArray[np.float32]

    @classmethod
    def fit(
        cls, features: NDArray[np.floating], flux: NDArray[np.float64], times: NDArray[np.datetime64]
    ) -> Classifier | None:
        """Fit on real frames of the train months; None where there are too few of either class."""
        rare = flux >= BORDER
        known = np.isfinite(flux)
        mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
        values = torch.from_numpy(((features - mean) / spread).astype(np.float32))
        weights = []
        for fold in range(FOLDS):
            kept = known & ~near(times, held_out(times, fold))
            if min((rare & kept).sum(), (~rare & kept).sum()) < FEWEST:
                return None
            chosen = torch.from_numpy(np.flatnonzero(kept))
            weights.append(_logistic(values[chosen], torch.from_numpy(rare[kept]).float()))
        return cls(torch.stack(weights).numpy(), mean.astype(np.float32), spread.astype(np.float32))

    def says(self, features: NDArray[np.floating], times: NDArray[np.datetime64] | None = None) -> NDArray[np.float64]:
        """Log odds of class M or more, shape (n,).

        Parameters
        ----------
        features : ndarray, shape (n, dims)
        times : ndarray of datetime64, optional
            Those of the frames that it was fitted on: each is then judged by what has not seen it.
        """
        odds = ((features - self.mean) / self.spread) @ self.weights[:, :-1].T + self.weights[:, -1]
        if times is None:
            return np.asarray(odds.mean(axis=1), np.float64)
        unseen = np.stack([held_out(times, fold) for fold in range(FOLDS)], axis=1)
        return np.asarray(odds[unseen], np.float64)


def _logistic(values: Tensor, rare: Tensor) -> Tensor:
    """Weights (dims + 1,) of a ridge logistic regression in which both classes weigh the same."""
    inputs = torch.cat([values, torch.ones(len(values), 1)], dim=1)
    weights = torch.zeros(inputs.shape[1], requires_grad=True)
    balance = torch.where(rare > 0, 0.5 / rare.mean(), 0.5 / (1 - rare.mean()))
    optimizer = torch.optim.LBFGS([weights], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(inputs @ weights, rare, balance)
        loss = loss + _DECAY * weights[:-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weights.detach()


def rank_correlation(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Spearman's; NaN where one of them does not vary."""
    if len(first) < FEWEST or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def roc_area(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve; NaN where there are fewer than 10 of either."""
    if min(positive.sum(), (~positive).sum()) < FEWEST:
        return float("nan")
    ranks = rankdata(scores)
    n = int(positive.sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (~positive).sum()))


def claims(
    readings: Mapping[str, NDArray[np.floating]],
    fluxes: Mapping[str, NDArray[np.float64]],
    real_readings: Mapping[str, NDArray[np.floating]],
) -> dict[str, float]:
    """What is read off frames against their labels, and against what is read off real frames.

    Parameters
    ----------
    readings : mapping of str to ndarray
        ``nowcast_flux`` and ``forecast_flux``: log10 of the flux that the regressor reads, shape (n, networks);
        ``rare``: log odds of the classifier, shape (n,). Any may be missing.
    fluxes : mapping of str to ndarray of float64, shape (n,)
        The labels, W m-2.
    real_readings : mapping of str to ndarray
        Of real frames with the same mix of labels.

    Returns
    -------
    dict of str to float
        For each label ``obeys LABEL``, the rank correlation of label and reading, and ``reading LABEL``, the
        Wasserstein distance of what is read to what is read off real frames (dex); ``obeys class``, the
        area under the ROC curve of the classifier, and ``reading class`` likewise. NaN where frames do not give a
        figure.
    """
    found: dict[str, float] = {}
    for name, values in readings.items():
        if name == "rare":
            found["obeys class"] = roc_area(values, fluxes["forecast_flux"] >= BORDER)
            found["reading class"] = float(wasserstein_distance(values, real_readings[name]))
            continue
        known = np.isfinite(fluxes[name])
        correlations = [rank_correlation(column[known], fluxes[name][known]) for column in values.T]
        found[f"obeys {name}"] = float(np.mean(correlations))
        found[f"reading {name}"] = float(
            np.mean(
                [wasserstein_distance(ours, real) for ours, real in zip(values.T, real_readings[name].T, strict=True)]
            )
        )
    return found
