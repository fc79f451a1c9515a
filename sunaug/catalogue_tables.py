"""The tables and messages in which flares are published, brought to one set of columns, as text.

Read are the GOES table (class, start, peak, end, region), the SWPC list, SWPC's JSON of the last seven days, events of
the HEK as CSV or JSON, and the table that `sunaug.catalogues.write_catalogue` writes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from sunaug.errors import SunaugError, UsageError

__all__ = ["COLUMNS", "HEK_COLUMNS", "read_flare_table", "read_table", "uniform_columns"]

COLUMNS = ("start", "peak", "end", "peak_flux", "region", "source")
"""Columns of the table that is written."""

HEK_COLUMNS = {
    "event_starttime": "start",
    "event_peaktime": "peak",
    "event_endtime": "end",
    "fl_goescls": "class",
    "ar_noaanum": "region",
    "frm_name": "source",
}
_GOES_COLUMNS = {
    "Flare Class": "class",
    "Start Time": "start",
    "Peak Time": "peak",
    "End Time": "end",
    "Active Region Number": "region",
}
_SWPC_COLUMNS = {"goes_class": "class", "noaa_ar": "region"}
_SWPC_TIMES = {"start": "start_time", "peak": "max_time", "end": "end_time"}
_SWPC_JSON_COLUMNS = {
    "begin_time": "start",
    "max_time": "peak",
    "end_time": "end",
    "max_class": "class",
    "max_xrlong": "peak_flux",
}
_OTHER_FORMATS = {
    b":Product:": "SWPC's daily list of events as text, which is not read; `sunaug fetch --flares swpc` writes a list",
    b":Created:": "a text of SWPC, which is not read; `sunaug fetch --flares swpc` writes a list",
    b"SIMPLE  =": "a FITS file",
    b"\x89HDF": "a NetCDF or HDF5 file",
    b"CDF\x01": "a NetCDF file of version 3",
    b"CDF\x02": "a NetCDF file of version 3",
    b"\x1f\x8b": "a gzip file without the ending .gz",
    b"PK\x03\x04": "a ZIP or Excel file; save it as CSV",
    b"<": "a web page or XML; download the table itself",
}


def read_table(path: Path, what: str) -> pd.DataFrame:
    """Read a CSV as text, passing over lines that start with ``#``; `what` is named in errors."""
    try:
        with path.open("rb") as file:
            head = file.read(64).lstrip()
        other = next((text for magic, text in _OTHER_FORMATS.items() if head.startswith(magic)), None)
        if other and not (head.startswith(b"\x1f\x8b") and path.suffix == ".gz"):
            raise SunaugError(f"{path}: not readable as {what}: it is {other}.")
        return pd.read_csv(path, dtype=str, skipinitialspace=True, comment="#")
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file; give the path of {what}.") from error
    except UnicodeDecodeError as error:
        raise SunaugError(f"{path}: not readable as {what}: it is not text.") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, OSError, EOFError) as error:
        raise SunaugError(f"{path}: not readable as {what} ({error}).") from error


def read_flare_table(path: Path) -> tuple[pd.DataFrame, bool]:
    """The rows of a flare list as text, in the order of the file, in the columns of `uniform_columns`.

    Returns
    -------
    table : pandas.DataFrame
        ``start``, ``peak``, ``end``, and what the list has of ``class``, ``peak_flux``, ``region`` and ``source``.
    published : bool
        Whether the layout is that of a published list, whose classes are in a scale that is known by date.

    Raises
    ------
    UsageError
        If the file does not exist or has none of the known layouts.
    SunaugError
        If it cannot be read.
    """
    if path.suffix.lower() == ".json":
        return uniform_columns(path, _read_json(path))
    return uniform_columns(path, read_table(path, "a flare catalogue (CSV)"))


def uniform_columns(path: Path, table: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    """The columns of any known layout under the names of `COLUMNS` and ``class``, and whether it is a published one."""
    names = set(table.columns)
    if {"Flare Class", "Start Time"} <= names:
        renamed, published = table.rename(columns=_GOES_COLUMNS), True
    elif {"date", "start_time", "max_time", "end_time", "goes_class", "noaa_ar"} <= names:
        clocks = {name: table["date"] + " " + table[column].str.zfill(4) for name, column in _SWPC_TIMES.items()}
        renamed, published = table.rename(columns=_SWPC_COLUMNS).assign(**clocks), True
    elif {"begin_time", "max_class"} <= names:
        renamed, published = table.rename(columns=_SWPC_JSON_COLUMNS), True
    elif {"event_starttime", "fl_goescls"} <= names:
        renamed, published = table.rename(columns=HEK_COLUMNS), True
    else:
        renamed, published = table, False
        if "class" not in names and "goes_class" in names:
            renamed = table.rename(columns={"goes_class": "class"})
    if "start" not in renamed.columns or not {"peak_flux", "class"} & set(renamed.columns):
        raise UsageError(
            f"{path}: not a flare catalogue: expected the columns 'Flare Class,Start Time,Peak Time,End Time,"
            f"Active Region Number', 'start,peak,end,peak_flux,region' (or 'class' for 'peak_flux'), or those of the "
            f"SWPC list, of SWPC's JSON or of the HEK, found {', '.join(map(str, table.columns[:6]))}."
        )
    kept = [name for name in (*COLUMNS, "class") if name in renamed.columns]
    missing = {name: pd.Series(None, index=renamed.index, dtype=object) for name in ("peak", "end")}
    return renamed[kept].assign(**{name: one for name, one in missing.items() if name not in kept}), published


def _read_json(path: Path) -> pd.DataFrame:
    """Records of a JSON list, or of the HEK's answer, as text."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file; give the path of a flare catalogue.") from error
    except (OSError, ValueError) as error:
        raise SunaugError(f"{path}: not readable as JSON ({error}).") from error
    records = content.get("result") if isinstance(content, dict) else content
    if not isinstance(records, list) or not all(isinstance(one, dict) for one in records):
        raise UsageError(
            f"{path}: JSON, but not a list of flares; SWPC's xray-flares-7-day.json and the HEK's answers are read."
        )
    if not records:
        raise SunaugError(f"{path}: an empty list, which does not say what time it covers.")
    rows = [{name: None if one[name] is None else str(one[name]) for name in one} for one in records]
    return pd.DataFrame(rows, dtype=object)
