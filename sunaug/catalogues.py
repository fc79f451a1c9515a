"""Flare lists: read from the tables that are published, or fetched from the Heliophysics Events Knowledgebase (HEK).

Three tables are read: the GOES table (class, start, peak, end, region), the SWPC list, and the table that
`write_catalogue` writes, with the columns ``start, peak, end, peak_flux, region, source``; ``class`` may stand in place
of ``peak_flux``.

Classes are taken as listed. Lists of the GOES 8-15 years are by operational flux, which is 0.7 of the true flux
(`sunaug.xrs`); since GOES-16 became SWPC's primary satellite in December 2019 they are by true flux.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from sunaug.errors import SunaugError, UsageError
from sunaug.goes_classes import CLASS_FLUX, GOES_CLASS

__all__ = [
    "FlareCatalogue",
    "fetch_flares",
    "read_catalogue",
    "read_range",
    "read_table",
    "read_times",
    "write_catalogue",
]

COLUMNS = ("start", "peak", "end", "peak_flux", "region", "source")
LISTS = {"swpc": "SWPC list, from HEK", "hek": "every GOES flare in HEK"}
"""What `fetch_flares` can ask for."""

_CLASS_SCALING = "classes as listed: operational flux of GOES 8-15 until December 2019, true flux since"
_COVERS = re.compile(r"^# covers (\S+) to (\S+)$")
_QUERY_DAYS = 30
_HEK_COLUMNS = {
    "event_starttime": "start",
    "event_peaktime": "peak",
    "event_endtime": "end",
    "fl_goescls": "class",
    "ar_noaanum": "region",
    "frm_name": "source",
}


@dataclass(frozen=True)
class FlareCatalogue:
    """Flares in order of their start.

    Attributes
    ----------
    flares : pandas.DataFrame
        Columns ``start``, ``peak``, ``end`` (datetime64, UTC, NaT where unknown), ``peak_flux`` (W m-2), ``region``
        (NOAA number, 0 = unknown), and ``source`` (who reported the flare) where the list says so.
    source : str
        The file's name, for a cube's attributes.
    repairs : dict of str to int
        What was wrong in the file and mended or left out, with counts.
    covers : tuple of numpy.datetime64, optional
        The range that was asked for, where the list is the answer to a query.
    """

    flares: pd.DataFrame
    source: str
    repairs: dict[str, int] = field(default_factory=dict)
    covers: tuple[np.datetime64, np.datetime64] | None = None

    @property
    def coverage(self) -> tuple[np.datetime64, np.datetime64]:
        """The range covered, or first start and last known moment: outside of them a label is unknown."""
        if self.covers is not None:
            return self.covers
        return self.flares["start"].to_numpy()[0], np.nanmax(self.flares[["start", "peak"]].to_numpy())

    @property
    def provenance(self) -> dict[str, str]:
        """Where the flares come from and in what flux their classes are, for a cube's ``label_sources``."""
        reporters = sorted(set(self.flares["source"].dropna())) if "source" in self.flares else []
        said = {"source": self.source, "reported_by": ", ".join(reporters), "scaling": _CLASS_SCALING}
        return {name: text for name, text in said.items() if text}


def read_range(start: np.datetime64 | str, end: np.datetime64 | str) -> tuple[np.datetime64, np.datetime64]:
    """Read two times, UTC, as ``datetime64[ns]``.

    Raises
    ------
    UsageError
        If one is no time, or the end is not after the start.
    """
    moments = []
    for name, text in (("start", start), ("end", end)):
        moment = pd.to_datetime(str(text), utc=True, errors="coerce")
        if pd.isna(moment):
            raise UsageError(f"{name} {str(text)!r} is not a time: write it as 2017-01-01 or 2017-01-01T06:00.")
        moments.append(np.datetime64(moment.tz_localize(None), "ns"))
    if moments[1] <= moments[0]:
        raise UsageError(f"the end {end} is not after the start {start}: give a range with some time in it.")
    return moments[0], moments[1]


def read_times(column: pd.Series) -> pd.Series:
    """Read ISO times as naive UTC, NaT for what is not a time (as the catalogue's ``T//://Z``)."""
    return pd.to_datetime(column, utc=True, errors="coerce", format="ISO8601").dt.tz_localize(None)


def read_table(path: Path, what: str) -> pd.DataFrame:
    """Read a CSV as text, passing over lines that start with ``#``; `what` is named in errors."""
    try:
        return pd.read_csv(path, dtype=str, skipinitialspace=True, comment="#")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; give the path of {what}.") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        raise SunaugError(f"{path}: not readable as {what} ({error}).") from None


def _class_flux(classes: pd.Series) -> pd.Series:
    parts = classes.astype("string").str.extract(GOES_CLASS)
    return parts[1].astype(float).fillna(1.0) * parts[0].str.upper().map(CLASS_FLUX).astype(float)


def _columns(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The columns of a `FlareCatalogue` from those of any of the three tables."""
    names = set(table.columns)
    if {"Flare Class", "Start Time"} <= names:
        times = {
            "start": read_times(table["Start Time"]),
            "peak": read_times(table["Peak Time"]),
            "end": read_times(table["End Time"]),
        }
        flux, region = _class_flux(table["Flare Class"]), table["Active Region Number"]
    elif {"date", "start_time", "max_time", "end_time", "goes_class", "noaa_ar"} <= names:
        times = {
            name: pd.to_datetime(table["date"] + table[column].str.zfill(4), format="%Y%m%d%H%M", errors="coerce")
            for name, column in (("start", "start_time"), ("peak", "max_time"), ("end", "end_time"))
        }
        flux, region = _class_flux(table["goes_class"]), table["noaa_ar"]
    elif {"start", "peak", "end"} <= names and names & {"peak_flux", "class"}:
        times = {name: read_times(table[name]) for name in ("start", "peak", "end")}
        by_flux = "peak_flux" in names
        flux = pd.to_numeric(table["peak_flux"], errors="coerce") if by_flux else _class_flux(table["class"])
        flux = flux.where(flux > 0)
        region = table["region"] if "region" in names else pd.Series(0, index=table.index)
    else:
        raise UsageError(
            f"{path}: not a flare catalogue: expected the columns 'Flare Class,Start Time,Peak Time,End Time,"
            f"Active Region Number', 'start,peak,end,peak_flux,region' or those of the SWPC list, found "
            f"{', '.join(map(str, table.columns[:6]))}."
        )
    flares = pd.DataFrame(times).assign(
        peak_flux=flux, region=pd.to_numeric(region, errors="coerce").fillna(0).astype(int)
    )
    return flares.assign(source=table["source"]) if "source" in names else flares


def _mend(flares: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Put right what published lists have wrong; what was done, with counts."""
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
    for name in ("start", "peak", "end"):
        flares[name] = flares[name].astype("datetime64[ns]")
    return flares, {name: count for name, count in repairs.items() if count}


def _covers(path: Path) -> tuple[np.datetime64, np.datetime64] | None:
    """The range in the first line of a table that `write_catalogue` wrote."""
    with path.open(encoding="utf-8", errors="replace") as file:
        match = _COVERS.match(file.readline().strip())
    if not match:
        return None
    try:
        begin, end = (np.datetime64(text.removesuffix("Z"), "ns") for text in match.groups())
    except ValueError:
        raise SunaugError(
            f"{path}: its first line names no readable range; write '# covers 2017-01-01T00:00Z to 2017-02-01T00:00Z'."
        ) from None
    return begin, end


def read_catalogue(path: str | Path) -> FlareCatalogue:
    """Read a flare list: the GOES table, the SWPC list, or the table of `write_catalogue`.

    Faults that published lists have are mended and counted: a flare over midnight whose peak or end carries the
    start's date is moved on by a day; an unreadable peak or end becomes NaT; duplicate rows are dropped; rows without
    a readable class or start are left out.

    Raises
    ------
    UsageError
        If the file does not exist or has none of the tables' columns.
    SunaugError
        If no row holds a flare, and the file does not say that it covers a range without any.
    """
    path = Path(path)
    table = read_table(path, "a flare catalogue (CSV)")
    flares, repairs = _mend(_columns(path, table))
    covers = _covers(path) if "start" in table.columns else None
    if flares.empty and covers is None:
        raise SunaugError(f"{path}: no flare with a readable class and start in {len(table)} rows.")
    return FlareCatalogue(flares, path.name, repairs, covers)


def write_catalogue(path: str | Path, catalogue: FlareCatalogue) -> None:
    """Write a flare list as CSV: ``start, peak, end, peak_flux, region, source``, times in UTC, flux in W m-2.

    The first line says which range the list covers. `read_catalogue` reads the table back; an old one stands until the
    new one is whole.
    """
    path = Path(path)
    table = catalogue.flares.assign(source=catalogue.flares.get("source", ""))[list(COLUMNS)].copy()
    for name in ("start", "peak", "end"):
        table[name] = table[name].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    begin, end = (np.datetime_as_string(moment, unit="s") for moment in catalogue.coverage)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        file.write(f"# covers {begin}Z to {end}Z\n")
        table.to_csv(file, index=False, float_format="%.6g", lineterminator="\n")
    part.replace(path)


def fetch_flares(
    start: np.datetime64 | str, end: np.datetime64 | str, source: str = "swpc", *, url: str | None = None
) -> FlareCatalogue:
    """Fetch the flares that start in [start, end) from the HEK, through `sunpy.net.hek.HEKClient`.

    Parameters
    ----------
    start, end : numpy.datetime64 or str
        UTC.
    source : {"swpc", "hek"}
        SWPC's own list, or every flare in the HEK that has a GOES class. There the same flare may stand several times,
        by different reporters; labels take the strongest.
    url : str, optional
        Another address of the HEK, up to its question mark.

    Raises
    ------
    UsageError
        If the end is not after the start, the source is unknown, or sunpy's download clients are not installed.
    SunaugError
        If the HEK does not answer.

    References
    ----------
    Hurlburt et al. 2012, Solar Physics 275, 67: the Heliophysics Events Knowledgebase.
    """
    begin, stop = read_range(start, end)
    if source not in LISTS:
        raise UsageError(f"unknown flare list {source!r}: choose {' or '.join(LISTS)}.")
    try:
        from sunpy.net import attrs as a
        from sunpy.net.hek import HEKClient
    except ImportError as error:
        raise UsageError(f"sunpy's download clients are not installed ({error}): pip install 'sunpy[net]'.") from None
    client = HEKClient(url) if url else HEKClient()
    # The HEK answers with all events that touch the range; the GOES flares among them are those with a class.
    limits = (a.hek.FL, a.hek.FRM.Name == "SWPC") if source == "swpc" else (a.hek.FL, a.hek.OBS.Observatory == "GOES")
    parts = []
    # A query over years times out at the HEK.
    for first in np.arange(begin, stop, np.timedelta64(_QUERY_DAYS, "D")):
        last = min(first + np.timedelta64(_QUERY_DAYS, "D"), stop)
        try:
            found = client.search(a.Time(str(first), str(last)), *limits).raw
        except OSError as error:
            reason = getattr(error, "reason", None) or error
            raise SunaugError(
                f"{urlsplit(client.url).netloc}: no answer from the HEK ({reason}); check the network and try again."
            ) from None
        if len(found):
            part = found["event_starttime", "event_peaktime", "event_endtime", "fl_goescls", "ar_noaanum", "frm_name"]
            flares = part.to_pandas()
            starts = read_times(flares["event_starttime"])
            parts.append(flares[(starts >= first) & (starts < last)])
    answer = pd.concat(parts) if parts else pd.DataFrame(columns=list(_HEK_COLUMNS), dtype=object)
    table = answer.rename(columns=_HEK_COLUMNS)
    name = f"{LISTS[source]}, {begin.astype('datetime64[m]')} to {stop.astype('datetime64[m]')}"
    flares, repairs = _mend(_columns(Path(name), table.reset_index(drop=True)))
    # What has not happened yet is not known.
    return FlareCatalogue(flares, name, repairs, (begin, max(begin, min(stop, np.datetime64("now", "ns")))))
