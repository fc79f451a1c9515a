"""Reconstructions into a cube of their own, group by group, resumable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from sunaug.bundle import Bundle
from sunaug.cube import FrameStatus, create_cube, open_cube, write_frames
from sunaug.cube.lock import Lease, only_writer
from sunaug.cube.opening import is_unfinished
from sunaug.cube.reconstructions import RECONSTRUCTION
from sunaug.cube.store import is_cube
from sunaug.errors import SunaugError
from sunaug.latent.projection import GROUP, Projection, Projector, counting_on
from sunaug.reconstruction.scores import Errors
from sunaug.reconstruction.source import RealFrames
from sunaug.storage import location

__all__ = ["reconstruct", "total_steps"]

_IDENTITY = ("bundle_hash", RECONSTRUCTION, "torch_version")


def _attributes(bundle: Bundle, frames: RealFrames, settings: Projection) -> dict[str, Any]:
    """What the cube says of its origin; two cubes with the same hold the same reconstructions."""
    return {
        "title": "SYNTHETIC reconstructions of frames of the Sun",
        "SYNTHETIC": "made by sunaug after real frames; neither an observation nor a sample",
        "bundle_name": bundle.info.name,
        "bundle_hash": bundle.hash,
        "training_ranges": bundle.info.training_ranges,
        RECONSTRUCTION: {**frames.described(), **settings.described()},
        "torch_version": torch.__version__,
    }


def _open_or_create(path: Path, bundle: Bundle, frames: RealFrames, settings: Projection, lease: Lease) -> xr.Dataset:
    info, origin = bundle.info, _attributes(bundle, frames, settings)
    if path.exists() and not is_cube(path) and not is_unfinished(path):
        raise SunaugError(f"{path}: exists and is not a cube; choose another --out.")
    if not path.exists() or is_unfinished(path):
        create_cube(
            path,
            channels=info.channels,
            size=info.network.size,
            disk_radius=info.disk_radius,
            intensity_scale=info.intensity_scale,
            n_samples=len(frames),
            styles=(bundle.generator.n_styles, info.network.latent_width),
            attrs=origin,
            lease=lease,
        )
    cube = open_cube(path)
    if any(cube.attrs.get(name) != origin[name] for name in _IDENTITY):
        raise SunaugError(
            f"{path}: exists already and holds something else than these reconstructions; choose another --out or "
            "remove it."
        )
    return cube


def total_steps(frames: RealFrames, settings: Projection) -> int:
    """Steps that `reconstruct` takes in all."""
    return -(-len(frames) // GROUP) * settings.steps


def reconstruct(
    path: str | Path,
    bundle: Bundle,
    frames: RealFrames,
    settings: Projection | None = None,
    *,
    device: str | torch.device = "cpu",
    report: Callable[[int], None] = lambda steps: None,
) -> Path:
    """Project real frames, and write what the generator makes of their w into a cube of reconstructions.

    A cube that was left unfinished by the same call is completed: frames that are whole are kept.

    Parameters
    ----------
    path : str or pathlib.Path
    bundle : Bundle
    frames : RealFrames
    settings : Projection, optional
    device : str or torch.device
    report : callable, optional
        Called with the steps done so far, of `total_steps`.

    Returns
    -------
    pathlib.Path
        The cube: ``intensity`` in all of the bundle's channels, ``w``, ``source_time``, the real frame's fluxes,
        ``rms_error`` and ``total_error`` of every channel.

    Raises
    ------
    SunaugError
        If something else stands at `path`, or it cannot be written.
    """
    settings = settings or Projection()
    projector = Projector(bundle, settings, device)  # which may be refused, before anything is made
    with only_writer(location(path)) as lease:
        status = _open_or_create(Path(path), bundle, frames, settings, lease)["frame_status"].values
        # Groups begin at the same frames whatever is left, so that a resumed cube has the bits of one made at once.
        for group, start in enumerate(range(0, len(frames), GROUP)):
            before, stop = group * settings.steps, min(start + GROUP, len(frames))
            if (status[start:stop] == FrameStatus.PENDING).any():
                made = _group(projector, frames, slice(start, stop), counting_on(report, before))
                _write(path, start, made, lease)
            report(before + settings.steps)
    return Path(path)


def _group(
    projector: Projector, frames: RealFrames, chosen: slice, report: Callable[[int], None]
) -> dict[str, NDArray[Any]]:
    """Variables of some reconstructions, the frame axis first."""
    real, times = frames.intensity(chosen), frames.times[chosen].astype(np.int64)
    w = projector.project(frames.what_counts(real), frames.fluxes[chosen], times.tolist(), report)
    made, info = projector.images(w).numpy(), frames.info
    errors = Errors.of(made, real, info)
    return {
        "intensity": info.within_range(info.scaling.unscale(made)),
        "w": w.numpy(),
        "source_time": times,
        "rms_error": errors.rms,
        "total_error": errors.total,
        **{name: frames.cube[name].values[chosen] for name in ("nowcast_flux", "forecast_flux")},
        "frame_status": np.full(len(times), FrameStatus.COMPLETE, np.int8),
    }


def _write(path: str | Path, start: int, made: dict[str, NDArray[Any]], lease: Lease) -> None:
    try:
        write_frames(path, start, made, lease=lease)
    except OSError as error:
        raise SunaugError(
            f"{path}: could not be written ({error.strerror or error}); make room there and give the command again: "
            "what is whole is kept."
        ) from None
