"""Which frames an arm trains on: real ones, and synthetic ones chosen as it says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from forecasting_adapters.experiment.arms import Arm, SyntheticUse
from forecasting_adapters.experiment.frames import Frames
from forecasting_adapters.experiment.training import Phase, TrainingSet
from sunaug.errors import UsageError

__all__ = ["Teacher", "compose", "shortage", "wanted"]

_KERNEL_DEX = 0.3
"""Width of the kernel by which fluxes resemble each other."""

_FAINTEST_FLUX = 1e-8
"""W m-2: what no listed flare counts as on a logarithm, A1.0."""


@dataclass(frozen=True)
class Teacher:
    """What a forecaster of real frames alone says, as probabilities.

    Attributes
    ----------
    real, synthetic : ndarray, shapes (n,) and (m,)
        Probability for each real training frame and each synthetic sample.
    border : float
        Probability from which on it forecasts a flare, chosen on validation.
    errors : ndarray, shape (k, 2)
        Fluxes of the validation frames that it gets wrong.
    """

    real: NDArray[np.float64]
    synthetic: NDArray[np.float64]
    border: float
    errors: NDArray[np.float64]


def wanted(use: SyntheticUse, real: NDArray[np.bool_]) -> tuple[int, int]:
    """Numbers of positive and negative synthetic samples that an arm adds to real frames with these labels.

    Positives that are more than the share they are to be filled up to make the first number negative.
    """
    positives, negatives = int(real.sum()), int((~real).sum())
    if use.fill is not None:
        return round(use.fill / (1 - use.fill) * negatives) - positives, 0
    added = use.add or 0.0
    return round(added * positives), round(added * negatives)


def shortage(use: SyntheticUse, real: NDArray[np.bool_], synthetic: NDArray[np.bool_]) -> str:
    """What keeps an arm from its share of synthetic samples, in words; empty where nothing does.

    Parameters
    ----------
    use : SyntheticUse
    real, synthetic : ndarray of bool
        Labels of the real frames, and of the samples to draw from.
    """
    needed = wanted(use, real)
    if needed[0] <= 0:
        return f"{real.mean():.0%} of the real frames are positive already, no less than fill asks for"
    for sign, number, held in zip(
        ("positive", "negative"), needed, (int(synthetic.sum()), int((~synthetic).sum())), strict=True
    ):
        if held < number:
            return f"needs {number:,} {sign} synthetic samples, and there are {held:,}"
    return ""


def compose(
    arm: Arm, real: Frames, synthetic: Frames | None, teacher: Teacher | None, seed: int
) -> tuple[TrainingSet, list[Phase], dict[str, int]]:
    """Put an arm's training set together.

    Parameters
    ----------
    arm : Arm
    real : Frames
        Of the training months.
    synthetic : Frames, optional
        Samples that the arm may draw from.
    teacher : Teacher, optional
        Needed where `Arm.needs_teacher` says so.
    seed : int
        Decides which of equally good samples are taken.

    Returns
    -------
    given : TrainingSet
    phases : list of Phase
    counts : dict
        Real and synthetic frames, ``real_positive``, ``real_negative``, ``synthetic_positive``, ``synthetic_negative``.

    Raises
    ------
    UsageError
        If there are too few synthetic samples of a class.
    """
    targets = real.labels.astype(np.float64)
    if arm.teacher and teacher is not None:
        targets += arm.teacher * (teacher.real - targets)
    images, labels, added_weight = real.images, real.labels, 1.0
    phases = [Phase(np.arange(len(real)), 1.0)]
    if arm.synthetic is not None:
        use = arm.synthetic
        if synthetic is None or (lack := shortage(use, real.labels, synthetic.labels)):
            raise UsageError(f"arm {arm.name!r}: {lack if synthetic is not None else 'no synthetic frames are given'}.")
        rows = _chosen(use, real.labels, synthetic, teacher, np.random.default_rng(seed))
        added = synthetic.select(rows)
        said = teacher.synthetic[rows] if teacher is not None and use.labels == "teacher" else added.labels
        images = torch.cat([images, added.images])
        labels = np.concatenate([labels, added.labels])
        targets = np.concatenate([targets, said])
        added_weight = use.weight
        phases = _phases(use, len(real), len(labels))
    weights = _class_weights(labels) if arm.class_weights else np.ones(len(labels))
    weights[len(real) :] *= added_weight
    given = TrainingSet(
        images=images,
        targets=torch.from_numpy(targets).float(),
        weights=torch.from_numpy(weights).float(),
        labels=labels,
    )
    return given, phases, _counts(labels, len(real))


def _class_weights(labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Inverse frequency of each one's class, 1 on the mean."""
    share = labels.mean()
    return np.where(labels, 0.5 / share, 0.5 / (1 - share))


def _phases(use: SyntheticUse, n_real: int, n_all: int) -> list[Phase]:
    if not use.pretrain:
        return [Phase(np.arange(n_all), 1.0)]
    return [Phase(np.arange(n_real, n_all), use.pretrain), Phase(np.arange(n_real), 1 - use.pretrain)]


def _counts(labels: NDArray[np.bool_], n_real: int) -> dict[str, int]:
    parts = {"real": labels[:n_real], "synthetic": labels[n_real:]}
    return {
        f"{name}_{sign}": int((part == value).sum())
        for name, part in parts.items()
        for sign, value in (("positive", True), ("negative", False))
    }


def _chosen(
    use: SyntheticUse,
    real_labels: NDArray[np.bool_],
    synthetic: Frames,
    teacher: Teacher | None,
    random: np.random.Generator,
) -> NDArray[np.int64]:
    """Rows of the samples that an arm takes."""
    preference = _preference(use, synthetic, teacher, random)
    rows = []
    for value, number in zip((True, False), wanted(use, real_labels), strict=True):
        candidates = np.flatnonzero(synthetic.labels == value)
        rows.append(candidates[np.argsort(-preference[candidates], kind="stable")[:number]])
    return np.sort(np.concatenate(rows))


def _preference(
    use: SyntheticUse, synthetic: Frames, teacher: Teacher | None, random: np.random.Generator
) -> NDArray[np.float64]:
    """How much each sample is wanted: a random draw without replacement takes those with the largest numbers."""
    luck = random.gumbel(size=len(synthetic))
    if use.choose == "random" or teacher is None:
        return luck
    if use.choose == "unsure":
        return -np.abs(_logit(teacher.synthetic) - _logit(np.array(teacher.border)))
    # Gumbel's trick: the largest of log weight + Gumbel noise are a weighted draw without replacement.
    return np.log(_resemblance(synthetic.fluxes, teacher.errors) + 1e-12) + luck


def _resemblance(fluxes: NDArray[np.float64], errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Density of the errors' log fluxes at each sample's: Gaussian kernels, labels that are unknown left out."""
    known = ~(np.isnan(fluxes).any(0) | np.isnan(errors).any(0))
    ours, theirs = (np.log10(np.maximum(one[:, known], _FAINTEST_FLUX)) for one in (fluxes, errors))
    distance = ((ours[:, None] - theirs[None]) ** 2).sum(-1)
    return np.exp(-distance / (2 * _KERNEL_DEX**2)).mean(1)


def _logit(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    bounded = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.log(bounded / (1 - bounded))
