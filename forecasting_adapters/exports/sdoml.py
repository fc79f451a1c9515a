"""SDOML v2's layout: a Zarr 2 store, read by SDO-FM, sdofmv2 and sdo-cli.

The export is the store itself, ``{year}/{channel}``; see `sunaug.sources.sdoml` for what SDOML holds, and
`forecasting_adapters.sdoml` for observed cubes. AIA and HMI stand in one store, which loaders open under both names. To
train on real and synthetic frames together copy the group of the synthetic year into a store of real ones, with the
note beside it. ``train_index.csv`` is what sdofmv2 calls an index: the time of each frame and its place in each array.

Frames of no exposure have no EXPTIME, and TELESCOP is ``sunaug``; SYNTHET, SAMPLE, FORFLUX and NOWFLUX say what each
frame is. DEG_COR is 1: nothing was divided out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from numpy.typing import NDArray

from forecasting_adapters.exports.contract import Ecosystem, Frame, Plan
from forecasting_adapters.exports.lazy import lazy_cube
from forecasting_adapters.exports.sdoml_store import ARRAY_NAMES, DISK_RADIUS, Series, create_series, keywords
from sunaug.lexicon import CHANNELS
from sunaug.sources.sdoml import SIZE

__all__ = ["ECOSYSTEM", "INDEX"]

INDEX = "train_index.csv"


def write(plan: Plan, frames: Iterator[Frame], out: Path, done: Callable[[int], None]) -> None:
    """Write the arrays year by year, their keywords last: a store without them has no times and is not read."""
    root = zarr.open_group(out, mode="a", zarr_format=2)
    series = _open_series(root, out, plan)
    for count, frame in enumerate(frames, 1):
        for name, image in zip(plan.channels, frame.image, strict=True):
            series[str(pd.Timestamp(frame.time).year), name].add(np.nan_to_num(image, nan=0.0))
        done(count)
    years = _years(plan.times)
    for (year, name), one in series.items():
        one.array.attrs.put(_keywords(plan, name, years == year))
    _write_index(plan, out)


def _years(times: NDArray[np.datetime64]) -> NDArray[np.str_]:
    return times.astype("datetime64[Y]").astype(str)


def _open_series(root: zarr.Group, out: Path, plan: Plan) -> dict[tuple[str, str], Series]:
    """The arrays by year and channel; of a run that was stopped the chunks that it wrote stay."""
    found = {}
    for year, count in zip(*np.unique(_years(plan.times), return_counts=True), strict=True):
        group = root.require_group(str(year))
        for channel in plan.channels:
            name = ARRAY_NAMES[channel]
            if name in group:
                array = group[name]
                assert isinstance(array, zarr.Array)
                whole = frozenset(int(one.name.split(".")[0]) for one in (out / year / name).glob("*.0.0"))
                found[str(year), channel] = Series(array, int(count), whole)
            else:
                found[str(year), channel] = create_series(group, channel, int(count))
    return found


def _keywords(plan: Plan, name: str, here: NDArray[np.bool_]) -> dict[str, Any]:
    count = int(here.sum())
    own: dict[str, Sequence[Any]] = {
        "TELESCOP": ["sunaug"] * count,
        "QUALITY": [0] * count,
        "SYNTHET": [True] * count,
        "SAMPLE": plan.numbers[here].tolist(),
        "FORFLUX": _known(plan.forecast_flux[here]),
        "NOWFLUX": _known(plan.nowcast_flux[here]),
    }
    if CHANNELS[name].instrument == "AIA":
        own["DEG_COR"] = [1.0] * count
    return keywords(name, plan.times[here], own)


def _known(fluxes: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(flux) else float(flux) for flux in fluxes]


def _places(times: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Place of each frame in the arrays of its year."""
    years = _years(times)
    return np.arange(len(times)) - np.searchsorted(years, years)


def _write_index(plan: Plan, out: Path) -> None:
    places = _places(plan.times)
    table = {f"idx_{ARRAY_NAMES[name]}": places for name in plan.channels}
    times = pd.DatetimeIndex(plan.times, name="Time")
    pd.DataFrame(table, index=times).to_csv(out / INDEX, date_format="%Y-%m-%d %H:%M:%S")


def read(out: Path, note: Mapping[str, Any]) -> xr.Dataset:
    """The frames again, lazily: a chunk is read when one of its frames is asked for."""
    times = np.array(note["samples"]["time"], dtype="datetime64[ns]")
    arrays = [ARRAY_NAMES[name] for name in note["images"]["channels"]]
    return lazy_cube(partial(_read_frame, out, _years(times), _places(times), arrays), note)


def _read_frame(
    out: Path, years: NDArray[np.str_], places: NDArray[np.int64], arrays: Sequence[str], number: int
) -> NDArray[np.float32]:
    year = str(years[number])
    opened = (zarr.open_array(out / year / name, mode="r", zarr_format=2) for name in arrays)
    return np.stack([np.asarray(array[int(places[number])], dtype=np.float32) for array in opened])


ECOSYSTEM = Ecosystem(
    name="sdoml",
    split="sdofm",
    title="SDOML v2: SDO-FM and sdofmv2 (SDOMLDataset), sdo-cli (SDOMLv2NumpyDataset)",
    wants=(
        "A Zarr 2 store, a group for each year and an array for each channel, 512 pixels, DN/s and gauss, disk radius "
        "976 arcsec; copy the year into a store of real frames. No labels: fluxes are in the keywords FORFLUX and "
        "NOWFLUX. SDO-FM validates on October and January and tests on November and December of every year, where no "
        "synthetic frame falls; sdofmv2 reads train_index.csv; sdo-cli cuts its validation out of the years that it "
        "trains on, so give it the synthetic year as a dataset of its own."
    ),
    channels=dict(ARRAY_NAMES),
    write=write,
    read=read,
    size=SIZE,
    disk_radius=DISK_RADIUS,
    intensity_scale="physical",
    cadence=np.timedelta64(12, "m"),
)
