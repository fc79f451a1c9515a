"""GOES X-ray flux, 1-8 Å (XRS-B), from CSV or from the NetCDF files that NOAA publishes.

Which flux a file holds:

- GOES 8 to 15, operational data: 0.7 of the true flux, a factor that SWPC put in to match GOES-7 and that the classes
  of those years carry too;
- GOES 8 to 15, science-quality data (file names begin with ``sci_``): true flux, the factor was taken out;
- GOES 16 and later, operational or science-quality: true flux;
- CSV: the file does not say, so the scaling is unknown unless the caller states it.

So a flare listed as M1.0 in 2012 reads 1.0e-5 W m-2 in operational data and 1.43e-5 in science-quality data.

References
----------
Machol, Codrescu & Peck 2021, User's Guide for GOES-R XRS L2 Products (NOAA NCEI), sections 2.1 and 2.2.
Machol, Viereck & Jones, GOES X-ray Sensor (XRS) Measurements (NOAA NCEI), on the factor of 0.7.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sunaug.catalogues import read_table, read_times
from sunaug.errors import SunaugError, UsageError

__all__ = ["OPERATIONAL_FACTOR", "SCALINGS", "XrsSeries", "read_xrs"]

OPERATIONAL_FACTOR = 0.7
"""Operational XRS-B flux of GOES 8-15 over the true flux."""
SCALINGS = ("operational", "true", "unknown")

_SATELLITE = re.compile(r"(?:_g|goes[ _-]?)(\d{2})(?!\d)", re.IGNORECASE)


@dataclass(frozen=True)
class XrsSeries:
    """GOES X-ray flux, 1-8 Å, in order of time.

    Attributes
    ----------
    time : ndarray of datetime64, shape (n,)
        UTC, as the file gives it: NOAA's averages carry the start of their minute.
    flux : ndarray of float64, shape (n,)
        W m-2, NaN where missing or flagged.
    source : str
        Name of the file or files.
    satellite : str
        ``GOES-15``; several with commas; empty where the file does not say.
    scaling : str
        ``operational`` (0.7 of the true flux), ``true`` or ``unknown``.
    rescaled : bool
        Whether operational flux was divided by 0.7 to make it true.
    """

    time: NDArray[np.datetime64]
    flux: NDArray[np.float64]
    source: str
    satellite: str = ""
    scaling: str = "unknown"
    rescaled: bool = False

    @property
    def coverage(self) -> tuple[np.datetime64, np.datetime64]:
        """First and last moment of the series."""
        return self.time[0], self.time[-1]

    @property
    def provenance(self) -> dict[str, str]:
        """Source, satellite and scaling, for a cube's ``label_sources``."""
        scaling = f"true, operational flux divided by {OPERATIONAL_FACTOR}" if self.rescaled else self.scaling
        said = {"source": self.source, "satellite": self.satellite, "scaling": scaling}
        return {name: text for name, text in said.items() if text}


def read_xrs(
    path: str | Path | Sequence[str | Path], *, true_flux: bool = False, scaling: str | None = None
) -> XrsSeries:
    """Read GOES X-ray flux from CSV or NetCDF files.

    Parameters
    ----------
    path : str, pathlib.Path or sequence of them
        A CSV with the columns ``time`` and ``xrsb`` (1-8 Å, W m-2), gzip or plain; a NetCDF file of NOAA
        (``sci_gxrs-l2-irrad_g15``, ``sci_xrsf-l2-avg1m_g16`` and their like); several files; or a folder of NetCDF
        files, read in the order of their names. Where files overlap, the one given first counts.
    true_flux : bool
        Whether to divide operational flux by 0.7. Classes in the lists of the GOES 8-15 years are by operational flux:
        leave it out to compare with them.
    scaling : {"operational", "true"}, optional
        What files hold that do not say it themselves (CSV).

    Returns
    -------
    XrsSeries
        Nothing is resampled. Readings that are flagged (quality other than 0), filled or not positive are NaN.

    Raises
    ------
    UsageError
        If a file does not exist or lacks the columns; if true flux is asked for and the scaling is unknown; if files of
        different scaling are given without `true_flux`.
    SunaugError
        If a file cannot be read.
    """
    if scaling is not None and scaling not in SCALINGS:
        raise UsageError(f"unknown scaling {scaling!r}: choose {' or '.join(SCALINGS[:2])}.")
    parts = [_to_true_flux(one) if true_flux else one for one in (_read_file(file, scaling) for file in _files(path))]
    scalings = sorted({one.scaling for one in parts})
    if len(scalings) > 1:
        raise UsageError(
            f"{parts[0].source} and {len(parts) - 1} more: their flux is {' and '.join(scalings)}, which must not be "
            "mixed; read them with true_flux=True, or apart."
        )
    return _join(parts)


def _files(path: str | Path | Sequence[str | Path]) -> list[Path]:
    if isinstance(path, str | Path):
        folder = Path(path)
        if not folder.is_dir():
            return [folder]
        files = sorted(folder.rglob("*.nc"))
        if not files:
            raise UsageError(f"{folder}: no NetCDF file of GOES X-ray flux (.nc) in this folder.")
        return files
    if not path:
        raise UsageError("no file of GOES X-ray flux given; give at least one.")
    return [Path(one) for one in path]


def _read_file(path: Path, scaling: str | None) -> XrsSeries:
    series = _read_netcdf(path) if path.suffix == ".nc" else _read_csv(path)
    if series.scaling == "unknown" and scaling:
        series = replace(series, scaling=scaling)
    return series


def _read_csv(path: Path) -> XrsSeries:
    table = read_table(path, "GOES X-ray flux (CSV)")
    if not {"time", "xrsb"} <= set(table.columns):
        raise UsageError(f"{path}: not GOES X-ray flux: expected the columns 'time' and 'xrsb' (W m-2).")
    flux = pd.Series(pd.to_numeric(table["xrsb"], errors="coerce").to_numpy(), index=read_times(table["time"]))
    return _series(path, flux, satellite="", scaling="unknown")


def _read_netcdf(path: Path) -> XrsSeries:
    if not path.is_file():
        raise UsageError(f"{path}: no such file; give the path of GOES X-ray flux (NetCDF).")
    try:
        with warnings.catch_warnings():
            # sunpy announces that packages for other kinds of series are missing.
            warnings.simplefilter("ignore")
            import h5py  # noqa: F401  h5netcdf imports without it and then cannot open a file
            from sunpy.timeseries import TimeSeries
    except ImportError as error:
        raise UsageError(
            f"{path}: reading NetCDF needs another package ({error}): pip install h5netcdf h5py."
        ) from None
    try:
        opened: Any = TimeSeries(str(path), source="XRS")
        table, header = opened.to_dataframe(), opened.meta.metas[0]
        flux = table["xrsb"].where(table["xrsb_quality"] == 0)
    except Exception as error:  # whatever sunpy and HDF5 raise on other layouts and damaged bytes
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise SunaugError(f"{path}: not readable as GOES X-ray flux (NetCDF) of NOAA ({line}).") from None
    identity = f"{header.get('id', '')} {path.name}"
    match = _SATELLITE.search(f"{identity} {header.get('platform', '')}")
    if match is None:
        return _series(path, flux, satellite="", scaling="unknown")
    reprocessed = "sci_" in identity
    scaling = "true" if int(match[1]) >= 16 or reprocessed else "operational"
    return _series(path, flux, satellite=f"GOES-{int(match[1])}", scaling=scaling)


def _series(path: Path, flux: pd.Series, *, satellite: str, scaling: str) -> XrsSeries:
    known = flux[flux.index.notna()].sort_index(kind="stable")
    if known.empty:
        raise SunaugError(f"{path}: no row with a readable time in {len(flux)} rows.")
    values = known.to_numpy(dtype=np.float64)
    # Missing readings are written as negative fill values in the published files.
    values = np.where(values > 0, values, np.nan)
    return XrsSeries(known.index.to_numpy("datetime64[ns]"), values, path.name, satellite, scaling)


def _to_true_flux(series: XrsSeries) -> XrsSeries:
    if series.scaling == "unknown":
        raise UsageError(
            f"{series.source}: does not say whether its flux is operational or true; state it (scaling='operational')."
        )
    if series.scaling == "true":
        return series
    return replace(series, flux=series.flux / OPERATIONAL_FACTOR, scaling="true", rescaled=True)


def _join(parts: Iterable[XrsSeries]) -> XrsSeries:
    """One series of several; of two that overlap, the first counts."""
    first, *rest = parts
    if not rest:
        return first
    spans, times, fluxes = [first.coverage], [first.time], [first.flux]
    for one in rest:
        free = np.ones(len(one.time), dtype=bool)
        for begin, end in spans:
            free &= (one.time < begin) | (one.time > end)
        spans.append(one.coverage)
        times.append(one.time[free])
        fluxes.append(one.flux[free])
    time = np.concatenate(times)
    order = np.argsort(time, kind="stable")
    satellites = ", ".join(dict.fromkeys(one.satellite for one in (first, *rest) if one.satellite))
    return XrsSeries(
        time[order],
        np.concatenate(fluxes)[order],
        f"{first.source} to {rest[-1].source} ({len(rest) + 1} files)",
        satellites,
        first.scaling,
        any(one.rescaled for one in (first, *rest)),
    )
