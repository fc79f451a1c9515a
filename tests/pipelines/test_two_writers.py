"""Two processes write one cube: the one that was paused until its lock was lost changes nothing, and says why."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest

from pipelines.ingest import ingest
from sunaug.cube import open_cube
from tests.make_data import write_fits
from tests.pipelines.servers import BUCKET, object_store

ROOT = Path(__file__).parents[2]
STALE = 1.0


@pytest.fixture(scope="module")
def store() -> Iterator[None]:
    with object_store():
        yield


@pytest.fixture(scope="module")
def days(tmp_path_factory) -> tuple[Path, Path]:
    """Four days in two channels, in one of which they disagree, and two days more."""
    first, more = (tmp_path_factory.mktemp(name) for name in ("first", "more"))
    for day in range(1, 7):
        for channel, second in ((171, 0), (193, 5)):
            name, moment = f"{day}-{channel}.fits", f"2012-03-{day:02d}T00:00:{second:02d}.00"
            write_fits((first if day <= 4 else more) / name, time=moment, wavelength=channel, seed=day)
    (first / "page.fits").write_text("<!DOCTYPE html><html>")
    return first, more


def _command(part: str, time: int, *arguments: object) -> list[str]:
    module = [sys.executable, "-m", "tests.pipelines.paused_writer", str(STALE), part, str(time)]
    return [*module, "ingest", *map(str, arguments)]


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command("never", 1, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=200, check=False
    )


@contextmanager
def _paused(part: str, time: int, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A writer that has stopped itself; it goes on when it gets SIGCONT."""
    process = subprocess.Popen(
        _command(part, time, *arguments), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            process.returncode = os.waitstatus_to_exitcode(status)
            pytest.fail(f"it was to stop before writing {part}, and ended: {process.communicate()[1]}")
        yield process
    finally:
        process.kill()
        process.wait()


def _woken(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and the last line that a paused writer prints once it goes on."""
    process.send_signal(signal.SIGCONT)
    _, errors = process.communicate(timeout=200)
    assert "Traceback" not in errors
    return process.returncode, errors.strip().splitlines()[-1]


def _objects(prefix: str) -> dict[str, bytes]:
    client = boto3.client("s3")
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]
    return {one["Key"]: client.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read() for one in listed}


def _files(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in sorted(folder.rglob("*")) if one.is_file()}


MOMENTS = {
    "creating": ("intensity/zarr.json", 1),
    "labels": ("forecast_flux/c/", 1),
    "half of the shards": ("intensity/c/1/", 1),
    "status": ("frame_status/c/1", 2),
    "rejections": (".rejected.csv", 1),
    "commit": (".zarr/zarr.json", 4),
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_paused_writer_fails_and_the_cube_is_the_second_ones(store, days, tmp_path, moment):
    name = moment.replace(" ", "-")
    cube = f"s3://{BUCKET}/{name}.zarr"
    table = tmp_path / "flares.csv"
    table.write_text("start,peak,end,class\n2012-03-02T10:00,2012-03-02T10:10,2012-03-02T10:20,M2.0\n")
    arguments = (days[0], "--out", cube, "--size", 32, "--flares", table, "--workers", 1)
    with _paused(*MOMENTS[moment], *arguments) as first:
        second = _run(*arguments)
        assert second.returncode == 0, second.stderr
        written = _objects(name)
        code, said = _woken(first)
    assert code == 1
    assert said.startswith(f"sunaug: {cube}: this run lost the cube's lock, as after a pause (")
    assert _objects(name) == written
    assert open_cube(cube).sizes["time"] == 4
    assert f"{name}.zarr.lock" not in written
    whole = ingest([days[0]], tmp_path / f"{name}.zarr", size=32, flares=table)
    stored = {key.removeprefix(f"{name}.zarr/"): content for key, content in written.items()}
    assert stored.pop(f"{name}.rejected.csv") == whole.rejected_csv.read_bytes()
    del stored["zarr.json"]  # the shards of this process are larger
    small = {key: content for key, content in _files(tmp_path / f"{name}.zarr").items() if key.startswith("time/")}
    assert small.items() <= stored.items()
    # What the message says to do: the same command finds the cube finished.
    again = _run(*arguments)
    assert again.returncode == 0
    assert _objects(name) == written


@pytest.mark.slow
def test_a_paused_append_gives_way_to_another_one(store, days, tmp_path):
    cube = f"s3://{BUCKET}/appended.zarr"
    assert _run(days[0], "--out", cube, "--size", 32).returncode == 0
    with _paused("intensity/c/2/", 1, days[1], "--out", cube, "--append", "--workers", 1) as first:
        second = _run(*days[1].glob("6-*"), "--out", cube, "--append")
        assert second.returncode == 0, second.stderr
        written = _objects("appended")
        code, said = _woken(first)
    assert code == 1
    assert "this run lost the cube's lock" in said
    assert _objects("appended") == written
    assert str(open_cube(cube)["time"].values[-1]).startswith("2012-03-06")
    assert open_cube(cube).sizes["time"] == 5


@pytest.mark.slow
def test_while_the_second_one_writes_the_first_one_is_told_of_it(store, days):
    """Both alive at a time: the one that took over is stopped in its turn, and what it holds is not taken from it."""
    cube = f"s3://{BUCKET}/both.zarr"
    arguments = (days[0], "--out", cube, "--size", 32, "--workers", 1)
    with (
        _paused("intensity/c/0/", 1, *arguments) as first,
        _paused(".rejected.csv", 1, *arguments) as second,
    ):
        code, said = _woken(first)
        assert code == 1
        assert f"another run (process {second.pid} on " in said
        assert _woken(second)[0] == 0
    assert open_cube(cube).sizes["time"] == 4


@pytest.mark.slow
def test_on_a_disk_a_paused_writer_keeps_its_lock(days, tmp_path):
    cube = tmp_path / "cube.zarr"
    arguments = (days[0], "--out", cube, "--size", 32, "--workers", 1)
    with _paused("cube.zarr.lock", 20, *arguments) as first:
        second = _run(*arguments)
        assert second.returncode == 1
        assert "another run is writing this cube" in second.stderr
        first.send_signal(signal.SIGCONT)
        _, errors = first.communicate(timeout=200)
        assert first.returncode == 0, errors
    assert open_cube(cube).sizes["time"] == 4
    assert not (tmp_path / "cube.zarr.lock").exists()


@pytest.mark.slow
@pytest.mark.parametrize("time", [70, 85])
def test_on_a_disk_a_writer_whose_lock_was_removed_writes_nothing_more(days, tmp_path, time):
    cube = tmp_path / "cube.zarr"
    arguments = (days[0], "--out", cube, "--size", 32, "--workers", 1)
    with _paused("cube.zarr.lock", time, *arguments) as first:
        (tmp_path / "cube.zarr.lock").unlink()
        second = _run(*arguments)
        assert second.returncode == 0, second.stderr
        written = _files(tmp_path)
        code, said = _woken(first)
    assert code == 1
    assert said == (
        f"sunaug: {cube}: this run lost the cube's lock, as after a pause ({cube}.lock is gone or another one), so it "
        "stopped and wrote nothing more; once no other run is writing, run the command again: what is complete is kept."
    )
    assert _files(tmp_path) == written
