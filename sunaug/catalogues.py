"""Flare lists: read from the tables that are published, or fetched from the Heliophysics Events Knowledgebase (HEK).

`sunaug.catalogue_tables` names the layouts that are read; `sunaug.catalogue_mending` says what becomes of rows that
cannot be read.

Classes are taken as listed. Lists of the GOES 8-15 years are by operational flux, which is 0.7 of the true flux
(`sunaug.xrs`); since GOES-16 became SWPC's primary satellite in December 2019 they are by true flux.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from sunaug.catalogue_mending import DOUBT_COLUMNS, Mended, doubts_of_gaps, mend
from sunaug.catalogue_tables import COLUMNS, HEK_COLUMNS, read_flare_table, uniform_columns
from sunaug.catalogue_times import read_times
from sunaug.errors import SunaugError, UsageError

__all__ = ["FlareCatalogue", "fetch_flares", "read_catalogue", "read_range", "write_catalogue"]

LISTS = {"swpc": "SWPC list, from HEK", "hek": "every GOES flare in HEK"}
"""What `fetch_flares` can ask for."""

CLASS_SCALINGS = {
    "listed": "classes as listed: operational flux of GOES 8-15 until December 2019, true flux since",
    "operational": "operational flux of GOES 8-15",
    "true": "true flux",
    "unknown": "unknown: the list does not say",
}
_COVERS = re.compile(r"^# covers (\S+) to (\S+)$")
_SCALING = re.compile(r"^# scaling (\S+)$")
_DOUBT = re.compile(r"^# unknown (start|peak) (\S+) to (\S+), at most (\S+)$")
_MENDED = re.compile(r"^# mended (\d+) x (.+)$")
_QUERY_DAYS = 30
_MARKED = "marked as unknown in the file"
_BEFORE = " (when it was written)"
_LISTED_AFTER = np.timedelta64(24, "h")
"""The HEK gets SWPC's flares by day; of the last one it may not have all."""


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
        What was wrong in the file and mended, or is unknown, with counts.
    covers : tuple of numpy.datetime64, optional
        The range that was asked for, where the list is the answer to a query.
    doubts : pandas.DataFrame
        When flares may have started or peaked of which the list does not tell it, and gaps in the list: columns ``of``
        (``start`` or ``peak``), ``first`` and ``last`` (the moments between which it lies), ``peak_flux`` (W m-2, the
        most that it may be).
    scaling : {"listed", "operational", "true", "unknown"}
        In what flux the classes are; ``listed`` is SWPC's, which changes in December 2019.
    """

    flares: pd.DataFrame
    source: str
    repairs: dict[str, int] = field(default_factory=dict)
    covers: tuple[np.datetime64, np.datetime64] | None = None
    doubts: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(DOUBT_COLUMNS)))
    scaling: str = "listed"

    @property
    def coverage(self) -> tuple[np.datetime64, np.datetime64]:
        """The range covered, or first start and last known moment: outside of them a label is unknown.

        A flare without an end may be going on, and is not known to have peaked.
        """
        if self.covers is not None:
            return self.covers
        start = self.flares["start"].to_numpy()
        peak = self.flares.loc[self.flares["end"].notna(), "peak"].dropna().to_numpy()
        return start[0], max(start[-1], peak.max()) if len(peak) else start[-1]

    @property
    def provenance(self) -> dict[str, str]:
        """Where the flares come from and in what flux their classes are, for a cube's ``label_sources``."""
        reporters = sorted(set(self.flares["source"].dropna())) if "source" in self.flares else []
        said = {"source": self.source, "reported_by": ", ".join(reporters), "scaling": CLASS_SCALINGS[self.scaling]}
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


@dataclass
class _Said:
    """What the lines that start with ``#`` say."""

    covers: tuple[np.datetime64, np.datetime64] | None = None
    scaling: str | None = None
    doubts: list[tuple[str, np.datetime64, np.datetime64, float]] = field(default_factory=list)
    mended: dict[str, int] = field(default_factory=dict)


def _said(path: Path) -> _Said:
    """Range, scaling and doubts in the lines at the head of a table, as `write_catalogue` writes them."""
    said = _Said()
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if not line.startswith("#"):
                break
            text = line.strip()
            try:
                if match := _COVERS.match(text):
                    said.covers = _moment(match[1]), _moment(match[2])
                elif match := _SCALING.match(text):
                    said.scaling = match[1]
                elif match := _DOUBT.match(text):
                    said.doubts.append((match[1], _moment(match[2]), _moment(match[3]), float(match[4])))
                elif match := _MENDED.match(text):
                    said.mended[match[2]] = int(match[1])
            except ValueError as error:
                raise SunaugError(
                    f"{path}: the line {text!r} names no readable range; write '# covers 2017-01-01T00:00Z to "
                    "2017-02-01T00:00Z'."
                ) from error
    if said.scaling not in (None, *CLASS_SCALINGS):
        raise SunaugError(
            f"{path}: unknown scaling {said.scaling!r}; write '# scaling operational' or '# scaling true'."
        )
    return said


def _moment(text: str) -> np.datetime64:
    return np.datetime64(text.removesuffix("Z"), "ns")


def _catalogue(mended: Mended, source: str, said: _Said, scaling: str) -> FlareCatalogue:
    """The catalogue with what its file says and the gaps that it has."""
    gaps = doubts_of_gaps(mended.flares["start"].to_numpy(), said.covers)
    marked = pd.DataFrame(said.doubts, columns=list(DOUBT_COLUMNS)).astype(gaps.dtypes)
    counts = {
        _MARKED: len(marked),
        "gaps in an active list, unknown": int((gaps["of"] == "start").sum()),
    }
    repairs = mended.repairs | {name: count for name, count in counts.items() if count}
    repairs |= {f"{name.removesuffix(_BEFORE)}{_BEFORE}": count for name, count in said.mended.items()}
    known = [one for one in (mended.doubts, marked, gaps) if len(one)]
    doubts = pd.concat(known, ignore_index=True).drop_duplicates(ignore_index=True) if known else gaps
    return FlareCatalogue(mended.flares, source, repairs, said.covers, doubts, scaling)


def read_catalogue(path: str | Path) -> FlareCatalogue:
    """Read a flare list: one of the published layouts, or the table of `write_catalogue`.

    Faults that published lists have are mended where there is one way to, and counted: a flare over midnight whose peak
    or end carries the start's date is moved on by a day where that puts it between start and end; duplicate rows are
    dropped. What cannot be read is kept as doubts, and labels are unknown wherever they matter; so are gaps.

    Raises
    ------
    UsageError
        If the file does not exist or has none of the tables' columns.
    SunaugError
        If no row holds a flare, and the file does not say that it covers a range without any; if a flux is impossible
        in W m-2; if nothing tells when a flare was.
    """
    path = Path(path)
    table, published = read_flare_table(path)
    mended = mend(str(path), table)
    said = _Said() if path.suffix in (".json", ".gz") else _said(path)
    if mended.flares.empty and said.covers is None:
        raise SunaugError(f"{path}: no flare with a readable class and start in {len(table)} rows.")
    # A list with its range and its reporters is one that was fetched.
    published |= said.covers is not None and "source" in table and bool(table["source"].notna().any())
    return _catalogue(mended, path.name, said, said.scaling or ("listed" if published else "unknown"))


def write_catalogue(path: str | Path, catalogue: FlareCatalogue) -> None:
    """Write a flare list as CSV: ``start, peak, end, peak_flux, region, source``, times in UTC, flux in W m-2.

    The first lines say which range the list covers, in what flux, what is unknown, and what was mended.
    `read_catalogue` reads the table back; an old one stands until the new one is whole.
    """
    path = Path(path)
    table = catalogue.flares.assign(source=catalogue.flares.get("source", ""))[list(COLUMNS)].copy()
    for name in ("start", "peak", "end"):
        table[name] = table[name].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    begin, end = (np.datetime_as_string(moment, unit="s") for moment in catalogue.coverage)
    mended = {name: count for name, count in catalogue.repairs.items() if name != _MARKED}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        file.write(f"# covers {begin}Z to {end}Z\n# scaling {catalogue.scaling}\n")
        for doubt in catalogue.doubts.itertuples():
            first, last = (np.datetime_as_string(np.datetime64(one, "ns")) for one in (doubt.first, doubt.last))
            file.write(f"# unknown {doubt.of} {first}Z to {last}Z, at most {float(doubt.peak_flux)!r}\n")
        file.writelines(f"# mended {count} x {name}\n" for name, count in mended.items())
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
        raise UsageError(f"sunpy's download clients are not installed ({error}): pip install 'sunpy[net]'.") from error
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
            ) from error
        if len(found):
            part = found["event_starttime", "event_peaktime", "event_endtime", "fl_goescls", "ar_noaanum", "frm_name"]
            flares = part.to_pandas()
            starts = read_times(flares["event_starttime"])
            parts.append(flares[((starts >= first) & (starts < last)) | starts.isna()])
    answer = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(HEK_COLUMNS), dtype=object)
    # Events that others saw on images have no X-ray class; a flare of SWPC without one is a flare of unknown class.
    classless = answer["fl_goescls"].fillna("").astype(str).str.strip().eq("") & (answer["frm_name"] != "SWPC")
    name = f"{LISTS[source]}, {begin.astype('datetime64[m]')} to {stop.astype('datetime64[m]')}"
    table, _ = uniform_columns(Path(name), answer[~classless].reset_index(drop=True))
    mended = mend(name, table.astype(object).where(table.notna(), None).map(_text))
    if classless.any():
        mended = replace(
            mended, repairs=mended.repairs | {"events without a GOES class, left out": int(classless.sum())}
        )
    # What has not happened yet is not known.
    latest = np.datetime64("now", "ns") - _LISTED_AFTER
    return _catalogue(mended, name, _Said(covers=(begin, max(begin, min(stop, latest)))), "listed")


def _text(value: object) -> str | None:
    return None if value is None else str(value)
