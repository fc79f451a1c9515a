"""Fetch: SDO images from their archives into a folder, through sunpy's download clients.

Two kinds of files: JSOC's AIA synoptic files (level 1.5, 1024 x 1024 pixels, every second minute), and full-size files
through the Virtual Solar Observatory (AIA level 1, HMI line-of-sight magnetograms).

Each file comes under a name that ends in ``.part``. It gets its own name once it is whole, is FITS, and its header
agrees with what was asked for in time and channel. ``manifest.csv`` names what is there; ``failed.csv`` what could not
be had, and why. Given again, a fetch asks only for what is missing.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import time as clock
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.archives import ARCHIVES, Archive, Record, is_no_answer
from sunaug.catalogues import read_range
from sunaug.errors import SunaugError, UsageError
from sunaug.lexicon import channel_names
from sunaug.sources import FileReference, RejectedFile
from sunaug.sources.fits_files import SUFFIXES, refer

__all__ = ["Failure", "FetchResult", "fetch"]

MAX_CONNECTIONS = 4
"""Files that one server is asked for at the same time."""
TIME_TOLERANCE = np.timedelta64(2, "m")
"""Distance of a header's time from that in the archive's list, beyond which the file is another one."""

_BATCH = 4 * MAX_CONNECTIONS

Report = Callable[[str, int, int], None]
"""Called with what is being done, the number of items done so far, and their number."""


@dataclass(frozen=True)
class Failure:
    """A file that could not be had: its channel, time (ISO), address and the reason."""

    channel: str
    time: str
    url: str
    reason: str


@dataclass(frozen=True)
class FetchResult:
    """What a fetch did.

    Attributes
    ----------
    folder : pathlib.Path
    downloaded, kept : int
        Files that came, and files that were there already.
    failed : tuple of Failure
        Files that the archive lists and that could not be had.
    missing : tuple of (str, numpy.datetime64)
        Channels and steps for which the archive lists no file within half a step.
    downloaded_bytes : int
    manifest, failed_csv : pathlib.Path
        `failed_csv` is there only where something failed.
    seconds : float
    """

    folder: Path
    downloaded: int
    kept: int
    failed: tuple[Failure, ...]
    missing: tuple[tuple[str, np.datetime64], ...]
    downloaded_bytes: int
    manifest: Path
    failed_csv: Path
    seconds: float


@dataclass(frozen=True)
class _Entry:
    """A row of the manifest; `file` is relative to the folder, `record` the archive's name of the file."""

    file: str
    url: str
    bytes: str
    sha256: str
    time: str
    channel: str
    kind: str
    record: str


def fetch(
    out: str | Path,
    start: np.datetime64 | str,
    end: np.datetime64 | str,
    *,
    channels: Iterable[str] = ("aia94", "aia131", "aia171"),
    cadence: np.timedelta64 | str = "1h",
    kind: str = "synoptic",
    attempts: int = 4,
    backoff: float = 5.0,
    report: Report | None = None,
) -> FetchResult:
    """Download images of [start, end) into ``out/<channel>/``.

    Parameters
    ----------
    out : str or pathlib.Path
        A folder; made if it is not there.
    start, end : numpy.datetime64 or str
        UTC. The end itself is left out.
    channels : iterable of str
        Any names that the lexicon knows; AIA, and ``hmi_m`` among the full-size files.
    cadence : numpy.timedelta64 or str
        Of each channel, the file nearest to each step is taken, none further away than half a step. ``2h``, ``90min``;
        ``all`` takes every file.
    kind : {"synoptic", "full"}
        JSOC's synoptic files, or full-size files through the VSO.
    attempts : int
        How often a file is asked for before it counts as failed.
    backoff : float
        Seconds before the second attempt; doubled before each one after.
    report : callable, optional
        Told of the progress.

    Returns
    -------
    FetchResult
        Failed files do not raise: they are in the result and in ``failed.csv``.

    Raises
    ------
    UsageError
        If the range, cadence, kind or a channel makes no sense, or sunpy's download clients are not installed.
    SunaugError
        If the archive does not answer or lists no file in the range, or the folder cannot be written.

    References
    ----------
    JSOC's synoptic files: https://jsoc1.stanford.edu/data/aia/synoptic/README.html
    """
    began = clock.monotonic()
    span = read_range(start, end)
    step = _read_cadence(cadence)
    if kind not in ARCHIVES:
        raise UsageError(f"unknown kind {kind!r}: choose {' or '.join(ARCHIVES)}.")
    if attempts < 1:
        raise UsageError(f"attempts is {attempts}: a file has to be asked for at least once.")
    archive = ARCHIVES[kind]()
    names = channel_names(channels)
    strange = [name for name in names if name not in archive.channels]
    if strange or not names:
        raise UsageError(
            f"{kind} files have no channel {', '.join(strange) or '(none was named)'}: choose from "
            f"{', '.join(archive.channels)}."
        )
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; give a folder for the images.")
    try:
        import sunpy.net  # noqa: F401
    except ImportError as error:
        raise UsageError(f"sunpy's download clients are not installed ({error}): pip install 'sunpy[net]'.") from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made ({error.strerror}); give another folder.") from None
    tell = report or (lambda what, done, total: None)
    job = _Job(folder, archive, attempts, backoff, tell)
    job.read_manifest(span, names)
    wanted, missing, kept = job.choose(span, step, names)
    if not (wanted or kept):
        raise SunaugError(
            f"{archive.server}: no {kind} file of {', '.join(names)} from {_text(span[0])} to {_text(span[1])}; "
            "choose another range or channel."
        )
    try:
        failed = job.download(wanted)
        job.write_tables(failed)
    except OSError as error:
        raise SunaugError(
            f"{folder}: cannot be written ({error.strerror}); make room and give the command again."
        ) from None
    return FetchResult(
        folder,
        len(wanted) - len(failed),
        kept,
        tuple(failed),
        tuple(missing),
        sum(int(job.manifest[one.name].bytes) for one in wanted if one.name in job.manifest),
        job.manifest_path,
        job.failed_path,
        clock.monotonic() - began,
    )


def _read_cadence(cadence: np.timedelta64 | str) -> np.timedelta64 | None:
    if cadence == "all":
        return None
    step = pd.to_timedelta(cadence, errors="coerce") if not str(cadence).isdigit() else pd.NaT
    if pd.isna(step) or step < pd.Timedelta(1, "s"):
        raise UsageError(f"cadence {str(cadence)!r} is no time between images: write 12s, 30min, 2h or all.")
    return np.timedelta64(step.to_timedelta64(), "ns")


def _text(time: np.datetime64) -> str:
    return str(time.astype("datetime64[s]")) + "Z"


@dataclass
class _Job:
    """The filling of one folder."""

    folder: Path
    archive: Archive
    attempts: int
    backoff: float
    tell: Report

    def __post_init__(self) -> None:
        self.manifest_path = self.folder / "manifest.csv"
        self.failed_path = self.folder / "failed.csv"
        self.manifest: dict[str, _Entry] = {}

    def read_manifest(self, span: tuple[np.datetime64, np.datetime64], channels: Sequence[str]) -> None:
        """Read what is there; files of this request that do not pass the checks are removed."""
        if self.manifest_path.exists():
            lines = self.manifest_path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
            # The last row may have been cut off where a fetch was killed.
            table = csv.DictReader(line for line in lines if line.endswith("\n"))
            if table.fieldnames != _names(_Entry):
                raise UsageError(f"{self.manifest_path}: is not the manifest of a fetch; give another folder.")
            self.manifest = {row["record"]: _Entry(**row) for row in table}
            _write_table(self.manifest_path, _Entry, list(self.manifest.values()))
        asked = [
            one
            for one in self.manifest.values()
            if one.channel in channels and span[0] - TIME_TOLERANCE <= _time(one) < span[1] + TIME_TOLERANCE
        ]
        for number, one in enumerate(asked):
            path = self.folder / one.file
            try:
                if str(path.stat().st_size) != one.bytes:
                    raise RejectedFile("its size has changed.")
                _check(path, one.channel, _time(one))
            except (RejectedFile, OSError):
                path.unlink(missing_ok=True)
                del self.manifest[one.record]
            self.tell("checking files", number + 1, len(asked))

    def choose(
        self, span: tuple[np.datetime64, np.datetime64], step: np.timedelta64 | None, channels: Sequence[str]
    ) -> tuple[list[Record], list[tuple[str, np.datetime64]], int]:
        """Files to download, steps for which there is none, and the number of files that are there already."""
        begin, end = span
        wanted: dict[str, Record] = {}
        kept: set[str] = set()
        missing: list[tuple[str, np.datetime64]] = []

        def take(record: Record) -> None:
            if record.name in self.manifest or self.adopt(record):
                kept.add(record.name)
            else:
                wanted[record.name] = record

        if step is None:
            day = np.timedelta64(1, "D")
            days = np.arange(begin, end, day)
            for number, first in enumerate(days):
                last = min(first + day, end)
                for record in self.search(first, last, channels):
                    if first <= record.time < last:
                        take(record)
                self.tell("searching", number + 1, len(days))
            return list(wanted.values()), missing, len(kept)

        held = {name: self.held(name) for name in channels}
        half: np.timedelta64 = step // 2
        before, after = self.archive.first_look
        # Most steps have a file near by; the whole of a long step is listed only where one has not.
        looks = dict.fromkeys([(min(before, half), min(after, half)), (half, half)])
        steps = np.arange(begin, end, step)
        for number, moment in enumerate(steps):
            left = []
            for name in channels:
                times, records = held[name]
                near = np.abs(times - moment)
                if len(times) and near.min() <= max(before, after):
                    kept.add(records[int(near.argmin())])
                else:
                    left.append(name)
            for back, ahead in looks:
                first, last = np.clip(moment + np.array([-back, ahead]), begin, end)
                found = [one for one in self.search(first, last, left) if first <= one.time <= last] if left else []
                for name in list(left):
                    ours = [one for one in found if one.channel == name and one.time < end]
                    if ours:
                        take(min(ours, key=lambda one: abs(one.time - moment)))
                        left.remove(name)
            missing += [(name, moment) for name in left]
            self.tell("searching", number + 1, len(steps))
        return list(wanted.values()), missing, len(kept)

    def held(self, channel: str) -> tuple[NDArray[np.datetime64], list[str]]:
        """Times and records of the files of a channel that are there."""
        entries = [one for one in self.manifest.values() if (one.channel, one.kind) == (channel, self.archive.kind)]
        return np.array([_time(one) for one in entries], dtype="datetime64[ns]"), [one.record for one in entries]

    def search(self, begin: np.datetime64, end: np.datetime64, channels: Sequence[str]) -> list[Record]:
        """Ask the archive, again after a while where it does not answer."""
        for attempt in range(self.attempts):
            self.wait(attempt)
            try:
                return self.archive.search(begin, end, channels)
            except Exception as error:
                if not is_no_answer(error):
                    raise
                reason = getattr(error, "reason", None) or error
        raise SunaugError(f"{self.archive.server}: no answer ({reason}); check the network and give the command again.")

    def wait(self, attempt: int) -> None:
        if attempt:
            clock.sleep(self.backoff * 2 ** (attempt - 1))

    def adopt(self, record: Record) -> bool:
        """Enter a file in the manifest that is there without an entry, where its name is known beforehand."""
        path = self.folder / record.channel / record.name.rpartition("/")[2]
        if "://" not in record.name or not path.exists():
            return False
        try:
            self.enter(path, path, record, record.name)
        except RejectedFile:
            path.unlink()
            return False
        return True

    def download(self, wanted: list[Record]) -> list[Failure]:
        """Download in batches, the failed ones again; those that failed to the end."""
        if not wanted:
            return []
        for name in {one.channel for one in wanted}:
            home = self.folder / name
            home.mkdir(parents=True, exist_ok=True)
            for stale in home.glob("*.part"):
                stale.unlink()
        left, failures = wanted, list[Failure]()
        for attempt in range(self.attempts):
            self.wait(attempt)
            failures, again = [], []
            for place in range(0, len(left), _BATCH):
                batch = left[place : place + _BATCH]
                for record, failure in zip(batch, self.download_batch(batch), strict=True):
                    if failure:
                        failures.append(failure)
                        again.append(record)
                self.tell("downloading", len(wanted) - len(left) + place + len(batch) - len(again), len(wanted))
            left = again
            if not left:
                break
        return failures

    def download_batch(self, batch: list[Record]) -> list[Failure | None]:
        from sunpy.util.parfive_helpers import Downloader

        # max_splits: parfive would ask for five pieces of every file at once.
        downloader = Downloader(max_conn=MAX_CONNECTIONS, max_splits=1, progress=False, overwrite=True)
        home = str(self.folder.absolute()).replace("{", "{{").replace("}", "}}")
        template = f"{home}/{{sunaug_channel}}/{{file}}.{{sunaug_token}}.part"
        try:
            # As Fido.fetch does: the clients enqueue what they found, and one downloader fetches it.
            for one in batch:
                one.row.table.client.fetch(one.row.as_table(), path=template, downloader=downloader, wait=False)
            results = _download(downloader)
        except Exception as error:
            if not is_no_answer(error):
                raise
            return [Failure(one.channel, _text(one.time), one.name, _reason(error)) for one in batch]
        errors = {str(one.url): one.exception for one in results.errors}
        if any(isinstance(_cause(error), asyncio.CancelledError) for error in errors.values()):
            # parfive takes Ctrl-C for itself and comes back as if the files had failed.
            raise KeyboardInterrupt
        urls = {Path(path).name: str(url) for path, url in zip(results, results.urls, strict=True)}
        return [self.receive(one, urls, errors) for one in batch]

    def receive(self, record: Record, urls: dict[str, str], errors: dict[str, Any]) -> Failure | None:
        """Check what came for a record and give it its name; the failure where it is of no use."""
        home = self.folder / record.channel
        tail = f".{record.token}.part"
        part = next(home.glob(f"*{tail}"), None)
        if part is None:
            # The VSO tells addresses only while it downloads, so a failed one cannot be told from its neighbours.
            error = errors.get(record.name) or next(iter(errors.values()), None)
            url = record.name if record.name in errors else next(iter(errors), record.name)
            return Failure(record.channel, _text(record.time), url or record.name, _reason(error))
        url = urls.get(part.name, record.name)
        try:
            name = part.name.removesuffix(tail)
            # The VSO passes some files on under names of its own, without an ending.
            name += "" if name.lower().endswith(SUFFIXES) else ".fits"
            self.enter(part, part.with_name(name), record, url)
        except RejectedFile as error:
            part.unlink()
            return Failure(record.channel, _text(record.time), url, error.reason)
        return None

    def enter(self, path: Path, final: Path, record: Record, url: str) -> None:
        """Check a file, enter it in the manifest and give it its name; raises `RejectedFile`."""
        time = _check(path, record.channel, record.time)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        name = f"{record.channel}/{final.name}"
        stamp = str(time.astype("datetime64[ms]")) + "Z"
        entry = _Entry(
            name, url, str(path.stat().st_size), digest, stamp, record.channel, self.archive.kind, record.name
        )
        # The row first: a row without its file is fetched again, a file without its row would have no known origin.
        new = not self.manifest_path.exists()
        with self.manifest_path.open("a", newline="", encoding="utf-8") as table:
            writer = csv.writer(table, lineterminator="\n")
            if new:
                writer.writerow(_names(_Entry))
            writer.writerow(asdict(entry).values())
        path.replace(final)
        self.manifest[record.name] = entry

    def write_tables(self, failed: list[Failure]) -> None:
        """Write the manifest anew, in order, and the table of what failed."""
        entries = sorted(self.manifest.values(), key=lambda one: (one.time, one.channel))
        _write_table(self.manifest_path, _Entry, entries)
        if failed:
            _write_table(self.failed_path, Failure, failed)
        else:
            self.failed_path.unlink(missing_ok=True)


def _time(entry: _Entry) -> np.datetime64:
    return np.datetime64(entry.time.removesuffix("Z"), "ns")


def _names(kind: type) -> list[str]:
    return [one.name for one in fields(kind)]


def _write_table(path: Path, kind: type, rows: Sequence[Any]) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=_names(kind), lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(one) for one in rows)
    part.replace(path)


def _check(path: Path, channel: str, time: np.datetime64) -> np.datetime64:
    """Time of observation of a file that is whole and the one that was asked for; raises `RejectedFile`."""
    (found,) = refer(path)
    assert isinstance(found, FileReference)
    if found.channels != (channel,):
        raise RejectedFile(f"holds {', '.join(found.channels)} and not {channel}.", found.time)
    if abs(found.time - time) > TIME_TOLERANCE:
        raise RejectedFile(f"is of {_text(found.time)} and not of {_text(time)}.", found.time)
    return found.time


def _cause(error: Any) -> Any:
    """What parfive's own errors are about: another exception, or the server's response."""
    while (inner := getattr(error, "exception", None) or getattr(error, "response", None)) is not None:
        error = inner
    return error


def _reason(error: Any) -> str:
    cause = _cause(error)
    if cause is None:
        return "the archive did not offer the file."
    if getattr(cause, "status", None):
        return f"the server answered {cause.status} {getattr(cause, 'reason', '')}".rstrip() + "."
    if type(cause).__name__ == "ClientPayloadError":
        return "the connection ended before the whole file had come."
    return f"{str(cause) or type(cause).__name__}."


def _download(downloader: Any) -> Any:
    """Run what is enqueued in a loop that is closed again; parfive's own stays, and swallows Ctrl-C from then on."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(downloader.run_download())
    # In a notebook a loop is running already.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, downloader.run_download()).result()
