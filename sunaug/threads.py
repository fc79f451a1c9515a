"""One thread for what has to come out the same to the bit, and many such threads where there is much of it.

A sum that several threads share is rounded differently than one thread rounds it, and differently by their number. So
samples, and the figures that they are judged by, are made by one thread each; the cores share the samples.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import torch

__all__ = ["in_order", "one_thread", "worker_count"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_AHEAD = 2

_here = threading.local()
_changing = threading.Lock()


def worker_count() -> int:
    """How many threads may work at a time: torch's number of threads in the calling thread, outside of `one_thread`."""
    return getattr(_here, "workers", 0) or torch.get_num_threads()


@contextmanager
def one_thread(*, blas: bool = False) -> Iterator[None]:
    """Let torch work with one thread in the calling thread; its setting is restored afterwards.

    Other threads keep their settings, and threads that are started meanwhile get the setting that they would have got.

    Parameters
    ----------
    blas : bool
        NumPy's and SciPy's linear algebra too, in the whole process, where ``threadpoolctl`` is installed; without it
        their results may differ in the last digits with the number of their threads.

    Notes
    -----
    Can be nested, and decorate functions. Not to be held over the ``yield`` of a generator.
    """
    count, outer = torch.get_num_threads(), getattr(_here, "workers", 0)
    _here.workers = outer or count
    if count != 1:
        _set_threads(1)
    if blas:
        _blas.narrow()
    try:
        yield
    finally:
        if blas:
            _blas.widen()
        if count != 1:
            _set_threads(count)
        _here.workers = outer


def in_order(
    work: Callable[[_Item], _Result], items: Sequence[_Item], *, ahead: int = _AHEAD, workers: int | None = None
) -> Iterator[_Result]:
    """Do something for each item, each with one thread, as many at a time as `worker_count` says.

    Parameters
    ----------
    work : callable
        Called in several threads at once.
    items : sequence
    ahead : int
        Most items that are begun and not taken yet, for each worker.
    workers : int, optional

    Yields
    ------
    The results, in the order of the items.
    """
    count = min(workers or worker_count(), len(items))
    if count <= 1:
        for item in items:
            with one_thread():
                done = work(item)
            yield done
        return
    waiting: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(count, "sunaug", initializer=_become_worker) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) == ahead * count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for one in waiting:
                one.cancel()


def _become_worker() -> None:
    _set_threads(1)
    _here.workers = 1


def _set_threads(count: int) -> None:
    """Torch's number of threads in the calling thread alone.

    `torch.set_num_threads` also sets what threads start with that have not used torch yet. That is put back, by a
    thread that has no other use.
    """
    with _changing:
        default = _in_a_new_thread(torch.get_num_threads)
        # A thread takes the default over when it first asks; what was set before that is lost.
        torch.get_num_threads()
        torch.set_num_threads(count)
        _in_a_new_thread(torch.set_num_threads, default)


def _in_a_new_thread(call: Callable[..., Any], *arguments: Any) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call(*arguments)))
    thread.start()
    thread.join()
    return found[0]


class _Blas:
    """Threads of NumPy's and SciPy's linear algebra: a setting of the process, which the last one out restores."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._limits: Any = None

    def narrow(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1 and (libraries := _libraries()) is not None:
                self._limits = libraries.limit(limits=1)

    def widen(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._limits is not None:
                self._limits.restore_original_limits()
                self._limits = None


@cache
def _libraries() -> Any:
    """The libraries whose threads can be limited; None without threadpoolctl."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    import scipy.linalg  # noqa: F401  has a library of its own, which has to be loaded to be found

    return ThreadpoolController().select(user_api="blas")


_blas = _Blas()
