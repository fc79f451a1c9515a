"""Where frames come from: one file per origin, all behind one protocol.

A source recognises its files by name, tells the time and the channels of one cheaply (header or file name), and reads
it as observations: one image per channel, south at row 0, with the place of the solar disk on it. What comes out is as
the archive holds it; every correction belongs to `sunaug.calibrate`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from glob import escape, glob, has_magic
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from upath import UPath

from sunaug.errors import UsageError
from sunaug.sources.rejected import RejectedFile
from sunaug.sources.times import check_time
from sunaug.storage import is_remote, local_or_url, location, reachable

__all__ = [
    "SOURCES",
    "DiskGeometry",
    "FileReference",
    "InputFile",
    "Observation",
    "RejectedFile",
    "Source",
    "discover",
    "input_name",
    "source",
]


@dataclass(frozen=True)
class FileReference:
    """What is known of a file before its pixels are read.

    Attributes
    ----------
    path : pathlib.Path or upath.UPath
        A local file, or one at a URL.
    source : str
        Name of its source.
    time : numpy.datetime64
        UTC.
    channels : tuple of str
        Lexicon names.
    member : str
        Which of the frames in the file, where it holds many (``2012/171A/7`` in an SDOML store).

    Raises
    ------
    RejectedFile
        If the time is before SDO's launch or in the future.
    """

    path: Path | UPath
    source: str
    time: np.datetime64
    channels: tuple[str, ...]
    member: str = ""

    def __post_init__(self) -> None:
        check_time(self.time)

    @property
    def input(self) -> str:
        """The input that this is, for the table of rejections: path, and ``#member`` where there are many."""
        return input_name(self.path, self.member)

    @property
    def name(self) -> str:
        """The same without folders, for the cube."""
        return input_name(self.path.name, self.member)


def input_name(path: object, member: str = "") -> str:
    """How an input is named in tables: its path, and ``#member`` where a file holds many frames."""
    return f"{path}#{member}" if member else str(path)


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

    def require_disk(self, shape: tuple[int, int]) -> None:
        """Raise `RejectedFile` unless an image of `shape` (rows, columns) holds the whole photosphere."""
        if not self.covers_disk(shape):
            size = f"{shape[1]} x {shape[0]} pixels of a Sun {2 * self.radius:,.0f} pixels wide"
            raise RejectedFile(f"not full disk: {size}; sunaug needs the whole disk.")


@dataclass(frozen=True)
class Observation:
    """One channel of one file, as the archive holds it.

    Attributes
    ----------
    channel : str
        Lexicon name.
    time : numpy.datetime64
        UTC.
    image : ndarray of float32, int16, int32 or uint8, shape (y, x)
        In `unit`; row 0 in the south of an unrolled image. Missing pixels are NaN, or `blank` in integers.
    geometry : DiskGeometry
    unit : str
        ``DN``, ``DN s-1`` (exposure is divided out already), ``gauss``, ``m s-1`` or ``counts`` (browse images).
    exposure_time : float
        Seconds; NaN where the file does not say.
    quality : int
        The QUALITY keyword; 0 where the source has none.
    saturation_level : float
        Value from which a pixel counts as saturated; infinite where that cannot be told.
    blank : int, optional
        What stands for a missing pixel in an integer image.
    sun_radius : float
        Angular radius of the photosphere in arcsec as seen by the instrument.
    level : float
        Processing level of the file (LVL_NUM); NaN where it does not say. Only level 1 takes new pointing or a PSF.
    satellite_roll : float
        Roll of the spacecraft in degrees (SAT_ROT); NaN where the file does not say.
    degradation : float
        Degradation factor that the source has divided by already; NaN where it has not, or does not say.
    """

    channel: str
    time: np.datetime64
    image: NDArray[Any]
    geometry: DiskGeometry
    unit: str
    exposure_time: float = np.nan
    quality: int = 0
    saturation_level: float = np.inf
    blank: int | None = None
    sun_radius: float = np.nan
    level: float = np.nan
    satellite_roll: float = np.nan
    degradation: float = np.nan


@runtime_checkable
class Source(Protocol):
    """An origin of frames; a module with these names is one."""

    SUFFIXES: tuple[str, ...]
    """Ends of the names of its files; ``.zarr`` and ``.nc`` may be folders."""
    INTENSITY_SCALE: str

    def refer(self, path: Path | UPath, channels: tuple[str, ...] | None) -> list[FileReference | RejectedFile]:
        """Times and channels of the frames in a file, without pixels.

        Most files hold one frame. Raises `RejectedFile` for a file of no use; in a file of many frames one of no use
        stands in the list as a `RejectedFile` that names its member.
        """
        ...

    def read(self, reference: FileReference) -> list[Observation]:
        """The observations of one reference, a channel each; raises `RejectedFile`."""
        ...


SOURCES: dict[str, str] = {
    "fits": "sunaug.sources.fits_files",
    "browse": "sunaug.sources.browse",
    "helioviewer": "sunaug.sources.helioviewer",
    "sdoml": "sunaug.sources.sdoml",
    "suryabench": "sunaug.sources.suryabench",
}
"""Modules by name of the source: imported when they are first used."""

_LISTS = (".txt", ".lst")
_READ = (".fits", ".fts", ".fit (also .gz, .bz2, .xz, .fz)", ".jpg", ".jpeg", ".jp2", ".zarr", ".nc")


def source(name: str) -> Source:
    """The source of that name."""
    module = import_module(SOURCES[name])
    assert isinstance(module, Source)
    return module


@dataclass(frozen=True)
class InputFile:
    """A file (or a folder that is one, as a Zarr store) to look into: its path, source and size in bytes.

    `source` is empty where no source reads files of that name.
    """

    path: Path | UPath
    source: str
    size: int


def discover(
    paths: Iterable[str | Path | UPath], *, passed_over: Callable[[str], None] | None = None
) -> list[InputFile]:
    """Find the files that a source can read.

    Parameters
    ----------
    paths : iterable of str, pathlib.Path or upath.UPath
        Files, folders, glob patterns (``2012/*/aia*.fits``), URLs of these (``s3://bucket/aia/``), and lists: a
        ``.txt`` file with one of them a line, relative to its own place. What exists is a path, whatever its name; only
        what does not is a pattern. A folder is searched with everything below it; files of other kinds (an index, a
        note) are passed over there, while a file that is named itself is kept.
    passed_over : callable, optional
        Called with the name of each file that is.

    Returns
    -------
    list of InputFile
        Each file once, in the order of names.

    Raises
    ------
    UsageError
        If a path does not exist, or a folder or pattern yields nothing that a source reads.
    SunaugError
        If a URL cannot be reached.
    """
    kinds = {suffix: name for name in SOURCES for suffix in source(name).SUFFIXES}

    def kind(name: str) -> str:
        return next((source for suffix, source in kinds.items() if name.lower().endswith(suffix)), "")

    found: dict[str, InputFile] = {}
    for path in _without_lists(paths):
        with reachable(path):
            place = location(path)
            there = place.exists()
            pattern = not there and has_magic(str(path))
            if not there and not pattern:
                silent = ", or nothing answers there" if is_remote(path) else ""
                raise UsageError(f"{path}: no such file or folder{silent}; give files, folders, patterns or URLs.")
            named = not pattern and (place.is_file() or bool(kind(place.name)))
            files = [(place, place.stat().st_size)] if named else _files(place, is_unit=kind, pattern=pattern)
            here = [InputFile(one, kind(one.name), size) for one, size in files if named or kind(one.name)]
            if passed_over is not None and not named:
                for one, _ in files:
                    if not kind(one.name) and not one.name.startswith(".") and (is_remote(one) or not one.is_dir()):
                        passed_over(one.name)
        if not here:
            what = "pattern finds no image" if pattern else "folder holds no image"
            raise UsageError(f"{path}: this {what}; sunaug reads {', '.join(_READ)}.")
        found |= {str(one.path): one for one in here}
    if not found:
        raise UsageError("nothing to read: give at least one file or folder.")
    return [found[name] for name in sorted(found)]


def _without_lists(paths: Iterable[str | Path | UPath]) -> Iterator[str | Path | UPath]:
    for path in paths:
        if not str(path).lower().endswith(_LISTS):
            yield path
            continue
        place = location(path)
        with reachable(path):
            if place.is_dir():
                yield path
                continue
            if not place.is_file():
                raise UsageError(f"{path}: no such list of files.")
            try:
                lines = place.read_text().splitlines()
            except UnicodeDecodeError as error:
                raise UsageError(f"{path}: not a list of files, one a line; it is no text.") from error
        for line in filter(None, map(str.strip, lines)):
            one = str(local_or_url(line))
            yield one if is_remote(one) or Path(one).is_absolute() else place.parent / one


def _files(place: UPath, *, is_unit: Callable[[str], str], pattern: bool) -> list[tuple[UPath, int]]:
    """Files below a folder or of a pattern, with their sizes; a folder that a source reads as one file is one."""
    if is_remote(place):
        listed = place.fs.glob(place.path, detail=True) if pattern else place.fs.find(place.path, detail=True)
        options = dict(place.storage_options)
        return [
            (UPath(place.fs.unstrip_protocol(name), **options), int(about.get("size") or 0))
            for name, about in listed.items()
        ]
    below: list[UPath] = []
    if pattern:
        below = [UPath(name) for name in glob(_only_magic(place), recursive=True)]
    else:
        for folder, folders, names in os.walk(str(place)):
            units = [name for name in folders if is_unit(name)]
            below += [UPath(folder) / name for name in [*names, *units]]
            folders[:] = [name for name in folders if name not in units]
    return [(one, one.stat().st_size if one.exists() else 0) for one in below]  # a link may lead nowhere


def _only_magic(place: UPath) -> str:
    """A local pattern in which the folders that exist are taken as they are named, brackets and all."""
    first, *others = Path(str(place)).parts
    base = Path(first)
    while others and (base / others[0]).exists():
        base /= others.pop(0)
    return str(Path(escape(str(base)), *others))
