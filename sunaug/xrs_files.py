"""Readers of the files that GOES X-ray flux comes in; `sunaug.xrs` puts them together.

A file's scaling is told by what it says of itself: NOAA's science-quality files by their title and summary (``GOES 1-15
L2 XRS``, ``science-quality``) or identifier (``sci_``), GOES-R by its satellite, the SDAC's FITS files of GOES 8-15 by
their origin and the date when they were written, before NOAA's reprocessing. A name tells it only where it is NOAA's
own, ``sci_`` or ``ops_``. Anything else is unknown.
"""

from __future__ import annotations

import gzip
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sunaug.catalogue_tables import read_table
from sunaug.catalogue_times import read_times
from sunaug.errors import SunaugError, UsageError

__all__ = ["Readings", "read_xrs_file"]

_SATELLITE = re.compile(r"(?:_g|goes[ _-]?|^g)(\d{1,2})(?!\d)", re.IGNORECASE)
_NOAA_NAME = re.compile(r"^(sci|ops|dn)_g?xrs", re.IGNORECASE)
_FITS_NAME = re.compile(r"\.(fits?|fts)(\.gz)?$", re.IGNORECASE)
_SCALING_LINE = re.compile(r"^#\s*scaling\s+(\w+)\s*$")
_FLUXES = ("b_flux", "xrsb_flux")
_FLAGS = ("b_flags", "xrsb_flags", "xrsb_flag")
_UNITS = {"", "W/m2", "W/m^2", "W m-2", "W m^-2", "W/m**2", "watt/m2", "Watts/m^2"}
_REPROCESSING = 2020
"""Year of the first science-quality files of GOES 8-15: what was written before is operational."""


@dataclass(frozen=True)
class Readings:
    """What one file holds.

    Attributes
    ----------
    flux : pandas.Series
        W m-2, by time (NaT where it cannot be read).
    good : ndarray of bool, shape (n,)
        What the file's own flags call good.
    satellite, scaling : str
        As in `sunaug.xrs.XrsSeries`.
    of_archive : bool
        Whether the file is an archive's, which states its unit.
    """

    flux: pd.Series
    good: NDArray[np.bool_]
    satellite: str = ""
    scaling: str = "unknown"
    of_archive: bool = True


def read_xrs_file(path: Path) -> Readings:
    """Read one file of GOES X-ray flux: NetCDF (``.nc``), FITS (``.fits``, ``.fits.gz``) or CSV.

    Raises
    ------
    UsageError
        If the file does not exist or lacks the columns, or a package for its format is missing.
    SunaugError
        If it cannot be read.
    """
    if path.suffix == ".nc":
        return _read_netcdf(path)
    return _read_fits(path) if _FITS_NAME.search(path.name) else _read_csv(path)


def _read_csv(path: Path) -> Readings:
    table = read_table(path, "GOES X-ray flux (CSV)")
    if not {"time", "xrsb"} <= set(table.columns):
        raise UsageError(f"{path}: not GOES X-ray flux: expected the columns 'time' and 'xrsb' (W m-2).")
    flux = pd.Series(pd.to_numeric(table["xrsb"], errors="coerce").to_numpy(), index=read_times(table["time"]))
    return Readings(flux, np.ones(len(flux), bool), scaling=_scaling_line(path), of_archive=False)


def _scaling_line(path: Path) -> str:
    """What the first line says, as in ``# scaling operational``."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        match = _SCALING_LINE.match(file.readline().decode("utf-8", "replace"))
    if match is None:
        return "unknown"
    if match[1] not in ("operational", "true", "unknown"):
        raise UsageError(f"{path}: unknown scaling {match[1]!r} in its first line: write operational or true.")
    return match[1]


def _open(path: Path, what: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Table and header of a file that sunpy reads."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file; give the path of GOES X-ray flux ({what}).")
    with warnings.catch_warnings():
        # sunpy announces that packages for other kinds of series are missing, and each leap second that it rounds.
        warnings.simplefilter("ignore")
        try:
            import h5py  # noqa: F401  h5netcdf imports without it and then cannot open a file
            from sunpy.timeseries import TimeSeries
        except ImportError as error:
            raise UsageError(
                f"{path}: reading {what} needs another package ({error}): pip install h5netcdf h5py."
            ) from error
        try:
            opened: Any = TimeSeries(str(path), source="XRS")
            return opened.to_dataframe(), dict(opened.meta.metas[0])
        except Exception as error:  # whatever sunpy, HDF5 and FITS raise on other layouts and damaged bytes
            raise _unreadable(path, what, error) from error


def _unreadable(path: Path, what: str, error: Exception) -> SunaugError:
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return SunaugError(f"{path}: not readable as GOES X-ray flux ({what}) ({line}).")


def _read_netcdf(path: Path) -> Readings:
    what = "NetCDF of NOAA"
    table, header = _open(path, what)
    said = {name.lower(): str(_plain(value)) for name, value in header.items()}
    try:
        flags, unit = _flags_and_unit(path)
        good = _good(table["xrsb_quality"].to_numpy(), flags)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise _unreadable(path, what, error) from error
    if unit not in _UNITS:
        raise SunaugError(f"{path}: its flux is in {unit}, not in W m-2, so it is not X-ray flux as GOES measures it.")
    identity = said.get("id", "").strip()
    number = _satellite(identity) or _satellite(said.get("platform", "").strip()) or _satellite(path.name)
    return Readings(table["xrsb"], good, _named(number), _netcdf_scaling(path, said, identity, number))


def _netcdf_scaling(path: Path, said: dict[str, str], identity: str, number: int | None) -> str:
    title, summary = said.get("title", ""), said.get("summary", "")
    if "science-quality" in f"{title} {summary}" or title.startswith("GOES 1-15 L2 XRS") or "EXIS" in summary:
        return "true"
    name = next((one for one in (identity, path.name) if _NOAA_NAME.match(one)), None)
    if name is None or number is None:
        return "unknown"
    if number >= 16 or name.lower().startswith("sci_"):
        return "true"
    return "operational" if number >= 8 and name.lower().startswith("ops_") else "unknown"


def _read_fits(path: Path) -> Readings:
    table, header = _open(path, "FITS of the SDAC")
    said = {name.lower(): str(value) for name, value in header.items()}
    number = _satellite(said.get("telescop", "").strip())
    written = re.search(r"\d{4}", said.get("date", ""))
    scaling = "unknown"
    if number is not None and number >= 16:
        scaling = "true"
    elif number is not None and number >= 8 and "SDAC" in said.get("origin", "") and written:
        scaling = "operational" if int(written[0]) < _REPROCESSING else "unknown"
    return Readings(table["xrsb"], np.ones(len(table), bool), _named(number), scaling)


def _satellite(text: str) -> int | None:
    match = _SATELLITE.search(text)
    return int(match[1]) if match else None


def _named(number: int | None) -> str:
    return f"GOES-{number}" if number else ""


def _plain(value: Any) -> Any:
    """An attribute without the wrappings of HDF5: text, number or list."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _flags_and_unit(path: Path) -> tuple[dict[str, Any], str]:
    """Attributes of the flags of XRS-B, and the unit of its flux."""
    import h5py

    with h5py.File(path) as file:
        flags = next(file[name] for name in _FLAGS if name in file)
        flux = next(file[name] for name in _FLUXES if name in file)
        return {name: _plain(flags.attrs[name]) for name in flags.attrs}, str(_plain(flux.attrs.get("units", "")))


def _good(flags: NDArray[Any], attributes: dict[str, Any]) -> NDArray[np.bool_]:
    """Where the flags say good data, by the file's own masks and values; without them, where no flag is set."""
    known = np.isfinite(flags.astype(float))
    values = np.where(known, flags, 0).astype(np.int64)
    meanings = str(attributes.get("flag_meanings", "")).split()
    if "good_data" not in meanings:
        return known & (values == 0)
    place = meanings.index("good_data")
    wanted = _listed(attributes["flag_values"])[place] if "flag_values" in attributes else 0
    mask = _listed(attributes["flag_masks"])[place] if "flag_masks" in attributes else -1
    filled = values == attributes.get("_FillValue", -1)
    return known & ~filled & ((values & mask) == (wanted & mask))


def _listed(value: Any) -> list[int]:
    return [int(one) for one in (value if isinstance(value, list) else [value])]
