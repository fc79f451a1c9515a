"""What an ingest could not use, and why: the table beside the cube."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
from upath import UPath

from sunaug.cube.fencing import replace
from sunaug.cube.lock import Lease
from sunaug.storage import read_object

__all__ = ["Rejection", "read_rejections", "rejections_path", "time_text", "write_rejections"]


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
