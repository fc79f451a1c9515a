"""A training in its folder: steps, looks at what comes out, checkpoints, and back to the last one after a collapse.

What a step does is in `sunaug.training.trainer`. Its random numbers are a function of the recipe's seed and of the
step, so that a stopped run goes on to the same bits (on the CPU, with the same number of threads).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sunaug.cube.time_ranges import join_ranges
from sunaug.errors import SunaugError
from sunaug.networks import BaseGenerator, NetworkConfig
from sunaug.networks.growing import Stage
from sunaug.networks.patches import in_tiles, synthesize_whole
from sunaug.scaling import IntensityScaling
from sunaug.training.checkpoint import load_checkpoint, save_checkpoint
from sunaug.training.frames import TrainingFrames
from sunaug.training.health import REAL_FRAMES, SAMPLES, diversity, not_finite, spread
from sunaug.training.journal import Journal
from sunaug.training.recipe import Recipe
from sunaug.training.trainer import Trainer

__all__ = ["Judge", "Run", "TrainedGenerator"]

LOG_STEPS = 50
HEALTHY_FROM = 0.1
"""Share of the run before which images that are all alike are a beginning and not a collapse."""

_BATCH = 16
_BEST = "best.safetensors"
_ENCODER = "encoder:"
"""Prefix of the encoder's weights in it."""


class Judge(Protocol):
    """Measures samples against real frames while the training runs: `sunaug.fidelity.judge.Judge`.

    Attributes
    ----------
    label : str
        Name of the feature network's figures, ``FID-768``.
    fluxes : ndarray, shape (n, n_labels)
        Conditions that samples are to be made under, W m-2.
    floor : dict of str to float
        The figures of real frames. The smallest ``frechet`` among them decides which weights are kept.
    """

    @property
    def label(self) -> str: ...  # noqa: D102

    @property
    def fluxes(self) -> NDArray[np.float64]: ...  # noqa: D102

    @property
    def floor(self) -> dict[str, float]: ...  # noqa: D102

    def judge(self, images: NDArray[np.float32]) -> dict[str, float]:
        """Figures of samples (n, channel, y, x) in the cube's units, made under `fluxes` row by row."""
        ...


@dataclass
class TrainedGenerator:
    """What a training leaves for the bundle: the averaged generator and what it was made of.

    `encoder` is the averaged encoder, of architectures that have one. `images` is what the weights have seen, which is
    less than the run's where an earlier evaluation was the best; `evaluation` has the figures of that one. `first` is
    true in the first of several processes, which writes. `training_ranges` are the times of the frames and of those
    that the generator to start from was trained on.
    """

    generator: BaseGenerator
    encoder: nn.Module | None
    config: NetworkConfig
    scaling: IntensityScaling
    channels: list[str]
    frames: TrainingFrames
    training_ranges: list[list[str]]
    images: int
    seconds: float
    evaluation: dict[str, Any]
    first: bool


class Run:
    """A training in its folder: what happens between the steps."""

    def __init__(
        self,
        trainer: Trainer,
        out: Path,
        recipe: Recipe,
        channels: list[str],
        scaling: IntensityScaling,
        intensity_scale: str,
        seen: Iterable[Sequence[str]],
        judge: Judge | None,
        say: Callable[[str], None],
    ) -> None:
        self.trainer, self.out, self.recipe = trainer, out, recipe
        self.channels, self.scaling, self.intensity_scale = channels, scaling, intensity_scale
        self.judge, self.say = judge if recipe.evaluate_images else None, say
        # The first process alone writes; the others do the same work on their share of each batch.
        self.writes = trainer.fabric.is_global_zero
        self.seconds = 0.0
        self.seen = [list(one) for one in seen]
        self.best: dict[str, Any] = {}
        self._real_spread: tuple[Stage | None, float] | None = None
        self.journal: Journal | None = None

    @property
    def average(self) -> BaseGenerator:
        """The averaged generator that is looked at and packed."""
        network: BaseGenerator = self.trainer.averages.networks[self.recipe.ema]
        return network

    @property
    def encoder(self) -> nn.Module | None:
        """The averaged encoder that belongs to it."""
        averages = self.trainer.encoder_averages
        return averages.networks[self.recipe.ema] if averages else None

    def start(self, saved: dict[str, Any] | None, *, tensorboard: bool) -> None:
        """Take the state of a checkpoint and open the run's files."""
        if saved:
            self._take(saved)
        if not self.writes:
            return
        self.out.mkdir(parents=True, exist_ok=True)
        recipe = yaml.safe_dump(self.recipe.model_dump(mode="json"), sort_keys=False)
        (self.out / "recipe.yaml").write_text(recipe)
        scores = [f"{name}.{figure}" for name in self.trainer.critics for figure in ("loss_d", "score_gap")]
        log = ["images", "loss_g", *scores, "r1", "path_length", "augment_probability", "condition_weight"]
        log += ["orthogonality"] if self.recipe.orthogonal_weight else []
        log += ["diversity", "images_per_second"]
        if self.encoder:
            log += ["reciprocity"]
        if self.trainer.batches.stage:
            log += ["resolution", "fade"]
        evaluation = ["images", *(self.judge.floor if self.judge else ())]
        self.journal = Journal(self.out, log, evaluation, self.trainer.images, tensorboard=tensorboard)

    def _take(self, saved: dict[str, Any]) -> None:
        self.trainer.load_state_dict(saved["trainer"])
        self.seconds = saved["seconds"]
        self.seen = saved.get("seen", [])
        # The best weights may be of an evaluation after the checkpoint: they and their figures stay together.
        self.best = {}
        if self.judge and (self.out / _BEST).exists():
            with safe_open(self.out / _BEST, framework="pt") as file:
                self.best = json.loads(file.metadata()["evaluation"])

    def go(self, minutes: float | None, report: Callable[[int], None] | None) -> None:
        """Train to the end of the recipe, or until the time is up."""
        trainer, recipe = self.trainer, self.recipe
        started, seconds_before, shown = time.monotonic(), self.seconds, 0
        figures: dict[str, Tensor] = {}
        while trainer.images < recipe.images:
            figures |= trainer.step()
            shown += recipe.batch
            elapsed = time.monotonic() - started
            self.seconds = seconds_before + elapsed
            done = trainer.images >= recipe.images or (minutes is not None and self._agreed(elapsed > 60 * minutes))
            looks = done or self._passed(recipe.health_images) or self._passed(recipe.checkpoint_images)
            if looks or trainer.steps % LOG_STEPS == 1:
                row = {name: value.item() for name, value in figures.items()}
                row |= self._row(shown / elapsed)
                if looks:
                    row["diversity"] = self._diversity()
                trouble = self._trouble(row)
                if trouble and (self.recipe.on_collapse == "roll_back" or not_finite(row)):
                    self._roll_back(trouble)
                    figures = {}
                    continue
                self._note(row, trouble)
            if report and self.writes:
                report(min(trainer.images, recipe.images))
            draws, saves = (done or self._passed(every) for every in (recipe.sample_images, recipe.checkpoint_images))
            judges = self.judge is not None and (done or self._passed(recipe.evaluate_images))
            if draws or judges or saves:
                trainer.settle()
            if draws:
                self._draw()
            if self.judge and judges:
                self._evaluate(self.judge)
            if saves:
                self._save()
            if done:
                break
        if self.journal:
            self.journal.close()

    def _agreed(self, mine: bool) -> bool:
        """Whether the first process says so: clocks differ, and all have to stop at the same step."""
        return bool(self.trainer.fabric.broadcast(mine))

    def _passed(self, every: int) -> bool:
        """Whether the last step went over a multiple of `every` images."""
        return self.trainer.images // every > (self.trainer.images - self.recipe.batch) // every

    def _row(self, speed: float) -> dict[str, float]:
        stage = self.trainer.batches.stage
        return {
            "images": self.trainer.images,
            "augment_probability": self.trainer.probability,
            "condition_weight": self.trainer.condition_weight,
            "images_per_second": speed,
            **(stage._asdict() if stage else {}),
        }

    @torch.inference_mode()
    def _sample(self, generator: BaseGenerator, fluxes: NDArray[np.float64], seed: int) -> Iterator[Tensor]:
        """Scaled samples (channel, y, x) under conditions (n, n_labels), the same latents at every call."""
        random = torch.Generator().manual_seed(seed)
        device = self.trainer.fabric.device
        condition = torch.from_numpy(generator.config.encode(fluxes))
        for part in condition.split(1 if in_tiles(generator) else _BATCH):
            z = torch.randn(len(part), generator.config.z_dim, generator=random)
            noise = torch.randn(len(part), generator.noise_size, generator=random)
            w = generator.mapping(z.to(device), part.to(device))
            yield from synthesize_whole(generator, w, noise.to(device) if self.recipe.noise else None).float().cpu()

    def _diversity(self) -> float:
        """Of the generator as it is now: its average would show a collapse too late."""
        fluxes = self.trainer.frames.fluxes
        rows = np.linspace(0, len(fluxes) - 1, SAMPLES).astype(int)
        # In evaluation mode a look leaves no trace in the statistics that layers keep.
        samples = self._sample(self.trainer.generator.eval(), fluxes[rows], seed=1)
        found = diversity(samples, self._spread_of_real_frames())
        self.trainer.generator.train()
        return found

    def _spread_of_real_frames(self) -> float:
        """How much real frames differ, with as much detail as the generator can make at its stage."""
        stage = self.trainer.batches.stage
        if self._real_spread is None or self._real_spread[0] != stage:
            frames, observed = self.trainer.frames.images, self.trainer.frames.observed
            chosen = torch.linspace(0, len(frames) - 1, min(REAL_FRAMES, len(frames))).long()
            seen = (self.trainer.batches.at_stage(frames[[number]])[0] for number in chosen.tolist())
            self._real_spread = stage, spread(seen, None if observed is None else observed[chosen])
        return self._real_spread[1]

    def _trouble(self, row: dict[str, float]) -> str | None:
        """What is wrong with the training, None where nothing is."""
        if names := not_finite(row):
            return f"{', '.join(names)} no longer finite"
        settled = self.trainer.progress >= HEALTHY_FROM
        if settled and row.get("diversity", math.inf) < self.recipe.collapse_below:
            return f"the generator has collapsed: samples differ {row['diversity']:.3f} times as much as real frames"
        return None

    def _note(self, row: dict[str, float], trouble: str | None) -> None:
        if self.journal:
            self.journal.figures("training", row)
            if trouble:
                self.journal.event(f"{self.trainer.images} images: {trouble}")

    def _roll_back(self, trouble: str) -> None:
        """Go back to the last good checkpoint, with other random numbers and half the learning rates."""
        where = f"after {self.trainer.images:,} images: {trouble}"
        failed = self.trainer.attempt
        saved = load_checkpoint(self.out)
        if saved is None or failed >= self.recipe.max_rollbacks:
            reason = (
                "there is no good checkpoint to go back to" if saved is None else f"{failed} roll-backs did not help"
            )
            raise SunaugError(
                f"{self.out}: {where}, and {reason}; raise r1_gamma or lower discriminator_rate in a new run."
            )
        self._take(saved)
        self.trainer.attempt = failed + 1
        text = f"{where}; back to the checkpoint at {self.trainer.images:,} images, with half the learning rates."
        if self.journal:
            self.journal.rewind(self.trainer.images)
            self.journal.event(text)
            self.say(text)

    def _draw(self) -> None:
        if self.journal:
            self.journal.samples(self.trainer.images, self.average, self.channels, self.scaling, self.intensity_scale)

    def _evaluate(self, judge: Judge) -> None:
        """Measure samples of the average; the best weights so far are kept beside the checkpoints."""
        if not self.writes:
            return
        scaled = torch.stack(list(self._sample(self.average, judge.fluxes, seed=2)))
        floor = self.scaling.floor[:, None, None]
        figures = judge.judge(np.maximum(self.scaling.unscale(scaled.numpy()), floor))
        assert self.journal is not None
        self.journal.figures("evaluation", {"images": self.trainer.images, **figures})
        if figures["frechet"] < self.best.get("frechet", math.inf):
            self.best = {"images": self.trainer.images, "backbone": judge.label, "n": len(judge.fluxes), **figures}
            partial = self.out / f"{_BEST}.partial"
            weights = {name: value.contiguous() for name, value in self.average.state_dict().items()}
            if self.encoder:
                weights |= {_ENCODER + name: value.contiguous() for name, value in self.encoder.state_dict().items()}
            save_file(weights, partial, metadata={"evaluation": json.dumps(self.best)})
            partial.replace(self.out / _BEST)

    def _save(self) -> None:
        trainer = self.trainer.state_dict()  # all processes give their slices
        if self.writes:
            state = {
                "trainer": trainer,
                "recipe": self.recipe.model_dump(mode="json"),
                "seen": self.seen,
                "seconds": self.seconds,
            }
            save_checkpoint(self.out, self.trainer.images, state, self.recipe.keep_checkpoints)
        self.trainer.fabric.barrier()

    def result(self) -> TrainedGenerator:
        """The averaged generator: the best one where evaluations chose one, else the last."""
        trainer, images = self.trainer, self.trainer.images
        if self.judge and self.best and (self.out / _BEST).exists():
            weights = load_file(self.out / _BEST)
            encoder = {name: weights.pop(name) for name in list(weights) if name.startswith(_ENCODER)}
            self.average.load_state_dict(weights)
            if self.encoder:
                self.encoder.load_state_dict({name.removeprefix(_ENCODER): value for name, value in encoder.items()})
            images = self.best["images"]
        return TrainedGenerator(
            generator=self.average,
            encoder=self.encoder,
            config=trainer.config,
            scaling=self.scaling,
            channels=self.channels,
            frames=trainer.frames,
            training_ranges=join_ranges([*trainer.frames.time_ranges, *self.seen]),
            images=images,
            seconds=self.seconds,
            evaluation=self.best,
            first=self.writes,
        )
