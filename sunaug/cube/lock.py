"""One writer at a time: a lock beside the cube.

On a disk it is a file lock, which the system takes back when its owner dies in whatever way. Behind a URL it is an
object that only one writer can create; its owner renews it, and it counts as left behind when it was not renewed for
two minutes.
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
from datetime import UTC, datetime
from typing import Any

from filelock import FileLock, Timeout
from upath import UPath

from sunaug.errors import SunaugError
from sunaug.storage import is_remote, network_errors, reachable

__all__ = ["only_writer"]

RENEW_SECONDS = 20.0
STALE_SECONDS = 120.0
SETTLE_SECONDS = 2.0
"""Wait after taking over a lock, longer than a write takes to arrive."""


def _busy(cube: UPath, lock: object, owner: str = "") -> SunaugError:
    who = f"another run ({owner})" if owner else "another run"
    return SunaugError(f"{cube}: {who} is writing this cube (lock {lock}); wait for it to end, or stop it.")


@contextmanager
def only_writer(cube: UPath) -> Iterator[None]:
    """Hold the cube's lock.

    Raises
    ------
    SunaugError
        At once, if another run holds it.
    """
    lock = cube.parent / f"{cube.name}.lock"
    if is_remote(cube):
        with reachable(cube):
            held = _ObjectLock(cube, lock)
            held.acquire()
        try:
            yield
        finally:
            held.release()
        return
    lock.parent.mkdir(parents=True, exist_ok=True)
    holder = FileLock(str(lock), timeout=0)
    try:
        holder.acquire()
    except Timeout:
        raise _busy(cube, lock) from None
    try:
        yield
    finally:
        # While it is still held: a run that opened the file before finds it unlinked and opens the new one.
        lock.unlink(missing_ok=True)
        holder.release()


class _ObjectLock:
    """A lock behind a URL, with a name that tells its own from any other."""

    def __init__(self, cube: UPath, lock: UPath):
        self._cube, self._lock, self._name = cube, lock, uuid.uuid4().hex
        self._ended = threading.Event()
        self._renewal = threading.Thread(target=self._renew, daemon=True)

    def acquire(self) -> None:
        """Create the object, or take it over where its owner has left it behind."""
        if not self._write(mode="create"):
            held = self._read()
            if _age(held) < STALE_SECONDS:
                raise _busy(self._cube, self._lock, _owner(held))
            # Of several that find it left behind, the one that wrote last has it once all of them have written.
            self._write()
            time.sleep(SETTLE_SECONDS)
            held = self._read()
            if held.get("name") != self._name:
                raise _busy(self._cube, self._lock, _owner(held))
        self._renewal.start()

    def release(self) -> None:
        """Remove the object if it is still the own one."""
        self._ended.set()
        self._renewal.join()
        # A network that fails now is not to hide how the run ended; the lock becomes stale by itself.
        with suppress(*network_errors()):
            if self._read().get("name") == self._name:
                self._lock.fs.rm_file(self._lock.path)

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            with suppress(*network_errors()):  # the next time may do
                if self._read().get("name", self._name) == self._name:
                    self._write()

    def _write(self, mode: str = "overwrite") -> bool:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        label = {"name": self._name, "host": socket.gethostname(), "process": os.getpid(), "renewed": now}
        try:
            self._lock.fs.pipe_file(self._lock.path, json.dumps(label).encode(), mode=mode)
        except FileExistsError:
            return False
        return True

    def _read(self) -> dict[str, Any]:
        """What the lock says; empty where it is gone or unreadable."""
        self._lock.fs.invalidate_cache()
        try:
            held = json.loads(self._lock.fs.cat_file(self._lock.path))
        except (FileNotFoundError, ValueError):
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
