"""Ingest: files of the Sun into a cube, through Dask.

Every file is looked at (time and channels), files of one moment become a frame, and the cube is created with its whole
time axis. One task per shard then reads, calibrates and writes its frames; a last pass finds faulty frames and sums up
the rest. What cannot be used is named in ``<cube>.rejected.csv``: each input is either in the cube or in that table.

An ingest that was stopped goes on where it stopped when it is called again with the same inputs. With `append`, inputs
later than the cube's last frame are added to it; readers see them when all are there.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time as clock
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from upath import UPath

from pipelines.filling import USABLE, Filling, Plan, Report
from pipelines.frames import Frame, group_frames, leave_out_known, leave_out_partial, refer_files
from pipelines.labels import joined_attributes, label_attributes, label_notes
from pipelines.options import IngestOptions, encoding_step
from pipelines.rejections import Rejection, no_cube_text, read_rejections, rejections_path, write_rejections
from pipelines.tasks import check_scheduler, run_tasks
from sunaug.calibrate.consistency import consistency_step
from sunaug.calibrate.stretch import NOT_OF_HELIOVIEWER
from sunaug.catalogues import FlareCatalogue, read_catalogue
from sunaug.cube import FrameStatus, create_cube, open_cube
from sunaug.cube.fencing import remove_all
from sunaug.cube.lock import Lease, only_writer
from sunaug.cube.opening import IN_PROGRESS, is_unfinished
from sunaug.cube.store import commit, grow_cube, open_arrays, set_attributes, writable
from sunaug.errors import SunaugError, UsageError
from sunaug.flares import forecast_flux, nowcast_flux
from sunaug.lexicon import CHANNELS
from sunaug.sources import FileReference, InputFile, discover, source
from sunaug.storage import location, network_errors, remove_partial, tree_size
from sunaug.xrs import XrsSeries, read_xrs

__all__ = ["IngestOptions", "IngestResult", "ingest"]

FILES_PER_LOOK = 64
_MOST_KINDS = 5
BYTES_FOR_PROCESSES = 2**28
"""From here on reading FITS outweighs starting processes, which decompress side by side where threads take turns."""


@dataclass(frozen=True)
class IngestResult:
    """What an ingest did.

    Attributes
    ----------
    cube : upath.UPath
    frames : dict of str to int
        Number of the cube's frames by status.
    files_used, files_rejected, files_known : int
        Together every input; known ones are in the cube from earlier.
    rejected_csv : upath.UPath
    seconds : float
    notes : tuple of str
        What the user should know: labels that are unknown, shards kept from an earlier run.
    """

    cube: UPath
    frames: dict[str, int]
    files_used: int
    files_rejected: int
    files_known: int
    rejected_csv: UPath
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def size_on_disk(self) -> int:
        """Bytes of the cube."""
        return tree_size(self.cube)


def ingest(
    sources: Iterable[str | Path | UPath],
    out: str | Path | UPath,
    *,
    append: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    report: Report | None = None,
    **options: Any,
) -> IngestResult:
    """Make a cube of FITS files, browse images or another archive, or append to one.

    Parameters
    ----------
    sources : iterable of str, pathlib.Path or upath.UPath
        Files, folders, patterns, lists and URLs, as for `sunaug.sources.discover`.
    out : str, pathlib.Path or upath.UPath
        The cube, a path or URL. One that an ingest of the same inputs left unfinished is finished.
    append : bool
        Add inputs later than the cube's last frame to it; those in it are passed over as known. Options that are not
        given are those that the cube was made with.
    workers : int, optional
        Threads or processes; as many as there are cores by default.
    scheduler : str, optional
        Address of a ``distributed`` scheduler (``tcp://host:8786``), or ``threads``, ``processes``, ``synchronous``; by
        default processes for much FITS and threads otherwise.
    report : callable, optional
        Called with a title, the items done and their number.
    **options
        Fields of `IngestOptions`: ``size``, ``channels``, ``flares``, ``disk_radius``, ``degradation`` and others.

    Returns
    -------
    IngestResult

    Raises
    ------
    UsageError
        If the request makes no sense: a path that does not exist, an unknown channel.
    SunaugError
        If no file is usable (and then no cube is left behind), `out` is a cube of other inputs, or another run is
        writing it.

    Examples
    --------
    >>> ingest(["2012/"], "sdo2012.zarr", size=256, flares="goes_flares.csv")
    """
    strange = [name for name in options if name not in IngestOptions.names()]
    if strange:
        raise UsageError(f"unknown option {strange[0]!r}: an ingest takes {', '.join(IngestOptions.names())}.")
    check_scheduler(scheduler)
    began, cube = clock.monotonic(), location(out)
    if append and not cube.exists():
        raise UsageError(f"{cube}: no such cube to append to; make it without --append first.")
    if not append:
        IngestOptions(**options)  # refused before the lock is made
    with _one_sentence(cube), only_writer(cube) as lease:
        remove_partial(cube)
        existing = open_cube(cube) if cube.exists() and not is_unfinished(cube) else None
        if append and existing is not None:
            options = _as_before(cube, existing, options)
        chosen = IngestOptions(**options)
        catalogue = read_catalogue(chosen.flares) if chosen.flares else None
        series = read_xrs(chosen.xrs) if chosen.xrs else None
        others: Counter[str] = Counter()
        files = discover(
            sources, passed_over=lambda name: others.update([Path(name).suffix.lower() or "without ending"])
        )
        run = _Run(
            cube=cube,
            lease=lease,
            options=chosen,
            catalogue=catalogue,
            series=series,
            files=files,
            workers=workers,
            scheduler=scheduler or _local_scheduler(files),
            tell=report or (lambda what, done, total: None),
        )
        if others:
            most = sorted(others.items(), key=lambda item: (-item[1], item[0]))[:_MOST_KINDS]
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in most)
            run.notes.append(f"passed over in folders, as not of a kind that is read: {others.total():,} ({kinds})")
        if catalogue is None:
            run.notes.append("no flare catalogue given, so the forecast labels are unknown (--flares adds them)")
        run.look(existing if append else None)
        counts, seen = run.append(existing) if append and existing is not None else run.make(existing)
        gone = {one.file for one in seen} & run.inputs
        return IngestResult(
            cube,
            counts,
            len(run.inputs) - len(run.known) - len(gone),
            len(gone),
            len(run.known),
            rejections_path(cube),
            clock.monotonic() - began,
            tuple(run.notes),
        )


@dataclass
class _Run:
    """One run: what it was given, what it has found among the inputs, and how it goes on from there."""

    cube: UPath
    lease: Lease
    options: IngestOptions
    catalogue: FlareCatalogue | None
    series: XrsSeries | None
    files: Sequence[InputFile]
    workers: int | None
    scheduler: str
    tell: Report
    notes: list[str] = field(default_factory=list)

    inputs: set[str] = field(default_factory=set)
    known: list[FileReference] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    """Inputs that are left out before any pixel is read."""
    frames: list[Frame] = field(default_factory=list)
    channels: list[str] = field(default_factory=list)
    source_scale: str = ""

    def look(self, grown: xr.Dataset | None) -> None:
        """Find out what each input is, and which make new frames (of the cube `grown`, if one is appended to)."""
        options = self.options
        parts = [self.files[first : first + FILES_PER_LOOK] for first in range(0, len(self.files), FILES_PER_LOOK)]
        found = run_tasks(
            refer_files,
            [(part, tuple(options.channels) if options.channels else None) for part in parts],
            [len(part) for part in parts],
            workers=self.workers,
            scheduler=self.scheduler,
            report=lambda done: self.tell("looking at files", done, len(self.files)),
        )
        references = [one for part in found for one in part if isinstance(one, FileReference)]
        self.rejected = [one for part in found for one in part if isinstance(one, Rejection)]
        self.inputs = {one.input for one in references} | {one.file for one in self.rejected}
        if not references:
            if grown is None:
                raise self._nothing_usable(self.rejected)
            return
        self.source_scale = _intensity_scale(references)
        if options.degradation and any(file.source == "suryabench" for file in references):
            raise UsageError("SuryaBench files are corrected for degradation already; leave --degradation out.")
        jp2 = {name for file in references if file.source == "helioviewer" for name in file.channels}
        if options.undo_stretch and jp2 & NOT_OF_HELIOVIEWER:
            other = ", ".join(sorted(jp2 & NOT_OF_HELIOVIEWER))
            raise UsageError(f"Helioviewer's stretch of {other} is another than the browse images'; leave it out.")
        all_channels = {name for file in references for name in file.channels}
        self.channels = list(options.channels or sorted(all_channels, key=_channel_order(references)))
        tolerance = np.timedelta64(round(options.tolerance * 1e9), "ns")
        if grown is not None:
            references, self.known, early = leave_out_known(references, grown["time"].values, tolerance)
            self.rejected += early
        self.frames, strange = group_frames(references, self.channels, tolerance)
        self.rejected += strange
        if not options.keep_partial:
            self.frames, strange = leave_out_partial(self.frames, self.channels)
            self.rejected += strange
        if not self.frames and grown is None:
            raise self._nothing_usable(self.rejected)

    @property
    def times(self) -> NDArray[np.datetime64]:
        """Times of the new frames."""
        return np.array([frame.time for frame in self.frames], dtype="datetime64[ns]")

    @property
    def intensity_scale(self) -> str:
        """Of the cube."""
        return "browse-inverted" if self.options.undo_stretch else self.source_scale

    def fingerprint(self) -> str:
        """What makes two runs the same: inputs by name, time and size, the settings, and the tables of flares."""
        settings = self.options.recorded(self.channels)
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
        for path in self.options.tables:
            digest.update(path.read_bytes() if path.is_file() else str(path).encode())
        sizes = {str(file.path): file.size for file in self.files}
        for frame in self.frames:
            for file in frame.files:
                digest.update(f"{file.name}:{file.time}:{sizes[str(file.path)]}\n".encode())
        return digest.hexdigest()

    def plan(self, begun: dict[str, Any]) -> Plan:
        """What the tasks have to know."""
        options, times = self.options, self.times
        calibration = options.calibration(self.channels, self.source_scale, times[0], times[-1])
        return Plan(
            self.cube,
            tuple(self.channels),
            self.source_scale,
            self.intensity_scale,
            calibration,
            options.radius,
            options.keep_partial,
            begun["run"],
            self.lease,
        )

    def make(self, existing: xr.Dataset | None) -> tuple[dict[str, int], list[Rejection]]:
        """Create the cube and fill it, or finish one; frames by status, and the inputs left out."""
        fingerprint = self.fingerprint()
        if existing is not None:
            begun = existing.attrs.get(IN_PROGRESS)
            finished = [one["fingerprint"] for one in existing.attrs.get("ingests", [])]
            if begun is None and fingerprint in finished:
                self.notes.append("the cube was finished already; nothing was read again")
                return _counts(existing["frame_status"].values), read_rejections(rejections_path(self.cube))
            if begun is None:
                raise SunaugError(
                    f"{self.cube}: exists and was made of other inputs; choose another path, remove it first, or add "
                    "later frames with --append."
                )
            if begun["fingerprint"] != fingerprint:
                raise SunaugError(
                    f"{self.cube}: an ingest of other inputs was stopped while it wrote this cube; give its command "
                    "again, or remove the cube."
                )
            begun = self._taken_over(begun)
            return self.fill(self.plan(begun), begun, existing.attrs["ingests"], self._tell_labels())
        begun = self._progress(fingerprint, 0)
        plan = self.plan(begun)
        bits = self.options.bits(self.intensity_scale)
        create_cube(
            self.cube,
            channels=self.channels,
            size=self.options.size,
            disk_radius=self.options.radius,
            intensity_scale=self.intensity_scale,
            times=self.times,
            splits=self.options.splits,
            keep_bits=bits,
            saturated_share=self.options.saturation_mask,
            attrs={
                "processing": [*plan.calibration.steps(self.source_scale), consistency_step(), encoding_step(bits)],
                **self._tell_labels(),
                "ingest_settings": self.options.recorded(self.channels),
                "ingests": [],
                IN_PROGRESS: begun,
            },
            lease=self.lease,
        )
        return self.fill(plan, begun, [])

    def append(self, existing: xr.Dataset) -> tuple[dict[str, int], list[Rejection]]:
        """Add the new frames to the cube; frames by status, and the inputs left out."""
        if self.channels:  # otherwise no input could be read
            self._check_alike(existing)
        if not self.frames:
            self.notes.append("no input is later than the cube's last frame; nothing was appended")
            table = rejections_path(self.cube)
            write_rejections(table, [*read_rejections(table), *self.rejected], self.lease)
            return _counts(existing["frame_status"].values), self.rejected
        fingerprint = self.fingerprint()
        begun = existing.attrs.get(IN_PROGRESS)
        if begun is None or begun["fingerprint"] != fingerprint:
            start, _ = grow_cube(self.cube, self.times, self.lease)
            begun = self._progress(fingerprint, start)
        begun = self._taken_over(begun)
        return self.fill(self.plan(begun), begun, existing.attrs["ingests"], self._tell_labels(existing.attrs))

    def _tell_labels(self, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What the cube says of its labels, beside what it said `before`; also noted for the user."""
        said = label_attributes(self.times, self.catalogue, self.series)
        said = said if before is None else joined_attributes(before, said)
        self.notes += label_notes(said)
        return said

    def _check_alike(self, existing: xr.Dataset) -> None:
        """Refuse to append what is of another kind, or made with other options."""
        scale = existing.attrs["intensity_scale"]
        if scale != self.intensity_scale:
            raise UsageError(f"{self.cube}: holds {scale} intensities, these inputs are {self.intensity_scale}.")
        made_with = existing.attrs["ingest_settings"]
        for name, value in self.options.recorded(self.channels).items():
            if made_with.get(name) != value:
                option, made = f"--{name.replace('_', '-')}", made_with.get(name)
                raise UsageError(f"{self.cube}: was made with {option} {made}, not {value}; append with the same.")

    def _progress(self, fingerprint: str, start: int) -> dict[str, Any]:
        """A new run's `IN_PROGRESS`."""
        stop, run = start + len(self.frames), uuid.uuid4().hex
        return {"fingerprint": fingerprint, "inputs": len(self.inputs), "start": start, "stop": stop, "run": run}

    def _taken_over(self, begun: dict[str, Any]) -> dict[str, Any]:
        """The same in this run's name: tasks of the run before, if any are left on a cluster, write no more."""
        mine = begun | {"run": uuid.uuid4().hex}
        set_attributes(self.cube, {IN_PROGRESS: mine}, self.lease)
        return mine

    def fill(
        self, plan: Plan, begun: dict[str, Any], ingests: list[dict[str, Any]], labels: dict[str, Any] | None = None
    ) -> tuple[dict[str, int], list[Rejection]]:
        """Fill the frames that are pending and show them to readers, with the attributes `labels`."""
        table = rejections_path(self.cube)
        earlier = read_rejections(table)
        # A first ingest's table is its own, begun anew; an append keeps what others wrote before it.
        mine = {file.input for frame in self.frames for file in frame.files}
        before = [one for one in earlier if one.file not in mine] if ingests else []
        start = begun["start"]
        filling = Filling(plan, start, self.frames, [*before, *self.rejected], self.workers, self.scheduler, self.tell)
        self._write_labels(filling)
        if "faulty" in begun:  # then every shard is written
            found, kept, shards = earlier, 0, 0
        else:
            found, kept, shards = filling.write_shards()
        if kept:
            self.notes.append(f"{kept} of {shards} shards were kept from an earlier run")
        found = filling.reject_faulty(found, begun)
        status = np.asarray(filling.status[:])
        if not start and not np.isin(status, USABLE).any():
            remove_all(self.cube, self.lease)
            raise self._nothing_usable([*self.rejected, *found])
        statistics = filling.statistics()
        done = {name: value for name, value in begun.items() if name not in ("faulty", "run")}
        attributes = {"statistics": statistics, "ingests": [*ingests, done], IN_PROGRESS: None} | (labels or {})
        commit(self.cube, attributes, self.lease)
        return _counts(status), [*self.rejected, *found]

    def _nothing_usable(self, rejected: Sequence[Rejection]) -> SunaugError:
        """The error of a run that makes no cube; its reasons are kept in the table, if that is no other cube's."""
        table = rejections_path(self.cube)
        if self.cube.exists():
            return SunaugError(f"{no_cube_text(rejected, len(self.inputs))}.")
        write_rejections(table, rejected, self.lease)
        return SunaugError(f"{no_cube_text(rejected, len(self.inputs))}; the reasons are listed in {table}.")

    def _write_labels(self, filling: Filling) -> None:
        """Labels first: nothing but the frames themselves may be missing from a cube that was stopped."""
        group = open_arrays(self.cube, committed=False, lease=self.lease)
        record = self.series if self.series is not None else self.catalogue
        labels = {}
        if self.catalogue is not None:
            labels["forecast_flux"] = forecast_flux(self.times, self.catalogue)
        if record is not None:
            labels["nowcast_flux"] = nowcast_flux(self.times, record)
        for name, values in labels.items():
            writable(group, name)[filling.start : filling.stop] = values
            unknown = int(np.isnan(values).sum())
            if unknown:
                self.notes.append(f"{name} is unknown for {unknown:,} of {len(values):,} frames")


def _as_before(cube: UPath, existing: xr.Dataset, options: dict[str, Any]) -> dict[str, Any]:
    """Options for an append: what is not given is as the cube was made."""
    begun = existing.attrs.get(IN_PROGRESS)
    if begun and not begun["start"]:
        raise SunaugError(
            f"{cube}: the ingest that makes this cube was stopped; give its command again first, without --append."
        )
    made_with = existing.attrs.get("ingest_settings")
    if made_with is None:
        raise UsageError(f"{cube}: was not made by an ingest, so nothing can be appended to it.")
    # Files are recorded by name only; where they are is for the caller to say.
    kept = {name: value for name, value in made_with.items() if name not in ("pointing", "degradation", "psf")}
    return kept | {name: value for name, value in options.items() if value is not None}


def _local_scheduler(files: Sequence[InputFile]) -> str:
    weight = sum(file.size for file in files if file.source in ("fits", "suryabench"))
    return "processes" if weight >= BYTES_FOR_PROCESSES and (os.cpu_count() or 1) > 1 else "threads"


def _intensity_scale(references: Sequence[FileReference]) -> str:
    scales = {source(file.source).INTENSITY_SCALE for file in references}
    if len(scales) > 1:
        raise UsageError("FITS files (DN/s) and browse images (display counts) do not mix; ingest them into two cubes.")
    return scales.pop()


def _channel_order(references: Sequence[FileReference]) -> Callable[[str], tuple[int, int]]:
    """Channels of one file keep their order there; channels of different files go by wavelength."""
    first = {name: place for file in references for place, name in enumerate(file.channels)}
    return lambda name: (first[name], CHANNELS[name].wavelength)


def _counts(status: NDArray[np.int8]) -> dict[str, int]:
    return dict(Counter(FrameStatus(int(one)).name.lower() for one in status))


@contextmanager
def _one_sentence(cube: UPath) -> Iterator[None]:
    """A full disk, and whatever else the file system refuses, as one sentence that names the cube."""
    try:
        yield
    except network_errors() as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        what = "no space is left to write it" if full else f"cannot be written ({reason})"
        advice = "free some" if full else "mend that"
        message = f"{cube}: {what}; {advice} and give the command again, what is complete is kept."
        raise SunaugError(message) from None
