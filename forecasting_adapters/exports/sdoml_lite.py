"""Tars of SDOML-lite: a ``.npy`` for each channel, in its sqrt scale from 0 to 1.

Checked with ``SDOMLlite`` of oxai4science/sdoml-lite (``dataset.py``). Intensities become the levels of its
``process_aia.py``: DN/s summed over the 2 x 2 pixels that one of 512 takes, sqrt, divided by the sqrt of the largest
value in the whole data set and cut at 1. The largest values are those of the set of May 2010 to July 2024, in its
``notes``.

Its loader takes the first and the last day from the order of the tars' names, so these sort after
``sdoml-lite-001.tar`` and its like. It leaves out the last moment of a folder, and keeps index files that have to be
deleted when tars come to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from forecasting_adapters.exports.contract import Ecosystem, Frame, Plan
from forecasting_adapters.exports.files import Member, find_members, npy_bytes, read_npy, write_tars
from forecasting_adapters.exports.lazy import lazy_cube

__all__ = ["ECOSYSTEM"]

SIZE = 512
DISK_RADIUS = 976 / 4.8
"""Pixels: the disk is scaled to 976 arcsec of 2.4 per pixel of 1024."""
SUMMED_PIXELS = 4

LARGEST = {"aia131": 3118163.8, "aia171": 762630.6, "aia193": 4171668.0, "aia211": 50685.844, "aia1600": 66964.03}
"""The largest sums in the data set, DN/s."""

_NAMES = {name: f"aia_{int(name.removeprefix('aia')):04d}" for name in LARGEST}


def _to_levels(image: NDArray[np.float32], channel: str) -> NDArray[np.float32]:
    """DN/s, south first, to levels of 0 to 1, north first; no data is 0."""
    total = np.maximum(np.nan_to_num(image, nan=0.0), 0) * SUMMED_PIXELS
    return np.minimum(np.sqrt(total / LARGEST[channel]), 1).astype(np.float32)[::-1]


def _from_levels(levels: NDArray[np.float32], channel: str) -> NDArray[np.float32]:
    return (levels[::-1] ** 2 * LARGEST[channel] / SUMMED_PIXELS).astype(np.float32)


def _member_name(time: np.datetime64, channel: str) -> str:
    return f"{pd.Timestamp(time):%Y/%m/%d/%H%M}.{_NAMES[channel]}.npy"


def _members(plan: Plan, frame: Frame) -> dict[str, bytes]:
    return {
        _member_name(frame.time, name): npy_bytes(_to_levels(plane, name))
        for name, plane in zip(plan.channels, frame.image, strict=True)
    }


def _tar_name(place: int, frame: Frame) -> str:
    return f"sdoml-lite-synthetic-{pd.Timestamp(frame.time):%Y-%m-%d}.tar"


def _write(plan: Plan, frames: Iterator[Frame], out: Path, done: Callable[[int], None]) -> None:
    write_tars(frames, out, _tar_name, partial(_members, plan), done)


def _read(out: Path, note: Mapping[str, Any]) -> xr.Dataset:
    channels = list(note["images"]["channels"])
    times = np.array(note["samples"]["time"], dtype="datetime64[ns]")
    names = [_member_name(time, name) for time in times for name in channels]
    members = find_members(out, "sdoml-lite-synthetic-*.tar", names)
    return lazy_cube(partial(_load_frame, members=members, channels=channels), note)


def _load_frame(place: int, members: list[Member], channels: list[str]) -> NDArray[np.float32]:
    own = members[place * len(channels) : (place + 1) * len(channels)]
    return np.stack([_from_levels(read_npy(one), name) for one, name in zip(own, channels, strict=True)])


ECOSYSTEM = Ecosystem(
    name="sdoml-lite",
    title="SDOML-lite (SDOMLlite)",
    wants=(
        "A tar for each day with YYYY/MM/DD/HHMM.aia_0171.npy: 512 pixels, north up, sqrt of DN/s over the largest "
        "value of the set of 2010 to 2024, which is known of 131, 171, 193, 211 and 1600 Å only. There is no "
        "magnetogram: name the channels (channels=['aia_0131', 'aia_0171']), as moments that lack one are dropped. "
        "Labels are in SYNTHETIC.json. Best a data set of its own: among real tars it moves their last date."
    ),
    channels=_NAMES,
    write=_write,
    read=_read,
    size=SIZE,
    disk_radius=DISK_RADIUS,
    intensity_scale="physical",
)
