"""What an ingest could not use, and why: the table beside the cube."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from upath import UPath

from sunaug.cube.fencing import replace
from sunaug.cube.lock import Lease
from sunaug.storage import read_object

__all__ = ["Rejection", "no_cube_text", "read_rejections", "rejections_path", "time_text", "write_rejections"]

_MOST_REASONS = 5
"""That a message names."""


@dataclass(frozen=True)
class Rejection:
    """An input that is not in the cube: its path, its time (ISO, empty if unknown) and the reason."""

    file: str
    time: str
    reason: str


def rejections_path(cube: UPath) -> UPath:
    """Where the table of a cube is: ``sdo2012.rejected.csv`` beside ``sdo2012.zarr``."""
    return cube.parent / f"{cube.name.removesuffix('.zarr')}.rejected.csv"


def time_text(time: np.datetime64 | None) -> str:
    """A time for the table, in ISO 8601 to the millisecond; empty where it is unknown."""
    return "" if time is None else str(time.astype("datetime64[ms]"))


def write_rejections(path: UPath, rejected: Iterable[Rejection], lease: Lease | None = None) -> None:
    """Write the table, each rejection once, in order of time; the old one stands until the new one is whole.

    With the lease of the cube's lock, nothing is written once the lock is lost.
    """
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, fieldnames=["file", "time", "reason"], lineterminator="\n")
    table.writeheader()
    table.writerows(asdict(one) for one in sorted(set(rejected), key=lambda one: (one.time, one.file, one.reason)))
    replace(path, text.getvalue().encode(), lease)


def read_rejections(path: UPath) -> list[Rejection]:
    """Read the table; empty where there is none."""
    if not path.exists():
        return []
    rows = csv.DictReader(io.StringIO(read_object(path).decode(), newline=""))
    return [Rejection(row["file"], row["time"], row["reason"]) for row in rows]


def no_cube_text(rejected: Sequence[Rejection], n_inputs: int) -> str:
    """What a run that makes no cube says: how many inputs have which reason, with one of them as an example."""
    reasons: dict[str, list[str]] = {}
    for one in sorted(rejected, key=lambda one: one.file):
        reasons.setdefault(one.reason.rstrip("."), []).append(one.file)
    if n_inputs == 1 and len(reasons) == 1:
        ((reason, (file, *_)),) = reasons.items()
        return f"{file}: {reason}. No cube was made"
    ordered = sorted(reasons.items(), key=lambda item: -len(item[1]))
    told = [
        f"{len(files):,} input{'s'[: len(files) > 1]}: {reason} ({files[0]})"
        for reason, files in ordered[:_MOST_REASONS]
    ]
    if len(ordered) > _MOST_REASONS:
        told.append(f"{sum(len(files) for _, files in ordered[_MOST_REASONS:]):,} for other reasons")
    return f"no usable frame in {n_inputs:,} inputs, so no cube was made: {'; '.join(told)}"
