"""SuryaBench's layout: a NetCDF file for each frame, an index of files and a table of flare labels.

Read by Surya's ``SolarFlareDataset`` and SuryaBench's ``FlareDSDataset``, both children of ``HelioNetCDFDataset``:

- ``YYYY/MM/YYYYMMDD_HHMM.nc``: a variable (y, x) of float32 for each channel, compressed with LZ4 as theirs are, south
  first, disk radius 976 arcsec of 0.6 arcsec at 4096 pixels; DN/s, gauss, m/s; a pixel without data is 0;
- ``train_index.csv``: ``path,timestep,present``, with paths relative to the folder (``sdo_data_root_path``);
- ``train_flares.csv``: ``timestamp`` for Surya and ``timestep`` for SuryaBench, ``max_goes_class``,
  ``cumulative_index``, ``label_max`` (M1.0 or more) and ``label_cum`` (index of 10 or more).

The loaders ask for the hour before and the hour after each frame as well, and a synthetic frame has neither past nor
future. It is not given any: the index names the same file at t-60, t and t+60 minutes, so that input and target show a
Sun that stands still. All three are in the table of labels, with the label of the frame: ``SolarFlareDataset`` forgets
times that are not. Frames are four hours apart, so that only t has both neighbours, and no sample reaches into another
one.

The two tables are for training, and never to be put through a split by date: SuryaBench tests on every time from 2020
on, and validates on late January before that, and all that is left are days that were observed. No date is safe there.

References
----------
Roy, S. et al. 2025, SuryaBench, arXiv:2508.14107; https://github.com/NASA-IMPACT/Surya, dataset.py of
solar_flare_forcasting; https://github.com/NASA-IMPACT/SuryaBench, flare/flare_index_creator.py.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from forecasting_adapters.exports.contract import Ecosystem, Frame, Plan
from forecasting_adapters.exports.files import put_once
from forecasting_adapters.exports.lazy import lazy_cube
from sunaug.cube.schema import wcs_keywords
from sunaug.errors import UsageError
from sunaug.goes_classes import class_letters, format_goes_class, parse_goes_class
from sunaug.lexicon import CHANNELS
from sunaug.sources.suryabench import FULL_SIZE, PLATE_SCALE, SUN_RADIUS, VARIABLES

__all__ = ["ECOSYSTEM", "INDEX", "LABELS", "NEIGHBOURS", "flare_labels"]

INDEX, LABELS = "train_index.csv", "train_flares.csv"
NEIGHBOURS = np.array([-60, 0, 60], dtype="timedelta64[m]")
"""Times at which the index names a frame's file."""

_UNITS = {"DN s-1": "DN/s", "gauss": "Gauss", "m s-1": "m/s"}
_MAX_THRESHOLD = parse_goes_class("M1.0")
_CUMULATIVE_THRESHOLD = 10.0


def flare_labels(forecast_flux: NDArray[np.float64]) -> pd.DataFrame:
    """Labels of frames as SuryaBench writes them.

    A synthetic frame knows its strongest flare alone, so ``cumulative_index`` counts that one: a lower bound.

    Parameters
    ----------
    forecast_flux : ndarray, shape (n,)
        W m-2, 0 = no flare; not NaN.

    Returns
    -------
    pandas.DataFrame
        ``max_goes_class`` (``FQ`` = none), ``cumulative_index`` (a C1.0 counts 1, an M1.0 10, an X1.0 100, less than C
        nothing), ``label_max`` and ``label_cum``.
    """
    letters = class_letters(forecast_flux)
    classes = ["FQ" if flux <= 0 else format_goes_class(flux) for flux in forecast_flux]
    # Half an ulp must not decide, as in `sunaug.goes_classes.class_letters`.
    scaled = forecast_flux * (1 + 1e-6)
    cumulative = np.where(np.isin(letters, ["C", "M", "X"]), np.floor(scaled / 1e-7) / 10, 0.0)
    return pd.DataFrame(
        {
            "max_goes_class": classes,
            "cumulative_index": cumulative,
            "label_max": (scaled >= _MAX_THRESHOLD).astype(np.int64),
            "label_cum": (cumulative >= _CUMULATIVE_THRESHOLD).astype(np.int64),
        }
    )


def _file_name(time: np.datetime64) -> str:
    return pd.Timestamp(time).strftime("%Y/%m/%Y%m%d_%H%M.nc")


def _netcdf() -> tuple[Any, Any]:
    try:
        import h5netcdf
        import h5py  # noqa: F401  (h5netcdf does not ask for it, and cannot write a file without)
        import hdf5plugin
    except ImportError as error:
        raise UsageError(f"suryabench: NetCDF files need {error.name}; pip install 'sunaug[netcdf]'.") from None
    return h5netcdf, hdf5plugin.LZ4()


def write(plan: Plan, frames: Iterator[Frame], out: Path, done: Callable[[int], None]) -> None:
    """Write the frames, then the two tables.

    Raises
    ------
    UsageError
        If h5netcdf, h5py or hdf5plugin is not installed.
    """
    _netcdf()
    for count, frame in enumerate(frames, 1):
        put_once(out / _file_name(frame.time), partial(_content, plan, frame))
        done(count)
    _write_index(plan, out)
    _write_labels(plan, out)


def _content(plan: Plan, frame: Frame) -> bytes:
    """The NetCDF file of a frame."""
    h5netcdf, compression = _netcdf()
    buffer = io.BytesIO()
    with h5netcdf.File(buffer, "w") as file:
        _fill(file, plan, frame, compression)
    return buffer.getvalue()


def _fill(file: Any, plan: Plan, frame: Frame, compression: Mapping[str, Any]) -> None:
    file.dimensions = {"y": plan.size, "x": plan.size}
    file.attrs["SYNTHETIC"] = plan.note["SYNTHETIC"]
    file.attrs["sample"] = f"{plan.name}/{frame.number:06d}"
    file.attrs["bundle_hash"] = str(plan.note.get("bundle_hash", ""))
    header = wcs_keywords(plan.size, plan.disk_radius) | {"rsun_obs": SUN_RADIUS}
    scale = PLATE_SCALE * FULL_SIZE / plan.size
    geometry = json.dumps({name.lower(): value for name, value in header.items()} | {"cdelt1": scale, "cdelt2": scale})
    for name, image in zip(plan.channels, frame.image, strict=True):
        variable = file.create_variable(name, ("y", "x"), "f4", data=np.nan_to_num(image, nan=0.0), **compression)
        variable.attrs["unit"] = _UNITS[CHANNELS[name].unit]
        variable.attrs["t_obs"] = f"{np.datetime_as_string(frame.time, unit='s')}Z"
        variable.attrs["qflag"] = 0
        variable.attrs["meta_1"] = geometry


def _write_index(plan: Plan, out: Path) -> None:
    root = str(plan.options["root"])
    times = plan.times[:, None] + NEIGHBOURS
    paths = [str(Path(root) / _file_name(time)) for time in plan.times]
    table = pd.DataFrame(
        {
            "path": np.repeat(paths, len(NEIGHBOURS)),
            "timestep": _text(times.reshape(-1)),
            "present": 1,
            "synthetic": True,
        }
    )
    table.to_csv(out / INDEX)


def _write_labels(plan: Plan, out: Path) -> None:
    known = np.flatnonzero(~np.isnan(plan.forecast_flux))
    times = _text((plan.times[known, None] + NEIGHBOURS).reshape(-1))
    rows = known.repeat(len(NEIGHBOURS))
    labels = flare_labels(plan.forecast_flux[rows])
    table = pd.concat([pd.DataFrame({"timestamp": times, "timestep": times}), labels], axis=1)
    table.assign(sample=plan.numbers[rows]).to_csv(out / LABELS, index=False)


def _text(times: NDArray[np.datetime64]) -> NDArray[np.str_]:
    return pd.DatetimeIndex(times).strftime("%Y-%m-%d %H:%M:%S").to_numpy(str)


def read(out: Path, note: Mapping[str, Any]) -> xr.Dataset:
    """The frames again, lazily: a file is read when its frame is asked for."""
    return lazy_cube(partial(_read_frame, out, note["samples"]["time"], note["images"]["channels"]), note)


def _read_frame(out: Path, times: Sequence[str], channels: Sequence[str], place: int) -> NDArray[np.float32]:
    h5netcdf, _ = _netcdf()
    with h5netcdf.File(out / _file_name(np.datetime64(times[place])), "r") as file:
        return np.stack([file.variables[name][...] for name in channels])


ECOSYSTEM = Ecosystem(
    name="suryabench",
    split="suryabench",
    title="SuryaBench and Surya: SolarFlareDataset, FlareDSDataset",
    wants=(
        "A NetCDF file for each frame (DN/s, gauss, m/s; any size, 4096 for Surya's own model), train_index.csv and "
        "train_flares.csv (label: M1.0 or more within 24 h). Splits are lists of times, so a model sees these frames "
        "where you give it these tables; no date is safe there. The loader wants the hour before and after: the index "
        "names the frame itself for both, a Sun that stands still. Name the channels when you open it: those that the "
        "cube lacks are not in the files. Option root: a path put before those in train_index.csv, for "
        "FlareDSDataset, which knows no root."
    ),
    channels={name: name for name in VARIABLES},
    write=write,
    read=read,
    disk_share=SUN_RADIUS / PLATE_SCALE / FULL_SIZE,
    intensity_scale="physical",
    cadence=np.timedelta64(4, "h"),
    reach=np.timedelta64(60, "m"),
    options={"root": ""},
)
