"""Where frames come from: one file per origin, all behind one protocol.

A source recognises its files by name, tells the time and the channels of one cheaply (header or file name), and reads
it as observations: one image per channel, south at row 0, with the place of the solar disk on it. What comes out is as
the archive holds it; every correction belongs to `sunaug.calibrate`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sunaug.errors import SunaugError, UsageError

__all__ = [
    "SOURCES",
    "DiskGeometry",
    "FileReference",
    "Observation",
    "RejectedFile",
    "Source",
    "discover",
    "source",
]


class RejectedFile(SunaugError):
    """A file that cannot become (part of) a frame; the message is the reason, without the file's name.

    `time` is the time of observation where that much could be read.
    """

    def __init__(self, reason: str, time: np.datetime64 | None = None):
        super().__init__(reason)
        self.reason = reason
        self.time = time

    def __reduce__(self) -> tuple[type, tuple[str, np.datetime64 | None]]:
        return type(self), (self.reason, self.time)


@dataclass(frozen=True)
class FileReference:
    """What is known of a file before its pixels are read: its source's name, time (UTC) and channels."""

    path: Path
    source: str
    time: np.datetime64
    channels: tuple[str, ...]


@dataclass(frozen=True)
class DiskGeometry:
    """Where the solar disk lies on an image.

    Attributes
    ----------
    centre : tuple of float
        Column and row of the disk's centre; the first pixel's centre is at (0, 0).
    to_pixels : ndarray, shape (2, 2)
        Takes (solar west, solar north) in solar radii to (columns, rows) away from the centre.
    """

    centre: tuple[float, float]
    to_pixels: NDArray[np.float64]

    @property
    def radius(self) -> float:
        """Radius of the photosphere in source pixels."""
        return float(np.sqrt(abs(np.linalg.det(self.to_pixels))))

    def covers_disk(self, shape: tuple[int, int]) -> bool:
        """Whether the whole photosphere lies on an image of `shape` (rows, columns)."""
        margin = self.radius - 0.5
        column, row = self.centre
        return margin <= column <= shape[1] - 1 - margin and margin <= row <= shape[0] - 1 - margin


@dataclass(frozen=True)
class Observation:
    """One channel of one file.

    Attributes
    ----------
    channel : str
        Lexicon name.
    time : numpy.datetime64
        UTC.
    image : ndarray of float32, shape (y, x)
        DN, or display counts; row 0 in the south of an unrolled image; NaN where missing.
    geometry : DiskGeometry
    exposure_time : float
        Seconds; NaN where the file does not say.
    quality : int
        The QUALITY keyword; 0 where the source has none.
    saturation_level : float
        Value from which a pixel counts as saturated.
    """

    channel: str
    time: np.datetime64
    image: NDArray[np.float32]
    geometry: DiskGeometry
    exposure_time: float
    quality: int
    saturation_level: float


@runtime_checkable
class Source(Protocol):
    """An origin of frames; a module with these names is one."""

    SUFFIXES: tuple[str, ...]
    INTENSITY_SCALE: str

    def refer(self, path: Path, channels: tuple[str, ...] | None) -> FileReference:
        """Time and channels of a file, without its pixels; raises `RejectedFile`."""
        ...

    def read(self, reference: FileReference) -> list[Observation]:
        """The observations in a file; raises `RejectedFile`."""
        ...


SOURCES: dict[str, str] = {"fits": "sunaug.sources.fits_files", "browse": "sunaug.sources.browse"}
"""Modules by name of the source: imported when they are first used."""


def source(name: str) -> Source:
    """The source of that name."""
    module = import_module(SOURCES[name])
    assert isinstance(module, Source)
    return module


def discover(paths: Iterable[str | Path]) -> list[tuple[Path, str]]:
    """Find the files that a source can read.

    Parameters
    ----------
    paths : iterable of str or pathlib.Path
        Files and folders; a folder is searched with everything below it. In a folder, files of other kinds (an index, a
        note) are passed over; a file that is named itself is kept, with an empty source where none fits.

    Returns
    -------
    list of (pathlib.Path, str)
        Each file once, in the order of names, with its source's name.

    Raises
    ------
    UsageError
        If a path does not exist, or a folder holds nothing that a source reads.
    """
    kinds = {suffix: name for name in SOURCES for suffix in source(name).SUFFIXES}

    def kind(path: Path) -> str:
        return next((name for suffix, name in kinds.items() if path.name.lower().endswith(suffix)), "")

    found: dict[Path, str] = {}
    for path in map(Path, paths):
        if path.is_dir():
            here = {file: kind(file) for file in sorted(path.rglob("*")) if file.is_file() and kind(file)}
            if not here:
                raise UsageError(f"{path}: no image in this folder; sunaug reads {', '.join(kinds)}.")
            found |= here
        elif path.exists():
            found[path] = kind(path)
        else:
            raise UsageError(f"{path}: no such file or folder; give a folder of FITS or browse JPEG files.")
    if not found:
        raise UsageError("nothing to read: give at least one file or folder.")
    return sorted(found.items())
