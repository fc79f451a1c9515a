"""Frames of a cube as an SDOML v2 store, for what reads SDOML: SDO-FM, sdofmv2, sdo-cli.

The store is a folder ``{year}/{channel}`` in Zarr 2, as `sunaug.sources.sdoml` describes it. SDOML keeps AIA and HMI in
two stores; a cube with both goes into one, which loaders open under both names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from upath import UPath

from forecasting_adapters.exports.sdoml_store import ARRAY_NAMES, DISK_RADIUS, Series, create_series, keywords
from sunaug.cube import FrameStatus
from sunaug.errors import SunaugError, UsageError
from sunaug.lexicon import CHANNELS
from sunaug.sources.sdoml import SIZE
from sunaug.storage import location, reachable, zarr_location

__all__ = ["write_sdoml"]

_RADIUS_TOLERANCE = 0.01  # pixels; float32 and a radius written with two decimals stay within it

_Rows = NDArray[np.int64]
"""Frames of the cube."""


def write_sdoml(cube: xr.Dataset, path: str | Path | UPath) -> None:
    """Write the frames of an observed cube as an SDOML v2 store.

    Complete and partial frames are written, each channel in the year of its own time; a channel that a frame does not
    have is left out. Keywords which a cube does not keep are not in the attributes. Times of HMI are rounded to whole
    seconds, as SDOML writes them. The attributes come last: a store that was stopped on the way has no times and is
    refused by `sunaug.sources.sdoml`.

    Parameters
    ----------
    cube : xarray.Dataset
        An observed cube in DN/s and gauss, as `sunaug.open_cube` gives it: 512 pixels, disk radius 976 / 4.8 pixels.
    path : str, pathlib.Path or upath.UPath
        Folder of the store to make, a path or URL.

    Raises
    ------
    UsageError
        If the cube is synthetic, in display counts, of another geometry, or has a channel that SDOML has no place for.
    SunaugError
        If something exists at `path`, or no frame of the cube is complete or partial.
    """
    where = cube.encoding.get("source", "the cube")
    _check(cube, where)
    place = location(path)
    if place.exists():
        raise SunaugError(f"{path}: exists already; choose another path or remove it first.")
    usable = np.isin(cube["frame_status"].values, [FrameStatus.COMPLETE, FrameStatus.PARTIAL])
    times = cube["observed_at"].values.astype("datetime64[ns]")
    present = usable[:, None] & ~np.isnat(times)
    if not present.any():
        raise SunaugError(f"{where}: no frame is complete or partial, so there is nothing to write.")

    with reachable(place):
        root = zarr.open_group(**zarr_location(place), mode="w-", zarr_format=2)
        series = _create(root, cube, times, present)
        pending = {(row, name): one for name, rows, one in series for row in rows.tolist()}
        channels = [str(name) for name in cube["channel"].values]
        for row in np.flatnonzero(present.any(axis=1)).tolist():
            # Frame by frame: a chunk of the cube holds all channels of one frame.
            frame = cube["intensity"][row].values
            for number, name in enumerate(channels):
                if (row, name) in pending:
                    pending[row, name].add(frame[number])
        for name, rows, one in series:
            number = channels.index(name)
            one.array.attrs.put(_attributes(name, cube.isel(channel=number, time=rows), times[rows, number]))


def _check(cube: xr.Dataset, where: str) -> None:
    if "time" not in cube.dims:
        raise UsageError(f"{where}: a synthetic cube has no times, and SDOML is ordered by them; give an observed one.")
    if cube.attrs["intensity_scale"] != "physical":
        raise UsageError(
            f"{where}: is {cube.attrs['intensity_scale']}, not DN/s as SDOML is; give a cube of physical intensities."
        )
    radii = cube["disk_radius"].values if "disk_radius" in cube else np.empty(0)
    known = radii[np.isfinite(radii)] if np.isfinite(radii).any() else np.array([cube.attrs["solar_radius_pixels"]])
    farthest = float(known[np.abs(known - DISK_RADIUS).argmax()])
    size = cube.sizes["x"]
    if size != SIZE or cube.sizes["y"] != SIZE or abs(farthest - DISK_RADIUS) > _RADIUS_TOLERANCE:
        raise UsageError(
            f"{where}: frames of {size} pixels with a disk radius of {farthest:.2f} are not SDOML's {SIZE} and "
            f"{DISK_RADIUS:.2f}; ingest with --size {SIZE} --disk-radius keep from SDOML itself, or with --size {SIZE} "
            f"--disk-radius {DISK_RADIUS:.4f} from other files."
        )
    strange = [str(name) for name in cube["channel"].values if str(name) not in ARRAY_NAMES]
    if strange:
        raise UsageError(
            f"{where}: SDOML has no place for {', '.join(strange)}; leave them out with cube.sel(channel=[...])."
        )


def _create(
    root: zarr.Group, cube: xr.Dataset, times: NDArray[np.datetime64], present: NDArray[np.bool_]
) -> list[tuple[str, _Rows, Series]]:
    """The arrays to be filled, each with its channel and its frames of the cube."""
    years = times.astype("datetime64[Y]")
    series = []
    for year in np.unique(years[present]):
        group = root.create_group(str(year))
        for number, name in enumerate(map(str, cube["channel"].values)):
            rows = np.flatnonzero(present[:, number] & (years[:, number] == year))
            if len(rows):
                series.append((name, rows, create_series(group, name, len(rows))))
    return series


def _attributes(name: str, at: xr.Dataset, times: NDArray[np.datetime64]) -> dict[str, Any]:
    own: dict[str, Any] = {"QUALITY": at["quality"].values.astype(np.int64).tolist()}
    if CHANNELS[name].instrument == "AIA":
        factor = at["degradation_factor"].values if "degradation_factor" in at else np.ones(len(times))
        own["EXPTIME"] = [float(value) if np.isfinite(value) else None for value in at["exposure_time"].values]
        own["DEG_COR"] = np.nan_to_num(factor.astype(np.float64), nan=1.0).tolist()
    return keywords(name, times, own)
