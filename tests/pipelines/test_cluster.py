"""An ingest on a cluster: real schedulers and workers as processes of their own, killed at many moments."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from pipelines.filling import Plan, write_shard
from pipelines.frames import group_frames, refer_files
from pipelines.ingest import ingest
from sunaug.calibrate.chain import Calibration
from sunaug.cube import FrameStatus, open_cube
from sunaug.errors import SunaugError
from sunaug.sources import FileReference, discover
from sunaug.storage import location
from tests.cli.commands import sunaug
from tests.make_data import write_fits

ROOT = Path(__file__).parents[2]
DYING = Path(__file__).with_name("dying_worker.py")


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class _Cluster:
    """A scheduler and its workers, of one thread each."""

    def __init__(self, folder: Path):
        self._log = (folder / "cluster.log").open("w")
        self._file = folder / "scheduler.json"
        self._processes: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0")

    def _start(self, what: str, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", what, "--scheduler-file", str(self._file), "--no-dashboard", *options]
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | environment, stdout=self._log, stderr=subprocess.STDOUT
        )
        self._processes.append(process)
        return process

    @property
    def address(self) -> str:
        _wait_for(self._file.exists)
        return json.loads(self._file.read_text())["address"]

    def start_worker(self, fatal: int = 0) -> subprocess.Popen[bytes]:
        """A worker that dies at the object of that number, or lives."""
        assert self.address
        dying = ("--preload", str(DYING)) if fatal else ()
        options = ("--nthreads", "1", "--no-nanny", "--host", "127.0.0.1", "--local-directory", self._file.parent)
        return self._start("worker", *map(str, options), *dying, FATAL_OBJECT=str(fatal))

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._log.close()


@contextmanager
def _cluster(folder: Path) -> Iterator[_Cluster]:
    started = _Cluster(folder)
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture
def cluster(tmp_path) -> Iterator[_Cluster]:
    with _cluster(tmp_path) as started:
        yield started


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    """Two frames a shard; workers take it from the cube."""
    monkeypatch.setattr("sunaug.cube.store.SHARD_BYTES", 2 * 2 * 32 * 32 * 4)


@pytest.fixture(scope="module")
def days(tmp_path_factory) -> Path:
    """24 frames in two channels, one of which disagree, an eclipse and an empty file."""
    folder = tmp_path_factory.mktemp("fits")
    for hour in range(24):
        for channel, second in ((171, 0), (193, 5)):
            seed = 99 if (hour, channel) == (9, 193) else 7
            time = f"2012-03-01T{hour:02d}:00:{second:02d}.00"
            write_fits(folder / f"{hour}-{channel}.fits", time=time, wavelength=channel, seed=seed)
    write_fits(folder / "eclipse.fits", time="2012-03-01T12:30:00.00", quality=1 << 13)
    (folder / "empty.fits").write_bytes(b"")
    return folder


def _content(cube: Path) -> dict[str, bytes]:
    """Every file of a cube, and its table of rejections."""
    files = {str(one.relative_to(cube)): one.read_bytes() for one in sorted(cube.rglob("*")) if one.is_file()}
    return files | {"rejected": cube.with_name(f"{cube.stem}.rejected.csv").read_bytes()}


@pytest.fixture(scope="module")
def expected(days, tmp_path_factory) -> dict[str, bytes]:
    """What threads make of the files."""
    with pytest.MonkeyPatch.context() as change:
        change.setattr("sunaug.cube.store.SHARD_BYTES", 2 * 2 * 32 * 32 * 4)
        cube = tmp_path_factory.mktemp("whole") / "cube.zarr"
        ingest([days], cube, size=32, scheduler="threads")
    assert FrameStatus.REJECTED in open_cube(cube)["frame_status"].values
    return _content(cube)


@pytest.mark.parametrize(
    "moments",
    [
        (2, 11, 26),
        (1, 8, 33),
        (5, 14, 40),
        (3, 19, 22),
    ],
)
@pytest.mark.slow
def test_workers_killed_while_they_write(cluster, days, expected, tmp_path, moments):
    dying = [cluster.start_worker(fatal) for fatal in moments]

    def replace() -> None:
        for worker in dying:
            worker.wait()
        cluster.start_worker()

    replacing = threading.Thread(target=replace)
    replacing.start()
    result = ingest([days], tmp_path / "cube.zarr", size=32, scheduler=cluster.address)
    replacing.join()
    assert [worker.returncode for worker in dying] == [-signal.SIGKILL] * len(moments)
    assert (result.files_used, result.files_rejected) == (46, 4)
    assert _content(tmp_path / "cube.zarr") == expected


_CLIENT = """
import sys
import sunaug.cube.store
from pipelines.ingest import ingest
sunaug.cube.store.SHARD_BYTES = 2 * 2 * 32 * 32 * 4
ingest([sys.argv[1]], sys.argv[2], size=32, scheduler=sys.argv[3])
"""


@pytest.mark.slow
def test_a_client_killed_while_workers_write(cluster, days, expected, tmp_path):
    cluster.start_worker()
    cube = tmp_path / "cube.zarr"
    command = [sys.executable, "-c", _CLIENT, str(days), str(cube), cluster.address]
    client = subprocess.Popen(command, cwd=ROOT)
    _wait_for(lambda: (cube / "intensity" / "c" / "3").exists())
    client.kill()
    client.wait()
    assert not (cube / "intensity" / "c" / "11").exists(), "killed too late to tell anything"
    again = ingest([days], cube, size=32, scheduler=cluster.address)
    assert any("shards were kept from an earlier run" in note for note in again.notes)
    assert _content(cube) == expected
    assert sorted(one.name for one in tmp_path.glob("cube*")) == ["cube.rejected.csv", "cube.zarr"]


def test_a_task_that_outlives_its_run_changes_nothing(days, expected, tmp_path):
    cube = location(tmp_path / "cube.zarr")
    ingest([days], cube, size=32)
    channels = ("aia171", "aia193")
    looked = refer_files(discover([days]), channels)
    references = [one for one in looked if isinstance(one, FileReference)]
    frames, _ = group_frames(references, channels, np.timedelta64(60, "s"))
    plan = Plan(cube, channels, "physical", "physical", Calibration(size=32, disk_radius=14.0), 14.0)
    # The frames with the one that was found faulty.
    assert open_cube(cube)["frame_status"].values[9] == FrameStatus.REJECTED
    write_shard(plan, 8, frames[8:10])
    assert _content(tmp_path / "cube.zarr") == expected


@pytest.mark.slow
def test_workers_that_die_of_a_task(days, expected, tmp_path, monkeypatch):
    """As for want of memory: Dask gives a task up when too many workers have died of it, here when one has."""
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    with _cluster(tmp_path) as cluster:
        cluster.start_worker(fatal=4)
        with pytest.raises(SunaugError, match=r"tcp://.*: workers died of the same task again and again"):
            ingest([days], tmp_path / "cube.zarr", size=32, scheduler=cluster.address)
    ingest([days], tmp_path / "cube.zarr", size=32, scheduler="threads")
    assert _content(tmp_path / "cube.zarr") == expected


@pytest.mark.slow
def test_a_scheduler_that_goes_away(cluster, days, expected, tmp_path):
    cluster.start_worker()

    def kill(what: str, done: int, total: int) -> None:
        if what == "reading files" and done:
            cluster.scheduler.kill()

    with pytest.raises(SunaugError, match=r"tcp://.*: the scheduler went away"):
        ingest([days], tmp_path / "cube.zarr", size=32, scheduler=cluster.address, report=kill)
    ingest([days], tmp_path / "cube.zarr", size=32, scheduler="threads")
    assert _content(tmp_path / "cube.zarr") == expected


def test_an_address_where_nothing_listens_is_one_sentence(days, tmp_path):
    done = sunaug("ingest", days, "--out", tmp_path / "cube.zarr", "--scheduler", "tcp://127.0.0.1:9")
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("sunaug: tcp://127.0.0.1:9: no Dask scheduler answers there")
    assert not (tmp_path / "cube.zarr").exists()
