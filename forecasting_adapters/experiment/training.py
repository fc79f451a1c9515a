"""One run: a forecaster trained on what an arm says, with its forecasts of the validation months."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from forecasting_adapters.experiment.arms import Arm
from forecasting_adapters.experiment.forecaster import build_forecaster
from forecasting_adapters.experiment.settings import Settings
from sunaug.training.diffaugment import flip, rotate

__all__ = ["Phase", "TrainingSet", "Weights", "augment", "epoch_rows", "predict", "train"]

Weights = dict[str, Tensor]
_WARM_UP = 0.1
_PREDICTION_BATCH = 256


@dataclass(frozen=True)
class TrainingSet:
    """What a forecaster is trained on.

    Attributes
    ----------
    images : Tensor of float16, shape (n, channel, y, x)
    targets : Tensor of float32, shape (n,)
        Probability of a flare that the forecaster is to give.
    weights : Tensor of float32, shape (n,)
        Weight in the loss.
    labels : ndarray of bool, shape (n,)
        By which classes are balanced.
    """

    images: Tensor
    targets: Tensor
    weights: Tensor
    labels: NDArray[np.bool_]


@dataclass(frozen=True)
class Phase:
    """A part of the training: rows of the training set that it draws from, and its share of the steps."""

    rows: NDArray[np.int64]
    share: float


def train(
    arm: Arm, given: TrainingSet, phases: list[Phase], settings: Settings, steps: int, seed: int
) -> tuple[nn.Module, list[Weights]]:
    """Train a forecaster.

    Parameters
    ----------
    arm : Arm
        Decides the sampling and what is done to a batch.
    given : TrainingSet
    phases : list of Phase
        One after the other; their shares add up to 1.
    settings : Settings
    steps : int
        In all phases together.
    seed : int
        Of the weights, the order of the frames and the augmentation.

    Returns
    -------
    network : torch.nn.Module
        The forecaster, to be filled with one of:
    checkpoints : list of dict
        Averaged weights at `settings.checkpoints` moments, the last at the end.
    """
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    network = build_forecaster(settings.model, *given.images.shape[1:3])
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    average = AveragedModel(
        network, multi_avg_fn=get_ema_multi_avg_fn(0.5 ** (1 / settings.average_steps)), use_buffers=True
    )
    keep_at = {round(steps * (k + 1) / settings.checkpoints) for k in range(settings.checkpoints)}
    checkpoints: list[Weights] = []
    done = 0
    for phase, end in zip(
        phases, np.round(steps * np.cumsum([phase.share for phase in phases])).astype(int), strict=True
    ):
        length = int(end) - done
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, settings.learning_rate, total_steps=length + 1, pct_start=_WARM_UP, cycle_momentum=False
        )
        for rows in _batches(given.labels[phase.rows], arm.sampling, settings.batch, length, random):
            chosen = torch.from_numpy(phase.rows[rows])
            images, targets = augment(arm, given.images[chosen].float(), given.targets[chosen])
            logits = network(images).reshape(-1)
            losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
            weights = given.weights[chosen]
            optimizer.zero_grad()
            ((losses * weights).sum() / weights.sum()).backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
            done += 1
            if done in keep_at:
                checkpoints.append({name: value.clone() for name, value in average.module.state_dict().items()})
    return network, checkpoints


@torch.no_grad()
def predict(network: nn.Module, weights: Weights, images: Tensor) -> Tensor:
    """Logits (n,) of a forecaster with these weights, for images (n, channel, y, x)."""
    network.load_state_dict(weights)
    network.eval()
    parts = [network(batch.float()).reshape(-1) for batch in images.split(_PREDICTION_BATCH)]
    return torch.cat(parts)


def augment(arm: Arm, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Do to a batch (n, channel, y, x) and its targets (n,) what the arm says; numbers come from torch's generator."""
    count = len(images)
    if arm.flips:
        images = flip(images, torch.rand(count, 2))
    if arm.rotations:
        images = rotate(images, torch.rand(count, 1))
    if arm.noise:
        images = images + arm.noise * torch.randn_like(images)
    if arm.mixup:
        share = torch.distributions.Beta(arm.mixup, arm.mixup).sample((count,))
        partner = torch.randperm(count)
        images = torch.lerp(images[partner], images, share[:, None, None, None])
        targets = torch.lerp(targets[partner], targets, share)
    return images, targets


def epoch_rows(labels: NDArray[np.bool_], sampling: str, random: np.random.Generator) -> NDArray[np.int64]:
    """Rows of one epoch in a random order, see `Arm.sampling`; sets of one class are sampled naturally."""
    classes = [np.flatnonzero(labels == value) for value in (False, True)]
    rarer, other = sorted(classes, key=len)
    if sampling == "oversample" and len(rarer):
        classes = [other, rarer, random.choice(rarer, len(other) - len(rarer))]
    elif sampling == "undersample" and len(rarer):
        classes = [rarer, random.choice(other, len(rarer), replace=False)]
    return random.permutation(np.concatenate(classes))


def _batches(
    labels: NDArray[np.bool_], sampling: str, batch: int, steps: int, random: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    waiting = np.empty(0, np.int64)
    for _ in range(steps):
        while len(waiting) < batch:
            waiting = np.concatenate([waiting, epoch_rows(labels, sampling, random)])
        yield waiting[:batch]
        waiting = waiting[batch:]
