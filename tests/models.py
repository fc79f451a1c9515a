"""Tiny cubes and bundles, made in a moment, that the tests of several rooms share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import xarray as xr
from lightning_fabric import Fabric

from sunaug.bundle import Bundle, BundleInfo, load_bundle, write_bundle, write_directions
from sunaug.critic import Critic, fit_critic
from sunaug.cube import FrameStatus, create_cube, write_frames
from sunaug.encoder import fit_encoder
from sunaug.generation import fit_finish, fit_steering
from sunaug.networks import Generator, StyleGAN2Config
from sunaug.scaling import default_scaling
from sunaug.training.frames import TrainingFrames
from sunaug.training.recipe import Recipe
from sunaug.training.shape import network_config
from sunaug.training.trainer import Trainer

CHANNELS = ["aia171", "aia131", "aia94"]
SIZE = 16
RECIPE = {
    "images": 64,
    "batch": 8,
    "base_width": 64,
    "max_width": 16,
    "z_dim": 8,
    "w_dim": 8,
    "mapping_layers": 2,
    "checkpoint_images": 32,
    "sample_images": 32,
}


@contextmanager
def quick_fits(steps: int = 4) -> Iterator[None]:
    """What a training fits beside the networks is fitted in a few steps: worth less, and half a minute sooner."""
    with (
        mock.patch("sunaug.fidelity.fitting.fit_encoder", partial(fit_encoder, steps=steps)),
        mock.patch("sunaug.fidelity.fitting.gate_backbones", list),
        mock.patch("pipelines.train.fit_finish", partial(fit_finish, samples=16)),
        mock.patch("pipelines.train.fit_steering", partial(fit_steering, pictures=16)),
    ):
        yield


def make_cube(path: Path, months: tuple[int, ...] = (1, 8), frames: int = 24, size: int = SIZE) -> Path:
    """A browse cube with `frames` frames 6 h apart in each month: a disk with one spot, brighter for flares."""
    random = np.random.default_rng(0)
    start = [np.datetime64(f"2012-{month:02d}-03", "ns") for month in months]
    times = np.concatenate([day + np.arange(frames) * np.timedelta64(6, "h") for day in start])
    radius = 7 / 16 * size
    offset = np.arange(size) - (size - 1) / 2
    disk = np.hypot(offset[:, None], offset) <= radius
    forecast = 10 ** random.uniform(-6.5, -4, len(times))
    images = np.where(disk, 80.0, 4.0) + random.normal(0, 4, (len(times), len(CHANNELS), size, size))
    for image, flux in zip(images, forecast, strict=True):
        y, x = random.integers(size // 4, 3 * size // 4, 2)
        image[:, y - 1 : y + 2, x - 1 : x + 2] += 40 * (np.log10(flux) + 7)
    create_cube(path, channels=CHANNELS, size=size, disk_radius=radius, intensity_scale="browse", times=times)
    write_frames(
        path,
        0,
        {
            "intensity": np.clip(images, 0, 255).astype(np.float32),
            "forecast_flux": forecast,
            "nowcast_flux": forecast / 3,
            "frame_status": np.full(len(times), FrameStatus.COMPLETE, np.int8),
        },
    )
    return path


def knock_out(path: Path, gone: np.ndarray) -> Path:
    """Take channels out of the first frames of a cube: `gone` (frames, channels) says which."""
    with xr.open_zarr(path) as cube:
        intensity = cube["intensity"][: len(gone)].values
        status = cube["frame_status"][: len(gone)].values
    intensity[gone] = np.nan
    status[gone.any(axis=1)] = FrameStatus.PARTIAL
    write_frames(path, 0, {"intensity": intensity, "frame_status": status})
    return path


def make_bundle(path: Path, *, conditions: tuple[str, ...] = ("nowcast_flux", "forecast_flux")) -> Bundle:
    """An untrained bundle with fitted directions whose layers all have noise."""
    torch.manual_seed(0)
    config = StyleGAN2Config(
        size=SIZE,
        image_channels=3,
        conditions=conditions,
        base_width=64,
        max_width=16,
        z_dim=8,
        w_dim=8,
        mapping_layers=2,
    )
    generator = Generator(config)
    for conv in generator.convs:
        torch.nn.init.constant_(conv.noise_strength, 0.2)
    info = BundleInfo(
        name="tiny",
        network=config,
        channels=CHANNELS,
        intensity_scale="browse",
        disk_radius=7.0,
        scaling=default_scaling(CHANNELS, "browse"),
        recipe={},
        training_ranges=[["2012-01-01T00:00:00Z", "2012-08-01T00:00:00Z"]],
        training={"images": 0},
    )
    forecast = torch.logspace(-7, -3.5, 64, dtype=torch.float64)
    fluxes = torch.stack([forecast / 3, forecast], dim=1)[:, : len(conditions)]
    reference = {"fluxes": fluxes, "hot_emission": torch.linspace(-1, 1, 64)}
    write_bundle(path, info, generator, reference, "# tiny\n")
    if conditions:
        write_directions(path, fit_steering(load_bundle(path), pictures=16))
    return load_bundle(path)


def spotted_frames(n: int = 240, seed: int = 0) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Scaled frames (n, 3, 16, 16), fluxes (n, 2) and times 6 h apart: a disk with a spot as bright as log flux."""
    random = np.random.default_rng(seed)
    offset = np.arange(SIZE) - (SIZE - 1) / 2
    disk = np.where(np.hypot(offset[:, None], offset) <= 7, -0.4, -0.95)
    forecast = 10 ** random.uniform(-7, -3.5, n)
    images = disk + random.normal(0, 0.03, (n, 3, SIZE, SIZE))
    for image, flux in zip(images, forecast, strict=True):
        y, x = random.integers(4, 11, 2)
        image[:, y - 1 : y + 2, x - 1 : x + 2] += 0.35 * (np.log10(flux) + 7)
    times = np.datetime64("2012-01-01", "ns") + np.arange(n) * np.timedelta64(6, "h")
    return torch.from_numpy(images.astype(np.float32)).clamp(-1, 1), np.stack([forecast / 3, forecast], axis=1), times


@cache
def make_critic() -> Critic:
    """A critic of `spotted_frames`."""
    images, fluxes, times = spotted_frames()
    weights = torch.full((len(images),), 1 / len(images), dtype=torch.float64)
    critic = fit_critic(images, fluxes, times, ("nowcast_flux", "forecast_flux"), weights, epochs=40)
    assert critic is not None
    return critic


def make_frames(n: int = 32, channels: int = 2, labels: int = 2) -> TrainingFrames:
    """Scaled frames without a cube: smooth noise within [-1, 1], a flux for each label."""
    random = torch.Generator().manual_seed(3)
    coarse = torch.rand(n, channels, 4, 4, generator=random) * 2 - 1
    images = torch.nn.functional.interpolate(coarse, size=(SIZE, SIZE), mode="bilinear")
    fluxes = 10 ** (np.random.default_rng(0).uniform(-7, -3.5, (n, labels)))
    return TrainingFrames(images, fluxes, torch.full((n,), 1 / n, dtype=torch.float64), [])


def make_trainer(frames: TrainingFrames | None = None, *, start: Generator | None = None, **recipe: object) -> Trainer:
    """A trainer of tiny networks on the CPU; `recipe` replaces fields of `RECIPE`."""
    chosen = Recipe(**{**RECIPE, **recipe})
    frames = frames or make_frames(labels=len(chosen.labels))
    fabric = Fabric(accelerator="cpu", devices=1, precision=chosen.precision)
    fabric.launch()
    return Trainer(frames, network_config(chosen, SIZE, frames.images.shape[1]), chosen, fabric, start=start)


def tensors(state: object, prefix: str = "") -> dict[str, object]:
    """All leaves of a nested state."""
    if isinstance(state, dict):
        items = state.items()
    elif isinstance(state, list):
        items = enumerate(state)
    else:
        return {prefix: state}
    return {name: leaf for key, value in items for name, leaf in tensors(value, f"{prefix}/{key}").items()}


def assert_same_bits(first: object, second: object) -> None:
    """Two nested states hold the same values."""
    first, second = tensors(first), tensors(second)
    assert first.keys() == second.keys()
    for name, value in first.items():
        same = torch.equal(value, second[name]) if isinstance(value, torch.Tensor) else value == second[name]
        assert same, name
