"""Frames of a cube for a data loader, and the dataset of real ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from forecasting_adapters.reading import FrameReader, Take, open_reader
from forecasting_adapters.samples import LABELS, Fluxes, FrameDataset, SampleForm, Transform
from sunaug.cube import FrameStatus, open_cube, select_split
from sunaug.errors import SunaugError, UsageError
from sunaug.scaling import IntensityScaling

__all__ = ["CubeFrames", "SolarDataset", "place_of"]


class CubeFrames:
    """The complete frames of a cube whose label is known; a `FrameSource`.

    Parameters
    ----------
    cube : str, pathlib.Path or xarray.Dataset
        A path is opened anew in each process.
    opened : xarray.Dataset
        The same, open.
    label : {"forecast", "nowcast"}
        The flux that must be known.
    split : str, optional
        Frames of one split only.

    Raises
    ------
    UsageError
        If there is no such label or split.
    SunaugError
        If no frame is left.
    """

    def __init__(
        self, cube: str | Path | xr.Dataset, opened: xr.Dataset, *, label: str, split: str | None = None
    ) -> None:
        if label not in LABELS:
            raise UsageError(f"unknown label {label!r}: choose one of {', '.join(LABELS)}.")
        self.where = place_of(opened)
        self.name = Path(self.where).stem
        self.attrs: dict[str, Any] = dict(opened.attrs)
        self.channels = [str(name) for name in opened["channel"].values]
        self.size = int(opened.sizes["x"])
        axis = "sample" if "sample" in opened.dims else "time"
        rows = opened.assign_coords(row=(axis, np.arange(opened.sizes[axis])))
        if split is not None:
            rows = select_split(rows, split)
        keep = (rows["frame_status"].values == FrameStatus.COMPLETE) & ~np.isnan(rows[f"{label}_flux"].values)
        if not keep.any():
            raise SunaugError(
                f"{self.where}: none of {len(keep)} frames is complete with a known {label} label; ingest the cube "
                "with --flares, or finish it."
            )
        self.axis: NDArray[Any] = rows[axis].values[keep]
        self.forecast_flux: NDArray[np.float64] = rows["forecast_flux"].values[keep]
        self.nowcast_flux: NDArray[np.float64] = rows["nowcast_flux"].values[keep]
        self._rows: NDArray[np.int64] = rows["row"].values[keep]
        self._cube = cube
        self._reader: FrameReader | None = None
        self._opened_by = -1

    def read(self, places: NDArray[np.int64], take: Take) -> Fluxes:
        """Hand the frames of some places (k,) on the axis to `take`, and give their fluxes (k,)."""
        if self._reader is None or self._opened_by != os.getpid():
            opened = self._cube if isinstance(self._cube, xr.Dataset) else open_cube(self._cube)
            self._reader, self._opened_by = open_reader(self._cube, opened), os.getpid()
        self._reader.each(self._rows[places], take)
        return self.forecast_flux[places], self.nowcast_flux[places]

    def __getstate__(self) -> dict[str, Any]:
        # An open store holds threads, sockets and maps, which do not travel to another process.
        return self.__dict__ | {"_reader": None, "_opened_by": -1}


class SolarDataset(FrameDataset):
    """Real frames of an observed cube.

    Only complete frames are served, and only those whose label is known. They are read when they are asked for; with
    `cache` the whole set is read once and kept in memory.

    Parameters
    ----------
    cube : str, pathlib.Path or xarray.Dataset
        An observed cube. A path is opened anew in each worker process, and read fastest.
    split : {"train", "validation", "test"}, optional
        Frames of one split only (`sunaug.cube.select_split`); by default all.
    label : {"forecast", "nowcast"}
        Which flux makes the label: the strongest flare of the 24 h after, or the peak of the hour before.
    threshold : str or float
        GOES class, or flux in W m-2, from which on a sample is positive.
    scaling : IntensityScaling or {"log", "asinh", "linear"}, optional
        By default that of `sunaug.scaling.default_scaling` for the cube.
    channels : sequence of str, optional
        Channels in the order wanted, any spelling that the lexicon knows; by default all.
    transform : callable, optional
        Applied to each sample, dict to dict.
    size : int, optional
        Width and height of the images: a whole fraction of the cube's size, to which intensities are averaged before
        they are scaled. By default the cube's own.
    cache : bool
        Keep all scaled images in memory, as one float32 tensor (n, C, H, W).

    Attributes
    ----------
    times : ndarray of datetime64, shape (n,)
        UTC.
    held_out_times : ndarray of datetime64, shape (m,)
        With the split ``train``: the times of the cube's validation and test months, on which a forecaster is to be
        judged. Empty otherwise.
    labels : ndarray of int64, shape (n,)
    forecast_flux, nowcast_flux : ndarray of float64, shape (n,)
        W m-2.

    Raises
    ------
    UsageError
        If the cube is synthetic, an option has an unknown value, or the cache would not fit into memory.
    SunaugError
        If no frame is left.
    """

    def __init__(
        self,
        cube: str | Path | xr.Dataset,
        split: str | None = None,
        label: str = "forecast",
        threshold: str | float = "M1.0",
        scaling: IntensityScaling | str | None = None,
        channels: Sequence[str] | None = None,
        transform: Transform | None = None,
        *,
        size: int | None = None,
        cache: bool = False,
    ) -> None:
        opened = cube if isinstance(cube, xr.Dataset) else open_cube(cube)
        if "time" not in opened.dims:
            raise UsageError(f"{place_of(opened)}: is a synthetic cube; open it with SyntheticSolarDataset.")
        source = CubeFrames(cube, opened, label=label, split=split)
        form = SampleForm(
            source,
            label=label,
            threshold=threshold,
            scaling=scaling,
            channels=channels,
            size=size,
            transform=transform,
        )
        super().__init__(source, form, cache=cache)
        self.times: NDArray[np.datetime64] = source.axis
        self.held_out_times: NDArray[np.datetime64] = opened["time"].values[:0]
        if split == "train":
            months = pd.DatetimeIndex(opened["time"].values).month
            self.held_out_times = opened["time"].values[~months.isin(opened.attrs["splits"]["train"])]

    def _sample_id(self, place: int) -> str:
        return f"{self.name}/{np.datetime_as_string(self.times[place], unit='s')}"


def place_of(cube: xr.Dataset) -> str:
    """Where a cube is, for messages."""
    return str(cube.encoding.get("source", "the cube"))
