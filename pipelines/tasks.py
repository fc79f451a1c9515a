"""Run tasks through Dask: on local threads or processes, or on a ``distributed`` scheduler by its address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import dask
import dask.callbacks

from sunaug.errors import SunaugError, UsageError

__all__ = ["check_scheduler", "run_tasks"]

LOCAL_SCHEDULERS = ("threads", "processes", "synchronous")

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
        Local threads or processes.
    scheduler : str, optional
        Address of a ``distributed`` scheduler, or the name of a local one; threads by default.
    report : callable
        Called with the sum of the weights done so far.

    Raises
    ------
    UsageError, SunaugError
        If `distributed` is not installed, or no scheduler answers at the address.
    """
    if not tasks:
        return []
    report(0)
    if scheduler is None or "://" not in scheduler:
        names = [f"{work.__name__}-{number}" for number in range(len(tasks))]
        delayed = [
            dask.delayed(work, pure=False, traverse=False)(*task, dask_key_name=name)
            for name, task in zip(names, tasks, strict=True)
        ]
        with _Progress(report, dict(zip(names, weights, strict=True))):
            return list(dask.compute(*delayed, scheduler=scheduler or "threads", num_workers=workers))
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise UsageError("a scheduler address needs Dask's distributed: pip install 'sunaug[cluster]'.") from None
    try:
        client = Client(scheduler, timeout="10s")
    except OSError as error:
        raise SunaugError(f"{scheduler}: no Dask scheduler answers there ({error}); start one first.") from None
    with client:
        futures = [client.submit(work, *task, pure=False) for task in tasks]
        cost = dict(zip((future.key for future in futures), weights, strict=True))
        done = 0
        for future in as_completed(futures):
            done += cost[future.key]
            report(done)
        return list(client.gather(futures))
