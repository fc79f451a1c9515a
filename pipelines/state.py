"""What a pipeline remembers between its runs: for each step the key of its last inputs and what came of them.

A key is the hash of the content of everything that decides what a step makes. A step whose key has not changed has
nothing to do. Every file here is replaced in one step, after the work that it speaks of is done: a run that is killed
leaves either the old one or the new one, and the step is done again from where its own work stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from upath import UPath

from sunaug.errors import SunaugError
from sunaug.storage import remove_partial, replace_object

__all__ = ["Done", "State", "content_key", "file_digest", "only_run", "tree_digest"]


def content_key(*parts: Any) -> str:
    """Hash of values that go into JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file; empty where there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_digest(folder: Path) -> str:
    """SHA-256 over the names and the content of all files below a folder."""
    files = sorted(one for one in folder.rglob("*") if one.is_file())
    return content_key([(one.relative_to(folder).as_posix(), file_digest(one)) for one in files])


@dataclass(frozen=True)
class Done:
    """What a step has done: the key of its inputs, a sentence, values for the steps after it.

    `refused` is the gate's: the step is done, and nothing may be built on it.
    """

    key: str
    sentence: str
    values: dict[str, Any] = field(default_factory=dict)
    refused: bool = False


@dataclass(frozen=True)
class State:
    """The state of a pipeline in its folder ``work``."""

    work: Path

    def read(self, step: str) -> Done | None:
        """What a step has done last; None if it never ended.

        Raises
        ------
        SunaugError
            If its file holds something else.
        """
        content = self._read(f"{step}.json")
        try:
            return None if content is None else Done(**content)
        except TypeError:
            raise self._damaged(f"{step}.json") from None

    def remove_halves(self) -> None:
        """Remove what a run left half written that was killed."""
        remove_partial(UPath(self.work / "state"))

    def write(self, step: str, done: Done) -> None:
        """Remember it, and forget what the step had planned."""
        self._replace(f"{step}.json", asdict(done))
        self._place(f"{step}.plan.json").unlink(missing_ok=True)

    def plan(self, step: str) -> dict[str, Any] | None:
        """What a step that did not end had set out to do."""
        return self._read(f"{step}.plan.json")

    def write_plan(self, step: str, plan: dict[str, Any]) -> None:
        """Remember what a step sets out to do, so that it ends what it began whatever has changed meanwhile."""
        self._replace(f"{step}.plan.json", plan)

    def _place(self, name: str) -> Path:
        return self.work / "state" / name

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            content = json.loads(self._place(name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            raise self._damaged(name) from None
        if not isinstance(content, dict):
            raise self._damaged(name)
        return content

    def _damaged(self, name: str) -> SunaugError:
        return SunaugError(f"{self._place(name)}: damaged; remove it, and its step looks at everything again.")

    def _replace(self, name: str, content: dict[str, Any]) -> None:
        place = self._place(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        replace_object(UPath(place), json.dumps(content, indent=1).encode())


@contextmanager
def only_run(lock: Path, what: str) -> Iterator[None]:
    """Hold a lock that the system takes back when its owner dies in whatever way.

    Raises
    ------
    SunaugError
        At once, if another process holds it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    holder = FileLock(str(lock), timeout=0)
    try:
        holder.acquire()
    except Timeout:
        raise SunaugError(f"{what} is at work already (lock {lock}); wait for it to end, or stop it.") from None
    try:
        yield
    finally:
        holder.release()
