"""Files of an export: each whole or not there, so that a writer which was killed can go on."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from upath import UPath

from forecasting_adapters.exports.contract import Frame
from sunaug.errors import SunaugError
from sunaug.storage import replace_object

__all__ = ["Member", "find_members", "npy_bytes", "put_once", "read_npy", "write_tars"]

_SUFFIX = ".partial"

Member = tuple[Path, int, int]
"""Where the content of a file in a tar lies: the tar, offset and length in bytes."""


def put_once(path: Path, content: Callable[[], bytes]) -> None:
    """Write a file in one step, unless it is there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_object(UPath(path), content())


def npy_bytes(array: NDArray[np.float32]) -> bytes:
    """The content of a ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def write_tars(
    frames: Iterable[Frame],
    out: Path,
    tar_name: Callable[[int, Frame], str],
    members: Callable[[Frame], Mapping[str, bytes]],
    done: Callable[[int], None],
) -> None:
    """Write frames into tars; those that are whole stay.

    Parameters
    ----------
    frames : iterable of Frame
    out : pathlib.Path
        Folder of the tars.
    tar_name : callable
        ``tar_name(place, frame)``: the tar that a frame belongs to. Frames of one tar follow each other.
    members : callable
        Names and contents of a frame's files.
    done : callable
        Told the number of frames so far.
    """
    for name, group in groupby(enumerate(frames), key=lambda pair: tar_name(*pair)):
        path = out / name
        part = path.with_name(f"{name}{_SUFFIX}")
        if path.exists():
            for place, _ in group:
                done(place + 1)
            continue
        with tarfile.open(part, "w") as tar:
            for place, frame in group:
                for member, content in members(frame).items():
                    # No owner and no time: the same frames make the same tar.
                    info = tarfile.TarInfo(member)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
                done(place + 1)
        part.replace(path)


def find_members(out: Path, tars: str, names: Sequence[str]) -> list[Member]:
    """Where some files lie in the tars of an export.

    Parameters
    ----------
    out : pathlib.Path
        Folder of the tars.
    tars : str
        Pattern of their names.
    names : sequence of str
        Names of the files within the tars.

    Raises
    ------
    SunaugError
        If a tar is damaged, or a file is in none of them.
    """
    found: dict[str, Member] = {}
    for path in sorted(out.glob(tars)):
        try:
            with tarfile.open(path) as tar:
                found |= {one.name: (path, one.offset_data, one.size) for one in tar}
        except tarfile.TarError as error:
            raise SunaugError(f"{path}: not a tar, or a damaged one ({error}); export the cube again.") from None
    if missing := [name for name in names if name not in found]:
        raise SunaugError(f"{out}: {missing[0]} is in none of its tars; export the cube again.")
    return [found[name] for name in names]


def read_npy(member: Member) -> NDArray[np.float32]:
    """The array of a ``.npy`` file in a tar."""
    path, offset, size = member
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read(size)
    array: NDArray[np.float32] = np.load(io.BytesIO(content), allow_pickle=False)
    return array
