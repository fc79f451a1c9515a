"""A training in plain PyTorch with synthetic frames that the bundled model makes while it runs.

    python examples/plain_pytorch.py --cube sdo2012.zarr --epochs 3 --ratio 0 0.1 0.2

Each epoch mixes other synthetic frames into the real ones, in the ratio that the schedule has for it; what the training
saw is in ``seen.csv`` and ``seen.json`` of the output folder. The forecaster is a single layer: the example shows the
loader, `train_forecaster.py` a forecaster that learns something.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from forecasting_adapters import (
    MixedSampler,
    MixedSolarDataset,
    SolarDataset,
    SyntheticSolarDataset,
    TrainingRecord,
)
from sunaug.bundle import BUNDLED
from sunaug.errors import SunaugError


def train(arguments: argparse.Namespace) -> None:
    real = SolarDataset(arguments.cube, "train", size=arguments.size)
    rare = SyntheticSolarDataset(
        arguments.bundle,
        n=arguments.synthetic,
        rare=True,
        seed=arguments.seed,
        size=arguments.size,
        allow_ungated=arguments.allow_ungated,
    )
    # Refused here if the generator has seen the months on which the forecaster is to be judged.
    mixed = MixedSolarDataset(real, rare)
    sampler = MixedSampler(mixed, ratio=arguments.ratio, seed=arguments.seed)
    loader = DataLoader(mixed, batch_size=arguments.batch_size, sampler=sampler, num_workers=arguments.workers)
    record = TrainingRecord(arguments.out / "seen.csv", mixed.provenance() | {"mixture": sampler.provenance()})

    torch.manual_seed(arguments.seed)
    forecaster = nn.Sequential(nn.Flatten(), nn.LazyLinear(1))
    forecaster(real[0]["image"][None])
    optimizer = torch.optim.SGD(forecaster.parameters(), lr=1e-3)
    for epoch in range(arguments.epochs):
        sampler.set_epoch(epoch)
        for batch in record.watch(islice(loader, arguments.steps), epoch):
            logits = forecaster(batch["image"]).squeeze(1)
            loss = functional.binary_cross_entropy_with_logits(logits, batch["label"].float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.3f}")
    print((arguments.out / "seen.csv").read_text(), end="")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cube", required=True, help="observed cube with forecast labels (sunaug ingest)")
    parser.add_argument("--bundle", default=BUNDLED, help=f"generator bundle (default: {BUNDLED})")
    parser.add_argument("--allow-ungated", action="store_true", help="take samples that have not passed the gate")
    parser.add_argument("--synthetic", type=int, default=2000, help="samples that there are to choose from")
    parser.add_argument("--ratio", type=float, nargs="+", default=[0.15], help="synthetic per real frame, by epoch")
    parser.add_argument("--size", type=int, help="pixels; by default the cube's, which must be the bundle's")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=0, help="processes that read and generate")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--steps", type=int, help="batches of an epoch; by default all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("plain-pytorch"))
    try:
        train(parser.parse_args(argv))
    except SunaugError as error:
        print(f"plain_pytorch: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
