"""A worker process: takes one set after the other and makes it, judges it and packs it."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from functools import lru_cache, partial
from multiprocessing.synchronize import Event
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from sqlalchemy.exc import SQLAlchemyError

from sunaug.bundle import Bundle, load_bundle
from sunaug.cube import open_cube
from sunaug.errors import SunaugError
from sunaug.fidelity.gating import gate_cube, mark_ungated
from sunaug.fidelity.verdict import PASSED, REFUSED, UNGATED, UNKNOWN, verdict_of
from sunaug.generation import generate_cube
from sunaug.service.database import Database
from sunaug.service.filing import public_sentence
from sunaug.service.logs import set_up_logs
from sunaug.service.packing import pack
from sunaug.service.queue import Claim, Queue
from sunaug.service.results import Results
from sunaug.service.schemas import BatchRequest
from sunaug.service.settings import Settings

__all__ = ["Maker", "work"]

DOWNLOADABLE = (PASSED, UNGATED)
_IDLE_SECONDS = 0.25
_RENEW_SECONDS = 1.0
_AT_ONCE = 32

_log = logging.getLogger("sunaug.service")


class _Stopped(Exception):
    """The set is not to be made on: it is not wanted any more, or the service ends."""


def work(settings: Settings, stopping: Event) -> None:
    """Make sets until `stopping` is set or the process that started this one is gone.

    Parameters
    ----------
    settings : Settings
    stopping : multiprocessing.Event
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the service too, which then stops its workers
    set_up_logs()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // settings.workers))
    database = Database(settings.database)
    maker = Maker(settings, Queue(database, settings.limits, settings.lease_seconds), stopping)
    while not stopping.is_set():
        _end_with_parent()
        if not maker.make_next():
            stopping.wait(_IDLE_SECONDS)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(1)


@lru_cache(maxsize=1)
def _loaded(path: Path) -> Bundle:
    return load_bundle(path)


class _Hold:
    """Keeps a claim alive from a thread of its own while the set is made."""

    def __init__(self, queue: Queue, claim: Claim, stopping: Event) -> None:
        self._queue, self._claim, self._stopping = queue, claim, stopping
        self._done = 0
        self._lost, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> _Hold:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def made(self, done: int) -> None:
        """So many samples are made; raises where no more are wanted."""
        self._done = done
        self.go_on()

    def go_on(self, *_: object) -> None:
        """Raise where the set is not wanted any more, or the service ends."""
        if self._lost.is_set() or self._stopping.is_set():
            raise _Stopped

    def _renew(self) -> None:
        between = min(_RENEW_SECONDS, self._queue.lease_seconds / 4)
        while not self._ended.wait(between):
            _end_with_parent()
            try:
                held = self._queue.renew(self._claim, self._done)
            except SQLAlchemyError:  # the database may be back before the lease ends
                _log.exception("a claim could not be renewed")
                continue
            if not held:
                self._lost.set()
                return


class Maker:
    """Makes sets.

    Parameters
    ----------
    settings : Settings
    queue : Queue
    stopping : multiprocessing.Event
        Set when the service ends: what is half done goes back into the queue.
    """

    def __init__(self, settings: Settings, queue: Queue, stopping: Event) -> None:
        self._settings, self._queue, self._stopping = settings, queue, stopping
        self._results = Results(settings.state)

    def make_next(self) -> bool:
        """Make the set that has waited longest; whether there was one."""
        claim = self._queue.claim()
        if claim is None:
            return False
        try:
            with self._results.held(claim.cube), _Hold(self._queue, claim, self._stopping) as hold:
                gate = self._made(claim, hold)
                packed = self._packed(claim, gate, hold)
                if self._queue.finish(claim, state="done", done=claim.n, gate=json.dumps(gate), **packed):
                    _log.info("set %s: made, %s", claim.set, gate["verdict"])
        except _Stopped:
            self._queue.release(claim)
            _log.info("set %s: stopped", claim.set)
        except Exception as error:
            self._queue.finish(claim, state="failed", error=self._sentence(error), bytes=0)
        self._results.discard(claim.cube, self._queue.wanted_cubes)
        return True

    def _made(self, claim: Claim, hold: _Hold) -> dict[str, Any]:
        """The cube of a set, judged; what the gate says."""
        bundle = _loaded(self._settings.bundles[claim.request["bundle"]])
        if bundle.hash != claim.request["bundle_hash"]:
            _loaded.cache_clear()
            raise SunaugError(f"{claim.request['bundle']}: has been replaced by another bundle; file the batch again.")
        asked = BatchRequest(**{name: claim.request[name] for name in BatchRequest.model_fields})
        cube = self._results.cube(claim.cube)
        self._generate()(cube, bundle, asked.request(), report=hold.made)
        if asked.ungated:
            mark_ungated(cube)
        elif verdict_of(open_cube(cube).attrs) not in (PASSED, REFUSED, UNKNOWN):
            gate_cube(cube, bundle, self._settings.policy, report=hold.go_on)
        return dict(open_cube(cube).attrs["gate"])

    def _generate(self) -> Callable[..., Path]:
        if self._settings.scheduler is None:
            return partial(generate_cube, batch_size=_AT_ONCE)
        from pipelines.augment import generate_on

        return partial(generate_on, scheduler=self._settings.scheduler)

    def _packed(self, claim: Claim, gate: dict[str, Any], hold: _Hold) -> dict[str, Any]:
        """The file to download, if the set may leave: its hash, and the bytes of all."""
        etag = None
        if gate["verdict"] in DOWNLOADABLE:
            package = self._results.package(claim.cube, claim.format)
            etag = pack(self._results.cube(claim.cube), claim.format, package, hold.go_on)
        return {"etag": etag, "bytes": self._results.size(claim.cube, claim.format)}

    def _sentence(self, error: Exception) -> str:
        if not isinstance(error, SunaugError):
            _log.error("a set could not be made", exc_info=error)
            return "An error of the service; its log says more."
        names = {str(path): name for name, path in self._settings.bundles.items()}
        return public_sentence(error, names | {str(self._settings.state): ""})
