"""How sure a score is: block bootstrap over days and seeds, paired differences, and a verdict in words.

Frames of one day show one Sun and share flares, so they are not drawn one by one but in blocks of whole days (Künsch
1989). The seeds of a forecaster are drawn in the same go: a score is the mean over seeds, and a difference between two
ways of training belongs to both the days that it was measured on and the seeds that it was trained with. Two ways are
compared on the same drawn days and seeds, so that what both share drops out.

Flares come from few blocks, and the percentiles of a bootstrap of few blocks lie too near to each other; they are
moved outwards as a t distribution of that many blocks asks for (expanded percentile interval, Hesterberg 2015).

References
----------
Künsch, H. R. 1989, Ann. Stat. 17, 1217; Efron, B. & Tibshirani, R. 1993, An Introduction to the Bootstrap;
Hesterberg, T. C. 2015, The American Statistician 69, 371, section 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, t

from forecasting_adapters.skill import (
    ReliabilityCurve,
    bin_of,
    hss2_of_counts,
    reliability_curve,
    share,
    tss_of_counts,
    weighted_average_precision,
)
from sunaug.errors import UsageError
from sunaug.goes_classes import CLASS_FLUX

__all__ = [
    "BLOCK_DAYS",
    "SCORES",
    "Estimate",
    "Forecasts",
    "Observed",
    "Reliability",
    "Resamples",
    "Verdict",
    "difference",
    "estimate",
    "judge",
    "reliability",
    "resample",
]

SCORES = ("tss", "hss2", "bss", "average_precision", "x_recall")
BLOCK_DAYS = 3
"""Days of a block. Active regions last: in 2012 the daily labels of M1.0 correlate by 0.6 (train months) and 0.4
(validation months) from one day to the next, and with single days one difference in ten would be a false alarm."""


@dataclass(frozen=True)
class Observed:
    """What happened.

    Attributes
    ----------
    labels : ndarray of bool, shape (n,)
        Whether a flare came.
    flux : ndarray of float64, shape (n,)
        Of the strongest one, W m-2.
    times : ndarray of datetime64, shape (n,)
        Of the frames, UTC.
    """

    labels: NDArray[np.bool_]
    flux: NDArray[np.float64]
    times: NDArray[np.datetime64]


@dataclass(frozen=True)
class Forecasts:
    """Forecasts of the same frames by the same way of training with several seeds.

    Attributes
    ----------
    probability : ndarray of float64, shape (seeds, n)
    yes : ndarray of bool, shape (seeds, n)
        Whether a flare was forecast.
    order : ndarray of float64, shape (seeds, n), optional
        What average precision orders the frames by where that is not the probability: probabilities that come from
        several calibrations cannot be put in one order.
    """

    probability: NDArray[np.float64]
    yes: NDArray[np.bool_]
    order: NDArray[np.float64] | None = None

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(self.probability)


@dataclass(frozen=True)
class Resamples:
    """Draws of days and seeds; the first of them is the sample itself.

    Attributes
    ----------
    frames : ndarray of float64, shape (draws + 1, n)
        How often each frame is in each draw.
    seeds : ndarray of float64, shape (draws + 1, seeds)
        How often each seed is.
    blocks : ndarray of int64, shape (n,)
        Block of each frame.
    """

    frames: NDArray[np.float64]
    seeds: NDArray[np.float64]
    blocks: NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A score, or a difference of scores, with its interval; all NaN where it is not defined.

    Attributes
    ----------
    value, low, high : float
    level : float
        Confidence of the interval.
    """

    value: float
    low: float
    high: float
    level: float


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram with intervals.

    Attributes
    ----------
    curve : ReliabilityCurve
    low, high : ndarray of float64, shape (bins,)
        Interval of each bin's frequency; NaN where the frames of a bin come from fewer than two blocks.
    """

    curve: ReliabilityCurve
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """What a difference shows.

    Attributes
    ----------
    effect : {"none", "helps", "harms"}
    sentence : str
    """

    effect: str
    sentence: str


def resample(
    times: ArrayLike, seeds: int, *, draws: int = 2000, block_days: int = BLOCK_DAYS, seed: int = 0
) -> Resamples:
    """Draw blocks of whole days and seeds, both with replacement.

    Parameters
    ----------
    times : array_like of datetime64, shape (n,)
        UTC.
    seeds : int
        Seeds that each forecaster was trained with.
    draws : int
    block_days : int
        Consecutive calendar days of a block, counted from the first day.
    seed : int
        Of the draws.

    Raises
    ------
    UsageError
        If there are no times, or one of the numbers is below one.
    """
    days = np.asarray(times).astype("datetime64[D]").astype(np.int64)
    if not len(days) or min(seeds, draws, block_days) < 1:
        raise UsageError("a bootstrap needs at least one frame, seed, draw, and day of a block.")
    _, blocks = np.unique((days - days.min()) // block_days, return_inverse=True)
    random = np.random.default_rng(seed)

    def counts(units: int) -> NDArray[np.float64]:
        drawn = random.multinomial(units, np.full(units, 1 / units), size=draws)
        return np.concatenate([np.ones((1, units)), drawn])

    return Resamples(frames=counts(int(blocks.max()) + 1)[:, blocks], seeds=counts(seeds), blocks=blocks)


def estimate(
    score: str, observed: Observed, forecasts: Forecasts, resamples: Resamples, level: float = 0.95
) -> Estimate:
    """A score, mean over the seeds, with its interval.

    Parameters
    ----------
    score : str
        One of `SCORES`; ``bss`` is against the base rate of the frames themselves, ``x_recall`` the share of frames
        before an X flare for which a flare was forecast.
    observed : Observed
    forecasts : Forecasts
    resamples : Resamples
    level : float

    Raises
    ------
    UsageError
        If the score is unknown.
    """
    return _summary(_draws(score, observed, forecasts, resamples), score, observed, resamples, level)


def difference(
    score: str,
    observed: Observed,
    forecasts: Forecasts,
    reference: Forecasts,
    resamples: Resamples,
    level: float = 0.95,
) -> Estimate:
    """Score of `forecasts` minus that of `reference`, paired: both on the same drawn days and seeds.

    Raises
    ------
    UsageError
        If the score is unknown.
    """
    ours, theirs = (_draws(score, observed, one, resamples) for one in (forecasts, reference))
    return _summary(ours - theirs, score, observed, resamples, level)


def reliability(
    observed: Observed, probability: NDArray[np.float64], resamples: Resamples, *, bins: int = 10, level: float = 0.95
) -> Reliability:
    """How often a flare came where a probability was given, each share with its interval over drawn days.

    Parameters
    ----------
    observed : Observed
    probability : ndarray of float64, shape (n,)
        Of one forecaster.
    resamples : Resamples
    bins : int
        Equal bins from 0 to 1.
    level : float
    """
    curve = reliability_curve(observed.labels, probability, bins)
    inside = bin_of(probability, bins)[:, None] == np.arange(bins)
    shares = share(resamples.frames @ (inside & observed.labels[:, None]), resamples.frames @ inside)
    units = [len(np.unique(resamples.blocks[one])) for one in inside.T]
    spans = [_interval(draws, unit, level) for draws, unit in zip(shares.T, units, strict=True)]
    return Reliability(curve, np.array([low for low, _ in spans]), np.array([high for _, high in spans]))


def judge(found: Estimate, name: str, reference: str, score: str = "TSS") -> Verdict:
    """Say what a paired difference shows: an effect only where its interval does not hold zero.

    Parameters
    ----------
    found : Estimate
        Of the difference; NaN shows nothing.
    name, reference : str
        What was compared with what.
    score : str
        As it is to be written.
    """
    span = f"{score} {found.value:+.3f}, {found.level:.0%} interval {found.low:+.3f} to {found.high:+.3f}"
    if found.low > 0:
        return Verdict("helps", f"{name} helps by {found.value:.3f} over {reference} ({span}).")
    if found.high < 0:
        return Verdict("harms", f"{name} harms by {-found.value:.3f} against {reference} ({span}).")
    return Verdict("none", f"No effect shown: {name} against {reference} ({span}).")


def _draws(score: str, observed: Observed, forecasts: Forecasts, resamples: Resamples) -> NDArray[np.float64]:
    """The score's mean over drawn seeds on drawn days, shape (draws + 1,); NaN where it is not defined."""
    weights = resamples.frames
    happened = observed.labels
    if score in ("tss", "hss2"):
        yes = forecasts.yes.T
        parts = [weights @ (cell * 1.0) for cell in _cells(happened[:, None], yes)]
        values = (tss_of_counts if score == "tss" else hss2_of_counts)(*parts)
    elif score == "x_recall":
        strong = _strong(observed)
        values = share(weights @ (strong[:, None] & forecasts.yes.T), (weights @ strong)[:, None])
    elif score == "bss":
        errors = weights @ ((forecasts.probability - happened) ** 2).T
        rate = weights @ happened / weights.sum(1)
        values = 1 - share(errors, (weights.sum(1) * rate * (1 - rate))[:, None])
    elif score == "average_precision":
        order = forecasts.probability if forecasts.order is None else forecasts.order
        values = np.stack([weighted_average_precision(happened, one, weights) for one in order], axis=1)
    else:
        raise UsageError(f"unknown score {score!r}: choose one of {', '.join(SCORES)}.")
    drawn = resamples.seeds if forecasts.seeds > 1 else np.ones((len(weights), 1))
    return (values * drawn).sum(1) / drawn.sum(1)


def _strong(observed: Observed) -> NDArray[np.bool_]:
    """Frames before an X flare."""
    # Half an ulp must not decide on which side of X1.0 an X1.0 flare falls.
    return observed.flux * (1 + 1e-6) >= CLASS_FLUX["X"]


def _cells(happened: NDArray[np.bool_], yes: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], ...]:
    """Hits, misses, false alarms, correct rejections."""
    return happened & yes, happened & ~yes, ~happened & yes, ~happened & ~yes


def _summary(
    draws: NDArray[np.float64], score: str, observed: Observed, resamples: Resamples, level: float
) -> Estimate:
    return Estimate(float(draws[0]), *_interval(draws, _units(score, observed, resamples), level), level)


def _interval(draws: NDArray[np.float64], units: int, level: float) -> tuple[float, float]:
    """Expanded percentile interval of draws, the first of which is the sample itself, that rest on some blocks."""
    known = draws[1:][~np.isnan(draws[1:])]
    if np.isnan(draws[0]) or units < 2 or not len(known):
        return float("nan"), float("nan")
    tail = norm.cdf(np.sqrt(units / (units - 1)) * t.ppf((1 - level) / 2, units - 1))
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def _units(score: str, observed: Observed, resamples: Resamples) -> int:
    """Independent pieces that a score rests on: blocks of the rarer kind, or seeds where these are fewer."""
    kinds = [_strong(observed)] if score == "x_recall" else [observed.labels, ~observed.labels]
    pieces = [len(np.unique(resamples.blocks[kind])) for kind in kinds]
    seeds = resamples.seeds.shape[1]
    return min([*pieces, seeds] if seeds > 1 else pieces)
