"""Fill a cube: read, calibrate and write its frames a shard a task, take out the faulty ones, sum the rest up.

Each step can be done again with the same outcome, and whatever the next one depends on is on disk before it begins; so
a run that was killed at any moment goes on, and ends with the same bits.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray
from upath import UPath

from pipelines.frames import Frame, partial_reason, readable
from pipelines.rejections import Rejection, read_rejections, rejections_path, time_text, write_rejections
from pipelines.tasks import run_tasks
from sunaug.calibrate.chain import Calibration, calibrate, missing_share
from sunaug.calibrate.consistency import DARK_SHARE, FrameMeasures, find_faulty, measure_frames
from sunaug.cube import FrameStatus, write_frames
from sunaug.cube.integrity import Integrity
from sunaug.cube.lock import Lease
from sunaug.cube.opening import IN_PROGRESS
from sunaug.cube.schema import OBSERVED_VARIABLES, SATURATED_SHARE, SPLIT_NAMES
from sunaug.cube.statistics import Tally, summarise, tally
from sunaug.cube.store import open_arrays, set_attributes, shard_pieces
from sunaug.cube.time_ranges import time_ranges
from sunaug.sources import RejectedFile, source
from sunaug.storage import remove_partial

__all__ = ["IN_PROGRESS", "Filling", "Plan"]

WINDOW_FRAMES = 4096
"""Frames that are compared with one another at a time, so that a cube of any length fits into memory."""
CONTEXT_FRAMES = 512
"""Frames before a window that it is compared with as well."""

USABLE = (FrameStatus.COMPLETE, FrameStatus.PARTIAL)

Report = Callable[[str, int, int], None]
"""Called with what is being done, the files or frames done so far, and their number."""


@dataclass(frozen=True)
class Plan:
    """What a task has to know: the cube's path, channels and scales, and what becomes of an observation."""

    cube: UPath
    channels: tuple[str, ...]
    source_scale: str
    intensity_scale: str
    """Of the cube: another one than the source's where a display stretch is undone."""
    calibration: Calibration
    disk_radius: float
    """Of the frame, in pixels; nominal where each frame keeps its own."""
    keep_partial: bool = True
    run: str = ""
    """Of whom the task is: it writes while the cube is in that run's hands."""
    lease: Lease | None = None
    """Of the cube's lock, which the run holds."""


def array_of(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """An array of a cube."""
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array


def write_shard(plan: Plan, start: int, frames: Sequence[Frame]) -> list[Rejection]:
    """Read, calibrate and write frames from number `start` on; the inputs that cannot be used."""
    count, width, size = len(frames), len(plan.channels), plan.calibration.size
    schema = OBSERVED_VARIABLES | (SATURATED_SHARE if plan.calibration.saturation_mask else {})
    values: dict[str, NDArray[Any]] = {
        name: np.full(
            (count, width, size, size)[: 1 + len(variable.dims)],
            variable.fill,
            dtype="<U128" if variable.dtype == "str" else variable.dtype,
        )
        for name, variable in schema.items()
        if name != "split"
    }
    values["intensity"] = np.full((count, width, size, size), np.nan, dtype=np.float32)
    values["frame_status"] = np.full(count, FrameStatus.REJECTED, dtype=np.int8)
    rejected: list[Rejection] = []
    for row, frame in enumerate(frames):
        reasons = _fill_frame(plan, frame, {name: array[row] for name, array in values.items()})
        filled = np.isfinite(values["pixel_area"][row])
        whole = filled & ~_torn(values["intensity"][row], values["disk_radius"][row])
        if whole.all():
            values["frame_status"][row] = FrameStatus.COMPLETE
        elif filled.any() and plan.keep_partial:
            values["frame_status"][row] = FrameStatus.PARTIAL
        elif filled.any():
            values["intensity"][row] = np.nan
            missing = [name for name, there in zip(plan.channels, whole, strict=True) if not there]
            reasons = {file.input: partial_reason(missing) for file in frame.files} | reasons
        rejected += [
            Rejection(file.input, time_text(file.time), reasons[file.input])
            for file in frame.files
            if file.input in reasons
        ]
    if _awaits(plan):
        write_frames(plan.cube, start, values, committed=False, lease=plan.lease)
    return rejected


def _torn(frame: NDArray[np.float32], disk_radius: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which channels of a frame (channel, y, x) lack more of the disk than dark pixels would be let pass."""
    return np.array([missing_share(*one) > DARK_SHARE for one in zip(frame, disk_radius, strict=True)])


def _awaits(plan: Plan) -> bool:
    """Whether the cube is still in the hands of the run that gave the task, and its shards are still to be written.

    On a cluster a task goes on when its run is gone. Another run may have finished the cube by then, and what that took
    out would come back.
    """
    attributes: dict[str, Any] = open_arrays(plan.cube, committed=False).attrs.asdict()
    begun = attributes.get(IN_PROGRESS, {})
    return begun.get("run") == plan.run and "faulty" not in begun


def _fill_frame(plan: Plan, frame: Frame, row: dict[str, NDArray[Any]]) -> dict[str, str]:
    """Put a frame's channels into the rows of its variables; why inputs were left out, by input."""
    reasons: dict[str, str] = {}
    for file in frame.files:
        try:
            with readable(file.path), warnings.catch_warnings():
                warnings.simplefilter("ignore", AstropyWarning)
                seen = source(file.source).read(file)
                calibrated = [(one.channel, *calibrate(one, plan.calibration, plan.source_scale)) for one in seen]
        except RejectedFile as error:
            reasons[file.input] = error.reason
            calibrated = []
        for name, image, facts in calibrated:
            column = plan.channels.index(name)
            row["intensity"][column] = image
            row["mean_intensity"][column] = np.nanmean(image, dtype=np.float64)
            for fact, value in facts.items():
                row[fact][column] = value
        for name in file.channels:
            row["source"][plan.channels.index(name)] = file.name
    return reasons


def _stored(plan: Plan) -> Integrity:
    """What is in the cube, at the length that it is growing to."""
    return Integrity(plan.cube, open_arrays(plan.cube, committed=False))


def measure_shard(plan: Plan, start: int, stop: int) -> FrameMeasures:
    """What the comparison of frames needs of some of them."""
    images = _stored(plan).values("intensity", slice(start, stop))
    return measure_frames(images, plan.disk_radius, plan.channels)


def tally_shard(plan: Plan, start: int, chosen: NDArray[np.bool_]) -> list[Tally]:
    """Sums over the chosen frames from number `start` on, a tally per channel."""
    images = _stored(plan).values("intensity", slice(start, start + len(chosen)))
    return [tally(images[chosen, place], name, plan.intensity_scale) for place, name in enumerate(plan.channels)]


@dataclass
class Filling:
    """The filling of frames [start, start + len(frames)) of one cube, and what runs it."""

    plan: Plan
    start: int
    frames: Sequence[Frame]
    rejected: list[Rejection]
    """Inputs that were left out before any pixel was read, of this run and of earlier ones."""
    workers: int | None
    scheduler: str | None
    tell: Report

    def __post_init__(self) -> None:
        group = open_arrays(self.plan.cube, committed=False)
        self.stop = self.start + len(self.frames)
        self.shard = (array_of(group, "intensity").shards or (1,))[0]
        self.status = array_of(group, "frame_status")
        self.table = rejections_path(self.plan.cube)

    def run(self, what: str, work: Callable[..., Any], tasks: list[tuple[Any, ...]], weights: list[int]) -> list[Any]:
        """Run a step's tasks, telling how far it is."""
        return run_tasks(
            work,
            tasks,
            weights,
            workers=self.workers,
            scheduler=self.scheduler,
            report=lambda done: self.tell(what, done, sum(weights)),
        )

    def frames_of(self, first: int, last: int) -> Sequence[Frame]:
        """Frames by their numbers in the cube."""
        return self.frames[first - self.start : last - self.start]

    def inputs_of(self, first: int, last: int) -> set[str]:
        """Inputs of frames [first, last)."""
        return {file.input for frame in self.frames_of(first, last) for file in frame.files}

    def write_shards(self) -> tuple[list[Rejection], int, int]:
        """Write the shards that are pending; the inputs left out, the number of shards kept, and of all."""
        status, earlier = np.asarray(self.status[:]), read_rejections(self.table)
        area = array_of(open_arrays(self.plan.cube, committed=False), "pixel_area")
        filled = np.isfinite(np.asarray(area[:])).sum(axis=1)
        explained = {one.file for one in earlier}

        def is_pending(first: int, last: int) -> bool:
            # A shard may have been written and its reasons not: inputs left out without one are read again.
            frames = self.frames_of(first, last)
            spoiled = [frame for frame, n in zip(frames, filled[first:last], strict=True) if n < len(frame.channels)]
            unexplained = any({file.input for file in frame.files}.isdisjoint(explained) for frame in spoiled)
            return bool((status[first:last] == FrameStatus.PENDING).any()) or unexplained

        spans = shard_pieces(self.start, self.stop, self.shard)
        pending = [span for span in spans if is_pending(*span)]
        kept = {file for span in spans if span not in pending for file in self.inputs_of(*span)}
        found = [one for one in earlier if one.file in kept]
        batches = self.run(
            "reading files",
            write_shard,
            [(self.plan, first, self.frames_of(first, last)) for first, last in pending],
            [len(self.inputs_of(first, last)) for first, last in pending],
        )
        # Workers of a cluster may have been killed while they wrote, and their tasks done by others.
        remove_partial(self.plan.cube)
        found += [one for batch in batches for one in batch]
        write_rejections(self.table, [*self.rejected, *found], self.plan.lease)
        return found, len(spans) - len(pending), len(spans)

    def find_faulty(self) -> dict[int, str]:
        """Compare the frames with each other and those before; why, by the number of a faulty frame."""
        windows = [
            (max(0, first - CONTEXT_FRAMES), first, min(first + WINDOW_FRAMES, self.stop))
            for first in range(self.start, self.stop, WINDOW_FRAMES)
        ]
        stored = _stored(self.plan)
        times = stored.values("time")
        faulty: dict[int, str] = {}
        for context, first, last in windows:
            spans = shard_pieces(context, last, self.shard)
            parts = self.run(
                "comparing frames",
                measure_shard,
                [(self.plan, *span) for span in spans],
                [after - before for before, after in spans],
            )
            measures = FrameMeasures.join(parts)
            usable = np.flatnonzero(np.isin(stored.status[context:last], USABLE))
            chosen = FrameMeasures(measures.level[usable], measures.values[usable], measures.ranks[usable])
            moments = np.asarray(times[context:last])[usable].astype("datetime64[ns]")
            found = find_faulty(chosen, moments, self.plan.channels)
            numbers = {int(usable[place]) + context: reason for place, reason in found.items()}
            faulty |= {number: reason for number, reason in numbers.items() if number >= first}
        return faulty

    def reject_faulty(self, found: list[Rejection], state: dict[str, Any]) -> list[Rejection]:
        """Take faulty frames out; all inputs left out.

        Parameters
        ----------
        found : list of Rejection
            Those left out so far.
        state : dict
            The cube's `IN_PROGRESS`: which frames are faulty is written there before the first of them is touched, for
            a frame taken out is no measure for the others any more.
        """
        if "faulty" not in state:
            faulty = self.find_faulty()
            named = {one.file for one in found}
            found = found + [
                Rejection(file.input, time_text(file.time), reason)
                for number, reason in faulty.items()
                for file in self.frames_of(number, number + 1)[0].files
                if file.input not in named
            ]
            write_rejections(self.table, [*self.rejected, *found], self.plan.lease)
            state["faulty"] = sorted(faulty)
            set_attributes(self.plan.cube, {IN_PROGRESS: state}, self.plan.lease)
        width, size = len(self.plan.channels), self.plan.calibration.size
        spoiled: dict[str, NDArray[Any]] = {
            "intensity": np.full((1, width, size, size), np.nan, dtype=np.float32),
            "frame_status": np.array([FrameStatus.REJECTED], dtype=np.int8),
        }
        status = np.asarray(self.status[:])
        for number in state["faulty"]:
            if status[number] != FrameStatus.REJECTED:
                write_frames(self.plan.cube, number, spoiled, committed=False, lease=self.plan.lease)
        return found

    def statistics(self) -> dict[str, Any]:
        """Statistics of the usable train frames (of all usable frames where there are none), for the attributes."""
        stored = _stored(self.plan)
        status, split, times = (stored.values(name, slice(self.stop)) for name in ("frame_status", "split", "time"))
        usable = np.isin(status, USABLE)
        train = usable & (split == SPLIT_NAMES.index("train"))
        chosen = train if train.any() else usable
        spans = [span for span in shard_pieces(0, self.stop, self.shard) if chosen[slice(*span)].any()]
        parts = self.run(
            "statistics",
            tally_shard,
            [(self.plan, first, chosen[first:last]) for first, last in spans],
            [last - first for first, last in spans],
        )
        return {
            "of": "train" if train.any() else "all usable frames",
            "frames": int(chosen.sum()),
            "time_ranges": time_ranges(times[chosen].astype("datetime64[ns]")),
            "channels": {
                name: summarise([part[place] for part in parts], name, self.plan.intensity_scale)
                for place, name in enumerate(self.plan.channels)
            },
        }
