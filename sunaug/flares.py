"""Flares as fluxes: the labels that a forecaster trains on.

A GOES class is turned into its flux when it is read and back into text when it is shown (`sunaug.goes_classes`);
nothing in between compares text, so X13 stays stronger than X9. Flare lists are read by `sunaug.catalogues`, X-ray
series by `sunaug.xrs`; their names can be imported from here.

Two labels belong to a time t:

- ``forecast_flux``: the strongest flare that *starts* in [t, t + 24 h);
- ``nowcast_flux``: the peak of the hour before, (t - 1 h, t].

Catalogues give times to the minute. A flare that starts in the minute of the image has still to come, so the forecast
window holds its first moment and not its last.

NaN means unknown, 0 that no flare is listed. A label is unknown where the record does not cover the window, and where
a flare that the list does not tell of in full may be in the window and may be stronger than what is known there.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sunaug.catalogue_mending import LONGEST_RISE
from sunaug.catalogues import FlareCatalogue, fetch_flares, read_catalogue, write_catalogue
from sunaug.goes_classes import CLASS_FLUX, class_letters, format_goes_class, parse_goes_class
from sunaug.xrs import XrsSeries, read_xrs

__all__ = [
    "CLASS_FLUX",
    "FlareCatalogue",
    "XrsSeries",
    "class_letters",
    "fetch_flares",
    "forecast_flux",
    "format_goes_class",
    "nowcast_flux",
    "parse_goes_class",
    "read_catalogue",
    "read_xrs",
    "write_catalogue",
]

FORECAST_WINDOW = np.timedelta64(24, "h")
NOWCAST_WINDOW = np.timedelta64(1, "h")


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


def _settled(
    known: NDArray[np.float64],
    doubts: pd.DataFrame,
    begin: NDArray[np.datetime64],
    end: NDArray[np.datetime64],
    *,
    closed: Literal["left", "right"],
) -> NDArray[np.float64]:
    """The largest known flux in each window (0 where `known` is NaN), NaN where a doubt in it may be larger."""
    known = np.nan_to_num(known, nan=0.0)
    order = np.argsort(begin, kind="stable")
    begin, end = begin[order], end[order]
    most = np.zeros(len(begin))
    for first, last, flux in zip(doubts["first"], doubts["last"], doubts["peak_flux"], strict=True):
        # A window that holds its begin does not hold its end, and the other way round.
        start = np.searchsorted(end, np.datetime64(first, "ns"), side="right" if closed == "left" else "left")
        stop = np.searchsorted(begin, np.datetime64(last, "ns"), side="right" if closed == "left" else "left")
        most[start:stop] = np.maximum(most[start:stop], flux)
    doubted = np.empty(len(begin))
    doubted[order] = most
    return np.where(doubted > known, np.nan, known)


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
        W m-2; 0 where no flare is listed. NaN where the window is not wholly inside the catalogue's coverage, touches a
        gap in it, or may hold a flare of unknown time or class that is stronger than all that are known to start there.
    """
    when = _as_times(times)
    begin, end = catalogue.coverage
    starts = catalogue.flares["start"].to_numpy()
    largest = _window_maximum(starts, catalogue.flares["peak_flux"].to_numpy(), when, when + window, closed="left")
    doubts = catalogue.doubts[catalogue.doubts["of"] == "start"]
    covered = (when >= begin) & (when + window <= end)
    return np.where(covered, _settled(largest, doubts, when, when + window, closed="left"), np.nan)


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
        the largest measured flux, background included.

    Returns
    -------
    ndarray of float64, shape (n,)
        W m-2. NaN where the record does not cover the window: a catalogue lists flares by their start, so what peaks in
        its first 8 hours may have started before it. NaN as well where a flare whose peak or class is unknown may be in
        the window and stronger than what is known there, and where an X-ray series has a hole in the window that a
        flare fits into (more than 5 minutes, and more than 3 times the usual step).
    """
    when = _as_times(times)
    begin, end = record.coverage
    since = when - window
    if isinstance(record, XrsSeries):
        covered = (since >= begin) & (when <= end)
        largest = _window_maximum(record.time, record.flux, since, when, closed="right")
        holes = _settled(largest, record.holes, since, when, closed="right")
        return np.where(covered & np.isfinite(largest), holes, np.nan)
    covered = (since >= begin + LONGEST_RISE) & (when <= end)
    peaked = record.flares.dropna(subset=["peak"]).sort_values("peak", kind="stable")
    largest = _window_maximum(peaked["peak"].to_numpy(), peaked["peak_flux"].to_numpy(), since, when, closed="right")
    doubts = record.doubts[record.doubts["of"] == "peak"]
    return np.where(covered, _settled(largest, doubts, since, when, closed="right"), np.nan)
