"""``SYNTHETIC.json``: where an export comes from, and that it is still what was written.

The note lies in the root of every export. It names the generator and what it was trained on, the gate's verdict, what
was done to the frames, and of each frame its time, fluxes and random numbers, so that each can be made again. It lists
the files with their sizes and hashes, and ends with a hash of itself: an export whose note is gone or was changed is
not opened, so that synthetic frames are never taken for observed ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from upath import UPath

from sunaug.errors import SunaugError
from sunaug.storage import replace_object

__all__ = ["FORMAT", "NOTE", "ORIGIN", "check_files", "is_export", "list_files", "read_note", "seal", "write_note"]

NOTE = "SYNTHETIC.json"
FORMAT = 1
ORIGIN = ("bundle_name", "bundle_hash", "training_ranges", "gate", "request", "torch_version")
"""Attributes of a synthetic cube that the note keeps, and that an opened export has again."""

_BLOCK = 2**20


def is_export(path: str | Path) -> bool:
    """Whether a folder was written by `export`: it holds ``SYNTHETIC.json``."""
    return "://" not in str(path) and (Path(path) / NOTE).is_file()


def seal(note: Mapping[str, Any], files: Mapping[str, list[Any]]) -> dict[str, Any]:
    """The whole note of a finished export: the files and, last, the hash of all before it."""
    whole = {**note, "files": dict(files)}
    return {**whole, "sha256": _digest(whole)}


def write_note(folder: Path, note: Mapping[str, Any]) -> None:
    """Write the note of an export in one step."""
    replace_object(UPath(folder / NOTE), json.dumps(note, indent=1, allow_nan=False).encode())


def read_note(folder: str | Path) -> dict[str, Any]:
    """The note of a finished export.

    Raises
    ------
    SunaugError
        If there is none, or it is not the one that was written.
    """
    try:
        note = json.loads((Path(folder) / NOTE).read_bytes())
        sealed = note.pop("sha256")
    except FileNotFoundError:
        raise SunaugError(
            f"{folder}: has no {NOTE}, so that nothing tells its frames from real ones; export the cube again."
        ) from None
    except (ValueError, KeyError, AttributeError):
        raise SunaugError(f"{folder}: its {NOTE} is damaged or not finished; export the cube again.") from None
    if sealed != _digest(note):
        raise SunaugError(f"{folder}: its {NOTE} was changed after it was written; export the cube again.")
    if note["format"] != FORMAT:
        raise SunaugError(
            f"{folder}: its {NOTE} has format {note['format']}, this sunaug reads {FORMAT}; export the cube again, or "
            f"use sunaug {note['sunaug_version']}, which made it."
        )
    return {**note, "sha256": sealed}


def list_files(folder: Path) -> dict[str, list[Any]]:
    """Size and SHA-256 of each file of an export but the note, by its path within the folder."""
    files = sorted(one for one in folder.rglob("*") if one.is_file() and one != folder / NOTE)
    return {one.relative_to(folder).as_posix(): [one.stat().st_size, _file_hash(one)] for one in files}


def check_files(folder: Path, note: Mapping[str, Any], *, contents: bool) -> None:
    """Compare the files of an export with its note: their sizes, and their contents too if wanted.

    Files that have come to the folder since (caches of loaders, thumbnails) are nobody's business.

    Raises
    ------
    SunaugError
        If a file is missing or another one than was written.
    """
    for name, (size, sha256) in note["files"].items():
        path = folder / name
        if not path.is_file():
            raise SunaugError(f"{folder}: {name} is missing; export the cube again.")
        if path.stat().st_size != size or (contents and _file_hash(path) != sha256):
            raise SunaugError(f"{folder}: {name} was changed after the export; export the cube again.")


def _digest(note: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(note, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _file_hash(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()
