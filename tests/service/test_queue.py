"""Batches and sets in the database, without a server."""

import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi import HTTPException

from sunaug.fidelity.policy import load_policy
from sunaug.service.access import LOCAL, Key
from sunaug.service.database import Database, database_url
from sunaug.service.queue import MAX_ATTEMPTS, Filed, Queue
from sunaug.service.results import Results
from sunaug.service.settings import Limits, Settings
from sunaug.service.worker import Maker

ADA = Key("a" * 12, "Ada", frozenset({"generate", "read"}))


@pytest.fixture
def queue(tmp_path):
    return _queue(tmp_path)


def _queue(folder, lease_seconds=60.0, **limits):
    return Queue(Database(database_url(folder)), Limits(**limits), lease_seconds)


def _wanted(number, n=10, size=1000, **request):
    return Filed(f"{number:064x}", "zarr", {"n": n, **request}, n, size)


def test_each_set_is_claimed_once(queue, tmp_path):
    for number in range(40):
        queue.file(ADA, _wanted(number))
    queues = [_queue(tmp_path) for _ in range(8)]

    def claim_all(one):
        return [claim.set for claim in iter(one.claim, None)]

    with ThreadPoolExecutor(8) as threads:
        claimed = [name for names in threads.map(claim_all, queues) for name in names]
    assert sorted(claimed) == [_wanted(number).id for number in range(40)]
    assert queue.counts() == {"running": 40}


def test_a_claim_that_is_not_renewed_is_lost(tmp_path):
    queue = _queue(tmp_path, lease_seconds=0.2)
    queue.file(ADA, _wanted(1))
    first = queue.claim()
    assert queue.renew(first, 3)
    assert queue.claim() is None
    time.sleep(0.3)
    second = queue.claim()
    assert second.set == first.set
    assert not queue.renew(first, 4)
    assert not queue.finish(first, state="done")
    assert queue.finish(second, state="done", etag="x")
    assert queue.claim() is None


def test_a_set_that_kills_its_workers_is_given_up(tmp_path):
    queue = _queue(tmp_path, lease_seconds=-1)
    batch = queue.file(ADA, _wanted(1))
    assert [bool(queue.claim()) for _ in range(MAX_ATTEMPTS + 1)] == [True] * MAX_ATTEMPTS + [False]
    row = queue.batch(batch, ADA)
    assert (row.state, row.error) == ("failed", f"Given up after {MAX_ATTEMPTS} attempts.")
    assert queue.batch(queue.file(ADA, _wanted(1)), ADA).state == "queued"  # asked for again, it is tried again


def test_what_is_given_back_waits_for_the_next(queue):
    queue.file(ADA, _wanted(1))
    for _ in range(2 * MAX_ATTEMPTS):  # a service that is restarted often is not the set's fault
        queue.release(queue.claim())
    assert queue.counts() == {"queued": 1}


def test_bounds(tmp_path):
    queue = _queue(tmp_path, queue=2, disk_bytes=2500)
    first = queue.file(ADA, _wanted(1))
    queue.file(ADA, _wanted(2))
    with pytest.raises(HTTPException) as refused:
        queue.file(ADA, _wanted(3))
    assert (refused.value.status_code, "2 sets are waiting" in refused.value.detail) == (429, True)
    queue.file(ADA, _wanted(1))  # is there already
    queue.claim()
    with pytest.raises(HTTPException) as refused:
        queue.file(ADA, _wanted(3))
    assert (refused.value.status_code, "are left: delete batches" in refused.value.detail) == (429, True)
    assert int(refused.value.headers["Retry-After"]) > 0
    assert queue.delete(first, ADA)
    assert queue.counts() == {"running": 1, "queued": 1}  # the other batch wants it still


def test_old_batches_are_deleted(tmp_path):
    kept, forgetful = _queue(tmp_path), _queue(tmp_path, keep_seconds=-1)
    batch = kept.file(ADA, _wanted(1))
    kept.expire()
    assert kept.batch(batch, ADA)
    forgetful.expire()
    assert kept.batch(batch, ADA) is None
    assert kept.counts() == {}


def test_files_that_no_set_wants_are_swept(queue, tmp_path):
    results = Results(tmp_path)
    queue.file(ADA, _wanted(1))
    wanted, left = _wanted(1).cube, _wanted(2).cube
    for cube in (wanted, left):
        with results.held(cube):
            results.cube(cube).mkdir()
            results.discard(cube, lambda: set())  # is held: left alone
    results.sweep(queue.wanted_cubes)
    assert (results.cube(wanted).exists(), results.cube(left).exists()) == (True, False)
    assert results.size(wanted, "zarr") == 0


def _settings(folder, tiny, **options):
    return Settings(folder, {"tiny": tiny}, load_policy(), database_url(folder), **options)


def _filed(queue, tiny, **request):
    from sunaug.bundle import load_bundle
    from sunaug.service.filing import wanted_set
    from sunaug.service.schemas import BatchRequest

    bundle = load_bundle(tiny)
    return queue.file(LOCAL, wanted_set(BatchRequest(**request), {"tiny": bundle}, _settings(tiny, tiny)))


def test_a_set_that_cannot_be_made_says_why(queue, tmp_path, tiny):
    batch = _filed(queue, tiny, n=4)
    broken = tmp_path / "broken"
    broken.mkdir()
    assert Maker(_settings(tmp_path, broken), queue, multiprocessing.Event()).make_next()
    row = queue.batch(batch, LOCAL)
    assert (row.state, row.etag, row.bytes) == ("failed", None, 0)
    assert row.error.startswith("tiny: not a whole bundle")
    assert not (tmp_path / "sets" / row.cube).exists()


def test_a_service_that_ends_gives_its_set_back(queue, tmp_path, tiny):
    _filed(queue, tiny, n=4)
    stopping = multiprocessing.Event()
    stopping.set()
    Maker(_settings(tmp_path, tiny), queue, stopping).make_next()
    assert queue.counts() == {"queued": 1}


@pytest.mark.slow
def test_samples_made_on_dask_workers_are_the_same(queue, tmp_path, tiny):
    import numpy as np

    import sunaug
    from sunaug.cube import open_cube

    distributed = pytest.importorskip("distributed", reason="needs the extra cluster")
    batch = _filed(queue, tiny, n=300, seed=8, ungated=True)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        settings = _settings(tmp_path, tiny, scheduler=cluster.scheduler_address)
        Maker(settings, queue, multiprocessing.Event()).make_next()
    row = queue.batch(batch, LOCAL)
    assert (row.state, row.done) == ("done", 300), row.error
    made = open_cube(Results(tmp_path).cube(row.cube))["intensity"].values
    np.testing.assert_array_equal(made, sunaug.generate(tiny, n=300, seed=8)["intensity"].values)
