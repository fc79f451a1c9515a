"""FITS files for everyone else: one for each frame and channel, as `sunaug.synthetic_fits` writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from astropy.io import fits
from numpy.typing import NDArray

from forecasting_adapters.exports.contract import Ecosystem, Frame, Plan
from forecasting_adapters.exports.lazy import lazy_cube
from sunaug.errors import SunaugError
from sunaug.fidelity.verdict import verdict_of
from sunaug.lexicon import CHANNELS
from sunaug.synthetic_fits import SyntheticSample, file_name, write_sample

__all__ = ["ECOSYSTEM"]

MANIFEST = "manifest.csv"


def write(plan: Plan, frames: Iterator[Frame], out: Path, done: Callable[[int], None]) -> None:
    """Write the files of each frame, and ``manifest.csv`` with a row for each file.

    Raises
    ------
    SunaugError
        If the cube does not say how its samples were made, which the headers hold.
    """
    if not {"bundle_hash", "training_ranges", "request"} <= set(plan.note):
        raise SunaugError(
            f"{plan.name}: does not say which bundle made it and how (bundle_hash, training_ranges, request), and no "
            "FITS file is written without; generate the cube with sunaug."
        )
    for place, frame in enumerate(frames):
        if not all((out / file_name(frame.number, name)).exists() for name in plan.channels):
            write_sample(out, _sample(plan, place, frame))
        done(place + 1)
    names = [[file_name(number, name) for name in plan.channels] for number in plan.numbers.tolist()]
    count = len(plan.channels)
    table = {
        "file": np.array(names).reshape(-1),
        "sample": np.repeat(plan.numbers, count),
        "channel": np.tile(plan.channels, len(plan)),
        "forecast_flux": np.repeat(plan.forecast_flux, count),
        "nowcast_flux": np.repeat(plan.nowcast_flux, count),
    }
    pd.DataFrame(table).to_csv(out / MANIFEST, index=False)


def _sample(plan: Plan, place: int, frame: Frame) -> SyntheticSample:
    note, request = plan.note, plan.note["request"]
    samples = note["samples"]
    rare = bool(request.get("rare", False))
    return SyntheticSample(
        number=frame.number,
        intensity=frame.image,
        channels=plan.channels,
        intensity_scale=note["images"]["intensity_scale"],
        disk_radius=plan.disk_radius,
        bundle_name=note["bundle_name"],
        bundle_hash=note["bundle_hash"],
        training_ranges=note["training_ranges"],
        seed=samples["seed"][place],
        draw=samples["draw"][place],
        attempt=samples["attempt"][place],
        nowcast_flux=frame.nowcast_flux,
        forecast_flux=frame.forecast_flux,
        steering={name: steps[place] for name, steps in samples.get("steering", {}).items()},
        truncation=request.get("truncation", 1.0),
        rare=rare,
        min_class=request.get("min_class"),
        label=request.get("label"),
        gate=verdict_of(note),
        sunaug_version=note["sunaug_version"],
    )


def read(out: Path, note: Mapping[str, Any]) -> xr.Dataset:
    """The frames again, bit by bit and lazily: files are read when their frame is asked for."""
    return lazy_cube(partial(_read_frame, out, note["samples"]["number"], note["images"]["channels"]), note)


def _read_frame(out: Path, numbers: Sequence[int], channels: Sequence[str], place: int) -> NDArray[np.float32]:
    images = [fits.getdata(out / file_name(numbers[place], name)) for name in channels]
    return np.stack(images).astype(np.float32)  # FITS is big-endian


ECOSYSTEM = Ecosystem(
    name="fits",
    title="FITS for everyone else: sunpy.map.Map, ds9, IDL",
    wants=(
        "A file for each frame and channel, float32, in the cube's own size and units, with SYNTHET = T, the geometry "
        "and all that the sample can be made again from in its header; manifest.csv with the fluxes. Headers have no "
        "time of observation: DATE-OBS is nominal."
    ),
    channels={name: name for name in CHANNELS},
    write=write,
    read=read,
)
