"""Train a small flare forecaster, with and without synthetic frames.

The forecaster says whether a flare of M1.0 or more starts in the next 24 hours, from one frame of the full disk:

    python examples/train_forecaster.py --cube sdo2012.zarr --synthetic rare.zarr --ratio 0.5

Both forecasters start from the same weights, make the same number of steps, see flares and quiet frames equally often,
and have the threshold of their forecast chosen on the validation months, as were the size of the network and the length
of the training. The scores printed are those of the validation months too, and therefore flatter both. No frame of the
test months is read: they are kept for a measurement that is made once.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from forecasting_adapters import MixedSolarDataset, SolarDataset, SyntheticSolarDataset, balanced_sampler
from forecasting_adapters.skill import (
    best_threshold,
    brier_skill_score,
    contingency_table,
    hss2,
    restore_base_rate,
    tss,
)
from sunaug.errors import SunaugError

BATCH_SIZE = 64
LEARNING_RATE = 1e-3


class Forecaster(nn.Module):
    """A small CNN: images (N, C, H, W) in [-1, 1] to logits (N,).

    It is small on purpose: the flares of seven months come from a few active regions, and a deeper network learns those
    regions by heart.
    """

    def __init__(self, n_channels: int, width: int = 8) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(n_channels, width, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.SiLU(),
        )
        self.head = nn.Linear(4 * width, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logit of a flare for each image."""
        features = self.features(images)
        # An active region fills a few pixels of the disk: the mean alone would drown it.
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1)
        return self.head(pooled).squeeze(1)


def mirror(images: torch.Tensor) -> torch.Tensor:
    """Mirror each image (N, C, H, W) east to west and north to south, each with a chance of one half."""
    for axis in (-1, -2):
        images = torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(axis), images)
    return images


def train(training: SolarDataset | MixedSolarDataset, *, steps: int, seed: int) -> Forecaster:
    """Train on class-balanced batches of mirrored images."""
    torch.manual_seed(seed)
    forecaster = Forecaster(training[0]["image"].shape[0])
    optimizer = torch.optim.AdamW(forecaster.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=LEARNING_RATE, total_steps=steps)
    sampler = balanced_sampler(training.labels, num_samples=steps * BATCH_SIZE, seed=seed)
    for batch in DataLoader(training, batch_size=BATCH_SIZE, sampler=sampler):
        loss = functional.binary_cross_entropy_with_logits(forecaster(mirror(batch["image"])), batch["label"].float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return forecaster.eval()


@torch.no_grad()
def predict(forecaster: Forecaster, frames: SolarDataset) -> NDArray[np.float64]:
    """Probability of a flare for each frame, as it is among balanced classes."""
    batches = DataLoader(frames, batch_size=256)
    return np.concatenate([torch.sigmoid(forecaster(batch["image"])).double().numpy() for batch in batches])


def scores(probability: NDArray[np.float64], validation: SolarDataset, base_rate: float) -> str:
    """One line of scores on the validation months."""
    observed = validation.labels
    threshold = best_threshold(observed, probability)
    table = contingency_table(observed, probability >= threshold)
    skill = brier_skill_score(observed, restore_base_rate(probability, base_rate), climatology=base_rate)
    return f"TSS {tss(table):.3f}   HSS2 {hss2(table):.3f}   BSS {skill:+.3f}   (threshold {threshold:.3f})"


def counts(of: dict[str, int]) -> str:
    return f"{sum(of.values())} frames, {of['positive']} with a flare to come"


def run(arguments: argparse.Namespace) -> None:
    real = SolarDataset(arguments.cube, "train", threshold=arguments.threshold, cache=True)
    validation = SolarDataset(arguments.cube, "validation", threshold=arguments.threshold, cache=True)
    print(f"training, real: {counts(real.class_counts())}")
    print(f"validation, real: {counts(validation.class_counts())}")
    arms: dict[str, SolarDataset | MixedSolarDataset] = {"real only": real}
    if arguments.synthetic:
        synthetic = SyntheticSolarDataset(
            arguments.synthetic, threshold=arguments.threshold, cache=True, allow_ungated=arguments.allow_ungated
        )
        mixed = MixedSolarDataset(real, synthetic, arguments.ratio, seed=arguments.seed)
        print(f"training, SYNTHETIC: {counts(mixed.class_counts()['synthetic'])}")
        arms["real + synthetic"] = mixed

    # Counted on the real frames for both: more frames must not mean more steps.
    steps = arguments.epochs * -(-len(real) // BATCH_SIZE)
    base_rate = real.class_counts()["positive"] / len(real)
    print(f"\nvalidation scores, {steps} steps, seed {arguments.seed}")
    for name, training in arms.items():
        started = time.perf_counter()
        forecaster = train(training, steps=steps, seed=arguments.seed)
        line = scores(predict(forecaster, validation), validation, base_rate)
        print(f"{name:<17} {line}   {time.perf_counter() - started:.0f} s", flush=True)
    print(
        "\nOne seed proves nothing: run several and compare the difference with their spread. The threshold was chosen "
        "on\nthe months scored here, which flatters every line; no frame of the test months was read."
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cube", required=True, help="observed cube with forecast labels (sunaug ingest)")
    parser.add_argument("--synthetic", help="synthetic cube (sunaug generate); without it only real frames are used")
    parser.add_argument("--allow-ungated", action="store_true", help="take a cube that has not passed the gate")
    parser.add_argument("--ratio", type=float, default=0.5, help="synthetic frames per real one (default: 0.5)")
    parser.add_argument("--threshold", default="M1.0", help="GOES class of a positive label (default: M1.0)")
    parser.add_argument("--epochs", type=int, default=3, help="passes over the real frames (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, batches and mixture (default: 0)")
    arguments = parser.parse_args(argv)
    if arguments.epochs < 1:
        parser.error(f"--epochs {arguments.epochs}: give 1 or more.")
    try:
        run(arguments)
    except SunaugError as error:
        print(f"train_forecaster: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
