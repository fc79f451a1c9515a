"""A training with Lightning: splits from the cube, synthetic frames in training alone, the guard before it.

    python examples/lightning_training.py --cube sdo2012.zarr --synthetic rare.zarr --ratio 0.15

The synthetic frames come from a cube that `sunaug generate` wrote, or from a bundle that makes them on the fly, such as
the bundled model. What the training saw in each epoch is in ``seen.csv`` of the output folder. The forecaster is a
single layer: the example shows the data module, `train_forecaster.py` a forecaster that learns something.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from forecasting_adapters.lightning import LightningModule, RecordCallback, SolarDataModule, Trainer
from sunaug.bundle import BUNDLED, bundled_names
from sunaug.errors import SunaugError


class Forecaster(LightningModule):
    """Logit of a flare from all pixels (C, H, W), in one layer."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 1))

    def _loss(self, batch: dict[str, Any]) -> torch.Tensor:
        logits = self.layers(batch["image"]).squeeze(1)
        return functional.binary_cross_entropy_with_logits(logits, batch["label"].float())

    def training_step(self, batch: dict[str, Any], number: int) -> torch.Tensor:
        """Loss of a training batch."""
        return self._loss(batch)

    def validation_step(self, batch: dict[str, Any], number: int) -> None:
        """Log the loss of a validation batch."""
        self.log("validation_loss", self._loss(batch), batch_size=len(batch["label"]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain stochastic gradient descent."""
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def train(arguments: argparse.Namespace) -> None:
    source_options: dict[str, Any] = {"allow_ungated": arguments.allow_ungated}
    if arguments.synthetic in bundled_names():
        source_options |= {"n": 2000, "rare": True, "seed": arguments.seed}
    data = SolarDataModule(
        arguments.cube,
        arguments.synthetic,
        ratio=arguments.ratio,
        batch_size=arguments.batch_size,
        num_workers=arguments.workers,
        seed=arguments.seed,
        source_options=source_options,
    )
    data.setup("fit")
    assert data.train is not None
    torch.manual_seed(arguments.seed)
    trainer = Trainer(
        default_root_dir=arguments.out,
        accelerator="cpu",
        max_epochs=arguments.epochs,
        limit_train_batches=arguments.steps,
        limit_val_batches=arguments.steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[RecordCallback(arguments.out / "seen.csv")],
    )
    trainer.fit(Forecaster(data.train[0]["image"].numel()), data)
    print(f"validation loss {trainer.callback_metrics['validation_loss']:.3f}")
    print((arguments.out / "seen.csv").read_text(), end="")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cube", required=True, help="observed cube with forecast labels (sunaug ingest)")
    parser.add_argument("--synthetic", default=BUNDLED, help="synthetic cube, or a bundled model (the default)")
    parser.add_argument("--allow-ungated", action="store_true", help="take samples that have not passed the gate")
    parser.add_argument("--ratio", type=float, default=0.15, help="synthetic frames per real one (default: 0.15)")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=0, help="processes that read and generate")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--steps", type=int, help="batches of an epoch; by default all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("lightning-training"))
    try:
        train(parser.parse_args(argv))
    except SunaugError as error:
        print(f"lightning_training: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
