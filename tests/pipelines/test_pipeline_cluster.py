"""A recipe that names a Dask scheduler: ingest and generation are carried by two workers."""

import pytest

from pipelines.recipe import load_pipeline
from pipelines.run import run_recipe
from sunaug.cube import FrameStatus, open_cube
from tests.models import make_bundle
from tests.pipelines.nights import FEW, make_home, only
from tests.pipelines.test_cluster import _cluster

distributed = pytest.importorskip("distributed")


@pytest.mark.slow
def test_two_workers_do_what_one_process_does(tmp_path, monkeypatch):
    monkeypatch.setattr("sunaug.cube.store.SHARD_BYTES", 4 * 3 * 16 * 16 * 4)
    bundle = make_bundle(tmp_path / "tiny")
    made = {"generate": {"request": {"n": 24, "force": True}}, "bundle": str(bundle.path)}
    steps = only("ingest", "generate") | made
    run_recipe(make_home(tmp_path / "alone", FEW, **steps))
    with _cluster(tmp_path) as cluster:
        for _ in range(2):
            cluster.start_worker()
        with distributed.Client(cluster.address) as client:
            client.wait_for_workers(2)
            recipe = make_home(tmp_path / "shared", FEW, scheduler=cluster.address, **steps)
            run_recipe(recipe)
            busy = {worker for workers in client.run(_tasks_done).values() for worker in workers}
    assert len(busy) == 2
    for name in ("sun.zarr", "set"):
        alone, shared = (_open(tmp_path / home, name) for home in ("alone", "shared"))
        assert (shared["frame_status"] == FrameStatus.COMPLETE).all()
        assert shared["intensity"].identical(alone["intensity"])
    assert load_pipeline(recipe).scheduler.startswith("tcp://127.0.0.1:")


def _open(home, name):
    return open_cube(home / name if name != "set" else next((home / "work" / "sets").iterdir()))


def _tasks_done(dask_worker):
    """The worker's address if it has computed anything; run on each worker."""
    return [dask_worker.address] if dask_worker.state.executed_count else []
