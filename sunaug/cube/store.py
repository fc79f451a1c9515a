"""Create, fill, lengthen and open cubes in Zarr 3, on a disk or behind a URL.

A cube is created once with its whole frame axis, every frame pending. Frames are then written region by region, a whole
shard at a time, so that writers in different processes never touch the same object. Within a region the
``frame_status`` is written last: a frame that is not pending is complete on disk.

What a reader sees of a cube is the consolidated metadata in its root, one object that is replaced in one step. Creating
and lengthening a cube end with that step, so that a cube never shows half of either: while frames are appended, arrays
grow behind the metadata of the old length.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import xarray as xr
import zarr
import zarr.codecs
from numpy.typing import ArrayLike, NDArray
from upath import UPath

import sunaug
from sunaug.cube.encoding import round_bits
from sunaug.cube.fencing import remove_all, replace, writable_location
from sunaug.cube.integrity import STORES_ALL, unwritten
from sunaug.cube.lock import Lease
from sunaug.cube.opening import METADATA, UNFINISHED, is_unfinished, open_cube, quiet_zarr
from sunaug.cube.schema import (
    FRAME_VARIABLES,
    INTENSITY_SCALES,
    OBSERVED_VARIABLES,
    RECONSTRUCTION_VARIABLES,
    SATURATED_SHARE,
    SCHEMA_VERSION,
    SYNTHETIC_VARIABLES,
    Variable,
    frame_coordinates,
    wcs_keywords,
)
from sunaug.cube.splits import SPLIT_MONTHS, Splits, check_splits, split_of
from sunaug.errors import SunaugError, UsageError
from sunaug.lexicon import channel, channel_names
from sunaug.storage import location, reachable, read_object

SHARD_BYTES = 16 * 2**20
MAX_SHARD_FRAMES = 256
_SOURCE_LENGTH = 128
_CONFIGURING = threading.Lock()
"""Zarr's configuration is the process's, and threads write side by side."""
_TIMES_PER_CHUNK = 8192


def frames_per_shard(n_frames: int, n_channels: int, size: int) -> int:
    """Frames in one shard: about 16 MiB of float32, at least one and at most 256."""
    return int(np.clip(SHARD_BYTES // (n_channels * size * size * 4), 1, min(MAX_SHARD_FRAMES, max(n_frames, 1))))


def _template(variable: Variable, frame_dim: str, sizes: Mapping[str, int], shard: int) -> xr.DataArray:
    dims = (frame_dim, *variable.dims)
    shape = tuple(sizes[dim] for dim in dims)
    dtype = f"<U{_SOURCE_LENGTH}" if variable.dtype == "str" else variable.dtype
    lazy = dask.array.full(shape, variable.fill, dtype=dtype, chunks=(shard, *shape[1:]))
    return xr.DataArray(lazy, dims=dims, attrs=dict(variable.attrs))


def create_cube(
    path: str | Path | UPath,
    *,
    channels: Sequence[str],
    size: int,
    disk_radius: float,
    intensity_scale: str,
    times: ArrayLike | None = None,
    n_samples: int | None = None,
    directions: Sequence[str] = (),
    styles: tuple[int, int] | None = None,
    splits: Splits = SPLIT_MONTHS,
    keep_bits: int | None = None,
    saturated_share: bool = False,
    attrs: Mapping[str, Any] | None = None,
    lease: Lease | None = None,
) -> None:
    """Write an empty cube: all metadata and coordinates, every frame pending, no pixel yet.

    What an earlier call left behind that was stopped on the way is removed first.

    Parameters
    ----------
    path : str or pathlib.Path
        Zarr store to make, a path or URL; an existing one is refused.
    channels : sequence of str
        Channel names, any spelling that the lexicon knows.
    size : int
        Width and height in pixels.
    disk_radius : float
        Radius of the photosphere in pixels.
    intensity_scale : {"physical", "browse", "browse-inverted"}
    times : array_like of datetime64, shape (n,), optional
        Frame times, ascending and different: makes an observed cube.
    n_samples : int, optional
        Makes a synthetic cube of that many samples in place of an observed one.
    directions : sequence of str
        Names of the steering directions of a synthetic cube.
    styles : (int, int), optional
        Number of layers and width of the latents of a cube of reconstructions: makes a synthetic cube with the
        variables of these.
    splits : mapping of str to sequence of int
        Months of the time splits of an observed cube.
    keep_bits : int, optional
        Mantissa bits to which `write_frames` rounds the intensity; all 23 by default.
    saturated_share : bool
        Keep the mask of saturated pixels.
    attrs : mapping, optional
        More attributes (processing steps, label sources, bundle hash); values must go into JSON.
    lease : Lease, optional
        Of the cube's lock (`sunaug.cube.lock.only_writer`), where it is held: no write is made without it then.

    Raises
    ------
    UsageError
        If the arguments make no cube.
    SunaugError
        If something exists at `path`.
    """
    names = channel_names(channels)
    if not names:
        raise UsageError("a cube needs at least one channel.")
    if size < 1 or disk_radius <= 0:
        raise UsageError(f"a cube needs a size and a disk radius above zero, not {size} and {disk_radius}.")
    if intensity_scale not in INTENSITY_SCALES:
        raise UsageError(f"unknown intensity scale {intensity_scale!r}: one of {', '.join(INTENSITY_SCALES)}.")
    if (times is None) == (n_samples is None):
        raise UsageError("give either the times of an observed cube or the number of samples of a synthetic one.")
    if times is not None and styles is not None:
        raise UsageError("reconstructions make a synthetic cube: give their number as n_samples, not times.")
    if keep_bits is not None and not 1 <= keep_bits <= 23:
        raise UsageError(f"keep_bits is {keep_bits}: float32 has 1 to 23 mantissa bits.")
    splits = check_splits(splits)
    place = location(path)
    if is_unfinished(place):
        remove_all(place, lease)
    elif place.exists():
        raise SunaugError(f"{path}: exists already; choose another path or remove it first.")

    frame_dim, extra = ("time", OBSERVED_VARIABLES) if times is not None else ("sample", SYNTHETIC_VARIABLES)
    n_styles, latent_width = styles or (0, 0)
    if styles is not None:
        extra = RECONSTRUCTION_VARIABLES
    axis: NDArray[Any]
    if times is not None:
        axis = np.asarray(times, dtype="datetime64[ns]")
        if axis.ndim != 1 or (np.diff(axis) <= np.timedelta64(0)).any():
            raise UsageError("frame times must be ascending and all different.")
    else:
        axis = np.arange(n_samples or 0)
    sizes = {frame_dim: len(axis), "channel": len(names), "y": size, "x": size, "direction": len(directions)}
    sizes |= {"style": n_styles, "latent": latent_width}
    shard = frames_per_shard(len(axis), len(names), size)

    arcsec = frame_coordinates(size, disk_radius)
    coordinates: dict[str, Any] = {
        frame_dim: (
            frame_dim,
            axis,
            {"standard_name": "time"} if times is not None else {"long_name": "sample number"},
        ),
        "channel": ("channel", np.array(names), {"long_name": "channel"}),
        "y": ("y", arcsec, {"long_name": "helioprojective latitude at 1 au", "units": "arcsec"}),
        "x": ("x", arcsec, {"long_name": "helioprojective longitude at 1 au", "units": "arcsec"}),
    }
    if extra is SYNTHETIC_VARIABLES:
        coordinates["direction"] = ("direction", np.array(list(directions), dtype="<U64"))
    schema = FRAME_VARIABLES | extra | (SATURATED_SHARE if saturated_share else {})
    dataset = xr.Dataset(
        {name: _template(variable, frame_dim, sizes, shard) for name, variable in schema.items()},
        coords=coordinates,
        attrs={
            "Conventions": "CF-1.11",
            "title": "SYNTHETIC frames of the Sun" if frame_dim == "sample" else "frames of the Sun",
            "schema_version": SCHEMA_VERSION,
            "sunaug_version": sunaug.__version__,
            "synthetic": frame_dim == "sample",
            "intensity_scale": intensity_scale,
            "solar_radius_pixels": float(disk_radius),
            "wcs": wcs_keywords(size, disk_radius),
            STORES_ALL: True,
            **({"splits": {name: list(months) for name, months in splits.items()}} if times is not None else {}),
            **(attrs or {}),
        },
    )
    units = {channel(name).unit for name in names}
    dataset["intensity"].attrs["units"] = units.pop() if intensity_scale != "browse" and len(units) == 1 else "1"
    if intensity_scale == "browse":
        dataset["intensity"].attrs["comment"] = "8-bit display counts of a browse image, not DN/s"
    if keep_bits is not None:
        dataset["intensity"].attrs["keep_bits"] = keep_bits
    # Written now and whole: a status that is not there later is lost, and does not mean that a frame is pending.
    dataset["frame_status"] = dataset["frame_status"].copy(data=np.zeros(len(axis), np.int8))
    if times is not None:
        dataset["split"] = dataset["split"].copy(data=split_of(axis, splits))

    encoding: dict[str, dict[str, Any]] = {
        # fill_value is what Zarr reads for a frame not yet written; without it that would be 0, a valid intensity.
        name: {
            "chunks": (shard, *(sizes[dim] for dim in variable.dims)),
            "fill_value": variable.fill,
            "_FillValue": None,
        }
        for name, variable in schema.items()
    }
    for name in ("intensity", "saturated_share"):
        if name in encoding:
            encoding[name] |= {
                "chunks": (1, len(names), size, size),
                "shards": (shard, len(names), size, size),
                # Of rounded floats the last bits are all zero: sorted by place, they compress to nothing. Synthetic
                # ones are not rounded, and nothing makes them much smaller: they are read in no time instead.
                "compressors": zarr.codecs.BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle")
                if frame_dim == "time"
                else zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"),
            }
    if frame_dim == "time":
        times_per_chunk = max(len(axis), _TIMES_PER_CHUNK)
        encoding["time"] = {"units": "nanoseconds since 1970-01-01", "dtype": "int64", "chunks": (times_per_chunk,)}
    for variable in dataset.variables.values():
        variable.encoding.pop("chunks", None)
    attributes, dataset.attrs = dataset.attrs, {UNFINISHED: True}
    with reachable(place), quiet_zarr():
        root = writable_location(place, lease)
        zarr.create_group(**root, zarr_format=3, attributes={UNFINISHED: True})
        dataset.to_zarr(
            **root,
            mode="a",
            compute=False,
            zarr_format=3,
            consolidated=False,
            encoding=encoding,
            write_empty_chunks=True,
        )
        commit(place, attributes, lease)


def is_cube(path: str | Path | UPath) -> bool:
    """Whether a cube stands at `path`, of whatever schema version."""
    try:
        root = json.loads(read_object(location(path) / METADATA))
    except (OSError, ValueError):
        return False
    return isinstance(root, dict) and "schema_version" in root.get("attributes", {})


def open_arrays(path: str | Path | UPath, *, committed: bool = True, lease: Lease | None = None) -> zarr.Group:
    """The cube as a Zarr group to write into; with `committed` false at the length its arrays have by themselves.

    With the lease of the cube's lock, a write raises `sunaug.cube.lock.LostLock` once the lock is lost.
    """
    with quiet_zarr():
        return zarr.open_group(
            **writable_location(location(path), lease), mode="r+", use_consolidated=None if committed else False
        )


def writable(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """An array of a cube to write into, which keeps chunks of fill values too: what is absent was never written."""
    with _CONFIGURING, zarr.config.set({"array.write_empty_chunks": True}):
        array = group[name]  # takes the configuration of this moment
    assert isinstance(array, zarr.Array)
    return array


def commit(path: str | Path | UPath, attrs: Mapping[str, Any], lease: Lease | None = None) -> None:
    """Show readers the arrays as they are now, together with these attributes, in one step.

    Parameters
    ----------
    path : str or pathlib.Path
    attrs : mapping
        Attributes to set, None to remove one; those that stand there and are not named are kept.
    lease : Lease, optional
        Of the cube's lock.

    Raises
    ------
    LostLock
        If the lock is not held any more. Readers see what they saw before then.
    """
    place = location(path)
    root = _with_attributes(place, {**attrs, UNFINISHED: None})
    arrays = sorted(one.parent.name for one in place.glob(f"*/{METADATA}"))
    members = {name: json.loads(read_object(place / name / METADATA)) for name in arrays}
    # As zarr-python and xarray read it; the form is that of the proposed extension of the Zarr 3 specification.
    consolidated = {"kind": "inline", "must_understand": False, "metadata": members}
    content = json.dumps(root | {"consolidated_metadata": consolidated}, indent=2).encode()
    replace(place / METADATA, content, lease)


def set_attributes(path: str | Path | UPath, attrs: Mapping[str, Any], lease: Lease | None = None) -> None:
    """Set attributes of the cube in one step, as `commit` does, but show readers no other length; None removes one."""
    root = _with_attributes(location(path), attrs)
    replace(location(path) / METADATA, json.dumps(root, indent=2).encode(), lease)


def _with_attributes(place: UPath, attrs: Mapping[str, Any]) -> dict[str, Any]:
    root: dict[str, Any] = json.loads(read_object(place / METADATA))
    changed = {**root["attributes"], **attrs}
    return root | {"attributes": {name: value for name, value in changed.items() if value is not None}}


def grow_cube(path: str | Path | UPath, times: ArrayLike, lease: Lease | None = None) -> tuple[int, int]:
    """Make room for later frames, pending, that readers do not see before `commit`.

    Room that an earlier call made and that was never committed is given up.

    Parameters
    ----------
    path : str or pathlib.Path
    times : array_like of datetime64, shape (n,)
        Ascending, all later than the cube's last frame.
    lease : Lease, optional
        Of the cube's lock.

    Returns
    -------
    start, stop : int
        Numbers of the new frames.
    """
    cube = open_cube(path)
    added = np.asarray(times, dtype="datetime64[ns]")
    start, stop = cube.sizes["time"], cube.sizes["time"] + len(added)
    if (np.diff(np.concatenate([cube["time"].values[-1:], added])) <= np.timedelta64(0)).any():
        raise UsageError("appended frame times must be ascending and later than the cube's last frame.")
    group = open_arrays(path, committed=False, lease=lease)
    values: dict[str, Any] = {"time": added.astype(np.int64)}
    for name, variable in (FRAME_VARIABLES | OBSERVED_VARIABLES | SATURATED_SHARE).items():
        if name in group:
            # Images are written whole before their status is; NaN in their place would only cost time.
            values[name] = None if "y" in variable.dims else variable.fill
    values["split"] = split_of(added, cube.attrs["splits"])
    for name, value in values.items():
        array = writable(group, name)
        with quiet_zarr():
            # Down first, so that nothing is left of room made before.
            array.resize((start, *array.shape[1:]))
            array.resize((stop, *array.shape[1:]))
        if value is not None:
            array[start:stop] = value
    return start, stop


def shard_ranges(cube: xr.Dataset) -> list[tuple[int, int]]:
    """Half-open frame ranges of the cube's shards: the regions that may be written side by side."""
    n_frames = cube.sizes["time" if "time" in cube.dims else "sample"]
    return shard_pieces(0, n_frames, cube["intensity"].encoding["shards"][0])


def shard_pieces(start: int, stop: int, frames: int) -> list[tuple[int, int]]:
    """Cut frames [start, stop) where shards of `frames` frames end."""
    borders = [start, *range((start // frames + 1) * frames, stop, frames), stop]
    return list(pairwise(borders)) if stop > start else []


def write_frames(
    path: str | Path | UPath,
    start: int,
    frames: Mapping[str, NDArray[Any]],
    *,
    committed: bool = True,
    lease: Lease | None = None,
) -> None:
    """Write frames into a cube, ``frame_status`` last, the intensity rounded to the cube's ``keep_bits``.

    Small variables that are not given are written too, as they are, where they were never stored.

    Parameters
    ----------
    path : str or pathlib.Path
    start : int
        Number of the first frame; with several writers at work, the start of a shard.
    frames : mapping of str to ndarray
        Values by variable name, the frame axis first and of one length; ``frame_status`` among them.
    committed : bool
        False to reach the frames that `grow_cube` made room for.
    lease : Lease, optional
        Of the cube's lock.

    Raises
    ------
    LostLock
        If the lock is not held any more; what was not yet written is not.
    """
    group = open_arrays(path, committed=committed, lease=lease)
    count = len(frames["frame_status"])
    frames = {**unwritten(location(path), group, frames, slice(start, start + count)), **frames}
    for name in sorted(frames, key=lambda name: name == "frame_status"):
        array, values = writable(group, name), frames[name]
        if name == "intensity" and (bits := array.attrs.get("keep_bits")):
            values = round_bits(values, int(str(bits)))
        array[start : start + count] = values
