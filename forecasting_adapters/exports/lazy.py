"""Frames of an export, read from their files when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

__all__ = ["lazy_cube"]


class _Frames(BackendArray):
    """An array (sample, channel, y, x) for xarray's lazy indexing; a Dask chunk per frame takes 27 ms to reach one."""

    def __init__(self, shape: tuple[int, ...], load: Callable[[int], NDArray[np.float32]]):
        self.shape, self.dtype, self._load = shape, np.dtype(np.float32), load

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._get)

    def _get(self, key: tuple[Any, ...]) -> NDArray[np.float32]:
        places = np.arange(self.shape[0])[key[0]]
        if places.ndim == 0:
            return self._load(int(places))[key[1:]]
        if not len(places):
            return np.empty((0, *self.shape[1:]), self.dtype)[(slice(None), *key[1:])]
        return np.stack([self._load(int(place))[key[1:]] for place in places])


def lazy_cube(load: Callable[[int], NDArray[np.float32]], note: Mapping[str, Any]) -> xr.Dataset:
    """The frames that a note lists, as a synthetic cube whose images are read one by one.

    Parameters
    ----------
    load : callable
        ``load(place)``: the frame (channel, y, x), float32, at a place of the note's list. It has to be picklable, so
        that the cube can travel to worker processes.
    note : mapping
        The note of the export.

    Returns
    -------
    xarray.Dataset
        ``intensity`` (sample, channel, y, x) float32, read when it is asked for; ``forecast_flux``, ``nowcast_flux``
        and ``time`` (sample).
    """
    images, samples = note["images"], note["samples"]
    shape = (len(samples["time"]), len(images["channels"]), images["size"], images["size"])
    frames = indexing.LazilyIndexedArray(_Frames(shape, load))
    return xr.Dataset(
        {
            "intensity": (("sample", "channel", "y", "x"), frames),
            "forecast_flux": ("sample", np.array(samples["forecast_flux"], dtype=np.float64)),
            "nowcast_flux": ("sample", np.array(samples["nowcast_flux"], dtype=np.float64)),
            "time": ("sample", np.array(samples["time"], dtype="datetime64[ns]")),
        },
        coords={"sample": np.array(samples["number"], dtype=np.int64), "channel": list(images["channels"])},
    )
