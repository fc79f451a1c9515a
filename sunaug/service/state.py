"""What the addresses of a running service share."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

from fastapi import Request

from sunaug.bundle import Bundle
from sunaug.service.access import Access, Keys, pepper_file, read_pepper
from sunaug.service.database import Database
from sunaug.service.metrics import Metrics
from sunaug.service.queue import Queue
from sunaug.service.rates import Rate
from sunaug.service.results import Results
from sunaug.service.settings import Settings
from sunaug.service.supervisor import Supervisor

__all__ = ["State", "state_of"]


class State:
    """The parts of a service.

    Parameters
    ----------
    settings : Settings
    bundles : mapping of str to Bundle
        Those that are served, by the names that requests use.
    """

    def __init__(self, settings: Settings, bundles: Mapping[str, Bundle]) -> None:
        self.settings, self.bundles = settings, bundles
        self.results = Results(settings.state)
        self.database = Database(settings.database)
        self.queue = Queue(self.database, settings.limits, settings.lease_seconds)
        self.access = Access(
            Keys(self.database, read_pepper(pepper_file(settings.state))),
            open_to_local=settings.open_to_local,
            rate=Rate(settings.limits.per_second, settings.limits.burst),
        )
        self.supervisor = Supervisor(settings, self.queue, self.results)
        self.metrics = Metrics(self._figures)
        self.streams = threading.BoundedSemaphore(settings.limits.streams)

    def _figures(self) -> Iterator[tuple[str, str, dict[str, float]]]:
        counts = self.queue.counts()
        states = ("queued", "running", "done", "failed")
        yield "sunaug_sets", "Sets by state.", {state: float(counts.get(state, 0)) for state in states}
        yield "sunaug_workers", "Worker processes that are running.", {"": float(self.supervisor.alive)}
        yield "sunaug_store_bytes", "Disk that the sets take.", {"": float(self.queue.bytes())}
        yield "sunaug_store_limit_bytes", "Disk that they may take.", {"": float(self.settings.limits.disk_bytes)}


def state_of(request: Request) -> State:
    """The parts of the service that a request has reached."""
    state: State = request.app.state.service
    return state
