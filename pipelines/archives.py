"""Archives of SDO images, as a fetch asks them: what files there are, through sunpy's download clients."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

import numpy as np

from sunaug.lexicon import CHANNELS

__all__ = ["ARCHIVES", "Archive", "Record", "is_no_answer"]


@dataclass(frozen=True)
class Record:
    """A file that an archive lists."""

    name: str
    channel: str
    time: np.datetime64
    row: Any
    token: str


class Archive(Protocol):
    """What a fetch needs of an archive."""

    kind: str
    server: str
    """Its name, for messages."""
    channels: tuple[str, ...]
    first_look: tuple[np.timedelta64, np.timedelta64]
    """How far before and after a moment its nearest file lies where there is no gap."""

    def search(self, begin: np.datetime64, end: np.datetime64, channels: Sequence[str]) -> list[Record]:
        """Files in [begin, end], perhaps a few around it; raises what `is_no_answer` knows."""
        ...


class Synoptic:
    """JSOC's AIA synoptic files: a web folder per hour, read by sunpy's `AIASynopsisClient`."""

    kind = "synoptic"
    server = "jsoc1.stanford.edu"
    channels: tuple[str, ...] = tuple(name for name, one in CHANNELS.items() if one.instrument == "AIA")
    # A file lies on every even minute, so one in the minute of the step is the nearest, and one listing finds it.
    first_look: tuple[np.timedelta64, np.timedelta64] = (np.timedelta64(0, "s"), np.timedelta64(59, "s"))

    def search(self, begin: np.datetime64, end: np.datetime64, channels: Sequence[str]) -> list[Record]:
        from sunpy.net import attrs as a
        from sunpy.net.dataretriever.sources.aia_synopsis import AIASynopsisClient

        # The client itself: Fido would ask the VSO as well and fail where only that is down.
        table = AIASynopsisClient().search(a.Time(str(begin), str(end)), a.Instrument.aia, a.Level("1.5s"))
        names = [f"aia{int(number)}" for number in table["Wavelength"]] if len(table) else []
        keep = [place for place, name in enumerate(names) if name in channels]
        return _records(table[keep], [names[place] for place in keep], "url") if keep else []


class Full:
    """AIA level 1 and HMI magnetograms, through the Virtual Solar Observatory."""

    kind = "full"
    server = "the Virtual Solar Observatory"
    channels: tuple[str, ...] = (*Synoptic.channels, "hmi_m")
    # AIA's channels come every 12 or 24 s, HMI's magnetograms every 45 s.
    first_look: tuple[np.timedelta64, np.timedelta64] = (np.timedelta64(23, "s"), np.timedelta64(23, "s"))

    def __init__(self) -> None:
        self._client: Any = None

    def search(self, begin: np.datetime64, end: np.datetime64, channels: Sequence[str]) -> list[Record]:
        import astropy.units as u
        from sunpy.net import attrs as a
        from sunpy.net.vso import VSOClient
        from sunpy.util.exceptions import SunpyConnectionWarning

        if self._client is None:
            with warnings.catch_warnings():
                # sunpy announces each mirror that does not answer; that none does is an error anyway.
                warnings.simplefilter("ignore", SunpyConnectionWarning)
                self._client = VSOClient()
        found = []
        for name in channels:
            one = CHANNELS[name]
            which = a.Wavelength(one.wavelength * u.AA) if one.instrument == "AIA" else a.Physobs.los_magnetic_field
            span = a.Time(str(begin), str(end))
            table = self._client.search(span, a.Instrument(one.instrument), which)
            if table.errors:
                raise OSError(str(table.errors[0]))
            if len(table):
                found += _records(table, [name] * len(table), "fileid")
        return found


def _records(table: Any, channels: list[str], key: str) -> list[Record]:
    """The rows of a search, each with columns that give its download a name of its own."""
    tokens = [uuid4().hex[:12] for _ in channels]
    table["sunaug_channel"], table["sunaug_token"] = channels, tokens
    times = np.asarray(table["Start Time"].utc.datetime64, dtype="datetime64[ns]")
    return [
        Record(str(row[key]), name, time, row, token)
        for row, name, time, token in zip(table, channels, times, tokens, strict=True)
    ]


ARCHIVES: dict[str, type[Synoptic] | type[Full]] = {one.kind: one for one in (Synoptic, Full)}
"""By kind of files."""


def is_no_answer(error: Exception) -> bool:
    """Whether an error of a client means that its server cannot be reached or gives no sensible answer."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] == "zeep"
