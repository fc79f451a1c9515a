"""GOES X-ray flux, 1-8 Å (XRS-B), from CSV, from the NetCDF files that NOAA publishes, or from the SDAC's FITS files.

Which flux a file holds (its *scaling*):

- GOES 8 to 15, operational data: 0.7 of the true flux, a factor that SWPC put in to match GOES-7 and that the classes
  of those years carry too;
- GOES 8 to 15, data that NOAA reprocessed to science quality: true flux, the factor was taken out;
- GOES 16 and later, operational or science-quality: true flux;
- CSV: unknown, unless a first line ``# scaling operational`` or the caller states it.

So a flare listed as M1.0 in 2012 reads 1.0e-5 W m-2 in operational data and 1.43e-5 in science-quality data.
`sunaug.xrs_files` says by what a file is recognised.

References
----------
Machol, Codrescu & Peck 2021, User's Guide for GOES-R XRS L2 Products (NOAA NCEI), sections 2.1 and 2.2.
Machol, Viereck & Jones, GOES X-ray Sensor (XRS) Measurements (NOAA NCEI), on the factor of 0.7.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sunaug.errors import SunaugError, UsageError
from sunaug.goes_classes import GREATEST_FLUX
from sunaug.xrs_files import Readings, read_xrs_file

__all__ = ["OPERATIONAL_FACTOR", "SCALINGS", "XrsSeries", "read_xrs"]

OPERATIONAL_FACTOR = 0.7
"""Operational XRS-B flux of GOES 8-15 over the true flux."""
SCALINGS = ("operational", "true", "unknown")

_SHORTEST_HOLE = np.timedelta64(5, "m")
_HOLE_STEPS = 3
_TICK = np.timedelta64(1, "ns")


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
    left_out : dict of str to int
        How many readings are NaN, and how many rows were passed over, by reason.
    """

    time: NDArray[np.datetime64]
    flux: NDArray[np.float64]
    source: str
    satellite: str = ""
    scaling: str = "unknown"
    rescaled: bool = False
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def coverage(self) -> tuple[np.datetime64, np.datetime64]:
        """First and last moment of the series."""
        return self.time[0], self.time[-1]

    @property
    def holes(self) -> pd.DataFrame:
        """Stretches without a reading that a flare fits into, in the columns of a catalogue's doubts."""
        known = self.time[np.isfinite(self.flux)]
        edges = np.concatenate([self.time[:1], known, self.time[-1:]])
        usual = np.median(np.diff(self.time)) if len(self.time) > 1 else np.timedelta64(0, "ns")
        wide = np.diff(edges) > max(_SHORTEST_HOLE, _HOLE_STEPS * usual)
        first, last = edges[:-1][wide] + _TICK, edges[1:][wide] - _TICK
        return pd.DataFrame({"first": first, "last": last, "peak_flux": np.inf})

    @property
    def provenance(self) -> dict[str, str]:
        """Source, satellite, scaling and what was left out, for a cube's ``label_sources``."""
        scaling = f"true, operational flux divided by {OPERATIONAL_FACTOR}" if self.rescaled else self.scaling
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in self.left_out.items())
        said = {"source": self.source, "satellite": self.satellite, "scaling": scaling, "left_out": left_out}
        return {name: text for name, text in said.items() if text}


def read_xrs(
    path: str | Path | Sequence[str | Path], *, true_flux: bool = False, scaling: str | None = None
) -> XrsSeries:
    """Read GOES X-ray flux from CSV, NetCDF or FITS files.

    Parameters
    ----------
    path : str, pathlib.Path or sequence of them
        A CSV with the columns ``time`` and ``xrsb`` (1-8 Å, W m-2), gzip or plain; a NetCDF file of NOAA
        (``sci_gxrs-l2-irrad_g15``, ``sci_xrsf-l2-avg1m_g16`` and their like); a FITS file of the SDAC; several files;
        or a folder of NetCDF files, read in the order of their names. Where files overlap, the one given first counts.
    true_flux : bool
        Whether to divide operational flux by 0.7. Classes in the lists of the GOES 8-15 years are by operational flux:
        omit it to compare with them.
    scaling : {"operational", "true"}, optional
        What files hold that do not say it themselves (CSV).

    Returns
    -------
    XrsSeries
        Nothing is resampled. Readings that the file's own flags do not call good, that are filled or not positive are
        NaN and counted in ``left_out``.

    Raises
    ------
    UsageError
        If a file does not exist or lacks the columns; if true flux is asked for and the scaling is unknown; if files of
        different scaling are given without `true_flux`.
    SunaugError
        If a file cannot be read, or its flux is not in W m-2.
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
    series = _series(path, read_xrs_file(path))
    if series.scaling == "unknown" and scaling:
        series = replace(series, scaling=scaling)
    return series


def _series(path: Path, read: Readings) -> XrsSeries:
    timed = read.flux.index.notna()
    known, good = read.flux[timed], read.good[timed]
    if known.empty:
        raise SunaugError(f"{path}: no row with a readable time in {len(read.flux)} rows.")
    values = known.to_numpy(dtype=np.float64)
    if not read.of_archive and (values > GREATEST_FLUX).any():
        # An archive's file states its unit; a stray value there is one bad reading.
        raise SunaugError(
            f"{path}: xrsb {values[values > GREATEST_FLUX][0]:g} is no flux in W m-2; an X5.4 flare is 5.4e-4: write "
            "the column in W m-2."
        )
    # Missing readings are written as negative fill values in the published files.
    missing, strong = ~(values > 0), values > GREATEST_FLUX
    left_out = {
        "without a readable time": int((~timed).sum()),
        "flagged": int((~good & ~missing).sum()),
        "missing or not positive": int(missing.sum()),
        "impossibly strong": int((strong & good).sum()),
    }
    values = np.where(missing | strong | ~good, np.nan, values)
    order = np.argsort(known.index, kind="stable")
    return XrsSeries(
        known.index.to_numpy("datetime64[ns]")[order],
        values[order],
        path.name,
        read.satellite,
        read.scaling,
        left_out={reason: count for reason, count in left_out.items() if count},
    )


def _to_true_flux(series: XrsSeries) -> XrsSeries:
    if series.scaling == "unknown":
        raise UsageError(
            f"{series.source}: does not say whether its flux is operational or true; state it (scaling='operational', "
            "or a first line '# scaling operational' in the CSV)."
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
        dict(sum((Counter(one.left_out) for one in (first, *rest)), Counter())),
    )
