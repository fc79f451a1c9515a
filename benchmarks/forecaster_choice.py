"""How well forecasters of real frames alone forecast months that they have not seen: from it the default was chosen.

    python -m benchmarks.forecaster_choice --cube sdo2012-128.zarr

Logistic regressions on the brightest pixels and small networks, the default `CompactCNN` among them, are fitted five
times: to January to July without the months 1-2, 3-4, 5-6 or 7, which they then forecast, and to all of January to
July, with the validation months to forecast. As between the splits of a cube, a frame whose 24 hours reach into the
other side's months is on neither. No frame of the test months is read. Networks are trained as the arm `real` of
`sunaug forecast-benchmark` is: the same settings, no augmentation. A regression has one strength of its penalty for
all five fits, a network one checkpoint: the best on the mean, which flatters all of them a little.

Takes about five minutes on one core, and the dev extra, with which scikit-learn comes. Frames and finished fits stay in
--work: a benchmark that was stopped goes on where it was. Delete the folder after a change of a forecaster.

Prints a table of areas under the ROC curve for docs/does-it-help.md and writes results/forecaster-choice.json. The last
line is the default's mean over that of the best logistic regression.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch import Tensor, nn

from benchmarks.train_speed import processor, versions
from forecasting_adapters import SolarDataset
from forecasting_adapters.experiment import Settings, choose_arms
from forecasting_adapters.experiment.benchmark import prepare
from forecasting_adapters.experiment.composition import compose
from forecasting_adapters.experiment.forecaster import CompactCNN
from forecasting_adapters.experiment.frames import Frames
from forecasting_adapters.experiment.runs import Workspace
from forecasting_adapters.experiment.training import Weights, predict, train
from forecasting_adapters.skill import roc_area
from sunaug.cube.schema import SPLIT_NAMES
from sunaug.cube.splits import SPLIT_MONTHS, split_of
from sunaug.storage import location, replace_object

RESULTS = Path(__file__).parent / "results" / "forecaster-choice.json"
HELD_OUT = {"1-2": (1, 2), "3-4": (3, 4), "5-6": (5, 6), "7": (7,)}
FOLDS = (*HELD_OUT, "validation")
SIZES = (64, 32)
BRIGHTEST = (1, 4, 16, 64, 256)
PENALTIES = (0.001, 0.1)
"""Inverse strengths of the regressions' penalty (C of scikit-learn)."""

DEFAULT = "**default**: image and one convolution of 8 (`CompactCNN`)"
Areas = list[list[float]]
"""Areas under the ROC curve, by penalty or checkpoint: on the frames held out, and on those fitted to."""
Forecaster = Callable[[Frames], NDArray[np.floating]]
Fit = Callable[[Frames], list[Forecaster]]
"""Makes a forecaster for each penalty or checkpoint from the frames to fit to."""


class MeanAndLargest(nn.Module):
    """Maps (n, channel, y, x) to the mean and the largest value of each: (n, 2 * channel)."""

    def forward(self, maps: Tensor) -> Tensor:
        """The readings."""
        return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], dim=1)


class LogSumExp(nn.Module):
    """Maps (n, 1, y, x) to the logarithm of their mean exponential (n,): the largest places decide, and all count."""

    def forward(self, maps: Tensor) -> Tensor:
        """The logits."""
        places = maps.flatten(1)
        return places.logsumexp(1) - math.log(places.shape[1])


class OwnScale(nn.Module):
    """Each image, channel by channel, less its own mean and in units of its own spread."""

    def forward(self, images: Tensor) -> Tensor:
        """The scaled images."""
        return (images - images.mean((2, 3), keepdim=True)) / images.std((2, 3), keepdim=True)


def convolutions(*widths: int) -> nn.Sequential:
    """Convolutions from the first width to the last; each halves the image."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.SiLU()]
    return nn.Sequential(*layers)


def image_alone(channels: int, size: int) -> nn.Module:
    """`CompactCNN` that reads the image twice in place of its convolution."""
    reader = CompactCNN(channels, size, width=channels)
    reader.features = nn.Sequential()
    return reader


def image_and_two(channels: int, size: int) -> nn.Module:
    reader = CompactCNN(channels, size, width=16)
    reader.features = convolutions(channels, 8, 16)
    return reader


def mean_of_two(channels: int, size: int) -> nn.Module:
    return nn.Sequential(convolutions(channels, 8, 16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 1))


def mean_and_largest_of_two(channels: int, size: int) -> nn.Module:
    return nn.Sequential(convolutions(channels, 8, 16), MeanAndLargest(), nn.Linear(32, 1))


def log_sum_exp_of_two(channels: int, size: int) -> nn.Module:
    return nn.Sequential(OwnScale(), convolutions(channels, 8, 16), nn.Conv2d(16, 1, 1), LogSumExp())


NETWORKS: tuple[tuple[str, Callable[[int, int], nn.Module], int, int], ...] = (
    (DEFAULT, CompactCNN, 64, 0),
    (DEFAULT, CompactCNN, 32, 0),
    ("network: the default from another seed", CompactCNN, 32, 1),
    ("network: brightest shares of the image, no convolution", image_alone, 32, 0),
    ("network: image and two convolutions of 8 and 16", image_and_two, 32, 0),
    ("network: mean of two convolutions", mean_of_two, 32, 0),
    ("network: mean and largest value of two convolutions", mean_and_largest_of_two, 32, 0),
    ("network: log-sum-exp of a map of two convolutions, frames on their own scale", log_sum_exp_of_two, 32, 0),
)
"""Name, how it is made, pixels, seed."""

REGRESSIONS: tuple[tuple[str, tuple[str, ...], tuple[int, ...]], ...] = (
    ("brightest pixel in 94 Å", ("aia94",), (1,)),
    ("brightest 1 to 256 pixels and mean, 131 and 94 Å", ("aia131", "aia94"), BRIGHTEST),
    ("brightest 1 to 256 pixels and mean, all channels", ("aia171", "aia131", "aia94"), BRIGHTEST),
)
"""Name, channels, numbers of pixels."""


@dataclass(frozen=True)
class Candidate:
    """A forecaster of frames of one size."""

    name: str
    size: int
    fit: Fit

    def key(self, fold: str) -> str:
        """What its areas on a fold are kept under."""
        return f"{self.name}, {self.size} pixels, {fold}"

    def row(self, kept: dict[str, Areas]) -> dict[str, Any]:
        """Its areas at the choice (penalty or checkpoint) whose mean over the folds is best."""
        held_out, fitted = np.swapaxes([kept[self.key(fold)] for fold in FOLDS], 0, 1)
        means = held_out.mean(0)
        best = int(means.argmax())
        return {
            "forecaster": self.name,
            "pixels": self.size,
            **dict(zip(FOLDS, held_out[:, best].round(4).tolist(), strict=True)),
            "mean": round(float(means[best]), 4),
            "fitted to": round(float(fitted[:, best].mean()), 4),
            "mean by choice": means.round(4).tolist(),
        }


def brightest(frames: Frames, channels: list[int], counts: Sequence[int]) -> NDArray[np.float64]:
    """Means of the brightest pixels of each frame's channels and, beside more than one count, of all: (n, readings)."""
    pixels = frames.images[:, channels].double().flatten(2)
    largest = pixels.topk(max(counts), dim=2).values
    readings = [largest[:, :, :count].mean(2) for count in counts]
    return torch.cat(readings + [pixels.mean(2)] * (len(counts) > 1), dim=1).numpy()


def regression(channels: list[int], counts: Sequence[int]) -> Fit:
    """Logistic regressions on the brightest pixels, one for each penalty."""
    readings = FunctionTransformer(partial(brightest, channels=channels, counts=counts))

    def fit(frames: Frames) -> list[Forecaster]:
        models = [
            make_pipeline(readings, StandardScaler(), LogisticRegression(C=one, max_iter=1000)) for one in PENALTIES
        ]
        return [model.fit(frames, frames.labels).decision_function for model in models]

    return fit


def network(factory: Callable[[int, int], nn.Module], seed: int) -> Fit:
    """A network trained on real frames alone, at each checkpoint."""
    own = Settings(model=f"benchmarks.forecaster_choice:{factory.__name__}")
    [arm] = choose_arms(["real"])

    def fit(frames: Frames) -> list[Forecaster]:
        given, phases, _ = compose(arm, frames, None, None, seed)
        trained, checkpoints = train(arm, given, phases, own, own.epochs * -(-len(frames) // own.batch), seed)
        return [partial(logits, trained, weights) for weights in checkpoints]

    return fit


def logits(trained: nn.Module, weights: Weights, frames: Frames) -> NDArray[np.float32]:
    return predict(trained, weights, frames.images).numpy()


def candidates(channels: Sequence[str]) -> list[Candidate]:
    """The regressions at both sizes, then the networks at theirs."""
    regressions = [
        Candidate(f"logistic regression: {name}", size, regression([channels.index(one) for one in wanted], counts))
        for size in SIZES
        for name, wanted, counts in REGRESSIONS
    ]
    networks = [Candidate(name, size, network(factory, seed)) for name, factory, size, seed in NETWORKS]
    return [*regressions, *networks]


def fold_frames(workspace: Workspace, fold: str) -> list[Frames]:
    """Frames to fit to and frames held out."""
    train_frames, validation = workspace.frames("train"), workspace.frames("validation")
    if fold not in HELD_OUT:
        return [train_frames, validation]
    others = [month for month in SPLIT_MONTHS["train"] if month not in HELD_OUT[fold]]
    side = split_of(train_frames.times, {"train": others, "validation": HELD_OUT[fold]})
    return [train_frames.select(np.flatnonzero(side == SPLIT_NAMES.index(name))) for name in ("train", "validation")]


def fit_missing(work: Path, workspaces: dict[int, Workspace], chosen: Sequence[Candidate]) -> dict[str, Areas]:
    """Areas of each candidate and fold; those that are found in the work folder are not made again."""
    path = work / "areas.json"
    kept: dict[str, Areas] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for candidate, fold in product(chosen, FOLDS):
        key = candidate.key(fold)
        if key not in kept:
            fitted, held_out = fold_frames(workspaces[candidate.size], fold)
            forecasters = candidate.fit(fitted)
            kept[key] = [[roc_area(one.labels, says(one)) for says in forecasters] for one in (held_out, fitted)]
            replace_object(location(path), json.dumps(kept, indent=1, ensure_ascii=False).encode())
            print(f"{key}: {', '.join(f'{area:.3f}' for area in kept[key][0])}", flush=True)
    return kept


def flare_days(frames: Frames) -> dict[str, int]:
    """Numbers of frames and days, and of days with a frame that a flare follows."""
    days = frames.times.astype("datetime64[D]")
    return {
        "frames": len(frames),
        "days": len(np.unique(days)),
        "days with flares": len(np.unique(days[frames.labels])),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    columns = (*FOLDS, "mean", "fitted to")
    lines = [f"| forecaster | pixels | {' | '.join(columns)} |", "| --- |" + " ---: |" * (len(columns) + 1)]
    for row in rows:
        areas = " | ".join(f"{row[column]:.3f}" for column in columns)
        lines.append(f"| {row['forecaster']} | {row['pixels']} | {areas} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cube", required=True, help="observed cube of 64 pixels or a multiple")
    parser.add_argument("--work", type=Path, default=Path("runs/forecaster-choice"), help="folder for what is finished")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    workspaces, manifest = {}, {}
    for size in SIZES:
        workspaces[size], manifest = prepare(
            arguments.cube,
            (),
            arguments.work / str(size),
            settings=Settings(size=size),
            progress=lambda *_: nullcontext(lambda _: None),
        )
    chosen = candidates(SolarDataset(arguments.cube, "train").channels)
    kept = fit_missing(arguments.work, workspaces, chosen)
    rows = [candidate.row(kept) for candidate in chosen]
    figures = {
        "machine": f"{processor()}, one thread; {versions()}",
        "cube": manifest["cube"],
        "settings": manifest["settings"] | {"size": SIZES},
        "penalties": PENALTIES,
        "validation": flare_days(workspaces[SIZES[0]].frames("validation")),
        "rows": rows,
    }
    arguments.results.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(table(rows))
    means = {(row["forecaster"], row["pixels"]): row["mean"] for row in rows}
    best = max(mean for (name, _), mean in means.items() if name.startswith("logistic"))
    print(f"ratio {means[DEFAULT, SIZES[0]] / best:.2f}")


if __name__ == "__main__":
    main()
