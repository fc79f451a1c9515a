"""Flares as fluxes: the labels that a forecaster trains on.

A GOES class is turned into its flux when it is read and back into text when it is shown (`sunaug.goes_classes`);
nothing in between compares text, so X13 stays stronger than X9. Flare lists are read by `sunaug.catalogues`, X-ray
series by `sunaug.xrs`; their names can be imported from here.

Two labels belong to a time t:

- ``forecast_flux``: the strongest flare that *starts* in [t, t + 24 h);
- ``nowcast_flux``: the peak of the hour before, (t - 1 h, t].

Catalogues give times to the minute. A flare that starts in the minute of the image has still to come, so the forecast
window holds its first moment and not its last.

NaN means unknown (the record does not cover the window), 0 that no flare is listed.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
