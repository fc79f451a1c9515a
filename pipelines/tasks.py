"""Run tasks through Dask: on local threads or processes, or on a ``distributed`` scheduler by its address."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import dask
import dask.callbacks

from sunaug.errors import SunaugError, UsageError

__all__ = ["check_scheduler", "end_with_parent", "run_tasks"]

LOCAL_SCHEDULERS = ("threads", "processes", "synchronous")
_PR_SET_PDEATHSIG = 1

Item = TypeVar("Item")


def check_scheduler(scheduler: str | None) -> None:
    """Refuse what is neither an address nor the name of a local scheduler."""
    if scheduler is not None and "://" not in scheduler and scheduler not in LOCAL_SCHEDULERS:
        raise UsageError(f"unknown scheduler {scheduler!r}: give an address (tcp://host:8786), threads or processes.")


class _Progress(dask.callbacks.Callback):
    """Reports each finished task of a local Dask run."""

    def __init__(self, report: Callable[[int], None], weights: dict[str, int]):
        super().__init__(posttask=self._finished)
        self._report, self._weights, self._done = report, weights, 0

    def _finished(self, key: Any, result: Any, graph: Any, state: Any, worker: Any) -> None:
        self._done += self._weights.get(str(key), 0)
        self._report(self._done)


def end_with_parent() -> None:
    """Let a worker process be killed with the one that started it: it must not write on into a cube given up."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def run_tasks(
    work: Callable[..., Item],
    tasks: Sequence[tuple[Any, ...]],
    weights: Sequence[int],
    *,
    workers: int | None,
    scheduler: str | None,
    report: Callable[[int], None],
) -> list[Item]:
    """Run `work` on each tuple of arguments; the results in the order of the tasks.

    Parameters
    ----------
    work : callable
    tasks : sequence of tuple
        Arguments of each call.
    weights : sequence of int
        What each task adds to the progress once it is done.
    workers : int, optional
        Local threads or processes; as many as there are cores by default.
    scheduler : str, optional
        Address of a ``distributed`` scheduler, or the name of a local one; threads by default.
    report : callable
        Called with the sum of the weights done so far.

    Raises
    ------
    UsageError, SunaugError
        If `distributed` is not installed, no scheduler answers at the address, or its workers die of a task.
    """
    if not tasks:
        return []
    report(0)
    if scheduler is not None and "://" in scheduler:
        return _run_distributed(work, tasks, weights, scheduler, report)
    names = [f"{work.__name__}-{number}" for number in range(len(tasks))]
    delayed = [
        dask.delayed(work, pure=False, traverse=False)(*task, dask_key_name=name)
        for name, task in zip(names, tasks, strict=True)
    ]
    kind = scheduler or "threads"
    options = {"chunksize": 1, "initializer": end_with_parent} if kind == "processes" else {}
    try:
        with _Progress(report, dict(zip(names, weights, strict=True))):
            return list(dask.compute(*delayed, scheduler=kind, num_workers=workers or os.cpu_count(), **options))
    except BrokenProcessPool:
        raise SunaugError(
            "a worker process was killed, perhaps for want of memory; give the command again, with fewer --workers."
        ) from None


def _run_distributed(
    work: Callable[..., Item],
    tasks: Sequence[tuple[Any, ...]],
    weights: Sequence[int],
    address: str,
    report: Callable[[int], None],
) -> list[Item]:
    try:
        from distributed import CancelledError, Client, KilledWorker, as_completed
        from distributed.comm import CommClosedError
    except ImportError:
        raise UsageError("a scheduler address needs Dask's distributed: pip install 'sunaug[cluster]'.") from None
    try:
        client = Client(address, timeout="10s")
    except OSError as error:
        raise SunaugError(f"{address}: no Dask scheduler answers there ({error}); start one first.") from None
    with client:
        futures = [client.submit(work, *task, pure=False) for task in tasks]
        cost = dict(zip((future.key for future in futures), weights, strict=True))
        done = 0
        try:
            for future in as_completed(futures):
                if future.status == "error":
                    future.result()  # at once: others may never be done
                done += cost[future.key]
                report(done)
            return list(client.gather(futures))
        except KilledWorker as error:
            raise SunaugError(
                f"{address}: workers died of the same task again and again ({error}); give them more memory."
            ) from None
        except (CancelledError, CommClosedError, TimeoutError):
            raise SunaugError(f"{address}: the scheduler went away; give the command again.") from None
