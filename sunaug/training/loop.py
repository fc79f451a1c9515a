"""A training from its frames to the generator that it leaves: what is checked, made and started."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import xarray as xr
from lightning_fabric import Fabric

from sunaug.errors import UsageError
from sunaug.networks import BaseGenerator
from sunaug.scaling import default_scaling
from sunaug.training.checkpoint import load_checkpoint
from sunaug.training.checks import check_cube, check_resumed, check_strategy
from sunaug.training.frames import load_frames
from sunaug.training.recipe import Recipe
from sunaug.training.run import Judge, Run, TrainedGenerator
from sunaug.training.shape import network_config
from sunaug.training.strategies import make_strategy
from sunaug.training.trainer import Trainer

__all__ = ["train"]


def train(
    cube: xr.Dataset,
    out: Path,
    recipe: Recipe,
    *,
    resume: bool = False,
    accelerator: str = "auto",
    devices: int = 1,
    strategy: str = "auto",
    judge: Judge | None = None,
    start: BaseGenerator | None = None,
    seen: Iterable[Sequence[str]] = (),
    minutes: float | None = None,
    tensorboard: bool = False,
    report: Callable[[int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> TrainedGenerator:
    """Train a generator on the train months of a cube.

    Parameters
    ----------
    cube : xarray.Dataset
        An observed cube with square frames of a power-of-two size.
    out : pathlib.Path
        The run's folder: recipe, log, checkpoints and sample sheets.
    recipe : Recipe
    resume : bool
        Go on from the newest checkpoint in `out`, or start where there is none.
    accelerator, devices
        As for `lightning_fabric.Fabric`. Several processes share each batch, or each image.
    strategy : {"auto", "ddp", "fsdp", "deepspeed", "bands"}
        ``ddp``: each process holds the networks. ``fsdp``: each holds a slice of them, see `sunaug.training.sharding`.
        ``deepspeed``: each holds the networks, and a part of the optimisers' state, see `sunaug.training.zero`.
        ``bands``: each holds the networks and computes a band of rows of every image, see `sunaug.networks.bands`.
    judge : Judge, optional
        Measures samples as often as the recipe says, and the best weights are kept. Without it the last ones are.
    start : BaseGenerator, optional
        Generator to start from, of a smaller or equal size; ignored where the run is resumed.
    seen : iterable of (start, end)
        Days that `start` was trained on, as `sunaug.cube.time_ranges.time_ranges` writes them: what it has seen is
        in the new generator too. Kept in the checkpoints.
    minutes : float, optional
        Stop cleanly, with a checkpoint, after this time in this process.
    tensorboard : bool
        Write the figures for TensorBoard as well.
    report : callable, optional
        Called with the number of images shown so far.
    say : callable, optional
        Called with a sentence when something happens that people should know.

    Returns
    -------
    TrainedGenerator

    Raises
    ------
    UsageError
        If the run exists and `resume` is False, or the recipe does not fit the cube or the run.
    SunaugError
        If no frame can be trained on, or the training goes wrong for good.
    """
    check_cube(cube, recipe)
    check_strategy(strategy, recipe, cube.sizes["y"], devices)
    channels = [str(name) for name in cube["channel"].values]
    saved = load_checkpoint(out)
    if saved and not resume:
        raise UsageError(f"{out}: holds a run already; add --resume to go on with it, or give another --out.")
    if saved:
        check_resumed(recipe, saved)
    scaling = default_scaling(channels, cube.attrs["intensity_scale"], recipe.scaling)
    frames = load_frames(cube, scaling, recipe.labels, recipe.class_balance, recipe.missing_channels)
    # Whatever the processes share: DDP starts them.
    launched = "auto" if strategy == "auto" else "ddp"
    fabric = Fabric(accelerator=accelerator, devices=devices, strategy=launched, precision=recipe.precision)
    fabric.launch()
    config = network_config(recipe, cube.sizes["y"], len(channels), channels)
    shared = make_strategy(strategy, recipe, fabric)
    trainer = Trainer(frames, config, recipe, fabric, start=None if saved else start, strategy=shared)
    run = Run(
        trainer, out, recipe, channels, scaling, cube.attrs["intensity_scale"], seen, judge, say or (lambda text: None)
    )
    run.start(saved, tensorboard=tensorboard)
    run.go(minutes, report)
    return run.result()
