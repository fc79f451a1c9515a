"""Writes to a cube whose lock was lost change nothing; those under a lock that is held come to pass."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import boto3
import numpy as np
import pytest
from upath import UPath

from sunaug import conditional
from sunaug.conditional import put_if, remove_if, version_of
from sunaug.cube import FrameStatus, create_cube, fencing, lock, open_cube, set_attributes, write_frames
from sunaug.cube.fencing import remove, remove_all, replace
from sunaug.cube.lock import Lease, LostLock, only_writer
from sunaug.cube.store import commit, grow_cube, open_arrays, writable
from sunaug.errors import SunaugError
from sunaug.storage import location
from tests.pipelines.servers import BUCKET, object_store

TIMES = np.datetime64("2012-03-05", "ns") + np.arange(4) * np.timedelta64(1, "D")
LATER = TIMES[-1] + np.arange(1, 3) * np.timedelta64(1, "D")
SETTINGS = {"channels": ["171"], "size": 8, "disk_radius": 3.5, "intensity_scale": "browse"}
FRAMES = {"intensity": np.ones((2, 1, 8, 8), np.float32), "frame_status": np.ones(2, np.int8)}


@pytest.fixture(scope="module")
def store() -> Iterator[None]:
    with object_store():
        yield


@pytest.fixture(params=["disk", "s3", "memory"])
def place(request, store, tmp_path, monkeypatch) -> UPath:
    """Where a cube may be: on a disk, in a store with conditional writes, and in one without."""
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.0)
    name = request.node.name.replace("[", "-").replace("]", "")
    return location(
        {"disk": tmp_path / "c.zarr", "s3": f"s3://{BUCKET}/{name}.zarr"}.get(request.param)
        or f"memory://{name}/c.zarr"
    )


def _content(place: UPath) -> dict[str, bytes]:
    """Every object beside and below a cube but its lock."""
    folder = place.parent
    found = folder.fs.find(folder.path)
    return {one: folder.fs.cat_file(one) for one in found if place.name in one and ".lock" not in one}


def _take_over(lease: Lease) -> None:
    """Let another run have the lock."""
    if lease.lock.path.startswith("/") and Path(lease.lock.path).exists():
        content = Path(lease.lock.path)
        content.rename(f"{content}.old")  # so that its number is not given to the new one
        content.touch()
        return
    held = json.loads(lease.lock.fs.cat_file(lease.lock.path))
    label = held | {"name": "another", "process": 4711, "host": "elsewhere"}
    lease.lock.fs.pipe_file(lease.lock.path, json.dumps(label).encode())


WRITES = {
    "frames": lambda place, lease: write_frames(place, 2, FRAMES, lease=lease),
    "attributes": lambda place, lease: set_attributes(place, {"note": "late"}, lease),
    "commit": lambda place, lease: commit(place, {"note": "late"}, lease),
    "room": lambda place, lease: grow_cube(place, LATER, lease),
    "labels": lambda place, lease: writable(open_arrays(place, lease=lease), "forecast_flux").__setitem__(0, 1e-4),
    "table": lambda place, lease: replace(place.parent / f"{place.name}.csv", b"late", lease),
    "removing a file": lambda place, lease: remove(place / "zarr.json", lease),
    "removing it": lambda place, lease: remove_all(place, lease),
    "resizing": lambda place, lease: open_arrays(place, lease=lease)["quality"].resize((2, 1)),
}


@pytest.mark.parametrize("write", WRITES)
def test_nothing_is_written_without_the_lock(place, write):
    with only_writer(place) as lease:
        create_cube(place, times=TIMES, lease=lease, **SETTINGS)
        write_frames(place, 0, FRAMES, lease=lease)
        before = _content(place)
        _take_over(lease)
        with pytest.raises(LostLock, match="this run lost the cube's lock, as after a pause") as raised:
            WRITES[write](place, lease)
        assert _content(place) == before
    assert str(place) in str(raised.value)
    assert raised.value.exit_code == 1
    assert lease.lock.exists(), "the lock of the other run is let alone"


@pytest.mark.parametrize("write", WRITES)
def test_everything_is_written_with_the_lock(place, write):
    with only_writer(place) as lease:
        create_cube(place, times=TIMES, lease=lease, **SETTINGS)
        write_frames(place, 0, FRAMES, lease=lease)
        before = _content(place)
        WRITES[write](place, lease)
        assert _content(place) != before
    assert not lease.lock.exists()


def test_a_cube_is_not_made_without_the_lock(place):
    with only_writer(place) as lease:
        _take_over(lease)
        with pytest.raises(LostLock):
            create_cube(place, times=TIMES, lease=lease, **SETTINGS)
    assert _content(place) == {}


def test_whatever_fails_without_the_lock_fails_for_that(place):
    def fail(lease: Lease, *, without: bool) -> None:
        if without:
            _take_over(lease)
        raise SunaugError("the connection is gone")

    with pytest.raises(LostLock), only_writer(place) as lease:
        fail(lease, without=True)
    with pytest.raises(SunaugError, match=r"^the connection is gone$"), only_writer(place.parent / "b.zarr") as lease:
        fail(lease, without=False)


def test_a_lock_that_is_gone_is_lost_and_not_made_again(store, monkeypatch):
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.05)
    place = location(f"s3://{BUCKET}/gone.zarr")
    with only_writer(place) as lease:
        lease.lock.fs.rm_file(lease.lock.path)
        renewals = [one for one in threading.enumerate() if one.name.startswith("Thread") and "_renew" in one.name]
        for one in renewals:
            one.join(10)
        assert not any(one.is_alive() for one in renewals)
        assert version_of(lease.lock) is None
        with pytest.raises(LostLock, match=r"gone\.zarr\.lock is gone or another one"):
            lease.check()


def test_conditions_of_the_object_store(store):
    place = location(f"s3://{BUCKET}/object")
    assert version_of(place) is None
    first = put_if(place, b"1", None)
    assert version_of(place) == first
    assert not put_if(place, b"2", None)
    second = put_if(place, b"2", first)
    assert second not in ("", first)
    assert not put_if(place, b"3", first)
    assert not remove_if(place, first)
    assert place.read_bytes() == b"2"
    assert remove_if(place, second)
    assert not put_if(place, b"3", second), "what was removed is not as it was"
    assert version_of(place) is None


def test_a_write_that_came_late_does_not_stand_in_the_way(store, monkeypatch):
    """The new holder finds its condition broken by what the old one still had under way, and writes again."""
    place = location(f"s3://{BUCKET}/late.zarr")
    target = place / "object"
    put, late = fencing.put_object_if, [b"of the one before"]

    async def put_after_another(fs, path, content, version):
        if late:
            await put(fs, path, late.pop(), version)
        return await put(fs, path, content, version)

    monkeypatch.setattr(fencing, "put_object_if", put_after_another)
    with only_writer(place) as lease:
        replace(target, b"mine", lease)
    assert target.read_bytes() == b"mine"


def test_a_write_whose_answer_was_lost_is_read_back(store, monkeypatch):
    place = location(f"s3://{BUCKET}/answer.zarr")
    put, asked = fencing.put_object_if, []

    async def answer_lost(fs, path, content, version):
        asked.append(version)
        await put(fs, path, content, version)
        return await put(fs, path, content, version)  # as botocore tries again by itself

    monkeypatch.setattr(fencing, "put_object_if", answer_lost)
    with only_writer(place) as lease:
        replace(place / "object", b"mine", lease)
    assert len(asked) == 1
    assert (place / "object").read_bytes() == b"mine"


def test_a_store_that_knows_no_conditions_is_found_out(store, monkeypatch):
    """Such a store takes the headers and does not heed them. The lock is asked before each write all the same."""
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.0)

    async def heedless(fs, path, content, version):
        bucket, key, _ = fs.split_path(path)
        return str((await fs._call_s3("put_object", Bucket=bucket, Key=key, Body=content))["ETag"])

    monkeypatch.setattr(conditional, "put_object_if", heedless)
    place = location(f"s3://{BUCKET}/heedless.zarr")
    with only_writer(place) as lease:
        assert not lease.conditional
        create_cube(place, times=TIMES, lease=lease, **SETTINGS)
        before = _content(place)
        _take_over(lease)
        with pytest.raises(LostLock, match=r"another run \(process 4711 on elsewhere\) holds it now"):
            write_frames(place, 0, FRAMES, lease=lease)
        assert _content(place) == before
    assert open_cube(place)["frame_status"].values.tolist() == [FrameStatus.PENDING] * 4
    boto3.client("s3").delete_object(Bucket=BUCKET, Key="heedless.zarr.lock")


def test_of_two_that_find_a_lock_left_behind_one_has_it(store, monkeypatch):
    place = location(f"s3://{BUCKET}/left.zarr")
    left = {"name": "dead", "host": "elsewhere", "process": 1, "renewed": "2012-01-01T00:00:00+00:00"}
    boto3.client("s3").put_object(Bucket=BUCKET, Key="left.zarr.lock", Body=json.dumps(left).encode())
    read, turns = lock._ObjectLock._read, threading.Barrier(2)
    first = iter([True, True])

    def read_together(self):
        held = read(self)
        if next(first, False):  # both have seen the old lock before either writes
            turns.wait(20)
        return held

    monkeypatch.setattr(lock._ObjectLock, "_read", read_together)
    told: list[str] = []
    done = threading.Event()

    def run() -> None:
        try:
            with only_writer(place):
                told.append("held")
                done.wait(20)
        except SunaugError as error:
            told.append(str(error))
            done.set()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert sorted(one == "held" for one in told) == [False, True], told
    assert any("is writing this cube" in one for one in told)
