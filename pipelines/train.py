"""From a cube to a finished bundle: train, pack, fit the directions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sunaug.bundle import (
    Bundle,
    BundleInfo,
    load_bundle,
    write_bundle,
    write_critic,
    write_directions,
    write_finish,
    write_reference,
)
from sunaug.critic import Critic, fit_critic
from sunaug.cube import open_cube
from sunaug.cube.time_ranges import ranges_in_words
from sunaug.errors import SunaugError
from sunaug.fidelity.backbones import inception_backbone
from sunaug.fidelity.fitting import add_reference
from sunaug.fidelity.judge import Judge
from sunaug.fidelity.roles import teachers_of
from sunaug.flares import class_letters
from sunaug.generation import fit_finish, fit_steering
from sunaug.latent.activity import hot_channels, hot_emission
from sunaug.networks.patches import in_tiles
from sunaug.training.checkpoint import checkpoint_paths
from sunaug.training.frames import TrainingFrames, load_frames
from sunaug.training.loop import train
from sunaug.training.recipe import Recipe
from sunaug.training.run import TrainedGenerator

__all__ = ["train_bundle"]

_CARD = """# {name}

A conditional {architecture} that makes SYNTHETIC frames of the Sun, {size}x{size} pixels, channels {channels}
({scale}). Made with sunaug {version}.

| | |
| --- | --- |
| trained on | {n_frames:,} frames of the train months, {ranges} |
| frames by strongest flare of the next 24 h | {classes} |
| images shown while training | {images:,} |
| time | {hours:.1f} h on {hardware} |
| conditioned on | {conditions} |
| parameters of the generator | {parameters:,} |
| discriminator | {discriminator} |
| started from | {start} |
| chosen | {chosen} |
| teachers | {teachers} |
| judges | EffNet-Lite2, solar-content and every figure that is no teacher |
| hash of the frames trained on | `{fingerprint}` |

## What it is for
Adding rare, flare-like frames to the training of a forecasting model. Its samples are not observations: they carry
their seed, condition and bundle hash, and the time ranges above, on which a forecaster that was trained with them must
not be evaluated.

## What it is not
The rare classes come from a handful of events: samples of them vary what the network has seen and cannot show what it
has not. A sample says how a frame before or during such a flare may look; it is no forecast and no measurement. Measure
it with `sunaug evaluate` against frames that it has not seen before anything is trained on it.

Licence: {licence}. NASA SDO imagery courtesy of NASA/SDO and the AIA, EVE and HMI science teams.
"""


_ARCHITECTURES = {"stylegan2": "StyleGAN2", "biggan": "BigGAN", "stylealae": "StyleALAE"}

_DISCRIMINATORS = {
    "pixel": "the architecture's own, on pixels",
    "projected": "on frozen features of EfficientNet-Lite0 (Projected GAN), which flatters distances in these features",
    "both": "on pixels, and on frozen features of EfficientNet-Lite0, which flatters distances in these features",
}


def _chosen(best: dict[str, Any] | None) -> str:
    if not best:
        return "the last weights"
    return (
        f"the weights with the smallest {best['backbone']} to {best['n']} validation frames: {best['frechet']:.3f} "
        f"(real frames of the train months: {best['floor']['frechet']:.3f})"
    )


def _teachers(found: Mapping[str, str] | None) -> str:
    """What was trained on, fitted to or chosen by: figures of these say nothing about the generator."""
    told = "unknown" if found is None else "; ".join(f"{name} ({why})" for name, why in found.items())
    filtered = "with a spectral filter (`finish.safetensors`) also solar-texture and all spectral figures"
    return f"{told}; {filtered}" if told else filtered


_LISTED = 12


def _ranges(ranges: Sequence[Sequence[str]]) -> str:
    """Ranges in words, and where all of them are."""
    where = " (all in `bundle.json`)" if len(ranges) > _LISTED else ""
    return ranges_in_words(ranges, _LISTED) + where


def _fingerprint(trained: TrainedGenerator) -> str:
    digest = hashlib.sha256(trained.frames.fluxes.tobytes())
    digest.update(trained.frames.images.numpy().tobytes())
    return digest.hexdigest()


def _card(info: BundleInfo, trained: TrainedGenerator) -> str:
    column = info.network.labels.index("forecast_flux") if "forecast_flux" in info.network.labels else None
    classes = "not conditioned on it"
    if column is not None:
        letters, counts = np.unique(class_letters(trained.frames.fluxes[:, column]), return_counts=True)
        classes = ", ".join(f"{letter or 'none'} {count:,}" for letter, count in zip(letters, counts, strict=True))
    return _CARD.format(
        name=info.name,
        architecture=_ARCHITECTURES[info.architecture],
        size=info.network.size,
        channels=", ".join(info.channels),
        scale="8-bit display counts of browse images" if info.intensity_scale == "browse" else "DN/s",
        version=info.sunaug_version,
        n_frames=info.training["frames"],
        ranges=_ranges(info.training_ranges),
        classes=classes,
        images=info.training["images"],
        hours=info.training["seconds"] / 3600,
        hardware=info.training["hardware"],
        conditions=", ".join(info.network.labels) or "nothing",
        parameters=sum(parameter.numel() for parameter in trained.generator.parameters()),
        discriminator=_DISCRIMINATORS[info.recipe["discriminator"]],
        start=info.recipe["start"] or "random weights",
        chosen=_chosen(info.training.get("chosen_by")),
        teachers=_teachers(info.training.get("teachers")),
        fingerprint=info.training["frames_sha256"],
        licence=info.licence,
    )


def _hardware() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads"


def fit_frames_critic(frames: TrainingFrames, labels: tuple[str, ...]) -> Critic | None:
    """The critic of training frames that lack no channel; None where they are too few, see `fit_critic`."""
    whole = frames.whole()
    return fit_critic(whole.images.cpu(), whole.fluxes, whole.times, labels, whole.weights)


def _hot_emission(trained: TrainedGenerator, disk_radius: float) -> torch.Tensor:
    """Of each training frame, shape (n,); NaN for those that lack a hot channel."""
    found = hot_emission(trained.frames.images, trained.channels, disk_radius)
    if trained.frames.observed is not None:
        found[~trained.frames.observed[:, hot_channels(trained.channels)].all(dim=1)] = torch.nan
    return found


def add_fits(bundle: Bundle, cube: str | Path) -> str:
    """Fit the finish and the critic of a bundle on the frames it was trained on, and store them with their times.

    Returns
    -------
    str
        A sentence that says how well it reads real frames.

    Raises
    ------
    SunaugError
        If the cube's train frames are not those that the bundle was trained on, or are too few.
    """
    opened = open_cube(cube)
    labels = bundle.info.network.labels
    recipe = bundle.info.recipe
    frames = load_frames(
        opened,
        bundle.info.scaling,
        labels,
        recipe.get("class_balance", 0.5),
        recipe.get("missing_channels", "skip"),
    )
    reference = bundle.reference["fluxes"].numpy()
    if frames.fluxes.shape != reference.shape or not np.array_equal(frames.fluxes, reference):
        raise SunaugError(f"{cube}: its train frames are not those that {bundle.path} was trained on; give that cube.")
    critic = fit_frames_critic(frames, labels)
    if critic is None:
        raise SunaugError(f"{cube}: its train frames span less than three blocks of ten days, too few for a critic.")
    write_reference(bundle.path, bundle.reference | {"times": torch.from_numpy(frames.times.astype(np.int64))})
    write_critic(bundle.path, critic)
    _add_finish(bundle, frames)
    said = ", ".join(
        f"{name} to {figures['error_dex']:.2f} dex (rank correlation {figures['rank_correlation']:.2f})"
        for name, figures in critic.skill().items()
    )
    return f"critic of {bundle.info.name}: reads real frames that it has not seen for {said}"


def _add_finish(bundle: Bundle, frames: TrainingFrames) -> None:
    finish = fit_finish(bundle, frames.whole().images)
    if finish is not None:
        write_finish(bundle.path, finish)


def _silent(text: str) -> None:
    """Where nobody listens."""


def train_bundle(
    cube: str | Path,
    out: str | Path,
    recipe: Recipe,
    *,
    resume: bool = False,
    accelerator: str = "auto",
    devices: int = 1,
    strategy: str = "auto",
    minutes: float | None = None,
    tensorboard: bool = False,
    weights: str | Path | None = None,
    report: Callable[[int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Path | None:
    """Train a generator on a cube and pack it into ``<out>/bundle``, its directions fitted.

    Parameters
    ----------
    cube : str or pathlib.Path
        An observed cube.
    out : str or pathlib.Path
        The run's folder.
    recipe : Recipe
    resume : bool
        Go on from the newest checkpoint in `out`.
    accelerator, devices, strategy
        As for `lightning_fabric.Fabric`.
    minutes : float, optional
        Stop after this time and pack what there is; the run can be resumed.
    tensorboard : bool
        Write the figures for TensorBoard as well.
    weights : str or pathlib.Path, optional
        Inception weights for the recipe's evaluations, see `sunaug.fidelity.inception.find_weights`.
    report : callable, optional
        Called with the number of images shown so far.
    say : callable, optional
        Called with a sentence when something happens that people should know.

    Returns
    -------
    pathlib.Path or None
        The bundle's folder; None in a process that helps the first of several.

    Raises
    ------
    UsageError, SunaugError
        As `sunaug.training.loop.train`.
    """
    opened = open_cube(cube)
    out = Path(out)
    start = load_bundle(recipe.start) if recipe.start and not (resume and checkpoint_paths(out)) else None
    judge = None
    if recipe.evaluate_images:
        judge = Judge.of(
            opened,
            n=recipe.evaluate_samples,
            backbone=inception_backbone(weights),
            cache=out / "features",
            conditions=recipe.labels,
            seed=recipe.seed,
        )
    trained = train(
        opened,
        out,
        recipe,
        resume=resume,
        accelerator=accelerator,
        devices=devices,
        strategy=strategy,
        judge=judge,
        start=start.generator if start else None,
        seen=start.info.training_ranges if start else (),
        minutes=minutes,
        tensorboard=tensorboard,
        report=report,
        say=say,
    )
    if not trained.first:
        return None
    disk_radius = float(opened.attrs["solar_radius_pixels"])
    training: dict[str, Any] = {
        "images": trained.images,
        "seconds": round(trained.seconds, 1),
        "hardware": _hardware(),
        "frames": len(trained.frames.images),
        "frames_sha256": _fingerprint(trained),
        "label_sources": opened.attrs.get("label_sources", {}),
        "average": recipe.ema,
    }
    if trained.evaluation:
        training["chosen_by"] = trained.evaluation | {"floor": judge.floor if judge else None}
    info = BundleInfo(
        name=out.name,
        architecture=trained.config.architecture,
        network=trained.config,
        channels=trained.channels,
        intensity_scale=opened.attrs["intensity_scale"],
        disk_radius=disk_radius,
        scaling=trained.scaling,
        recipe=recipe.model_dump(mode="json"),
        training_ranges=trained.training_ranges,
        training=training,
    )
    if (teachers := teachers_of(info, filtered=False)) is not None:
        info.training["teachers"] = teachers
    reference = {
        "fluxes": torch.from_numpy(trained.frames.fluxes),
        "hot_emission": _hot_emission(trained, disk_radius),
        "times": torch.from_numpy(trained.frames.times.astype(np.int64)),
    }
    path = out / "bundle"
    encoder = trained.encoder.cpu() if trained.encoder else None
    write_bundle(path, info, trained.generator.cpu(), reference, _card(info, trained), encoder=encoder)
    critic = fit_frames_critic(trained.frames, recipe.labels)
    if critic is not None:
        write_critic(path, critic)
    _add_finish(load_bundle(path), trained.frames)
    speak = say or _silent
    if in_tiles(trained.generator):
        speak(f"no directions: fitting them takes thousands of images, too many of {info.network.size} pixels.")
    elif info.network.labels:
        # A direction towards flares is fitted on what the network is conditioned on.
        write_directions(path, fit_steering(load_bundle(path)))
    if not add_reference(load_bundle(path), opened, speak):
        speak("too few train or validation frames with known labels for a gate: samples of this bundle stay unjudged.")
    return path
