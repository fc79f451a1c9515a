"""Hourly HDF5 files of FlareBench, for the Deep SWM forecaster (Nagashima & Sugiura 2025, ICCV).

Checked with ``SolarFlareDatasetWithFeatures`` of keio-smilab25/DeepSWM (``ml/src/data/main/dataset.py``), which stacks
the files of four successive hours; the order and the units of channels are those of its
``ml/src/data/main/steps/step4_create_hdf5.py``: nine AIA channels of the synoptic FITS files (DN, not divided by the
exposure time) and a picture of HMI, cropped and brought to 256 pixels, rows as in the FITS file.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from forecasting_adapters.exports.contract import Ecosystem, Frame, Plan
from forecasting_adapters.exports.files import put_once
from forecasting_adapters.exports.labels import check_forecasts, flare_types
from forecasting_adapters.exports.lazy import lazy_cube
from sunaug.errors import SunaugError, UsageError

__all__ = ["ECOSYSTEM"]

SIZE = 256
DISK_RADIUS = 103.5
"""Pixels: 959.63 arcsec at 2.4 per pixel, of which 994 x 984 become 256 x 256; theirs is 1 % longer from north to
south."""

EXPOSURE_TIMES = {
    "aia94": 2.9,
    "aia131": 2.9,
    "aia171": 2.0,
    "aia193": 2.0,
    "aia211": 2.9,
    "aia304": 2.9,
    "aia335": 2.9,
    "aia1600": 2.9,
    "aia4500": 1.0,
}
"""Seconds, of AIA's standard sequence, in the order of FlareBench's channels."""
COUNT = 10
"""Channels of a file: those above and HMI."""
MISSING_ALLOWED = 2
"""Its loader drops a history of four hours in which 10 images or more are missing."""

_HOUR = np.timedelta64(1, "h")
_LONGEST_HISTORY = 6


def _file_name(time: np.datetime64) -> str:
    return f"{pd.Timestamp(time):%Y%m%d_%H%M%S}.h5"


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise UsageError("FlareBench's files need h5py; pip install 'sunaug[netcdf]'.") from None
    return h5py


def _check(plan: Plan) -> None:
    missing = [name for name in EXPOSURE_TIMES if name not in plan.channels]
    absent, hours = plan.options["absent"], plan.options["history_hours"]
    if absent not in ("refuse", "zero"):
        raise UsageError(f"option absent={absent}: choose refuse or zero.")
    if absent == "refuse" and len(missing) + 1 > MISSING_ALLOWED:
        raise UsageError(
            f"{plan.name}: lacks {', '.join(missing)} and HMI, and FlareBench's loader drops samples that lack more "
            f"than {MISSING_ALLOWED} of {COUNT} channels; take a cube that has them, or the option absent=zero for "
            "code of your own that goes without."
        )
    if not 0 <= hours <= _LONGEST_HISTORY:
        raise UsageError(f"option history_hours={hours}: give 0 to {_LONGEST_HISTORY}.")


def _file_bytes(image: NDArray[np.float32], channels: tuple[str, ...], label: str, time: np.datetime64) -> bytes:
    """The file of one hour: a frame (channel, y, x) in DN/s becomes DN in FlareBench's channels, absent ones 0."""
    stack = np.zeros((COUNT, *image.shape[1:]), dtype=np.float32)
    for name, plane in zip(channels, image, strict=True):
        stack[list(EXPOSURE_TIMES).index(name)] = np.nan_to_num(plane, nan=0.0) * EXPOSURE_TIMES[name]
    buffer = io.BytesIO()
    with _h5py().File(buffer, "w") as file:
        file.create_dataset("X", data=stack, compression="gzip", compression_opts=1)
        file.create_dataset("y", data=label.encode())
        file.create_dataset("timestamp", data=Path(_file_name(time)).stem.encode())
        file.attrs["SYNTHETIC"] = "made by sunaug; not an observation"
    return buffer.getvalue()


def _write(plan: Plan, frames: Iterator[Frame], out: Path, done: Callable[[int], None]) -> None:
    check_forecasts(plan)
    _check(plan)
    labels = flare_types(plan.forecast_flux, none="O")
    for place, frame in enumerate(frames):
        for hours in range(plan.options["history_hours"], -1, -1):
            time = frame.time - hours * _HOUR
            content = partial(_file_bytes, frame.image, plan.channels, labels[place], time)
            put_once(out / _file_name(time), content)
        done(place + 1)


def _read(out: Path, note: Mapping[str, Any]) -> xr.Dataset:
    times = np.array(note["samples"]["time"], dtype="datetime64[ns]")
    files = [out / _file_name(time) for time in times]
    return lazy_cube(partial(_load_frame, files=files, channels=tuple(note["images"]["channels"])), note)


def _load_frame(place: int, files: list[Path], channels: tuple[str, ...]) -> NDArray[np.float32]:
    try:
        with _h5py().File(files[place]) as file:
            stack = file["X"][:]
    except (OSError, KeyError) as error:
        raise SunaugError(f"{files[place]}: missing, or not one of FlareBench's files ({error}).") from None
    order = list(EXPOSURE_TIMES)
    planes = [stack[order.index(name)] / np.float32(EXPOSURE_TIMES[name]) for name in channels]
    return np.stack(planes)


ECOSYSTEM = Ecosystem(
    name="flarebench",
    split="flarebench",
    title="FlareBench / Deep SWM (SolarFlareDatasetWithFeatures)",
    wants=(
        "YYYYMMDD_HHMMSS.h5 of 10 channels, 256 pixels, DN of AIA's standard exposures, label O, C, M or X. It stacks "
        "four hours, and a frame is one moment: it is repeated from history_hours=3 before its time on. HMI is 0, its "
        "sign for a missing image; samples that lack more than 2 channels are dropped there and refused here "
        "(absent=zero writes them). Its periods end in March 2026: add the synthetic months to the train list of the "
        "fold."
    ),
    channels={name: f"{int(name.removeprefix('aia')):04d}" for name in EXPOSURE_TIMES},
    write=_write,
    read=_read,
    size=SIZE,
    disk_radius=DISK_RADIUS,
    intensity_scale="physical",
    cadence=np.timedelta64(12, "h"),
    options={"history_hours": 3, "absent": "refuse"},
    reach=np.timedelta64(_LONGEST_HISTORY, "h"),
)
