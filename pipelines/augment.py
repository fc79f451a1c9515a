"""Generation on many machines or processes: shards of one synthetic cube, each made by whoever is free."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch

from pipelines.tasks import check_scheduler, run_tasks
from sunaug.bundle import Bundle, load_bundle
from sunaug.errors import SunaugError, UsageError
from sunaug.generation import Request, Sampler
from sunaug.generation.writing import fill, nothing_left_of_a_refusal, open_or_create, pending_shards
from sunaug.storage import local_or_url

__all__ = ["generate_on"]


@lru_cache(maxsize=1)
def _loaded(path: str, expected: str) -> Bundle:
    """The bundle of a worker process, loaded once."""
    bundle = load_bundle(path)
    if bundle.hash != expected:
        raise SunaugError(f"{path}: another bundle stands there on a worker; all have to see the same one.")
    return bundle


def _fill_shard(path: str, bundle: str, expected: str, request: Request, start: int, stop: int) -> int:
    fill(path, Sampler(_loaded(bundle, expected), request), [(start, stop)])
    return stop - start


def generate_on(
    path: str | Path,
    bundle: Bundle,
    request: Request,
    *,
    scheduler: str,
    workers: int | None = None,
    report: Callable[[int], None] | None = None,
) -> Path:
    """Write the samples of a request into a synthetic cube, its shards spread over Dask workers.

    Each worker process loads the bundle once. The samples are those of `sunaug.generation.generate_cube`, and a cube
    that was left unfinished is completed.

    Parameters
    ----------
    path : str or pathlib.Path
        All workers have to see it, and the bundle's folder, under the same name.
    bundle : Bundle
    request : Request
    scheduler : str
        Address of a ``distributed`` scheduler (``tcp://host:8786``), or ``processes``.
    workers : int, optional
        Local processes, as many as there are cores by default.
    report : callable, optional
        Called with the number of samples written so far.

    Raises
    ------
    UsageError, SunaugError
        As `sunaug.generation.generate_cube`; and if no scheduler answers.
    """
    check_scheduler(scheduler)
    if scheduler == "threads":
        raise UsageError("--scheduler threads: torch uses all cores by itself; omit it, or choose processes.")
    place = Path(local_or_url(path)).resolve()
    with nothing_left_of_a_refusal(place):
        ranges = pending_shards(open_or_create(place, Sampler(bundle, request)))
        before = request.n - sum(stop - start for start, stop in ranges)
        where = str(bundle.path.resolve())
        tasks = [(str(place), where, bundle.hash, request, start, stop) for start, stop in ranges]
        run_tasks(
            _fill_shard,
            tasks,
            [stop - start for start, stop in ranges],
            workers=workers or max(torch.get_num_threads(), 1),
            scheduler=scheduler,
            report=lambda done: report(before + done) if report else None,
        )
    return Path(local_or_url(path))
