"""One writer at a time: a lock beside the cube, and the lease that its holder shows at every write.

On a disk it is a file lock, which the system takes back when its owner dies in whatever way, and not before: a process
that sleeps keeps it. Behind a URL it is an object that only one writer can create; its owner renews it, and it counts
as left behind when it was not renewed for two minutes. An owner that slept that long is no owner any more and does not
know it, so that each write asks the lock first, see `sunaug.cube.fencing`.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from filelock import FileLock, Timeout
from upath import UPath

from sunaug.conditional import is_s3, put_if, remove_if, version_of
from sunaug.errors import SunaugError
from sunaug.storage import is_remote, network_errors, reachable

__all__ = ["Lease", "LostLock", "only_writer"]

RENEW_SECONDS = 20.0
STALE_SECONDS = 120.0
SETTLE_SECONDS = 2.0
"""Wait after taking over a lock of a store without conditional writes, longer than a write takes to arrive."""


class LostLock(SunaugError):
    """A run wanted to write a cube whose lock it does not hold any more."""


@dataclass(frozen=True)
class Lease:
    """What the holder of a cube's lock shows at each write; it may be handed to other processes and machines.

    Attributes
    ----------
    cube, lock : upath.UPath
    token : str
        Of this lease and no other: the name in the lock's object, or the file that the lock is.
    conditional : bool
        Whether the store refuses a write whose object was changed since it was looked at (``If-Match`` and
        ``If-None-Match`` of S3).
    """

    cube: UPath
    lock: UPath
    token: str
    conditional: bool = False

    def check(self) -> None:
        """Make sure that the lock is still held.

        Raises
        ------
        LostLock
            If it is another's, or gone.
        """
        if is_remote(self.lock):
            try:
                self.check_content(self.lock.fs.cat_file(self.lock.path))
            except FileNotFoundError as error:
                raise self.lost({}) from error
        elif _file_token(self.lock) != self.token:
            raise self.lost({})

    def check_content(self, content: bytes) -> None:
        """The same, of the content of a lock behind a URL, for who reads it in another way."""
        held = _parsed(content)
        if held.get("name") != self.token:
            raise self.lost(held)

    def lost(self, held: dict[str, Any]) -> LostLock:
        """The error for a lock that now says `held`, which is empty where there is none."""
        owner = _owner(held)
        what = f"another run ({owner}) holds it now" if owner else f"{self.lock} is gone or another one"
        return LostLock(
            f"{self.cube}: this run lost the cube's lock, as after a pause ({what}), so it stopped and wrote nothing "
            "more; once no other run is writing, run the command again: what is complete is kept."
        )


def _busy(cube: UPath, lock: object, owner: str = "") -> SunaugError:
    who = f"another run ({owner})" if owner else "another run"
    return SunaugError(f"{cube}: {who} is writing this cube (lock {lock}); wait for it to end, or stop it.")


@contextmanager
def only_writer(cube: UPath) -> Iterator[Lease]:
    """Hold the cube's lock.

    Yields
    ------
    Lease
        To be given to whatever writes the cube.

    Raises
    ------
    SunaugError
        At once, if another run holds it.
    """
    lock = cube.parent / f"{cube.name}.lock"
    if is_remote(cube):
        with reachable(cube):
            held = _ObjectLock(cube, lock)
            lease = held.acquire()
        try:
            with _blamed_on(lease):
                yield lease
        finally:
            held.release()
        return
    lock.parent.mkdir(parents=True, exist_ok=True)
    holder = FileLock(str(lock), timeout=0)
    try:
        holder.acquire()
    except Timeout as error:
        raise _busy(cube, lock) from error
    lease = Lease(cube, lock, _file_token(lock))
    try:
        with _blamed_on(lease):
            yield lease
    finally:
        # While it is still held: a run that opened the file before finds it unlinked and opens the new one. Another's,
        # where somebody removed the own one, is let alone.
        if _file_token(lock) == lease.token:
            lock.unlink(missing_ok=True)
        holder.release()


@contextmanager
def _blamed_on(lease: Lease) -> Iterator[None]:
    """Whatever fails once the lock is lost fails for that: connections that a pause broke, files that another wrote."""
    try:
        yield
    except LostLock:
        raise
    except Exception as error:
        if not isinstance(error, (SunaugError, *network_errors())):
            raise
        with suppress(*network_errors()):
            try:
                lease.check()
            except LostLock as lost:
                raise lost from error
        raise


def _file_token(lock: UPath) -> str:
    """Which file a lock on a disk is: while it is held its number is not given to another."""
    try:
        status = os.stat(str(lock))
    except FileNotFoundError:
        return ""
    return f"{status.st_dev}:{status.st_ino}"


class _ObjectLock:
    """A lock behind a URL, with a name that tells its own from any other."""

    def __init__(self, cube: UPath, lock: UPath):
        self._cube, self._lock, self._name = cube, lock, uuid.uuid4().hex
        self._conditional = is_s3(lock)
        self._version = ""
        self._ended = threading.Event()
        self._renewal = threading.Thread(target=self._renew, daemon=True)

    def acquire(self) -> Lease:
        """Create the object, or take it over where its owner has left it behind."""
        if self._conditional:
            self._acquire_at_once()
        else:
            self._acquire_and_settle()
        self._renewal.start()
        return Lease(self._cube, self._lock, self._name, self._conditional)

    def _acquire_at_once(self) -> None:
        """By writes that the store refuses where another was first."""
        while not (version := put_if(self._lock, self._label(), None)):
            left, held = version_of(self._lock), self._read()
            if left is None:  # removed just now
                continue
            if _age(held) < STALE_SECONDS:
                raise _busy(self._cube, self._lock, _owner(held))
            if version := put_if(self._lock, self._label(), left):
                break
        self._version = version
        # A store that knows no conditions does not refuse what these ask for.
        if put_if(self._lock, self._label(), None) or put_if(self._lock, self._label(), '"0"'):
            self._conditional = False
            self._settle()

    def _acquire_and_settle(self) -> None:
        """By what any file system has: of several that find the lock left behind, the last to write it has it."""
        try:
            self._lock.fs.pipe_file(self._lock.path, self._label(), mode="create")
        except FileExistsError as error:
            held = self._read()
            if _age(held) < STALE_SECONDS:
                raise _busy(self._cube, self._lock, _owner(held)) from error
            self._lock.fs.pipe_file(self._lock.path, self._label())
            self._settle()

    def _settle(self) -> None:
        time.sleep(SETTLE_SECONDS)
        held = self._read()
        if held.get("name") != self._name:
            raise _busy(self._cube, self._lock, _owner(held))

    def release(self) -> None:
        """Remove the object if it is still the own one."""
        self._ended.set()
        self._renewal.join()
        # A network that fails now is not to hide how the run ended; the lock becomes stale by itself.
        with suppress(*network_errors()):
            version = version_of(self._lock) if self._conditional else None
            if self._read().get("name") != self._name:
                return
            if version is not None:
                remove_if(self._lock, version)
            else:
                self._lock.fs.rm_file(self._lock.path)

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            with suppress(*network_errors()):  # the next time may do
                if not self._renewed():
                    return

    def _renewed(self) -> bool:
        """Renew the lock; False where it is not the own one any more, and never to be again."""
        if self._conditional and (version := put_if(self._lock, self._label(), self._version)):
            self._version = version
            return True
        there = version_of(self._lock) if self._conditional else None
        if self._read().get("name") != self._name:
            return False
        if there is None:
            self._lock.fs.pipe_file(self._lock.path, self._label())
        else:  # an answer was lost: the write before came to pass
            self._version = there
        return True

    def _label(self) -> bytes:
        now = datetime.now(UTC).isoformat()
        label = {"name": self._name, "host": socket.gethostname(), "process": os.getpid(), "renewed": now}
        return json.dumps(label).encode()

    def _read(self) -> dict[str, Any]:
        """What the lock says; empty where it is gone or unreadable."""
        self._lock.fs.invalidate_cache()
        try:
            return _parsed(self._lock.fs.cat_file(self._lock.path))
        except FileNotFoundError:
            return {}


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        held = json.loads(content)
    except ValueError:
        return {}
    return held if isinstance(held, dict) else {}


def _age(held: dict[str, Any]) -> float:
    """Seconds since a lock was renewed; infinite where it does not say."""
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(held["renewed"])).total_seconds()
    except (KeyError, TypeError, ValueError):
        return float("inf")


def _owner(held: dict[str, Any]) -> str:
    return f"process {held.get('process')} on {held.get('host')}" if held else ""
