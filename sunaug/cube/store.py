"""Create, fill and open cubes in Zarr 3.

A cube is created once with its whole frame axis, every frame pending. Frames are then written region by region, a whole
shard at a time, so that writers in different processes never touch the same object. Within a region the
``frame_status`` is written last: a frame that is not pending is complete on disk.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import xarray as xr
import zarr
import zarr.codecs
import zarr.errors
from numpy.typing import ArrayLike, NDArray

import sunaug
from sunaug.cube.schema import (
    FRAME_VARIABLES,
    INTENSITY_SCALES,
    OBSERVED_VARIABLES,
    SCHEMA_VERSION,
    SYNTHETIC_VARIABLES,
    Variable,
    frame_coordinates,
    wcs_keywords,
)
from sunaug.errors import SunaugError, UsageError
from sunaug.lexicon import channel, channel_names

SHARD_BYTES = 16 * 2**20
MAX_SHARD_FRAMES = 256
_SOURCE_LENGTH = 128


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
    path: str | Path,
    *,
    channels: Sequence[str],
    size: int,
    disk_radius: float,
    intensity_scale: str,
    times: ArrayLike | None = None,
    n_samples: int | None = None,
    directions: Sequence[str] = (),
    attrs: Mapping[str, Any] | None = None,
) -> None:
    """Write an empty cube: all metadata and coordinates, every frame pending, no pixel yet.

    Parameters
    ----------
    path : str or pathlib.Path
        Zarr store to make; an existing one is refused.
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
    attrs : mapping, optional
        More attributes (processing steps, label sources, bundle hash); values must go into JSON.

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
    if Path(path).exists():
        raise SunaugError(f"{path}: exists already; choose another path or remove it first.")

    frame_dim, extra = ("time", OBSERVED_VARIABLES) if times is not None else ("sample", SYNTHETIC_VARIABLES)
    axis: NDArray[Any]
    if times is not None:
        axis = np.asarray(times, dtype="datetime64[ns]")
        if axis.ndim != 1 or (np.diff(axis) <= np.timedelta64(0)).any():
            raise UsageError("frame times must be ascending and all different.")
    else:
        axis = np.arange(n_samples or 0)
    sizes = {frame_dim: len(axis), "channel": len(names), "y": size, "x": size, "direction": len(directions)}
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
    if frame_dim == "sample":
        coordinates["direction"] = ("direction", np.array(list(directions), dtype="<U64"))
    schema = FRAME_VARIABLES | extra
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
            **(attrs or {}),
        },
    )
    units = {channel(name).unit for name in names}
    dataset["intensity"].attrs["units"] = units.pop() if intensity_scale != "browse" and len(units) == 1 else "1"
    if intensity_scale == "browse":
        dataset["intensity"].attrs["comment"] = "8-bit display counts of a browse image, not DN/s"

    encoding: dict[str, dict[str, Any]] = {
        # fill_value is what Zarr reads for a frame not yet written; without it that would be 0, a valid intensity.
        name: {
            "chunks": (shard, *(sizes[dim] for dim in variable.dims)),
            "fill_value": variable.fill,
            "_FillValue": None,
        }
        for name, variable in schema.items()
    }
    encoding["intensity"] |= {
        "chunks": (1, len(names), size, size),
        "shards": (shard, len(names), size, size),
        "compressors": zarr.codecs.ZstdCodec(level=3),
    }
    if frame_dim == "time":
        encoding["time"] = {"units": "nanoseconds since 1970-01-01", "dtype": "int64", "chunks": (len(axis),)}
    for variable in dataset.variables.values():
        variable.encoding.pop("chunks", None)
    with warnings.catch_warnings():
        # Fixed-length text is an extension of Zarr 3 that zarr-python announces at each write.
        warnings.simplefilter("ignore", zarr.errors.UnstableSpecificationWarning)
        dataset.to_zarr(path, mode="w-", compute=False, zarr_format=3, consolidated=False, encoding=encoding)


def shard_ranges(cube: xr.Dataset) -> list[tuple[int, int]]:
    """Half-open frame ranges of the cube's shards: the regions that may be written side by side."""
    n_frames = cube.sizes["time" if "time" in cube.dims else "sample"]
    shard = cube["intensity"].encoding["shards"][0]
    return [(start, min(start + shard, n_frames)) for start in range(0, n_frames, shard)]


def write_frames(path: str | Path, start: int, frames: Mapping[str, NDArray[Any]]) -> None:
    """Write frames into a cube, ``frame_status`` last.

    Parameters
    ----------
    path : str or pathlib.Path
    start : int
        Number of the first frame; with several writers at work, the start of a shard.
    frames : mapping of str to ndarray
        Values by variable name, the frame axis first and of one length; ``frame_status`` among them.
    """
    group = zarr.open_group(path, mode="r+")
    count = len(frames["frame_status"])
    for name in sorted(frames, key=lambda name: name == "frame_status"):
        array = group[name]
        assert isinstance(array, zarr.Array)
        array[start : start + count] = frames[name]


def open_cube(path: str | Path, *, chunks: Any = None) -> xr.Dataset:
    """Open a cube, observed or synthetic.

    Parameters
    ----------
    path : str or pathlib.Path
        Zarr store that sunaug made.
    chunks : optional
        As for `xarray.open_zarr`: None reads through NumPy on access, ``{}`` gives Dask arrays.

    Returns
    -------
    xarray.Dataset
        Dimensions ``time`` (or ``sample``), ``channel``, ``y``, ``x``; see `sunaug.cube.schema`.

    Raises
    ------
    UsageError
        If nothing is at `path`.
    SunaugError
        If it is not a cube, or one of another schema version.
    """
    if "://" not in str(path) and not Path(path).exists():
        raise UsageError(f"{path}: no such cube; make one with `sunaug ingest SOURCE --out {path}`.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", zarr.errors.UnstableSpecificationWarning)
            dataset = xr.open_zarr(path, chunks=chunks, consolidated=False)
    except (ValueError, OSError, KeyError, zarr.errors.BaseZarrError) as error:
        raise SunaugError(f"{path}: not a Zarr cube ({str(error).splitlines()[0]}).") from None
    version = dataset.attrs.get("schema_version")
    if version != SCHEMA_VERSION:
        found = "no schema version" if version is None else f"schema version {version}"
        raise SunaugError(
            f"{path}: has {found}, this sunaug reads version {SCHEMA_VERSION}; ingest it again, or use the sunaug "
            f"that made it ({dataset.attrs.get('sunaug_version', 'unknown')})."
        )
    missing = [name for name in FRAME_VARIABLES if name not in dataset]
    if missing:
        raise SunaugError(f"{path}: the cube lacks {', '.join(missing)}; it is damaged, ingest it again.")
    dataset.encoding["source"] = str(path)
    return dataset
