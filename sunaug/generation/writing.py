"""Samples into a synthetic cube or into FITS files, in flat memory, resumable."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from sunaug.bundle import Bundle, BundleInfo
from sunaug.cube import FrameStatus, create_cube, open_cube, shard_ranges, write_frames
from sunaug.cube.opening import is_unfinished
from sunaug.cube.store import frames_per_shard, is_cube
from sunaug.errors import SunaugError, UsageError
from sunaug.generation.request import Request
from sunaug.generation.sampler import Sampler
from sunaug.storage import local_or_url, location, remove_tree
from sunaug.synthetic_fits import SyntheticSample, file_name, write_sample

__all__ = [
    "attributes",
    "check_room",
    "fill",
    "generate_cube",
    "generate_fits",
    "nothing_left_of_a_refusal",
    "open_or_create",
    "pending_shards",
]

_REQUEST_FILE = "request.json"
_COMPRESSED = 0.8
"""Share of its bytes that a sample takes in a cube; generated noise compresses no further."""
_BYTES_BESIDE = 128
"""Bytes of a sample's labels and origin, all of which are held in memory at a time."""
_FITS_HEADER = 4 * 2880
_IDENTITY = ("bundle_hash", "request", "torch_version")


def attributes(sampler: Sampler) -> dict[str, Any]:
    """What a synthetic cube says of its origin; two cubes with the same are the same samples."""
    bundle = sampler.bundle
    return {
        "SYNTHETIC": "made by sunaug; not an observation",
        "bundle_name": bundle.info.name,
        "bundle_hash": bundle.hash,
        "training_ranges": bundle.info.training_ranges,
        "request": sampler.request.described(sampler.steering),
        "torch_version": torch.__version__,
        "gate": {"verdict": "unjudged", "sentence": "Unjudged: the gate has not looked at it yet."},
    }


def check_room(path: Path, info: BundleInfo, n: int, *, fits: bool = False) -> None:
    """Refuse a request that the disk or the memory has no room for.

    Parameters
    ----------
    path : pathlib.Path
        What is to be made.
    info : BundleInfo
        Of the bundle that makes the samples.
    n : int
        Number of samples.
    fits : bool
        Whether it is a folder of FITS files; a cube otherwise.

    Raises
    ------
    SunaugError
        Before anything is made.
    """
    pixels = len(info.channels) * info.network.size**2 * 4
    each = pixels + len(info.channels) * _FITS_HEADER if fits else int(pixels * _COMPRESSED) + _BYTES_BESIDE
    above = next(folder for folder in path.absolute().parents if folder.exists())
    free = shutil.disk_usage(above).free
    if n * each > free:
        raise SunaugError(
            f"--n {n}: so many samples take about {_size(n * each)}, and {_size(free)} are free in {above}; ask for "
            "fewer, or make room there."
        )
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if n * _BYTES_BESIDE > memory:
        raise SunaugError(
            f"--n {n}: the labels of so many samples take about {_size(n * _BYTES_BESIDE)} of memory, and this machine "
            f"has {_size(memory)}; ask for fewer."
        )


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:,.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:,.1f} MiB"


def open_or_create(path: Path, sampler: Sampler) -> xr.Dataset:
    """The cube of a request, made if it is not there; anything else that stands there is refused."""
    info, origin = sampler.bundle.info, attributes(sampler)
    if path.exists() and not is_cube(path) and not is_unfinished(path):
        raise SunaugError(f"{path}: exists and is not a cube; choose another --out.")
    if not path.exists() or is_unfinished(path):
        check_room(path, info, sampler.request.n)
        create_cube(
            path,
            channels=info.channels,
            size=info.network.size,
            disk_radius=info.disk_radius,
            intensity_scale=info.intensity_scale,
            n_samples=sampler.request.n,
            directions=list(sampler.steering),
            attrs=origin,
        )
    cube = open_cube(path)
    if any(cube.attrs.get(name) != origin[name] for name in _IDENTITY):
        raise SunaugError(f"{path}: exists already and was made by another request; choose another --out or remove it.")
    return cube


def pending_shards(cube: xr.Dataset) -> list[tuple[int, int]]:
    """Half-open ranges of the shards that are not whole yet."""
    status = cube["frame_status"].values
    return [(start, stop) for start, stop in shard_ranges(cube) if (status[start:stop] == FrameStatus.PENDING).any()]


def shards(
    sampler: Sampler, ranges: list[tuple[int, int]], batch_size: int, report: Callable[[int], None]
) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
    """The samples of each range; `report` hears how many of them are made."""
    done = 0
    for start, stop in ranges:
        shard: dict[str, list[NDArray[Any]]] = {}
        for batch in sampler.batches(start, stop, batch_size):
            for name, values in batch.items():
                shard.setdefault(name, []).append(values)
            done += len(batch["draw"])
            report(done)
        yield start, {name: np.concatenate(values) for name, values in shard.items()}


def fill(
    path: str | Path,
    sampler: Sampler,
    ranges: list[tuple[int, int]],
    *,
    batch_size: int = 256,
    report: Callable[[int], None] = lambda done: None,
) -> None:
    """Make and write the samples of some shards; one is written while the next one is made."""
    with ThreadPoolExecutor(1) as writer:
        written: Future[None] | None = None
        for start, shard in shards(sampler, ranges, batch_size, report):
            if written:
                written.result()
            written = writer.submit(_write, path, start, shard)
        if written:
            written.result()


def _write(path: str | Path, start: int, shard: dict[str, NDArray[Any]]) -> None:
    try:
        write_frames(path, start, shard)
    except OSError as error:
        raise SunaugError(
            f"{path}: could not be written ({error.strerror or error}); make room there and run the command again: "
            "what is complete is kept."
        ) from None


@contextmanager
def nothing_left_of_a_refusal(path: Path) -> Iterator[None]:
    """Remove a cube that was made within, where the request is refused before it has any sample."""
    new = not path.exists() or is_unfinished(path)
    try:
        yield
    except SunaugError:
        if new and path.exists() and not (open_cube(path)["frame_status"] != FrameStatus.PENDING).any():
            remove_tree(location(path))
        raise


def generate_cube(
    path: str | Path,
    bundle: Bundle,
    request: Request,
    *,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
    report: Callable[[int], None] | None = None,
) -> Path:
    """Write the samples of a request into a synthetic cube, shard by shard, in flat memory.

    A cube that was left unfinished by the same request is completed: shards which are whole are kept.

    Parameters
    ----------
    path : str or pathlib.Path
    bundle : Bundle
    request : Request
    batch_size : int
        Samples made between two progress reports; the result does not depend on it.
    device : str or torch.device
    report : callable, optional
        Called with the number of samples made so far.

    Raises
    ------
    UsageError, SunaugError
        If the bundle cannot make what is asked for, or something else stands at `path`, or it cannot be written.
    """
    if batch_size < 1:
        raise UsageError(f"--batch-size {batch_size}: at least one sample at a time.")
    sampler, place = Sampler(bundle, request, device), Path(local_or_url(path))
    with nothing_left_of_a_refusal(place):
        ranges = pending_shards(open_or_create(place, sampler))
        before = request.n - sum(stop - start for start, stop in ranges)
        fill(
            place,
            sampler,
            ranges,
            batch_size=batch_size,
            report=lambda done: report(before + done) if report else None,
        )
    return place


def generate_fits(
    folder: str | Path,
    bundle: Bundle,
    request: Request,
    *,
    batch_size: int = 64,
    device: str | torch.device = "cpu",
    gate: str = "unjudged",
    check: Callable[[dict[str, NDArray[Any]]], NDArray[np.bool_]] | None = None,
    report: Callable[[int], None] | None = None,
) -> Path:
    """Write the samples of a request as FITS files, one for each sample and channel.

    Files that the same request has left behind are kept. ``request.json`` in the folder says what it was.

    Parameters
    ----------
    folder : str or pathlib.Path
    bundle : Bundle
    request : Request
    batch_size : int
        Samples made at a time, at most; the result does not depend on it.
    device : str or torch.device
    gate : str
        The gate's verdict, for the headers.
    check : callable, optional
        Told the variables of some samples, says which of them are rejected; their headers say so in place of `gate`.
    report : callable, optional
        Called with the number of samples written so far.

    Raises
    ------
    UsageError, SunaugError
        As `generate_cube`.
    """
    if batch_size < 1:
        raise UsageError(f"--batch-size {batch_size}: at least one sample at a time.")
    sampler, place = Sampler(bundle, request, device), Path(local_or_url(folder))
    origin = attributes(sampler)
    asked = json.dumps({name: origin[name] for name in _IDENTITY}, indent=2)
    if place.exists() and not (place / _REQUEST_FILE).is_file():
        raise SunaugError(f"{folder}: exists and is not a folder of generated FITS files; choose another --out.")
    if place.exists() and (place / _REQUEST_FILE).read_text() != asked:
        raise SunaugError(
            f"{folder}: exists already and was made by another request; choose another --out or remove it."
        )
    if not place.exists():
        check_room(place, bundle.info, request.n, fits=True)
    # As many large frames are held at a time as a cube's shard has.
    at_once = frames_per_shard(batch_size, bundle.info.network.image_channels, bundle.info.network.size)
    for start in range(0, request.n, at_once):
        stop = min(start + at_once, request.n)
        names = [file_name(number, channel) for number in range(start, stop) for channel in bundle.info.channels]
        if not all((place / name).exists() for name in names):
            made = sampler.sample(start, stop)
            # Not before there is something to write: a request that is refused leaves nothing.
            place.mkdir(parents=True, exist_ok=True)
            (place / _REQUEST_FILE).write_text(asked)
            rejected = check(made) if check else np.zeros(stop - start, bool)
            for row in range(stop - start):
                said = "rejected" if rejected[row] else gate
                write_sample(place, _fits_sample(sampler, said, {name: values[row] for name, values in made.items()}))
        if report:
            report(stop)
    return place


def _fits_sample(sampler: Sampler, gate: str, row: dict[str, Any]) -> SyntheticSample:
    info, request = sampler.bundle.info, sampler.request
    return SyntheticSample(
        number=int(row["draw"]),
        intensity=row["intensity"],
        channels=info.channels,
        intensity_scale=info.intensity_scale,
        disk_radius=info.disk_radius,
        bundle_name=info.name,
        bundle_hash=sampler.bundle.hash,
        training_ranges=info.training_ranges,
        seed=int(row["seed"]),
        draw=int(row["draw"]),
        attempt=int(row["attempt"]),
        nowcast_flux=float(row["nowcast_flux"]),
        forecast_flux=float(row["forecast_flux"]),
        steering=sampler.steering,
        truncation=request.truncation,
        rare=request.rare,
        min_class=request.min_class if request.rare else None,
        label=request.label if request.rare else None,
        gate=gate,
    )
