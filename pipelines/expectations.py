"""What a training will take, as lines for people: the answer of ``sunaug train --dry-run``."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from lightning_fabric import Fabric

from sunaug.cube import open_cube
from sunaug.training.checks import check_cube, check_strategy
from sunaug.training.estimate import Estimate, Rate, estimate, measure_rate
from sunaug.training.frames import known_frames
from sunaug.training.recipe import Recipe
from sunaug.training.shape import network_config
from sunaug.training.spread import memory_of, ways

__all__ = ["expectations"]


def expectations(
    cube: str | Path, recipe: Recipe, *, accelerator: str = "auto", devices: int = 1, strategy: str = "auto"
) -> list[str]:
    """Estimate what a training will take: networks, memory and time. Nothing is written.

    Parameters
    ----------
    cube : str or pathlib.Path
        An observed cube.
    recipe : Recipe
    accelerator : str
        As for `lightning_fabric.Fabric`; the speed is measured on it, with some steps of the training.
    devices : int
        Processes that share each batch, or each image.
    strategy : str
        As for `sunaug.training.loop.train`.

    Returns
    -------
    list of str
        Lines to print.

    Raises
    ------
    UsageError, SunaugError
        As `sunaug.training.loop.train`, where the training could not start.
    """
    opened = open_cube(cube)
    check_cube(opened, recipe)
    check_strategy(strategy, recipe, opened.sizes["y"], devices)
    frames = known_frames(opened, recipe.labels, recipe.missing_channels).sizes["time"]
    channels = [str(name) for name in opened["channel"].values]
    config = network_config(recipe, opened.sizes["y"], len(channels), channels)
    in_bands = strategy == "bands"
    cost = estimate(config, recipe, n_frames=frames, devices=devices, in_bands=in_bands)
    fabric = Fabric(accelerator=accelerator, devices=1, precision=recipe.precision)
    shares = 1 if in_bands else devices
    rate = measure_rate(config, recipe, fabric, cost.flops, devices=shares)
    return [
        f"Estimates for {config.image_channels} channels of {config.size}x{config.size} pixels; nothing was written.",
        *_network_lines(cost),
        *_memory_lines(cost, frames, recipe, fabric.device, devices, shares),
        # What bands take stands above; the other strategies are told apart by what a whole image takes.
        *([] if in_bands else _strategy_lines(cost, recipe, fabric.device, devices)),
        *_time_lines(cost, rate, recipe, fabric.device, devices),
    ]


def _network_lines(cost: Estimate) -> list[str]:
    lines = []
    for name, layers in cost.layers.items():
        lines += ["", f"{name:<30}{'width':>8}{'parameters':>14}"]
        for layer in layers:
            lines.append(f"  {layer.name:<28}{layer.width or '':>8}{layer.parameters:>14,}")
        lines.append(f"  {'in all':<28}{'':>8}{sum(layer.parameters for layer in layers):>14,}")
    return lines


def _memory_lines(
    cost: Estimate, frames: int, recipe: Recipe, device: torch.device, devices: int, shares: int
) -> list[str]:
    in_bands = f", a band of 1/{devices} of each" if shares < devices else ""
    parts = f", {recipe.accumulate} parts" if recipe.accumulate > 1 else ""
    kept = f", blocks from {recipe.checkpoint_from} pixels on recomputed" if recipe.checkpoint_from else ""
    rows = {
        "weights of the networks": cost.weights,
        "averaged generators": cost.averages,
        "optimisers": cost.moments,
        "gradients": cost.gradients,
        f"{frames:,} frames": cost.frames,
        f"activations of {recipe.batch // shares} images{in_bands}{parts}{kept}": cost.activations,
        "in all": cost.total,
    }
    width = max(map(len, rows))
    lines = ["", f"memory{f' of each of {devices} processes' if devices > 1 else ''}, without what the libraries take"]
    lines += [f"  {name:<{width}}  {_gigabytes(size):>10}" for name, size in rows.items()]
    has = _memory(device)
    # Processes on a CPU share its memory; each GPU has its own.
    needed = cost.total * (devices if device.type == "cpu" else 1)
    if has and needed > has:
        lower = "lower" if recipe.checkpoint_from else "set"
        way_out = f"raise `accumulate`, or {lower} `checkpoint_from`"
        lines.append(f"  That is more than the {_gigabytes(has)} here: {way_out}.")
    return lines


def _strategy_lines(cost: Estimate, recipe: Recipe, device: torch.device, devices: int) -> list[str]:
    """What other strategies would take, and offload where a device has memory of its own."""
    found = [way for way in ways(recipe, devices) if not way[1] or device.type != "cpu"]
    if len(found) == 1:
        return []
    lines = ["", f"{'memory of each process by strategy':<36}{'device':>10}{'main memory':>14}"]
    for strategy, offload in found:
        memory = memory_of(cost, recipe, strategy, devices, offload=offload)
        name = f"{strategy}, offload" if offload else strategy
        lines.append(
            f"  {name:<34}{_gigabytes(memory.device):>10}{_gigabytes(memory.host) if offload else '':>14}".rstrip()
        )
    return lines


def _time_lines(cost: Estimate, rate: Rate, recipe: Recipe, device: torch.device, devices: int) -> list[str]:
    speed = rate.flops_per_second / cost.flops * devices
    hours = recipe.images / speed / 3600
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
    shared = f" times {devices} processes" if devices > 1 else ""
    return [
        "",
        "time, without evaluations and sample sheets",
        f"  {cost.flops / 1e9:,.1f} GFLOP per image",
        f"  {speed:.3g} images per second: {rate.flops_per_second / 1e9:,.0f} GFLOP/s{shared}, measured just now on "
        f"{kind} with {rate.batch} images of {rate.size} pixels",
        f"  {hours:,.1f} hours for {recipe.images:,} images"
        if hours < 72
        else f"  {hours / 24:,.0f} days for {recipe.images:,} images",
    ]


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"


def _memory(device: torch.device) -> int | None:
    """Memory of a device, bytes; None where it cannot be known."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
