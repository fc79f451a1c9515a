"""Time splits by whole months: neighbouring hours look alike, so a random split leaks.

Which months belong to which split is written into a cube when it is made (attribute ``splits``), and so is the split of
each frame (variable ``split``). A frame whose 24 h forecast window reaches into another split's months belongs to none:
its label has been made of flares of the other side. That gap of a day is the purge.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from sunaug.cube.schema import SPLIT_NAMES, FrameStatus
from sunaug.errors import SunaugError, UsageError
from sunaug.flares import FORECAST_WINDOW

Splits = Mapping[str, Sequence[int]]

SPLIT_MONTHS: dict[str, tuple[int, ...]] = {
    "train": (1, 2, 3, 4, 5, 6, 7),
    "validation": (8, 9),
    "test": (10, 11, 12),
}
"""Months of every year that belong to a split, unless a cube is made with others."""


def parse_splits(text: str) -> dict[str, tuple[int, ...]]:
    """Read months of the splits as ``train=1-7 validation=8,9 test=10-12``.

    Raises
    ------
    UsageError
        If a name or month is unknown, or a month belongs to two splits.
    """
    splits: dict[str, tuple[int, ...]] = {}
    for part in text.split():
        name, _, months = part.partition("=")
        ranges = [re.fullmatch(r"(\d+)(?:-(\d+))?", one) for one in months.split(",")]
        if not all(ranges):
            raise UsageError(f"splits {text!r}: {part!r} is not a name and months; write train=1-7 validation=8,9.")
        pairs = [(int(one[1]), int(one[2] or one[1])) for one in ranges if one]
        splits[name] = tuple(month for first, last in pairs for month in range(first, last + 1))
    return check_splits(splits)


def check_splits(splits: Splits) -> dict[str, tuple[int, ...]]:
    """The same splits; refuses unknown names and months, and months of two splits."""
    known = SPLIT_NAMES[1:]
    strange = [name for name in splits if name not in known]
    months = [month for one in splits.values() for month in one]
    if strange or not splits:
        raise UsageError(f"unknown split {', '.join(strange) or 'list, it is empty'}: choose of {', '.join(known)}.")
    if any(not 1 <= month <= 12 for month in months) or len(set(months)) != len(months):
        raise UsageError(f"the splits' months {months} must be 1 to 12, each in one split only.")
    return {name: tuple(map(int, one)) for name, one in splits.items()}


def split_of(times: ArrayLike, splits: Splits = SPLIT_MONTHS) -> NDArray[np.int8]:
    """Number of each time's split in `SPLIT_NAMES`: 0 (none) in no split's months and in the day before they end."""
    begin = pd.DatetimeIndex(np.asarray(times))
    end = begin + pd.Timedelta(FORECAST_WINDOW)
    numbers = np.zeros(len(begin), dtype=np.int8)
    for name, months in splits.items():
        numbers[begin.month.isin(months) & end.month.isin(months)] = SPLIT_NAMES.index(name)
    return numbers


def select_split(cube: xr.Dataset, split: str, *, usable_only: bool = True, partial: bool = False) -> xr.Dataset:
    """Frames of one split, as the cube's own months say.

    Parameters
    ----------
    cube : xarray.Dataset
        An observed cube, as `sunaug.open_cube` gives it.
    split : {"train", "validation", "test"}
    usable_only : bool
        Leave out frames which are not complete.
    partial : bool
        Frames that lack channels count as complete.

    Raises
    ------
    UsageError
        If `split` is none of the three, or the cube is synthetic.
    SunaugError
        If the cube has no frame in that split.
    """
    names = SPLIT_NAMES[1:]
    if split not in names:
        raise UsageError(f"unknown split {split!r}: choose one of {', '.join(names)}.")
    if "time" not in cube.dims:
        raise UsageError("a synthetic cube has no time axis and so no time splits; give an observed cube.")
    keep = cube["split"].values == SPLIT_NAMES.index(split)
    if usable_only:
        usable = [FrameStatus.COMPLETE, FrameStatus.PARTIAL] if partial else [FrameStatus.COMPLETE]
        keep = keep & np.isin(cube["frame_status"].values, usable)
    if not keep.any():
        months = ", ".join(map(str, cube.attrs["splits"].get(split, ()))) or "none"
        raise SunaugError(
            f"{cube.encoding.get('source', 'the cube')}: no usable frame in the {split} months ({months}); ingest "
            "frames of these months too."
        )
    return cube.isel(time=np.flatnonzero(keep))
