"""The training loop: conditional StyleGAN2 with DiffAugment, top to bottom in one function.

One step: draw frames by class-balanced weights, make fakes under the same conditions, update the discriminator, then
the generator with the same fakes. Every random number comes from one generator whose state is in the checkpoint, so
that a stopped run goes on to the same bits (on the CPU, with the same number of threads).
"""

from __future__ import annotations

import copy
import csv
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
import yaml
from lightning_fabric import Fabric
from torch import Tensor

from sunaug.errors import SunaugError, UsageError
from sunaug.lexicon import channel
from sunaug.networks import Discriminator, Generator, StyleGAN2Config
from sunaug.networks.stylegan2 import encode_flux
from sunaug.pictures import contact_sheet
from sunaug.scaling import IntensityScaling, default_scaling
from sunaug.training.checkpoint import load_checkpoint, save_checkpoint
from sunaug.training.diffaugment import diff_augment
from sunaug.training.frames import TrainingFrames, load_frames
from sunaug.training.losses import LOSSES, gradient_penalty
from sunaug.training.recipe import Recipe

__all__ = ["TrainedGenerator", "train"]

LOG_STEPS = 50
LOG_FIELDS = ("images", "loss_d", "loss_g", "score_gap", "r1", "condition_weight", "images_per_second")
SAMPLE_FLUXES = (1e-7, 1e-6, 1e-5, 1e-4)
SAMPLES_PER_FLUX = 3


@dataclass
class TrainedGenerator:
    """What a training leaves for the bundle: the averaged generator and what it was made of."""

    generator: Generator
    config: StyleGAN2Config
    scaling: IntensityScaling
    channels: list[str]
    frames: TrainingFrames
    images: int
    seconds: float


@dataclass
class _State:
    """All that changes while training: what a checkpoint holds."""

    generator: Generator
    discriminator: Discriminator
    average: Generator
    optimizer_g: torch.optim.Optimizer
    optimizer_d: torch.optim.Optimizer
    random: torch.Generator
    images: int = 0
    steps: int = 0
    seconds: float = 0.0
    _parts: tuple[str, ...] = field(
        default=("generator", "discriminator", "average", "optimizer_g", "optimizer_d"), repr=False
    )

    def state_dict(self, recipe: Recipe) -> dict[str, Any]:
        return {
            **{part: getattr(self, part).state_dict() for part in self._parts},
            "random": self.random.get_state(),
            "images": self.images,
            "steps": self.steps,
            "seconds": self.seconds,
            "recipe": recipe.model_dump(mode="json"),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for part in self._parts:
            getattr(self, part).load_state_dict(state[part])
        self.random.set_state(state["random"])
        self.images, self.steps, self.seconds = state["images"], state["steps"], state["seconds"]


def _ramp(progress: float, start: float, end: float) -> float:
    """0 before `start`, 1 after `end`, a straight line between."""
    return min(max((progress - start) / max(end - start, 1e-9), 0.0), 1.0)


def _rate_factor(progress: float, decay: float) -> float:
    """Factor of both learning rates: 1, then linearly down to 0.1 over the last share `decay` of the training."""
    return 1 - 0.9 * _ramp(progress, 1 - decay, 1) if decay else 1.0


def _penalty_weight(progress: float, recipe: Recipe) -> float:
    """Gamma of the gradient penalty: from its start to its end by equal factors."""
    if recipe.r1_gamma == 0 or recipe.r1_gamma_end == 0:
        return recipe.r1_gamma if progress < recipe.r1_decay[1] else recipe.r1_gamma_end
    share = _ramp(progress, *recipe.r1_decay)
    return recipe.r1_gamma ** (1 - share) * recipe.r1_gamma_end**share


class _LogFile:
    """The run's log.csv; on resuming, rows after the checkpoint are dropped before new ones are added."""

    def __init__(self, path: Path, images: int) -> None:
        kept: list[dict[str, str]] = []
        if images and path.exists():
            with path.open(newline="") as file:
                kept = [row for row in csv.DictReader(file) if int(row["images"]) <= images]
        self._file = path.open("w", newline="")
        self._writer = csv.DictWriter(self._file, LOG_FIELDS)
        self._writer.writeheader()
        self._writer.writerows(kept)

    def write(self, **row: float) -> None:
        self._writer.writerow(
            {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()}
        )
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _mirror(images: Tensor, random: torch.Generator) -> Tensor:
    """Flip each image north-south and east-west, each with probability one half."""
    for dim in (-1, -2):
        chosen = (torch.rand(len(images), generator=random) < 0.5).to(images.device)
        images = torch.where(chosen[:, None, None, None], images.flip(dim), images)
    return images


def _save_samples(
    path: Path, state: _State, channels: list[str], scaling: IntensityScaling, intensity_scale: str
) -> None:
    """A sheet of the averaged generator: the same latents at every call, one row for each class of flux."""
    config = state.average.config
    device = state.average.const.device
    fixed = torch.Generator().manual_seed(0)
    z = torch.randn(SAMPLES_PER_FLUX, config.z_dim, generator=fixed).to(device)
    noise = torch.randn(SAMPLES_PER_FLUX, state.average.noise_size, generator=fixed).to(device)
    panels = []
    for flux in SAMPLE_FLUXES if config.conditions else SAMPLE_FLUXES[:1]:
        value = encode_flux(np.full((SAMPLES_PER_FLUX, len(config.conditions)), flux))
        with torch.inference_mode():
            scaled = state.average(z, torch.from_numpy(value).to(device), noise)
        for image in scaling.unscale(scaled.float().cpu().numpy()):
            panels.append((f"{flux:.0e} W m-2" if config.conditions else "", image))
    contact_sheet(path, panels, channels, intensity_scale=intensity_scale, columns=SAMPLES_PER_FLUX, synthetic=True)


def _checked(recipe: Recipe, saved: dict[str, Any]) -> None:
    """Refuse to resume under another recipe; only the number of images may change."""
    now = recipe.model_dump(mode="json")
    changed = [name for name in now if name != "images" and now[name] != saved.get(name)]
    if changed:
        raise UsageError(
            f"the run was started with another recipe ({', '.join(changed)} differ); resume with the same one, or "
            "give another --out."
        )


def train(
    cube: xr.Dataset,
    out: Path,
    recipe: Recipe,
    *,
    resume: bool = False,
    accelerator: str = "auto",
    precision: Any = "32-true",
    report: Callable[[int], None] | None = None,
) -> TrainedGenerator:
    """Train a conditional StyleGAN2 on the train months of a cube.

    Parameters
    ----------
    cube : xarray.Dataset
        An observed cube with square frames of a power-of-two size.
    out : pathlib.Path
        The run's folder: recipe, log, checkpoints and sample sheets.
    recipe : Recipe
    resume : bool
        Go on from the newest checkpoint in `out`, or start where there is none.
    accelerator, precision
        As for `lightning_fabric.Fabric`.
    report : callable, optional
        Called with the number of images shown so far.

    Returns
    -------
    TrainedGenerator

    Raises
    ------
    UsageError
        If the run exists and `resume` is False, or the recipe does not fit the cube or the run.
    SunaugError
        If no frame can be trained on, or the training diverges.
    """
    channels = [str(name) for name in cube["channel"].values]
    size = cube.sizes["y"]
    if size & (size - 1) or size < 8:
        raise UsageError(f"frames of {size} pixels cannot be trained on: ingest them with a power-of-two --size.")
    if recipe.mirror and any(channel(name).signed for name in channels):
        raise UsageError("magnetograms must not be mirrored: set `mirror: false` in the recipe.")
    saved = load_checkpoint(out)
    if saved and not resume:
        raise UsageError(f"{out}: holds a run already; add --resume to go on with it, or give another --out.")
    if saved:
        _checked(recipe, saved["recipe"])

    scaling = default_scaling(channels, cube.attrs["intensity_scale"], recipe.scaling)
    frames = load_frames(cube, scaling, recipe.conditions, recipe.class_balance)

    fabric = Fabric(accelerator=accelerator, devices=1, precision=precision)
    fabric.launch()
    out.mkdir(parents=True, exist_ok=True)
    (out / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))

    bank = frames.images.to(fabric.device)
    config = StyleGAN2Config(
        size=size,
        image_channels=len(channels),
        **recipe.model_dump(include={"conditions", "base_width", "max_width", "z_dim", "w_dim", "mapping_layers"}),
    )

    torch.manual_seed(recipe.seed)
    raw_g = Generator(config)
    raw_d = Discriminator(config)
    average = copy.deepcopy(raw_g).to(fabric.device).eval().requires_grad_(False)
    optimizer_g = torch.optim.Adam(raw_g.parameters(), recipe.generator_rate, recipe.betas, eps=1e-8)
    optimizer_d = torch.optim.Adam(raw_d.parameters(), recipe.discriminator_rate, recipe.betas, eps=1e-8)
    random = torch.Generator().manual_seed(recipe.seed)
    state = _State(raw_g, raw_d, average, optimizer_g, optimizer_d, random)
    if saved:
        state.load_state_dict(saved)
    generator, optimizer_g = fabric.setup(raw_g, optimizer_g)
    discriminator, optimizer_d = fabric.setup(raw_d, optimizer_d)
    loss = LOSSES[recipe.loss]
    log = _LogFile(out / "log.csv", state.images)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random).to(fabric.device)

    started, seconds_before, images_before = time.monotonic(), state.seconds, state.images
    while state.images < recipe.images:
        progress = state.images / recipe.images
        condition_weight = _ramp(progress, *recipe.condition_ramp)
        for optimizer, rate in ((optimizer_g, recipe.generator_rate), (optimizer_d, recipe.discriminator_rate)):
            optimizer.param_groups[0]["lr"] = rate * _rate_factor(progress, recipe.rate_decay)

        chosen = torch.multinomial(frames.weights, recipe.batch, replacement=True, generator=random)
        real = bank[chosen]
        if recipe.mirror:
            real = _mirror(real, random)
        condition = frames.conditions[chosen]
        condition = (condition + recipe.condition_jitter * torch.randn(condition.shape, generator=random)).to(
            fabric.device
        )

        mixing = torch.rand(recipe.batch, generator=random) < recipe.style_mixing
        crossover = torch.randint(1, raw_g.n_styles, (recipe.batch,), generator=random)
        fake = generator(
            normal(recipe.batch, config.z_dim),
            condition,
            normal(recipe.batch, raw_g.noise_size),
            normal(recipe.batch, config.z_dim),
            torch.where(mixing, crossover, raw_g.n_styles).to(fabric.device),
        )

        # Discriminator, with the penalty every `penalty_interval` steps (lazy regularisation, Karras et al. 2020, 3.1).
        raw_d.requires_grad_(True)
        gamma = _penalty_weight(progress, recipe)
        penalised = gamma > 0 and state.steps % recipe.penalty_interval == 0
        shown_fake = fake.detach()
        if penalised:
            real.requires_grad_(True)
            shown_fake.requires_grad_(recipe.r2)
        scores_real = discriminator(diff_augment(real, recipe.augment, random), condition, condition_weight)
        scores_fake = discriminator(diff_augment(shown_fake, recipe.augment, random), condition, condition_weight)
        loss_d = loss.discriminator(scores_real, scores_fake)
        total, r1 = loss_d, math.nan
        if penalised:
            penalty = gradient_penalty(scores_real, real)
            r1 = penalty.item()
            if recipe.r2:
                penalty = penalty + gradient_penalty(scores_fake, shown_fake)
            total = total + gamma / 2 * recipe.penalty_interval * penalty
        optimizer_d.zero_grad(set_to_none=True)
        fabric.backward(total)
        optimizer_d.step()

        # Generator, on the same fakes. The real scores are those from before the discriminator's step: they are
        # constants here, and computing them again would cost a whole forward pass for a shift of one update.
        raw_d.requires_grad_(False)
        scores = discriminator(diff_augment(fake, recipe.augment, random), condition, condition_weight)
        loss_g = loss.generator(scores_real.detach(), scores)
        optimizer_g.zero_grad(set_to_none=True)
        fabric.backward(loss_g)
        optimizer_g.step()

        state.images += recipe.batch
        state.steps += 1
        # A short memory at the start, so that the average does not keep the untrained network for long.
        half_life = min(recipe.ema_half_life, max(state.images * 0.05, 1.0))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(average.parameters()), list(raw_g.parameters()), 1 - 0.5 ** (recipe.batch / half_life)
            )

        if not math.isfinite(loss_d.item() + loss_g.item()):
            raise SunaugError(
                f"{out}: the training diverged after {state.images:,} images; its last checkpoint is whole: raise "
                "r1_gamma or lower discriminator_rate in a new run."
            )
        elapsed = time.monotonic() - started
        state.seconds = seconds_before + elapsed
        if penalised and (state.steps - 1) % LOG_STEPS < recipe.penalty_interval:
            log.write(
                images=state.images,
                loss_d=loss_d.item(),
                loss_g=loss_g.item(),
                score_gap=(scores_real.mean() - scores_fake.mean()).item(),
                r1=r1,
                condition_weight=condition_weight,
                images_per_second=(state.images - images_before) / elapsed,
            )
        if report:
            report(min(state.images, recipe.images))
        done = state.images >= recipe.images
        if done or state.images // recipe.sample_images > (state.images - recipe.batch) // recipe.sample_images:
            sheet = out / f"samples-{state.images:09d}.png"
            _save_samples(sheet, state, channels, scaling, cube.attrs["intensity_scale"])
        if done or state.images // recipe.checkpoint_images > (state.images - recipe.batch) // recipe.checkpoint_images:
            save_checkpoint(out, state.images, state.state_dict(recipe))
    log.close()
    return TrainedGenerator(average, config, scaling, channels, frames, state.images, state.seconds)
