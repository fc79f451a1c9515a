"""Samples as they come: a line of JSON for each (NDJSON).

============ ==========================================================================================================
``progress`` ``{"progress": 32, "n": 100}``: how far the set has come
``sample``   ``{"sample": 3, "forecast_flux": ..., "nowcast_flux": ..., "seed": ..., "dtype": "<f4", "shape": [3, 128,
             128], "intensity": "..."}``: the pixels in base64, row by row, south first, in the cube's units
``end``      ``{"end": "done", "gate": {...}}``, or ``{"end": "failed", "error": "..."}``
============ ==========================================================================================================

Samples of a set that was asked for without the gate come as soon as their shard is written; others when the gate has
passed the set, and without those that it has rejected. A set that it refuses has none.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from sqlalchemy import Row
from starlette.concurrency import run_in_threadpool

from sunaug.cube import FrameStatus, open_cube, shard_ranges
from sunaug.errors import SunaugError
from sunaug.fidelity.verdict import PASSED

__all__ = ["stream_set"]

_WAIT_SECONDS = 0.5
_BEAT_SECONDS = 5.0


async def stream_set(look: Callable[[], Row[Any] | None], cube: Path) -> AsyncIterator[bytes]:
    """Lines of a batch until its end.

    Parameters
    ----------
    look : callable
        The batch as it is now, see `sunaug.service.queue.Queue.batch`; None once it is deleted.
    cube : pathlib.Path
        Where its cube is or is going to be.
    """
    sent, told, waited = 0, -1, 0.0
    while True:
        row = await run_in_threadpool(look)
        if row is None:
            yield _line({"end": "deleted"})
            return
        if row.done != told or waited >= _BEAT_SECONDS:
            told, waited = row.done, 0.0
            yield _line({"progress": row.done, "n": row.n})
        gate = json.loads(row.gate) if row.gate else {}
        if gate.get("verdict") == PASSED or json.loads(row.request)["ungated"]:
            for start, stop in await run_in_threadpool(_whole_shards, cube, sent):
                for line in await run_in_threadpool(_lines, cube, start, stop):
                    yield line
                sent = stop
        if row.state in ("done", "failed"):
            yield _line({"end": row.state, "gate": gate or None, "error": row.error})
            return
        await asyncio.sleep(_WAIT_SECONDS)
        waited += _WAIT_SECONDS


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, allow_nan=False).encode() + b"\n"


def _whole_shards(cube: Path, start: int) -> list[tuple[int, int]]:
    """Ranges of the shards from `start` on that are on the disk, up to the first that is not."""
    try:
        opened = open_cube(cube)
    except SunaugError:  # not begun yet
        return []
    status = opened["frame_status"].values
    found = []
    for first, stop in shard_ranges(opened):
        if (status[first:stop] == FrameStatus.PENDING).any():
            break
        if first >= start:
            found.append((first, stop))
    return found


def _lines(cube: Path, start: int, stop: int) -> list[bytes]:
    shard = open_cube(cube).isel(sample=slice(start, stop)).load()
    kept = np.flatnonzero(shard["frame_status"].values == FrameStatus.COMPLETE)
    return [_line(_sample(shard.isel(sample=place))) for place in kept.tolist()]


def _sample(one: xr.Dataset) -> dict[str, Any]:
    pixels = np.ascontiguousarray(one["intensity"].values, "<f4")
    fluxes = {name: float(one[name]) for name in ("forecast_flux", "nowcast_flux")}
    return {
        "SYNTHETIC": True,
        "sample": int(one["sample"]),
        **{name: None if math.isnan(value) else value for name, value in fluxes.items()},
        "seed": int(one["seed"]),
        "dtype": "<f4",
        "shape": list(pixels.shape),
        "intensity": base64.b64encode(pixels.tobytes()).decode(),
    }
