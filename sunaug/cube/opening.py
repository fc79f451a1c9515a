"""Open a cube to read it, on a disk or behind a URL."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xarray as xr
import zarr
import zarr.errors
from upath import UPath

from sunaug.cube.integrity import CheckedStore, first_dimension
from sunaug.cube.schema import FRAME_VARIABLES, OBSERVED_VARIABLES, SCHEMA_VERSION, SYNTHETIC_VARIABLES
from sunaug.errors import SunaugError, UsageError
from sunaug.storage import location, reachable, zarr_location

__all__ = ["IN_PROGRESS", "METADATA", "UNFINISHED", "is_unfinished", "open_cube", "quiet_zarr"]

METADATA = "zarr.json"
UNFINISHED = "creation_unfinished"
"""Attribute of a cube that is being made."""
IN_PROGRESS = "ingest_in_progress"
"""Attribute of a cube that is being filled: what the run that does so was given, and what it has found out."""


def is_unfinished(path: str | Path | UPath) -> bool:
    """Whether something at `path` is the beginning of a cube, left by a `create_cube` that was stopped."""
    place = location(path)
    if not place.exists() or not place.is_dir():
        return False
    try:
        with quiet_zarr():
            return bool(zarr.open_group(**zarr_location(place), mode="r").attrs.get(UNFINISHED))
    except (OSError, ValueError, KeyError, zarr.errors.BaseZarrError):
        return all(one.name.endswith(".partial") for one in place.iterdir())


@contextmanager
def quiet_zarr() -> Iterator[None]:
    """Without zarr-python's warnings of what the format of cubes needs."""
    with warnings.catch_warnings():
        # Fixed-length text and consolidated metadata are extensions of Zarr 3 that zarr-python announces at each write.
        warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)
        warnings.simplefilter("ignore", zarr.errors.UnstableSpecificationWarning)
        yield


def open_cube(path: str | Path | UPath, *, chunks: Any = None) -> xr.Dataset:
    """Open a cube, observed or synthetic.

    A shard or chunk that is damaged, or that is not there and should be, is an error when it is read (see
    `sunaug.cube.integrity`).

    Parameters
    ----------
    path : str or pathlib.Path
        Zarr store that sunaug made, a path or URL.
    chunks : optional
        As for `xarray.open_zarr`: None reads through NumPy on access, ``{}`` gives Dask arrays.

    Returns
    -------
    xarray.Dataset
        Dimensions ``time`` (or ``sample``), ``channel``, ``y``, ``x``; see `sunaug.cube.schema`. It stays as it is
        while frames are appended to the cube.

    Raises
    ------
    UsageError
        If nothing is at `path`.
    SunaugError
        If it is not a cube, one that was never finished creating, one of another schema version, or a damaged one.
    """
    place = location(path)
    with reachable(path):
        if not place.exists():
            raise UsageError(f"{path}: no such cube; make one with `sunaug ingest SOURCE --out {path}`.")
    try:
        with quiet_zarr():
            group = zarr.open_group(**zarr_location(place), mode="r")
            if group.metadata.consolidated_metadata is None and not group.attrs.get(UNFINISHED):
                _check_complete(path, group)
            dataset = xr.open_dataset(CheckedStore(place, group), chunks=chunks)
    except (ValueError, OSError, KeyError, zarr.errors.BaseZarrError) as error:
        if (place / METADATA).exists() and is_unfinished(place):
            message = f"{path}: the run that was creating this cube was stopped; run its command again."
            raise SunaugError(message) from error
        raise SunaugError(f"{path}: not a Zarr cube ({str(error).splitlines()[0]}).") from error
    if dataset.attrs.get(UNFINISHED):
        raise SunaugError(f"{path}: the run that was creating this cube was stopped; run its command again.")
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


def _check_complete(path: str | Path | UPath, group: zarr.Group) -> None:
    """Refuse a cube without consolidated metadata unless its arrays by themselves tell the same.

    The consolidated metadata say how many frames readers see. Without them that is the arrays' own length, which is
    right unless frames were being appended.
    """
    arrays = dict(group.arrays())
    if not arrays:
        return  # No cube at all, which is told elsewhere.
    synthetic = bool(group.attrs.get("synthetic"))
    axis, of_kind = ("sample", SYNTHETIC_VARIABLES) if synthetic else ("time", OBSERVED_VARIABLES)
    needed = {axis, "channel", "y", "x", *FRAME_VARIABLES}
    if not synthetic:
        needed |= set(of_kind)
    missing = sorted(needed - set(arrays))
    lengths = {one.shape[0] for one in arrays.values() if first_dimension(one) == axis}
    if missing:
        raise SunaugError(
            f"{path}: its consolidated metadata are gone, and so are the arrays {', '.join(missing)}; the cube is "
            "damaged, copy it again or make it again."
        )
    if len(lengths) > 1 or group.attrs.get(IN_PROGRESS):
        raise SunaugError(
            f"{path}: its consolidated metadata are gone, and an ingest was stopped while it wrote this cube, so that "
            "its length is unknown; copy it again or make it again."
        )
