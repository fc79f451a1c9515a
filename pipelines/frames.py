"""From files to frames: what each input is, and which of them show one moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from upath import UPath

from pipelines.rejections import Rejection, time_text
from sunaug.sources import FileReference, InputFile, RejectedFile, input_name, source
from sunaug.storage import is_remote, reachable

__all__ = ["Frame", "group_frames", "leave_out_known", "leave_out_partial", "readable", "refer_files"]


@dataclass(frozen=True)
class Frame:
    """The inputs of one moment: a cube's frame that is to be."""

    time: np.datetime64
    files: tuple[FileReference, ...]

    @property
    def channels(self) -> list[str]:
        """Channels that the inputs have, in their order."""
        return [name for file in self.files for name in file.channels]


@contextmanager
def readable(path: Path | UPath) -> Iterator[None]:
    """Turn what reading a file raises into its rejection, or into the end of the run where the network fails.

    Raises
    ------
    RejectedFile
        If the file is gone, or a local one cannot be read.
    SunaugError
        If a URL cannot be reached: no file is to be left out for that.
    """
    with reachable(path):
        try:
            yield
        except OSError as error:
            if is_remote(path) and not isinstance(error, FileNotFoundError):
                raise
            raise RejectedFile(f"not readable ({error.strerror or error}).") from error


def refer_files(files: Sequence[InputFile], channels: tuple[str, ...] | None) -> list[FileReference | Rejection]:
    """Time and channels of every input in some files, or why it cannot be used."""
    found: list[FileReference | Rejection] = []
    for file in files:
        looked: list[FileReference | RejectedFile]
        try:
            if not file.source:
                raise RejectedFile(f"files of the kind {file.path.suffix or 'without ending'!r} are not read.")
            with readable(file.path):
                looked = source(file.source).refer(file.path, channels)
            if not looked:
                raise RejectedFile("holds no frames.")
        except RejectedFile as error:
            looked = [error]
        found += [
            Rejection(input_name(file.path, one.member), time_text(one.time), one.reason)
            if isinstance(one, RejectedFile)
            else one
            for one in looked
        ]
    return found


def group_frames(
    references: Iterable[FileReference], channels: Sequence[str], tolerance: np.timedelta64
) -> tuple[list[Frame], list[Rejection]]:
    """Put inputs of one moment together.

    Parameters
    ----------
    references : iterable of FileReference
        In any order.
    channels : sequence of str
        Channels of the cube; inputs of others are left out.
    tolerance : numpy.timedelta64
        Inputs of different channels up to this time after the first one are one frame with it.

    Returns
    -------
    frames : list of Frame
        In order of time, no two at the same.
    rejected : list of Rejection
        Inputs of other channels, and second ones of the same channel and time.
    """
    groups: list[tuple[np.datetime64, list[FileReference]]] = []
    rejected: list[Rejection] = []
    for file in sorted(references, key=lambda file: (file.time, file.input)):
        strange = [name for name in file.channels if name not in channels]
        if strange:
            reason = f"its channel {', '.join(strange)} is not among those of the cube ({', '.join(channels)})."
            rejected.append(_reject(file, reason))
            continue
        if not groups or file.time - groups[-1][0] > tolerance:
            groups.append((file.time, [file]))
            continue
        time, members = groups[-1]
        twin = next((other for other in members if set(other.channels) & set(file.channels)), None)
        if twin is None:
            members.append(file)
        elif file.time in (twin.time, time):
            rejected.append(_reject(file, f"the same channel and time as {twin.name}, and the first is read."))
        else:
            groups.append((file.time, [file]))
    return [Frame(time, tuple(members)) for time, members in groups], rejected


def leave_out_partial(frames: Sequence[Frame], channels: Sequence[str]) -> tuple[list[Frame], list[Rejection]]:
    """Frames that have every channel, and the inputs of the others."""
    whole = [frame for frame in frames if set(channels) <= set(frame.channels)]
    rejected = [
        _reject(file, partial_reason([name for name in channels if name not in frame.channels]))
        for frame in frames
        if not set(channels) <= set(frame.channels)
        for file in frame.files
    ]
    return whole, rejected


def partial_reason(missing: Sequence[str]) -> str:
    """Why an input is left out whose frame lacks channels."""
    return f"its frame lacks {', '.join(missing)}, and partial frames are left out."


def leave_out_known(
    references: Iterable[FileReference], times: NDArray[np.datetime64], tolerance: np.timedelta64
) -> tuple[list[FileReference], list[FileReference], list[Rejection]]:
    """Which inputs are new to a cube.

    Parameters
    ----------
    references : iterable of FileReference
    times : ndarray of datetime64, shape (n,)
        The cube's frames, ascending.
    tolerance : numpy.timedelta64

    Returns
    -------
    new : list of FileReference
        Later than the cube's last frame.
    known : list of FileReference
        Of the moment of a frame that is there.
    rejected : list of Rejection
        Earlier than the last frame, and of no frame: a cube grows at its end only.
    """
    new: list[FileReference] = []
    known: list[FileReference] = []
    rejected: list[Rejection] = []
    for file in references:
        place = int(np.searchsorted(times, file.time, side="right"))
        if place and file.time - times[place - 1] <= tolerance:
            known.append(file)
        elif place == len(times):
            new.append(file)
        else:
            rejected.append(_reject(file, "before the cube's last frame, and a cube grows at its end only."))
    return new, known, rejected


def _reject(file: FileReference, reason: str) -> Rejection:
    return Rejection(file.input, time_text(file.time), reason)
