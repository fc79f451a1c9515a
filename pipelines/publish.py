"""Published sets: versions in a folder, of which one is current.

::

    published/
      current.json            which version is current
      versions/0001/          a version: its cube, and version.json
      versions/0002/

A version is written under another name beside its place, compared with what it is a copy of, and given its name when
it is whole. ``current.json`` is then replaced in one step. A reader asks once (`published`) and gets the path of a
version, which nothing changes any more: it reads on undisturbed while another one becomes current, until the version
is removed as too old. That is why the pointer is no symbolic link: a cube that is read piece by piece would change on
the way.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from upath import UPath

from pipelines.state import only_run, tree_digest
from sunaug.cube import FrameStatus, open_cube
from sunaug.errors import SunaugError, UsageError
from sunaug.fidelity.verdict import refuse_ungated
from sunaug.storage import replace_object

__all__ = ["Version", "publish", "published", "rollback", "versions"]

_VERSIONS, _POINTER, _RECORD, _PARTIAL = "versions", "current.json", "version.json", ".partial"


@dataclass(frozen=True)
class Version:
    """A published set.

    Attributes
    ----------
    number : int
        Versions are counted from one; no number is given twice.
    cube : pathlib.Path
    record : dict
        ``key``, ``published`` (UTC), ``sha256`` of the cube, and what the publisher said of it.
    current : bool
    """

    number: int
    cube: Path
    record: dict[str, Any]
    current: bool


def versions(folder: str | Path) -> list[Version]:
    """The versions of a folder, oldest first.

    Raises
    ------
    UsageError
        If nothing was ever published there.
    """
    home = Path(folder) / _VERSIONS
    if not home.is_dir():
        raise UsageError(f"{folder}: nothing is published there; name the folder of a recipe's `publish`.")
    current = _current(Path(folder))
    found = []
    for place in sorted(home.iterdir(), key=lambda one: one.name):
        if place.name.isdigit():
            record = json.loads((place / _RECORD).read_text(encoding="utf-8"))
            number = int(place.name)
            found.append(Version(number, place / record["cube"], record, number == current))
    return sorted(found, key=lambda one: one.number)


def published(folder: str | Path) -> Path:
    """Path of the cube that is current: ask once, and read on with that path.

    Raises
    ------
    UsageError
        If nothing is published there.
    """
    for version in versions(folder):
        if version.current:
            return version.cube.absolute()
    raise UsageError(f"{folder}: no version is current; give `sunaug publish rollback {folder} VERSION`.")


def publish(
    cube: str | Path, folder: str | Path, *, key: str, name: str, keep: int, about: Mapping[str, Any]
) -> tuple[Version, bool]:
    """Make a copy of a synthetic cube the current version.

    The same key is published once: where a run was stopped after its version was written, that version is taken.

    Parameters
    ----------
    cube : str or pathlib.Path
        Finished, and passed by the gate.
    folder : str or pathlib.Path
    key : str
        Hash of what the cube was made from.
    name : str
        The cube's name in the version.
    keep : int
        Versions that are kept, the newest ones; the current one is among them in any case.
    about : mapping
        More for the record; values must go into JSON.

    Returns
    -------
    version : Version
    written : bool
        False where it had been written before.

    Raises
    ------
    GateRefused
        If the cube has not passed the gate.
    SunaugError
        If it is not finished, or the copy differs from it, or cannot be written.
    """
    source, home = Path(cube), Path(folder) / _VERSIONS
    opened = open_cube(source)
    refuse_ungated(opened.attrs, str(source), allow=False)
    if (opened["frame_status"].values == FrameStatus.PENDING).any():
        raise SunaugError(f"{source}: not finished; a set is published when it is whole.")
    home.mkdir(parents=True, exist_ok=True)
    with _publisher(folder):
        for rest in home.glob(f".*{_PARTIAL}"):
            shutil.rmtree(rest)
        there = versions(folder)
        found = next((one for one in there if one.record["key"] == key), None)
        number = found.number if found else max((one.number for one in there), default=0) + 1
        if not found:
            _write_version(source, home, number, {**about, "key": key, "cube": f"{name}.zarr"})
        _switch(Path(folder), number)
        _drop_old(folder, keep)
        return next(one for one in versions(folder) if one.number == number), not found


def rollback(folder: str | Path, number: int | None = None) -> Version:
    """Make an earlier version current again.

    Parameters
    ----------
    folder : str or pathlib.Path
    number : int, optional
        The one before the current version if left out.

    Raises
    ------
    UsageError
        If there is no such version.
    SunaugError
        If it is no longer what was published.
    """
    versions(folder)  # no lock is made where nothing was ever published
    with _publisher(folder):
        there = versions(folder)
        current = next((one.number for one in there if one.current), None)
        earlier = [one.number for one in there if current is None or one.number < current]
        if number is None and not earlier:
            raise UsageError(f"{folder}: no version before the current one is there; `sunaug publish list {folder}`.")
        wanted = earlier[-1] if number is None else number
        chosen = next((one for one in there if one.number == wanted), None)
        if chosen is None:
            known = ", ".join(str(one.number) for one in there)
            raise UsageError(f"{folder}: has no version {wanted}, only {known}.")
        if tree_digest(chosen.cube) != chosen.record["sha256"]:
            raise SunaugError(f"{chosen.cube}: no longer what was published as version {wanted}; choose another one.")
        _switch(Path(folder), wanted)
        return next(one for one in versions(folder) if one.number == wanted)


def _publisher(folder: str | Path) -> Any:
    return only_run(Path(folder) / "publish.lock", f"{folder}: another publisher")


def _write_version(source: Path, home: Path, number: int, about: dict[str, Any]) -> None:
    """Copy a cube beside its place, check the copy, and give it its name."""
    part = home / f".{number:04d}.{uuid.uuid4().hex}{_PARTIAL}"
    try:
        shutil.copytree(source, part / about["cube"])
        digest = tree_digest(part / about["cube"])
        if digest != tree_digest(source):
            raise SunaugError(f"{source}: its copy in {home} differs from it; check the disk. Nothing was published.")
        about |= {"published": datetime.now(UTC).isoformat(timespec="seconds"), "sha256": digest}
        (part / _RECORD).write_text(json.dumps(about, indent=1), encoding="utf-8")
        part.rename(home / f"{number:04d}")
    except (OSError, shutil.Error) as error:
        reason = getattr(error, "strerror", None) or "copying failed"
        raise SunaugError(f"{home}: cannot be written ({reason}); make room there. Nothing was published.") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _switch(folder: Path, number: int) -> None:
    if _current(folder) != number:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        pointer = {"version": number, "since": now, "process": os.getpid()}
        replace_object(UPath(folder / _POINTER), json.dumps(pointer).encode())


def _current(folder: Path) -> int | None:
    try:
        return int(json.loads((folder / _POINTER).read_text(encoding="utf-8"))["version"])
    except FileNotFoundError:
        return None


def _drop_old(folder: str | Path, keep: int) -> None:
    """Remove all but the newest versions and the current one, each out of sight first."""
    for version in versions(folder)[:-keep]:
        if not version.current:
            place = version.cube.parent
            part = place.with_name(f".{place.name}.{uuid.uuid4().hex}{_PARTIAL}")
            place.rename(part)
            shutil.rmtree(part)
