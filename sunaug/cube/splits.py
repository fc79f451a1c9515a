"""Time splits by whole months: neighbouring hours look alike, so a random split leaks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from sunaug.cube.schema import FrameStatus
from sunaug.errors import SunaugError, UsageError
from sunaug.flares import FORECAST_WINDOW

SPLIT_MONTHS: dict[str, tuple[int, ...]] = {
    "train": (1, 2, 3, 4, 5, 6, 7),
    "validation": (8, 9),
    "test": (10, 11, 12),
}
"""Months of every year that belong to a split."""


def select_split(cube: xr.Dataset, split: str, *, usable_only: bool = True) -> xr.Dataset:
    """Frames of one split.

    A frame whose 24 h forecast window reaches into another split's months is left out: its label has been made of
    flares that belong to the other side.

    Parameters
    ----------
    cube : xarray.Dataset
        An observed cube, as `sunaug.open_cube` gives it.
    split : {"train", "validation", "test"}
    usable_only : bool
        Leave out frames which are not complete.

    Raises
    ------
    UsageError
        If `split` is none of the three, or the cube is synthetic.
    SunaugError
        If the cube has no frame in that split.
    """
    if split not in SPLIT_MONTHS:
        raise UsageError(f"unknown split {split!r}: choose one of {', '.join(SPLIT_MONTHS)}.")
    if "time" not in cube.dims:
        raise UsageError("a synthetic cube has no time axis and so no time splits; give an observed cube.")
    times = pd.DatetimeIndex(cube["time"].values)
    months = list(SPLIT_MONTHS[split])
    keep = times.month.isin(months) & (times + pd.Timedelta(FORECAST_WINDOW)).month.isin(months)
    if usable_only:
        keep = keep & (cube["frame_status"].values == FrameStatus.COMPLETE)
    if not keep.any():
        raise SunaugError(
            f"{cube.encoding.get('source', 'the cube')}: no usable frame in the {split} months "
            f"({', '.join(map(str, months))}); ingest frames of these months too."
        )
    return cube.isel(time=np.flatnonzero(keep))
