"""Make frames: draw conditions, steer, let the critic judge, and stream the samples to where they are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from numpy.typing import NDArray

import sunaug
from sunaug.bundle import BUNDLED, Bundle, load_bundle
from sunaug.errors import UsageError
from sunaug.generation.calibration import calibrate, fit_steering
from sunaug.generation.conditions import Support, support, tail_rows
from sunaug.generation.finishing import fit_finish
from sunaug.generation.request import Request, parse_steer, read_conditions
from sunaug.generation.sampler import Sampler, regenerate
from sunaug.generation.writing import attributes, generate_cube, generate_fits

__all__ = [
    "Request",
    "Sampler",
    "Support",
    "as_dataset",
    "calibrate",
    "fit_finish",
    "fit_steering",
    "generate",
    "generate_cube",
    "generate_fits",
    "parse_steer",
    "read_conditions",
    "regenerate",
    "stream",
    "stream_request",
    "support",
    "tail_rows",
]

_DIMS = {"intensity": ("sample", "channel", "y", "x"), "steering": ("sample", "direction")}


def as_dataset(made: dict[str, NDArray[Any]], channels: Sequence[str]) -> xr.Dataset:
    """Samples as `Sampler.choose` gives them, with names for their axes."""
    variables = {name: (_DIMS.get(name, ("sample",)), values) for name, values in made.items()}
    return xr.Dataset(variables, coords={"sample": made["draw"], "channel": list(channels)})


def _dataset(sampler: Sampler, made: dict[str, NDArray[Any]]) -> xr.Dataset:
    info = sampler.bundle.info
    made_by = as_dataset(made, info.channels).assign_coords(direction=list(sampler.steering))
    return made_by.assign_attrs(
        {
            "synthetic": True,
            "intensity_scale": info.intensity_scale,
            "solar_radius_pixels": info.disk_radius,
            "sunaug_version": sunaug.__version__,
            **attributes(sampler),
        }
    )


def generate(
    bundle: Bundle | str | Path = BUNDLED, n: int = 1, *, device: str | torch.device = "cpu", **request: Any
) -> xr.Dataset:
    """Make samples in memory.

    Parameters
    ----------
    bundle : Bundle, str or pathlib.Path
        An open bundle, the path of one, or the name of one that comes with sunaug.
    n : int
        Number of samples.
    device : str or torch.device
    **request
        Further fields of `Request`: ``rare``, ``min_class``, ``label``, ``seed``, ``steer``, ``truncation`` and others.

    Returns
    -------
    xarray.Dataset
        ``intensity`` (sample, channel, y, x) in the cube's units with the labels and the origin of each sample; the
        same values as `generate_cube` writes.

    Examples
    --------
    >>> sunaug.generate(n=4, rare=True, min_class="M5").intensity.shape
    (4, 3, 128, 128)
    """
    sampler = _sampler(bundle, Request(n=n, **request), device)
    return _dataset(sampler, sampler.sample(0, n))


def stream(
    bundle: Bundle | str | Path = BUNDLED,
    batch_size: int = 32,
    n: int | None = None,
    *,
    start: int = 0,
    device: str | torch.device = "cpu",
    **request: Any,
) -> Iterator[xr.Dataset]:
    """Make samples batch by batch, for training on the fly: nothing is written.

    Parameters
    ----------
    bundle : Bundle, str or pathlib.Path
        As for `generate`.
    batch_size : int
        Samples in each batch.
    n : int, optional
        Number of samples in all; without end if left out.
    start : int
        Number of the first sample: processes that start at different numbers make different samples.
    device : str or torch.device
    **request
        As for `generate`.

    Yields
    ------
    xarray.Dataset
        As `generate` returns; sample i is the same one whatever the batches.
    """
    if batch_size < 1:
        raise UsageError(f"batches of {batch_size} samples: give one or more.")
    sampler = _sampler(bundle, Request(n=1 if n is None else n, **request), device)
    return _batches(sampler, start, None if n is None else start + n, batch_size)


def _batches(sampler: Sampler, start: int, stop: int | None, batch_size: int) -> Iterator[xr.Dataset]:
    for first in count(start, batch_size) if stop is None else range(start, stop, batch_size):
        last = first + batch_size if stop is None else min(first + batch_size, stop)
        yield _dataset(sampler, sampler.sample(first, last))


def stream_request(
    bundle: Bundle,
    request: Request,
    batch_size: int = 64,
    *,
    device: str | torch.device = "cpu",
    report: Callable[[int], None] = lambda done: None,
) -> Iterator[xr.Dataset]:
    """The samples of a request batch by batch; `report` hears how many are made."""
    for number, batch in enumerate(_batches(Sampler(bundle, request, device), 0, request.n, batch_size)):
        yield batch
        report(min((number + 1) * batch_size, request.n))


def _sampler(bundle: Bundle | str | Path, request: Request, device: str | torch.device) -> Sampler:
    return Sampler(bundle if isinstance(bundle, Bundle) else load_bundle(bundle), request, device)
