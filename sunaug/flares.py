"""Flares as fluxes: GOES classes, catalogues, and the labels that a forecaster trains on.

A GOES class is only a way to write the peak 1-8 Å flux in W m-2 (A, B, C, M, X = 1e-8, 1e-7, 1e-6, 1e-5, 1e-4). Here a
class is turned into its flux when it is read and back into text when it is shown; nothing in between compares text,
so X13 stays stronger than X9.

Two labels belong to a time t:

- ``forecast_flux``: the strongest flare that *starts* in [t, t + 24 h);
- ``nowcast_flux``: the peak of the hour before, (t - 1 h, t].

Catalogues give times to the minute. A flare that starts in the minute of the image has still to come, so the forecast
window holds its first moment and not its last.

NaN means unknown (the record does not cover the window), 0 that no flare is listed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sunaug.errors import SunaugError, UsageError

__all__ = [
    "CLASS_FLUX",
    "FlareCatalogue",
    "XrsSeries",
    "class_letters",
    "forecast_flux",
    "format_goes_class",
    "nowcast_flux",
    "parse_goes_class",
    "read_catalogue",
    "read_xrs",
]

CLASS_FLUX = {"A": 1e-8, "B": 1e-7, "C": 1e-6, "M": 1e-5, "X": 1e-4}
FORECAST_WINDOW = np.timedelta64(24, "h")
NOWCAST_WINDOW = np.timedelta64(1, "h")

_GOES_CLASS = re.compile(r"^\s*([ABCMX])\s*(\d+(?:\.\d*)?|\.\d+)?\s*\+?\s*$", re.IGNORECASE)


def parse_goes_class(text: str) -> float:
    """Peak flux of a GOES class.

    Parameters
    ----------
    text : str
        ``M1.0``, ``x13``, ``C`` (read as C1.0), ``M5+``.

    Returns
    -------
    float
        Peak 1-8 Å flux in W m-2.

    Raises
    ------
    UsageError
        If `text` is not a GOES class.
    """
    match = _GOES_CLASS.match(str(text))
    number = float(match[2]) if match and match[2] else 1.0
    if not match or number <= 0:
        raise UsageError(f"{text!r} is not a GOES class: write a letter A, B, C, M or X and a number, as M1.0.")
    return number * CLASS_FLUX[match[1].upper()]


def format_goes_class(flux: float) -> str:
    """Write a flux as a GOES class, cut after one decimal: 1e-5 gives ``M1.0``, 9.99e-6 ``C9.9``.

    ``quiet`` stands for 0 (no flare listed) and ``unknown`` for NaN. Digits are cut, not rounded, so that writing never
    lifts a flare over a class border.
    """
    flux = float(flux)
    if np.isnan(flux):
        return "unknown"
    if flux <= 0:
        return "quiet"
    letter = class_letters([flux])[0] or "A"
    return f"{letter}{np.floor(flux / CLASS_FLUX[letter] * 10 * (1 + 1e-6)) / 10:.1f}"


def class_letters(flux: ArrayLike) -> NDArray[np.str_]:
    """Letter of each flux (W m-2): ``A`` to ``X``, and an empty text for 0, NaN and anything below A1.0."""
    # A catalogue's "M1.0" is 10 * 1e-6 in some files and 1e-5 in others; half an ulp must not change its class.
    values = np.nan_to_num(np.asarray(flux, dtype=np.float64)) * (1 + 1e-6)
    borders = np.array(list(CLASS_FLUX.values()))
    letters = np.array(["", *CLASS_FLUX])
    return letters[np.searchsorted(borders, values, side="right")]


@dataclass(frozen=True)
class FlareCatalogue:
    """Flares in order of their start.

    Attributes
    ----------
    flares : pandas.DataFrame
        Columns ``start``, ``peak``, ``end`` (datetime64, UTC, NaT where unknown), ``peak_flux`` (W m-2), ``region``
        (NOAA number, 0 = unknown).
    source : str
        The file's name, for a cube's attributes.
    repairs : dict of str to int
        What was wrong in the file and mended or left out, with counts.
    """

    flares: pd.DataFrame
    source: str
    repairs: dict[str, int] = field(default_factory=dict)

    @property
    def coverage(self) -> tuple[np.datetime64, np.datetime64]:
        """First start and last known moment: outside of them a label is unknown."""
        return self.flares["start"].to_numpy()[0], np.nanmax(self.flares[["start", "peak"]].to_numpy())


@dataclass(frozen=True)
class XrsSeries:
    """GOES X-ray flux, 1-8 Å, in order of time: `time` (datetime64) and `flux` (W m-2, NaN where missing)."""

    time: NDArray[np.datetime64]
    flux: NDArray[np.float64]
    source: str

    @property
    def coverage(self) -> tuple[np.datetime64, np.datetime64]:
        """First and last moment of the series."""
        return self.time[0], self.time[-1]


def _times(column: pd.Series) -> pd.Series:
    """Read ISO times as naive UTC, NaT for what is not a time (as the catalogue's ``T//://Z``)."""
    return pd.to_datetime(column, utc=True, errors="coerce", format="ISO8601").dt.tz_localize(None)


def _read_table(path: Path, what: str) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, skipinitialspace=True)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; give the path of {what}.") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        raise SunaugError(f"{path}: not readable as {what} ({error}).") from None


def read_catalogue(path: str | Path) -> FlareCatalogue:
    """Read a flare list: the GOES table (class, start, peak, end, region) or the SWPC list.

    Faults that published lists have are mended and counted: a flare over midnight whose peak or end carries the
    start's date is moved on by a day; an unreadable peak or end becomes NaT; duplicate rows are dropped; rows without
    a readable class or start are left out.

    Raises
    ------
    UsageError
        If the file does not exist or has neither table's columns.
    """
    path = Path(path)
    table = _read_table(path, "a flare catalogue (CSV)")
    if {"Flare Class", "Start Time"} <= set(table.columns):
        raw = {
            "start": _times(table["Start Time"]),
            "peak": _times(table["Peak Time"]),
            "end": _times(table["End Time"]),
        }
        classes, region = table["Flare Class"], table["Active Region Number"]
    elif {"date", "start_time", "max_time", "end_time", "goes_class", "noaa_ar"} <= set(table.columns):
        raw = {
            name: pd.to_datetime(table["date"] + table[column].str.zfill(4), format="%Y%m%d%H%M", errors="coerce")
            for name, column in (("start", "start_time"), ("peak", "max_time"), ("end", "end_time"))
        }
        classes, region = table["goes_class"], table["noaa_ar"]
    else:
        raise UsageError(
            f"{path}: not a flare catalogue: expected the columns 'Flare Class,Start Time,Peak Time,End Time,"
            f"Active Region Number' or those of the SWPC list, found {', '.join(map(str, table.columns[:6]))}."
        )
    parts = classes.str.extract(_GOES_CLASS)
    flux = parts[1].astype(float).fillna(1.0) * parts[0].str.upper().map(CLASS_FLUX)
    flares = pd.DataFrame(raw).assign(
        peak_flux=flux, region=pd.to_numeric(region, errors="coerce").fillna(0).astype(int)
    )

    repairs = {
        "unreadable peak time": int(flares["peak"].isna().sum()),
        "unreadable class or start, left out": int((flares["peak_flux"].isna() | flares["start"].isna()).sum()),
    }
    flares = flares.dropna(subset=["peak_flux", "start"])
    for name in ("peak", "end"):
        early = flares[name] < flares["start"]
        repairs[f"{name} before start, moved by a day"] = int(early.sum())
        flares.loc[early, name] += pd.Timedelta(days=1)
    duplicated = flares.duplicated()
    repairs["duplicate rows, dropped"] = int(duplicated.sum())
    flares = flares[~duplicated].sort_values("start", kind="stable").reset_index(drop=True)
    if flares.empty:
        raise SunaugError(f"{path}: no flare with a readable class and start in {len(table)} rows.")
    for name in ("start", "peak", "end"):
        flares[name] = flares[name].astype("datetime64[ns]")
    return FlareCatalogue(flares, path.name, {name: count for name, count in repairs.items() if count})


def read_xrs(path: str | Path) -> XrsSeries:
    """Read GOES X-ray flux from a CSV with the columns ``time`` and ``xrsb`` (1-8 Å, W m-2), gzip or plain."""
    path = Path(path)
    table = _read_table(path, "GOES X-ray flux (CSV)")
    if not {"time", "xrsb"} <= set(table.columns):
        raise UsageError(f"{path}: not GOES X-ray flux: expected the columns 'time' and 'xrsb' (W m-2).")
    series = pd.DataFrame(
        {"time": _times(table["time"]), "flux": pd.to_numeric(table["xrsb"], errors="coerce")}
    ).dropna(subset=["time"])
    if series.empty:
        raise SunaugError(f"{path}: no row with a readable time in {len(table)} rows.")
    series = series.sort_values("time", kind="stable")
    flux = series["flux"].to_numpy(dtype=np.float64)
    # Missing readings are written as negative fill values in the published files.
    return XrsSeries(series["time"].to_numpy("datetime64[ns]"), np.where(flux > 0, flux, np.nan), path.name)


def _window_maximum(
    moments: NDArray[np.datetime64],
    values: NDArray[np.float64],
    begin: NDArray[np.datetime64],
    end: NDArray[np.datetime64],
    *,
    closed: Literal["left", "right"],
) -> NDArray[np.float64]:
    """Largest of `values` with `moments` (ascending) in each window, NaN where it is empty.

    A window holds its begin (`closed` left) or its end (right).
    """
    first = np.searchsorted(moments, begin, side=closed)
    last = np.searchsorted(moments, end, side=closed)
    # reduceat takes pairs of borders; a trailing -inf keeps the last border inside the array.
    padded = np.append(np.nan_to_num(values, nan=-np.inf), -np.inf)
    borders = np.stack([first, last], axis=-1).reshape(-1)
    largest = np.maximum.reduceat(padded, borders)[::2] if borders.size else np.empty(0)
    return np.where((first < last) & np.isfinite(largest), largest, np.nan)


def _as_times(times: ArrayLike) -> NDArray[np.datetime64]:
    return np.asarray(times, dtype="datetime64[ns]").reshape(-1)


def forecast_flux(
    times: ArrayLike, catalogue: FlareCatalogue, window: np.timedelta64 = FORECAST_WINDOW
) -> NDArray[np.float64]:
    """Strongest flare that starts in [t, t + window), for each t.

    Parameters
    ----------
    times : array_like of datetime64, shape (n,)
        Observation times, UTC, in any order.
    catalogue : FlareCatalogue
    window : numpy.timedelta64
        24 hours unless told otherwise.

    Returns
    -------
    ndarray of float64, shape (n,)
        W m-2; 0 where no flare is listed, NaN where the window is not wholly inside the catalogue's coverage.
    """
    when = _as_times(times)
    begin, end = catalogue.coverage
    starts = catalogue.flares["start"].to_numpy()
    largest = _window_maximum(starts, catalogue.flares["peak_flux"].to_numpy(), when, when + window, closed="left")
    known = (when >= begin) & (when + window <= end)
    return np.where(known, np.nan_to_num(largest, nan=0.0), np.nan)


def nowcast_flux(
    times: ArrayLike, record: FlareCatalogue | XrsSeries, window: np.timedelta64 = NOWCAST_WINDOW
) -> NDArray[np.float64]:
    """Peak of the hour before, in (t - window, t], for each t.

    Parameters
    ----------
    times : array_like of datetime64, shape (n,)
        Observation times, UTC, in any order.
    record : FlareCatalogue or XrsSeries
        A catalogue gives the strongest flare with its peak in the window, 0 where none is listed. An X-ray series gives
        the largest measured flux, background included, NaN where nothing was measured.

    Returns
    -------
    ndarray of float64, shape (n,)
        W m-2; NaN where the record does not cover the window.
    """
    when = _as_times(times)
    begin, end = record.coverage
    known = (when - window >= begin) & (when <= end)
    if isinstance(record, XrsSeries):
        return np.where(known, _window_maximum(record.time, record.flux, when - window, when, closed="right"), np.nan)
    peaked = record.flares.dropna(subset=["peak"]).sort_values("peak", kind="stable")
    largest = _window_maximum(
        peaked["peak"].to_numpy(), peaked["peak_flux"].to_numpy(), when - window, when, closed="right"
    )
    return np.where(known, np.nan_to_num(largest, nan=0.0), np.nan)
