"""Shards for the ``webdataset`` package: tars of ``<key>.npy``, ``<key>.json`` and ``<key>.cls``.

Checked with ``webdataset.WebDataset(...).decode()`` (https://github.com/webdataset/webdataset), which reads the array,
the dict and the class number of each sample.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from forecasting_adapters.exports.contract import Ecosystem, Frame, Plan
from forecasting_adapters.exports.files import Member, find_members, npy_bytes, read_npy, write_tars
from forecasting_adapters.exports.labels import at_least, check_forecasts
from forecasting_adapters.exports.lazy import lazy_cube
from sunaug.errors import UsageError
from sunaug.goes_classes import format_goes_class
from sunaug.lexicon import CHANNELS

__all__ = ["ECOSYSTEM"]


def _key(number: int) -> str:
    return f"SYNTHETIC_{number:06d}"


def _members(plan: Plan, frame: Frame) -> dict[str, bytes]:
    key = _key(frame.number)
    about = {
        "SYNTHETIC": True,
        "number": frame.number,
        "time": str(np.datetime_as_string(frame.time, unit="s")),
        "forecast_flux": frame.forecast_flux,
        "nowcast_flux": None if math.isnan(frame.nowcast_flux) else frame.nowcast_flux,
        "forecast_class": format_goes_class(frame.forecast_flux),
        "channels": list(plan.channels),
        "intensity_scale": plan.intensity_scale,
    }
    positive = int(at_least(frame.forecast_flux, plan.options["threshold"]))
    return {
        f"{key}.npy": npy_bytes(frame.image),
        f"{key}.json": json.dumps(about).encode(),
        f"{key}.cls": str(positive).encode(),
    }


def _write(plan: Plan, frames: Iterator[Frame], out: Path, done: Callable[[int], None]) -> None:
    check_forecasts(plan)
    length = plan.options["shard"]
    if length < 1:
        raise UsageError(f"option shard={length}: a shard holds 1 sample or more.")
    at_least(0, plan.options["threshold"])  # a wrong class is told before the first file
    write_tars(frames, out, lambda place, _: f"SYNTHETIC-{place // length:06d}.tar", partial(_members, plan), done)


def _read(out: Path, note: Mapping[str, Any]) -> xr.Dataset:
    names = [f"{_key(number)}.npy" for number in note["samples"]["number"]]
    return lazy_cube(partial(_load_frame, members=find_members(out, "SYNTHETIC-*.tar", names)), note)


def _load_frame(place: int, members: list[Member]) -> NDArray[np.float32]:
    return read_npy(members[place])


ECOSYSTEM = Ecosystem(
    name="webdataset",
    title="WebDataset (webdataset.WebDataset)",
    wants=(
        "Shards SYNTHETIC-000000.tar of shard=256 samples: <key>.npy is float32 (channel, y, x) in the cube's units, "
        "south first, NaN where there are no data; <key>.json has time, fluxes and channels; <key>.cls is 1 from "
        "threshold=M1.0 on. Any size; no shards for validation."
    ),
    channels={name: name for name in CHANNELS},
    write=_write,
    read=_read,
    options={"threshold": "M1.0", "shard": 256},
)
