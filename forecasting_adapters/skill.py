"""Scores of flare forecasts: true skill statistic, Heidke and Brier skill scores, average precision, reliability.

With few flares among many quiet days, accuracy says nothing: "no flare" is right nearly always. Written with the counts
of a contingency table (TP hits, FN misses, FP false alarms, TN correct rejections):

- TSS = TP / (TP + FN) - FP / (FP + TN), which does not depend on how rare flares are in the sample;
- HSS2 = 2 (TP TN - FN FP) / ((TP + FN)(FN + TN) + (TP + FP)(FP + TN)), the gain over a random forecast;
- BSS = 1 - BS / BS_climatology with BS = mean((p - o)^2), the gain of a probability over the base rate.

All are 1 for a perfect forecast and 0 for one without skill. Average precision is the area under precision against
recall, sum_k (R_k - R_k-1) P_k: 1 for a perfect order, the base rate for a random one. A reliability diagram sets how
often a flare came beside the probability that was given. `forecasting_adapters.uncertainty` says how sure scores are.

References
----------
Bobra, M. G. & Couvidat, S. 2015, ApJ 798, 135 (HSS2 and TSS); Bloomfield, D. S. et al. 2012, ApJL 747, L41 (TSS for
comparing flare forecasts); Murphy, A. H. 1973, J. Appl. Meteor. 12, 215 (skill scores of probabilities); Saito, T. &
Rehmsmeier, M. 2015, PLoS ONE 10, e0118432 (precision and recall of rare classes); Bröcker, J. & Smith, L. A. 2007,
Weather Forecast. 22, 651 (reliability diagrams).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from sunaug.errors import UsageError

__all__ = [
    "ContingencyTable",
    "ReliabilityCurve",
    "average_precision",
    "best_threshold",
    "bin_of",
    "brier_skill_score",
    "contingency_table",
    "hss2",
    "hss2_of_counts",
    "recall",
    "reliability_curve",
    "restore_base_rate",
    "roc_area",
    "share",
    "tss",
    "tss_of_counts",
    "weighted_average_precision",
]


@dataclass(frozen=True)
class ContingencyTable:
    """Counts of a yes/no forecast against what happened."""

    hits: int
    misses: int
    false_alarms: int
    correct_rejections: int


def contingency_table(observed: ArrayLike, forecast: ArrayLike) -> ContingencyTable:
    """Count hits, misses, false alarms and correct rejections.

    Parameters
    ----------
    observed, forecast : array_like of bool or 0/1, shape (n,)
        Whether a flare happened, and whether one was forecast.

    Raises
    ------
    UsageError
        If the two differ in length, are empty, or hold anything but 0 and 1.
    """
    happened, said = _pair(observed, forecast, "forecast")
    yes = _binary(said, "forecast")
    return ContingencyTable(
        hits=int((happened & yes).sum()),
        misses=int((happened & ~yes).sum()),
        false_alarms=int((~happened & yes).sum()),
        correct_rejections=int((~happened & ~yes).sum()),
    )


def tss(table: ContingencyTable) -> float:
    """True skill statistic, TP / (TP + FN) - FP / (FP + TN) (Bloomfield et al. 2012); NaN without both classes."""
    return float(tss_of_counts(table.hits, table.misses, table.false_alarms, table.correct_rejections))


def hss2(table: ContingencyTable) -> float:
    """Heidke skill score, 2 (TP TN - FN FP) / ((TP + FN)(FN + TN) + (TP + FP)(FP + TN)) (Bobra & Couvidat 2015).

    NaN where forecast and observation are one and the same class throughout.
    """
    return float(hss2_of_counts(table.hits, table.misses, table.false_alarms, table.correct_rejections))


def brier_skill_score(observed: ArrayLike, probability: ArrayLike, climatology: float | None = None) -> float:
    """Brier skill score, 1 - BS / BS_climatology (Murphy 1973).

    Parameters
    ----------
    observed : array_like of bool or 0/1, shape (n,)
    probability : array_like, shape (n,)
        Forecast probability of a flare, 0 to 1.
    climatology : float, optional
        The constant probability to beat: the base rate of the training set. By default that of `observed`, which a
        forecaster could not have known and which is the harder one to beat.

    Returns
    -------
    float
        NaN where the climatology is itself perfect.

    Raises
    ------
    UsageError
        If the two arrays differ in length, are empty, or hold values that are no probabilities.
    """
    happened, chance = _pair(observed, probability, "probability")
    _check_probabilities(chance)
    reference = float(happened.mean()) if climatology is None else climatology
    unskilled = np.mean((reference - happened) ** 2)
    return float(1 - np.mean((chance - happened) ** 2) / unskilled) if unskilled > 0 else float("nan")


def recall(table: ContingencyTable) -> float:
    """Share of the flares that were forecast, TP / (TP + FN); NaN without flares."""
    return float(share(table.hits, table.hits + table.misses))


def average_precision(observed: ArrayLike, probability: ArrayLike) -> float:
    """Area under precision against recall, sum_k (R_k - R_k-1) P_k over all thresholds, without interpolation.

    Parameters
    ----------
    observed : array_like of bool or 0/1, shape (n,)
    probability : array_like, shape (n,)
        Anything that orders the frames.

    Returns
    -------
    float
        NaN without flares.

    Raises
    ------
    UsageError
        If the two differ in length, or are empty.
    """
    happened, chance = _pair(observed, probability, "probability")
    return float(weighted_average_precision(happened, chance, np.ones((1, len(chance))))[0])


def weighted_average_precision(
    observed: NDArray[np.bool_], probability: NDArray[np.float64], weights: NDArray[np.floating]
) -> NDArray[np.float64]:
    """`average_precision` of frames (n,) with several sets of weights (m, n): shape (m,), NaN without flares."""
    order = np.argsort(-probability, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(probability[order])), len(order) - 1)
    ordered = weights[:, order]
    hits = np.cumsum(ordered * observed[order], axis=1)[:, ends]
    said = np.cumsum(ordered, axis=1)[:, ends]
    precision = np.where(said > 0, hits / np.maximum(said, 1e-12), 0)
    return share((np.diff(hits, axis=1, prepend=0) * precision).sum(1), hits[:, -1])


def roc_area(observed: ArrayLike, probability: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a frame with a flare got more than one without; NaN for one class.

    By ranks, equal probabilities counting one half (Hanley & McNeil 1982, Radiology 143, 29).

    Raises
    ------
    UsageError
        If the two differ in length, or are empty.
    """
    happened, chance = _pair(observed, probability, "probability")
    n_flares, n_quiet = int(happened.sum()), int((~happened).sum())
    above = rankdata(chance)[happened].sum() - n_flares * (n_flares + 1) / 2
    return float(share(above, n_flares * n_quiet))


@dataclass(frozen=True)
class ReliabilityCurve:
    """A reliability diagram: forecasts in bins of their probability.

    Attributes
    ----------
    probability : ndarray of float64, shape (bins,)
        Mean forecast probability of each bin, NaN where it is empty.
    frequency : ndarray of float64, shape (bins,)
        Share of its forecasts that a flare followed, NaN where it is empty.
    count : ndarray of int64, shape (bins,)
    """

    probability: NDArray[np.float64]
    frequency: NDArray[np.float64]
    count: NDArray[np.int64]


def reliability_curve(observed: ArrayLike, probability: ArrayLike, bins: int = 10) -> ReliabilityCurve:
    """How often a flare came where a probability was given, in equal bins from 0 to 1 (Bröcker & Smith 2007).

    Raises
    ------
    UsageError
        If the two differ in length, are empty, hold values that are no probabilities, or there is no bin.
    """
    happened, chance = _pair(observed, probability, "probability")
    _check_probabilities(chance)
    if bins < 1:
        raise UsageError(f"{bins} bins cannot be filled; give at least one.")
    place = bin_of(chance, bins)
    count = np.bincount(place, minlength=bins)
    return ReliabilityCurve(
        probability=share(np.bincount(place, chance, minlength=bins), count),
        frequency=share(np.bincount(place, happened, minlength=bins), count),
        count=count,
    )


def bin_of(probability: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Number of the equal bin from 0 to 1 that each probability falls into."""
    return np.minimum((probability * bins).astype(np.int64), bins - 1)


def best_threshold(observed: ArrayLike, probability: ArrayLike, score: str = "tss") -> float:
    """The probability from which on to forecast a flare, so that the score is largest.

    To be chosen on the validation set and applied to the test set: chosen on the set that it is judged on, it flatters.

    Parameters
    ----------
    observed : array_like of bool or 0/1, shape (n,)
    probability : array_like, shape (n,)
    score : {"tss", "hss2"}

    Returns
    -------
    float
        One of the values in `probability`; forecast a flare where the probability is at least this. Of several equally
        good thresholds the highest.

    Raises
    ------
    UsageError
        If `score` is neither of the two, or `observed` lacks one of the classes.
    """
    scores = {"tss": tss_of_counts, "hss2": hss2_of_counts}
    if score not in scores:
        raise UsageError(f"unknown score {score!r}: choose one of {', '.join(scores)}.")
    happened, chance = _pair(observed, probability, "probability")
    if happened.all() or not happened.any():
        raise UsageError(
            "a threshold cannot be chosen on frames of one class only; give frames with and without flares."
        )
    order = np.argsort(-chance, kind="stable")
    hits, false_alarms = np.cumsum(happened[order]), np.cumsum(~happened[order])
    # Equal probabilities fall on the same side of every threshold: only the last of each run is one.
    ends = np.append(np.flatnonzero(np.diff(chance[order])), len(order) - 1)
    hits, false_alarms = hits[ends], false_alarms[ends]
    n_flares, n_quiet = int(happened.sum()), int((~happened).sum())
    values = scores[score](hits, n_flares - hits, false_alarms, n_quiet - false_alarms)
    return float(chance[order][ends[np.argmax(values)]])


def restore_base_rate(probability: ArrayLike, base_rate: float) -> NDArray[np.float64]:
    """Turn the probabilities of a model trained on balanced classes back to those of the real frequency of flares.

    Balancing multiplies the odds by (1 - r) / r for a base rate r; this divides them by it again (Bayes' rule). The
    order of the probabilities, and so every score at its best threshold, stays the same.

    Parameters
    ----------
    probability : array_like, shape (n,)
        Output of the model that saw flares and quiet frames equally often.
    base_rate : float
        Share of real training frames with a flare, between 0 and 1.

    Raises
    ------
    UsageError
        If `base_rate` is not between 0 and 1.
    """
    if not 0 < base_rate < 1:
        raise UsageError(
            f"a base rate lies between 0 and 1, not at {base_rate}; give the share of frames with a flare."
        )
    chance = np.asarray(probability, dtype=np.float64)
    return chance * base_rate / (chance * base_rate + (1 - chance) * (1 - base_rate))


def _pair(observed: ArrayLike, values: ArrayLike, what: str) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    happened, given = np.asarray(observed).reshape(-1), np.asarray(values, dtype=np.float64).reshape(-1)
    if len(happened) != len(given) or not len(happened):
        raise UsageError(
            f"{len(happened)} observed values and {len(given)} of {what}; give one for one, and at least one."
        )
    if np.isnan(given).any():
        raise UsageError(
            f"{int(np.isnan(given).sum())} of {len(given)} values of {what} are NaN; leave those frames out."
        )
    return _binary(happened, "observed"), given


def _check_probabilities(values: NDArray[np.float64]) -> None:
    if not ((values >= 0) & (values <= 1)).all():
        raise UsageError("a probability lies between 0 and 1; give probabilities, not logits.")


def _binary(values: NDArray[Any], what: str) -> NDArray[np.bool_]:
    if not np.isin(values, (0, 1)).all():
        raise UsageError(f"values of {what} must be 0 or 1; compare fluxes or probabilities with a threshold first.")
    return values.astype(bool)


def share(part: Any, whole: Any) -> NDArray[np.float64]:
    """Part of a whole, element by element; NaN where the whole is zero."""
    whole = np.asarray(whole, dtype=np.float64)
    return np.asarray(part, dtype=np.float64) / np.where(whole == 0, np.nan, whole)


def tss_of_counts(hits: Any, misses: Any, false_alarms: Any, rejections: Any) -> NDArray[np.float64]:
    """`tss` of many tables at once: arrays of counts, or of weights, of one shape."""
    return share(hits, hits + misses) - share(false_alarms, false_alarms + rejections)


def hss2_of_counts(hits: Any, misses: Any, false_alarms: Any, rejections: Any) -> NDArray[np.float64]:
    """`hss2` of many tables at once: arrays of counts, or of weights, of one shape."""
    chance = (hits + misses) * (misses + rejections) + (hits + false_alarms) * (false_alarms + rejections)
    return share(2 * (hits * rejections - misses * false_alarms), chance)
