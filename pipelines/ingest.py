"""Ingest: files of the Sun into a cube, through Dask.

Every file is looked at (time and channels), files of one moment become a frame, and the cube is created with its whole
time axis. One task per shard then reads, calibrates and writes its frames, and a last pass finds faulty frames. What
cannot be used is named in ``<cube>.rejected.csv``: each input file is either in the cube or in that table.

An ingest that was stopped goes on where it stopped when it is called again with the same inputs: shards with pending
frames are read anew, the rest are kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time as clock
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from pipelines.rejections import Rejection, read_rejections, rejections_path, time_text, write_rejections
from pipelines.tasks import check_scheduler, run_tasks
from sunaug.calibrate.chain import Calibration, calibrate
from sunaug.calibrate.consistency import FrameMeasures, consistency_step, find_faulty, measure_frames
from sunaug.calibrate.degradation import read_degradation
from sunaug.cube import FrameStatus, create_cube, open_cube, shard_ranges, write_frames
from sunaug.cube.schema import DISK_RADIUS_FRACTION, OBSERVED_VARIABLES
from sunaug.errors import SunaugError, UsageError
from sunaug.flares import forecast_flux, nowcast_flux, read_catalogue, read_xrs
from sunaug.lexicon import CHANNELS, channel_names
from sunaug.sources import FileReference, RejectedFile, discover, input_name, source

__all__ = ["IngestResult", "ingest"]

FRAME_TOLERANCE = np.timedelta64(60, "s")
"""Files of different channels within this time are one frame; AIA takes its channels in turn within 12 s, browse
archives within a minute."""

Report = Callable[[str, int, int], None]
"""Called with what is being done, the files or frames done so far, and their number."""


@dataclass(frozen=True)
class IngestResult:
    """What an ingest did.

    Attributes
    ----------
    cube : pathlib.Path
    frames : dict of str to int
        Number of frames by status.
    files_used, files_rejected : int
        Together every input file.
    rejected_csv : pathlib.Path
    seconds : float
    notes : tuple of str
        What the user should know: labels that are unknown, shards kept from an earlier run.
    """

    cube: Path
    frames: dict[str, int]
    files_used: int
    files_rejected: int
    rejected_csv: Path
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass
class _Frame:
    time: np.datetime64
    files: list[FileReference] = field(default_factory=list)

    @property
    def channels(self) -> list[str]:
        return [name for file in self.files for name in file.channels]


def _refer(path: Path, kind: str, channels: tuple[str, ...] | None) -> list[FileReference | Rejection]:
    try:
        if not kind:
            raise RejectedFile(f"files of the kind {path.suffix or 'without ending'!r} are not read.")
        found = source(kind).refer(path, channels)
    except RejectedFile as error:
        found = [error]
    except OSError as error:
        found = [RejectedFile(f"not readable ({error.strerror}).")]
    return [
        Rejection(input_name(path, one.member), time_text(one.time), one.reason)
        if isinstance(one, RejectedFile)
        else one
        for one in found
    ]


def _group(references: Iterable[FileReference], channels: Sequence[str]) -> tuple[list[_Frame], list[Rejection]]:
    """Put files of one moment together; frames come in order of time, no two at the same."""
    frames: list[_Frame] = []
    rejected: list[Rejection] = []
    for file in sorted(references, key=lambda file: (file.time, file.path)):
        strange = [name for name in file.channels if name not in channels]
        if strange:
            reason = f"its channel {', '.join(strange)} is not among those of the cube ({', '.join(channels)})."
            rejected.append(Rejection(file.input, time_text(file.time), reason))
            continue
        last = frames[-1] if frames else None
        if last is None or file.time - last.time > FRAME_TOLERANCE:
            frames.append(_Frame(file.time, [file]))
            continue
        twin = next((other for other in last.files if set(other.channels) & set(file.channels)), None)
        if twin is None:
            last.files.append(file)
        elif twin.time == file.time or last.time == file.time:
            reason = f"the same channel and time as {twin.name}, which is used."
            rejected.append(Rejection(file.input, time_text(file.time), reason))
        else:
            frames.append(_Frame(file.time, [file]))
    return frames, rejected


def _write_shard(
    cube: Path, start: int, frames: Sequence[_Frame], channels: Sequence[str], plan: Calibration
) -> list[Rejection]:
    """Read, calibrate and write the frames of one shard."""
    count, width = len(frames), len(channels)
    values: dict[str, NDArray[Any]] = {
        name: np.full((count, width), variable.fill, dtype="<U128" if variable.dtype == "str" else variable.dtype)
        for name, variable in OBSERVED_VARIABLES.items()
    }
    values["intensity"] = np.full((count, width, plan.size, plan.size), np.nan, dtype=np.float32)
    values["frame_status"] = np.full(count, FrameStatus.REJECTED, dtype=np.int8)
    rejected: list[Rejection] = []
    for row, frame in enumerate(frames):
        for file in frame.files:
            origin = source(file.source)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", AstropyWarning)
                    calibrated = [
                        (one.channel, *calibrate(one, plan, origin.INTENSITY_SCALE)) for one in origin.read(file)
                    ]
            except (RejectedFile, OSError) as error:
                rejected.append(Rejection(file.input, time_text(file.time), str(error)))
                calibrated = []
            for name, image, facts in calibrated:
                column = channels.index(name)
                values["intensity"][row, column] = image
                for fact, value in facts.items():
                    values[fact][row, column] = value
            for name in file.channels:
                values["source"][row, channels.index(name)] = file.name
        filled = np.isfinite(values["pixel_area"][row])
        if filled.any():
            values["frame_status"][row] = FrameStatus.COMPLETE if filled.all() else FrameStatus.PARTIAL
    write_frames(cube, start, values)
    return rejected


def _fingerprint(files: Sequence[tuple[Path, str]], settings: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for path, _ in files:
        digest.update(f"{path.name}:{path.stat().st_size}\n".encode())
    return digest.hexdigest()


def _describe(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else str(path)


def _measure_shard(cube: Path, start: int, stop: int, disk_radius: float) -> FrameMeasures:
    intensity = zarr.open_group(cube, mode="r")["intensity"]
    assert isinstance(intensity, zarr.Array)
    return measure_frames(np.asarray(intensity[start:stop]), disk_radius)


def ingest(
    sources: Iterable[str | Path],
    out: str | Path,
    *,
    size: int = 256,
    channels: Sequence[str] | None = None,
    flares: str | Path | None = None,
    xrs: str | Path | None = None,
    degradation: str | Path | None = None,
    disk_radius: float | None = None,
    lenient_quality: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    report: Report | None = None,
) -> IngestResult:
    """Make a cube of FITS files or browse images.

    Parameters
    ----------
    sources : iterable of str or pathlib.Path
        Files and folders.
    out : str or pathlib.Path
        The cube. One that an ingest of the same inputs left unfinished is finished.
    size : int
        Width and height of a frame in pixels.
    channels : sequence of str, optional
        Channels of the cube, any spelling; by default those that the files have.
    flares : str or pathlib.Path, optional
        Flare catalogue for the labels; without it they are unknown (NaN).
    xrs : str or pathlib.Path, optional
        GOES X-ray flux for ``nowcast_flux``; without it the catalogue serves.
    degradation : str or pathlib.Path, optional
        Folder of degradation tables; without it the intensity is as the instrument saw it.
    disk_radius : float, optional
        Radius of the photosphere in pixels; 7/16 of `size` by default.
    lenient_quality : bool
        Take frames whose QUALITY spoils them only in part.
    workers : int, optional
        Threads; as many as there are cores by default.
    scheduler : str, optional
        Address of a ``distributed`` scheduler (``tcp://host:8786``), or ``threads``, ``processes``, ``synchronous``.
    report : callable, optional
        Called with a title, the items done and their number.

    Returns
    -------
    IngestResult

    Raises
    ------
    UsageError
        If the request makes no sense: a path that does not exist, an unknown channel.
    SunaugError
        If no file is usable (and then no cube is left behind), or `out` is a cube of other inputs.
    """
    began = clock.monotonic()
    tell = report or (lambda what, done, total: None)
    cube = Path(out)
    if size < 8:
        raise UsageError(f"a frame of {size} pixels holds no Sun; choose a size of 8 or more.")
    radius = DISK_RADIUS_FRACTION * size if disk_radius is None else float(disk_radius)
    if not 0 < radius <= size / 2:
        raise UsageError(f"a disk radius of {radius:g} does not fit a frame of {size} pixels; at most {size / 2:g}.")
    check_scheduler(scheduler)
    wanted = channel_names(channels) if channels else None
    catalogue = read_catalogue(flares) if flares else None
    series = read_xrs(xrs) if xrs else None
    plan = Calibration(size, radius, lenient_quality, Path(degradation).absolute() if degradation else None)

    files = discover(sources)
    looked: list[FileReference | Rejection] = []
    for done, (path, kind) in enumerate(files, start=1):
        looked.extend(_refer(path, kind, tuple(wanted) if wanted else None))
        tell("looking at files", done, len(files))
    references = [one for one in looked if isinstance(one, FileReference)]
    rejected = [one for one in looked if isinstance(one, Rejection)]
    if not references:
        raise SunaugError(_nothing_usable(rejected, len(files)))
    scales = {source(file.source).INTENSITY_SCALE for file in references}
    if len(scales) > 1:
        raise UsageError("FITS files (DN/s) and browse images (display counts) do not mix; ingest them into two cubes.")
    scale = scales.pop()
    names = wanted or sorted({n for file in references for n in file.channels}, key=_channel_order(references))
    if plan.degradation is not None:
        if scale != "physical":
            raise UsageError("a degradation table corrects DN/s; browse images hold display counts: leave it out.")
        for name in names:
            read_degradation(plan.degradation, name)
    frames, strange = _group(references, names)
    rejected += strange
    if not frames:
        raise SunaugError(_nothing_usable(rejected, len(files)))

    settings = {
        "channels": names,
        "size": size,
        "disk_radius": radius,
        "lenient_quality": lenient_quality,
        "degradation": None if plan.degradation is None else plan.degradation.name,
        "flares": None if flares is None else _describe(Path(flares)),
        "xrs": None if xrs is None else _describe(Path(xrs)),
    }
    fingerprint = _fingerprint(files, settings)
    times = np.array([frame.time for frame in frames], dtype="datetime64[ns]")
    notes: list[str] = []
    resumed = cube.exists()
    if resumed:
        made_from = open_cube(cube).attrs.get("ingest_fingerprint")
        if made_from != fingerprint:
            raise SunaugError(f"{cube}: exists and was made of other inputs; choose another path or remove it first.")
    else:
        cube.parent.mkdir(parents=True, exist_ok=True)
        attrs = {
            "processing": [*plan.steps(scale), consistency_step()],
            "label_sources": {
                "forecast_flux": catalogue.source if catalogue else "none",
                "nowcast_flux": series.source if series else catalogue.source if catalogue else "none",
            },
            "catalogue_repairs": catalogue.repairs if catalogue else {},
            "ingest_fingerprint": fingerprint,
            "ingest_finished": False,
        }
        create_cube(
            cube, channels=names, size=size, disk_radius=radius, intensity_scale=scale, times=times, attrs=attrs
        )
    job = _Job(cube, frames, names, plan, rejected, workers, scheduler, tell)
    try:
        # Labels first: nothing but the frames themselves may be missing from a cube that was stopped.
        for name, values in _labels(times, catalogue, series).items():
            _array(job.group, name)[:] = values
        if catalogue is None:
            notes.append("no flare catalogue given, so the forecast labels are unknown (--flares adds them)")
        if job.group.attrs.get("ingest_finished"):
            notes.append("the cube was finished already; nothing was read again")
            rejected = read_rejections(job.table) or rejected
        else:
            found, kept = job.write_shards()
            if kept:
                notes.append(f"{kept} of {len(job.ranges)} shards were kept from an earlier run")
            rejected += job.reject_faulty(found)
        status = job.status
        if not np.isin(status, [FrameStatus.COMPLETE, FrameStatus.PARTIAL]).any():
            raise SunaugError(_nothing_usable(rejected, len(files)))
        job.group.attrs["ingest_finished"] = True
    except SunaugError:
        if not resumed:
            shutil.rmtree(cube, ignore_errors=True)
            job.table.unlink(missing_ok=True)
        raise
    write_rejections(job.table, rejected)
    counts = Counter(FrameStatus(int(one)).name.lower() for one in status)
    gone = len({one.file for one in rejected})
    return IngestResult(cube, dict(counts), len(files) - gone, gone, job.table, clock.monotonic() - began, tuple(notes))


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array


def _channel_order(references: Sequence[FileReference]) -> Callable[[str], tuple[int, int]]:
    """Channels of one file keep their order there; channels of different files go by wavelength."""
    first = {name: place for file in references for place, name in enumerate(file.channels)}
    return lambda name: (first[name], CHANNELS[name].wavelength)


def _nothing_usable(rejected: Sequence[Rejection], n_files: int) -> str:
    reasons = Counter(one.reason for one in rejected)
    reason = reasons.most_common(1)[0][0].rstrip(".")
    example = next(one.file for one in rejected if one.reason.rstrip(".") == reason)
    if n_files == 1:
        return f"{example}: {reason}. No cube was made."
    return f"no usable frame in {n_files:,} files, so no cube was made; most often ({example}): {reason}."


def _labels(times: NDArray[np.datetime64], catalogue: Any, series: Any) -> dict[str, NDArray[np.float64]]:
    labels = {}
    if catalogue is not None:
        labels["forecast_flux"] = forecast_flux(times, catalogue)
    record = series if series is not None else catalogue
    if record is not None:
        labels["nowcast_flux"] = nowcast_flux(times, record)
    return labels


@dataclass
class _Job:
    """The filling of one cube: what is to be written, and what runs it."""

    cube: Path
    frames: list[_Frame]
    channels: list[str]
    plan: Calibration
    rejected: list[Rejection]
    """Files that were left out before any pixel was read."""
    workers: int | None
    scheduler: str | None
    tell: Report

    def __post_init__(self) -> None:
        self.group = zarr.open_group(self.cube, mode="r+")
        self.ranges = shard_ranges(open_cube(self.cube))
        self.table = rejections_path(self.cube)

    @property
    def status(self) -> NDArray[np.int8]:
        return np.asarray(_array(self.group, "frame_status")[:])

    def run(self, work: Callable[..., Any], tasks: list[tuple[Any, ...]], weights: list[int], what: str) -> list[Any]:
        return run_tasks(
            work,
            tasks,
            weights,
            workers=self.workers or os.cpu_count(),
            scheduler=self.scheduler,
            report=lambda done: self.tell(what, done, sum(weights)),
        )

    def files_of(self, start: int, stop: int) -> set[str]:
        return {file.input for frame in self.frames[start:stop] for file in frame.files}

    def write_shards(self) -> tuple[list[Rejection], int]:
        """Write the shards that are pending; the files left out so far, and the number of shards kept."""
        status, earlier = self.status, read_rejections(self.table)
        explained = {one.file for one in earlier}

        def is_pending(start: int, stop: int) -> bool:
            # A shard may have been written and its reasons not: frames left out without one are read again.
            spoiled = np.flatnonzero(status[start:stop] != FrameStatus.COMPLETE) + start
            unexplained = any(self.files_of(number, number + 1).isdisjoint(explained) for number in spoiled.tolist())
            return bool((status[start:stop] == FrameStatus.PENDING).any()) or unexplained

        pending = [span for span in self.ranges if is_pending(*span)]
        kept = {file for span in self.ranges if span not in pending for file in self.files_of(*span)}
        found = [one for one in earlier if one.file in kept]
        batches = self.run(
            _write_shard,
            [(self.cube, start, self.frames[start:stop], self.channels, self.plan) for start, stop in pending],
            [sum(len(frame.files) for frame in self.frames[start:stop]) for start, stop in pending],
            "reading files",
        )
        found += [one for batch in batches for one in batch]
        write_rejections(self.table, [*self.rejected, *found])
        return found, len(self.ranges) - len(pending)

    def reject_faulty(self, found: list[Rejection]) -> list[Rejection]:
        """Compare the frames with each other and take the faulty ones out; all files left out."""
        parts = self.run(
            _measure_shard,
            [(self.cube, start, stop, self.plan.disk_radius) for start, stop in self.ranges],
            [stop - start for start, stop in self.ranges],
            "comparing frames",
        )
        measures = FrameMeasures.join(parts)
        usable = np.flatnonzero(np.isin(self.status, [FrameStatus.COMPLETE, FrameStatus.PARTIAL])).tolist()
        times = np.array([self.frames[number].time for number in usable], dtype="datetime64[ns]")
        chosen = FrameMeasures(measures.level[usable], measures.values[usable], measures.ranks[usable])
        faulty = {usable[place]: reason for place, reason in find_faulty(chosen, times, self.channels).items()}
        named = {one.file for one in found}
        found = found + [
            Rejection(file.input, time_text(file.time), reason)
            for number, reason in faulty.items()
            for file in self.frames[number].files
            if file.input not in named
        ]
        # The reasons first: a frame rejected without one would be read again.
        write_rejections(self.table, [*self.rejected, *found])
        empty = np.full((1, len(self.channels), self.plan.size, self.plan.size), np.nan, dtype=np.float32)
        spoiled: dict[str, NDArray[Any]] = {
            "intensity": empty,
            "frame_status": np.array([FrameStatus.REJECTED], dtype=np.int8),
        }
        for number in sorted(faulty):
            write_frames(self.cube, number, spoiled)
        return found
