"""Keeps the worker processes alive, and the store within its time."""

from __future__ import annotations

import logging
import multiprocessing
import threading
import time
from multiprocessing.process import BaseProcess

from sqlalchemy.exc import SQLAlchemyError

from sunaug.service.queue import Queue
from sunaug.service.results import Results
from sunaug.service.settings import Settings
from sunaug.service.worker import work

__all__ = ["Supervisor"]

_WATCH_SECONDS = 0.5
_SWEEP_SECONDS = 60.0
_STOP_SECONDS = 10.0
_RESTART_SECONDS = 2.0

_log = logging.getLogger("sunaug.service")


class Supervisor:
    """Starts the workers of a service, and new ones in place of those that died.

    Parameters
    ----------
    settings : Settings
    queue : Queue
    results : Results
    """

    def __init__(self, settings: Settings, queue: Queue, results: Results) -> None:
        self._settings, self._queue, self._results = settings, queue, results
        self._context = multiprocessing.get_context("spawn")
        self._stopping = self._context.Event()
        self._ended = threading.Event()
        self._workers: list[BaseProcess] = []
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    @property
    def alive(self) -> int:
        """Number of workers that are running."""
        return sum(worker.is_alive() for worker in self._workers)

    def start(self) -> None:
        """Start the workers."""
        self._workers = [self._new_worker() for _ in range(self._settings.workers)]
        self._thread.start()

    def stop(self) -> None:
        """End the workers: what they are at goes back into the queue, and is gone on with when the service is back."""
        self._ended.set()
        self._stopping.set()
        self._thread.join()
        last = time.monotonic() + _STOP_SECONDS
        for worker in self._workers:
            worker.join(max(last - time.monotonic(), 0))
            if worker.is_alive():
                worker.kill()
                worker.join()

    def _new_worker(self) -> BaseProcess:
        worker = self._context.Process(target=work, args=(self._settings, self._stopping), daemon=True)
        worker.start()
        return worker

    def _watch(self) -> None:
        swept = -_SWEEP_SECONDS
        while not self._ended.wait(_WATCH_SECONDS):
            for place, worker in enumerate(self._workers):
                if not worker.is_alive() and not self._ended.wait(_RESTART_SECONDS):
                    _log.warning("a worker has ended with %s; another one starts", worker.exitcode)
                    self._workers[place] = self._new_worker()
            if time.monotonic() - swept >= _SWEEP_SECONDS:
                swept = time.monotonic()
                self._tidy()

    def _tidy(self) -> None:
        try:
            self._queue.expire()
            self._results.sweep(self._queue.wanted_cubes)
        except (SQLAlchemyError, OSError):  # a database or disk that is away for a while; the workers go on
            _log.exception("the store could not be tidied")
