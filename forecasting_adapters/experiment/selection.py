"""What is chosen on validation: the length of the training, the calibration, the threshold.

An arm's forecasts are turned into probabilities by a logistic curve in the logit (Platt 1999): arms that see flares
more often than they are would else be judged by that alone. None of it changes the order of the frames.

To be judged on the validation months themselves, calibration and threshold are chosen on four fifths of them, in whole
stretches of days, and applied to the rest (cross-fitting): no frame is judged by a threshold that it had a part in. The
length of training, one number for all seeds of an arm, is chosen on all of validation for all arms alike. For the test
months everything is chosen on all of validation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting_adapters.skill import best_threshold, roc_area
from forecasting_adapters.uncertainty import Forecasts

__all__ = ["FOLDS", "Choice", "choose", "cross_fit", "day_folds"]

FOLDS = 5
_NEWTON_STEPS = 30
_RIDGE = 1e-3


@dataclass(frozen=True)
class Choice:
    """What validation says of an arm.

    Attributes
    ----------
    checkpoint : int
        The length of training, one for all seeds: largest mean area under the ROC curve.
    slope, intercept : ndarray of float64, shape (seeds,)
        Calibration of each seed's logits.
    threshold : ndarray of float64, shape (seeds,)
        Probability from which on each seed's forecaster says yes: largest TSS.
    ensemble_threshold : float
        The same for the mean probability of all seeds.
    """

    checkpoint: int
    slope: NDArray[np.float64]
    intercept: NDArray[np.float64]
    threshold: NDArray[np.float64]
    ensemble_threshold: float

    def forecast(self, logits: NDArray[np.float64]) -> tuple[Forecasts, Forecasts]:
        """Forecasts of the single seeds, and of their mean, from logits (seeds, n) of the chosen checkpoint."""
        probability = _calibrated(logits, self.slope, self.intercept)
        mean = probability.mean(0, keepdims=True)
        return (
            Forecasts(probability, probability >= self.threshold[:, None]),
            Forecasts(mean, mean >= self.ensemble_threshold),
        )


def choose(logits: NDArray[np.float64], labels: NDArray[np.bool_], checkpoint: int | None = None) -> Choice:
    """Choose on frames whose labels are known.

    Parameters
    ----------
    logits : ndarray, shape (seeds, checkpoints, n)
    labels : ndarray of bool, shape (n,)
    checkpoint : int, optional
        Where the length of training has been chosen already.

    Raises
    ------
    UsageError
        If the labels are of one class only.
    """
    if checkpoint is None:
        areas = [[roc_area(labels, one) for one in checkpoints] for checkpoints in logits]
        checkpoint = int(np.argmax(np.mean(areas, axis=0)))
    chosen = logits[:, checkpoint]
    fitted = np.array([_fit_logistic(one, labels) for one in chosen])
    probability = _calibrated(chosen, fitted[:, 0], fitted[:, 1])
    return Choice(
        checkpoint=checkpoint,
        slope=fitted[:, 0],
        intercept=fitted[:, 1],
        threshold=np.array([best_threshold(labels, one) for one in probability]),
        ensemble_threshold=best_threshold(labels, probability.mean(0)),
    )


def cross_fit(
    logits: NDArray[np.float64], labels: NDArray[np.bool_], folds: NDArray[np.int64]
) -> tuple[Forecasts, Forecasts]:
    """Forecasts of the seeds and of their mean, each frame's by what was chosen on the other folds.

    Parameters
    ----------
    logits : ndarray, shape (seeds, checkpoints, n)
    labels : ndarray of bool, shape (n,)
    folds : ndarray of int64, shape (n,)
    """
    whole = choose(logits, labels)
    chosen = logits[:, whole.checkpoint]
    # Average precision needs no calibration, and the folds' calibrations would mix up the order of frames.
    single, mean = (
        Forecasts(one.probability.copy(), one.yes.copy(), one.probability) for one in whole.forecast(chosen)
    )
    for fold in np.unique(folds):
        inside = folds == fold
        choice = choose(logits[..., ~inside], labels[~inside], whole.checkpoint)
        for kept, made in zip((single, mean), choice.forecast(chosen[:, inside]), strict=True):
            kept.probability[:, inside] = made.probability
            kept.yes[:, inside] = made.yes
    return single, mean


def day_folds(times: NDArray[np.datetime64], count: int = FOLDS) -> NDArray[np.int64]:
    """Number of each frame's fold: consecutive stretches of days, equally many in each."""
    days, number = np.unique(times.astype("datetime64[D]"), return_inverse=True)
    return number * count // len(days)


def _calibrated(
    logits: NDArray[np.float64], slope: NDArray[np.float64], intercept: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Probabilities (seeds, n)."""
    return 1 / (1 + np.exp(-(slope[:, None] * logits + intercept[:, None])))


def _fit_logistic(logits: NDArray[np.float64], labels: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and intercept of the logistic curve by Newton's method; a slope below zero is taken as (nearly) flat."""
    scale = max(float(logits.std()), 1e-6)
    design = np.stack([logits / scale, np.ones_like(logits)], axis=1)
    beta = np.zeros(2)
    for _ in range(_NEWTON_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(design @ beta, -30, 30)))
        gradient = design.T @ (labels - chance) - _RIDGE * beta
        curvature = design.T @ (design * (chance * (1 - chance))[:, None]) + _RIDGE * np.eye(2)
        beta = beta + np.linalg.solve(curvature, gradient)
    return max(float(beta[0]), 1e-3) / scale, float(beta[1])
