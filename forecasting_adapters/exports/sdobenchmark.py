"""The layout of SDOBenchmark (Bolzern & Aerni 2018): a folder of JPEGs for each sample, and ``meta_data.csv``.

Checked with ``SDOBenchmarkGenerator`` of i4Ds/SDOBenchmark (``notebooks/utils/keras_generator.py``); the stretch to
levels is that of ``OutputProcessor`` in its ``dataset/data/load.py``. A sample there has pictures 12 h, 5 h, 1.5 h and
10 minutes before the day that its ``peak_flux`` is the strongest emission of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from forecasting_adapters.exports.contract import Ecosystem, Frame, Plan
from forecasting_adapters.exports.files import put_once
from forecasting_adapters.exports.labels import check_forecasts
from forecasting_adapters.exports.pictures import Levels, PicturePath, jpeg_bytes, read_pictures, write_pictures
from sunaug.errors import UsageError
from sunaug.scaling import IntensityScaling

__all__ = ["ECOSYSTEM"]

SIZE = 256
INPUT = pd.Timedelta(hours=12)
STEPS = tuple(pd.Timedelta(minutes=minutes) for minutes in (0, 7 * 60, 10 * 60 + 30, 11 * 60 + 50))
"""Times of a sample's pictures after its start."""
QUIET_FLUX = 1e-9
"""W m-2; their label where nothing happens."""

_LIMITS = {
    "aia94": (0.1, 800.0),
    "aia131": (0.7, 1900.0),
    "aia171": (5.0, 3500.0),
    "aia193": (20.0, 5500.0),
    "aia211": (7.0, 3500.0),
    "aia304": (0.1, 3500.0),
    "aia335": (0.4, 1000.0),
    "aia1700": (220.0, 5000.0),
    "hmi_m": (-250.0, 250.0),
}
"""Intensities of level 0 and 255, DN/s and gauss; logarithmic but for the magnetogram."""
_NAMES = {name: name.removeprefix("aia") for name in _LIMITS if name != "hmi_m"} | {"hmi_m": "magnetogram"}


def _levels(channels: tuple[str, ...]) -> Levels:
    return Levels(
        scalings=tuple(
            IntensityScaling(
                kind="linear" if name == "hmi_m" else "log", low=(_LIMITS[name][0],), high=(_LIMITS[name][1],)
            )
            for name in channels
        )
    )


def _start(time: np.datetime64) -> pd.Timestamp:
    """Start of the sample whose last picture is of that time."""
    return pd.Timestamp(time) - STEPS[-1]


def _folder(number: int, time: np.datetime64) -> str:
    return f"{_start(time):%Y_%m_%d_%H_%M_%S}_{number}"


def _picture_path(number: int, time: np.datetime64, channel: str, step: int = -1) -> str:
    moment = _start(time) + STEPS[step]
    return f"SYNTHETIC/{_folder(number, time)}/{moment:%Y-%m-%dT%H%M%S}__{_NAMES[channel]}.jpg"


def _copies(plan: Plan) -> list[PicturePath]:
    steps = plan.options["steps"]
    if steps not in ("last", "all"):
        raise UsageError(f"option steps={steps}: choose last or all.")
    return [partial(_picture_path, step=step) for step in range(len(STEPS) - 1)] if steps == "all" else []


def _write(plan: Plan, frames: Iterator[Frame], out: Path, done: Callable[[int], None]) -> None:
    check_forecasts(plan)
    levels = _levels(plan.channels)
    write_pictures(frames, out, plan.channels, levels, _picture_path, jpeg_bytes, done, copies=_copies(plan))
    starts = [_start(time) for time in plan.times]
    rows = pd.DataFrame(
        {
            "id": [f"SYNTHETIC_{_folder(*one)}" for one in zip(plan.numbers.tolist(), plan.times, strict=True)],
            "start": starts,
            "end": [start + INPUT for start in starts],
            "peak_flux": np.maximum(plan.forecast_flux, QUIET_FLUX),
        }
    )
    put_once(out / "meta_data.csv", lambda: rows.to_csv(index=False, lineterminator="\n").encode())


def _read(out: Path, note: Mapping[str, Any]) -> xr.Dataset:
    return read_pictures(out, note, _picture_path)


ECOSYSTEM = Ecosystem(
    name="sdobenchmark",
    title="SDOBenchmark (SDOBenchmarkGenerator)",
    wants=(
        "Grey JPEGs of 256 pixels in its levels (log10 of DN/s), SYNTHETIC/<sample>/<time>__<wavelength>.jpg, and "
        "meta_data.csv. Theirs show active regions, ours the whole disk. A frame is one moment: the last of a sample's "
        "four, 10 minutes before the predicted day; the others are missing, as in many of theirs (steps=all repeats "
        "it). Their test is a folder of its own: keep this one beside training."
    ),
    channels=_NAMES,
    write=_write,
    read=_read,
    size=SIZE,
    intensity_scale="physical",
    cadence=np.timedelta64(24, "h"),
    options={"steps": "last"},
    reach=np.timedelta64(12, "h"),
)
