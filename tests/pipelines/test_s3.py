"""Ingest from and to an object store and a web site: real servers on this machine, over HTTP."""

import csv
import io
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest

from pipelines.ingest import ingest
from sunaug.cube import open_cube
from sunaug.cube.lock import STALE_SECONDS, only_writer
from sunaug.errors import SunaugError, UsageError
from sunaug.storage import location
from tests.cli.commands import sunaug
from tests.make_data import write_fits
from tests.pipelines.servers import BUCKET, object_store, start_object_store, web_site


@pytest.fixture(scope="module")
def store():
    with object_store() as server:
        yield server


@pytest.fixture(scope="module")
def days(tmp_path_factory) -> tuple[Path, Path]:
    """Three days in two channels with a web page and an empty file among them, then a day more."""
    first, more = (tmp_path_factory.mktemp(name) for name in ("first", "more"))
    for day in range(1, 5):
        for channel, second in ((171, 0), (193, 5)):
            name, moment = f"{day}-{channel}.fits", f"2012-03-{day:02d}T00:00:{second:02d}.00"
            write_fits((first if day <= 3 else more) / name, time=moment, wavelength=channel, seed=day)
    (first / "page.fits").write_text("<!DOCTYPE html><html>")
    (first / "empty.fits").write_bytes(b"")
    (first / "notes.md").write_text("no image")
    return first, more


@pytest.fixture(scope="module")
def bucket(store, days) -> str:
    """The address of a bucket with the same files."""
    client = boto3.client("s3")
    for folder, name in zip(days, ("fits", "more"), strict=True):
        for file in folder.iterdir():
            client.upload_file(str(file), BUCKET, f"{name}/{file.name}")
    return f"s3://{BUCKET}"


@pytest.fixture
def _small_shards(monkeypatch):
    """Two frames a shard, so that several are written side by side."""
    monkeypatch.setattr("sunaug.cube.store.SHARD_BYTES", 2 * 2 * 32 * 32 * 4)


def _objects(name: str) -> dict[str, bytes]:
    """Every object of a cube in the bucket, by its name in the cube."""
    client = boto3.client("s3")
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix=f"{name}/").get("Contents", [])
    assert len(listed) < 1000
    return {
        one["Key"].removeprefix(f"{name}/"): client.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read()
        for one in listed
    }


def _names(prefix: str) -> list[str]:
    listed = boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    return [one["Key"] for one in listed]


def _files(cube: Path) -> dict[str, bytes]:
    return {str(one.relative_to(cube)): one.read_bytes() for one in sorted(cube.rglob("*")) if one.is_file()}


def _reasons(table: str) -> dict[str, str]:
    rows = csv.DictReader(io.StringIO(table, newline=""))
    return {row["file"].rsplit("/", 1)[1]: row["reason"] for row in rows}


@pytest.mark.slow
def test_a_bucket_gives_the_bytes_of_a_folder(bucket, days, tmp_path):
    local = ingest([days[0]], tmp_path / "cube.zarr", size=32)
    assert (local.frames, local.files_used, local.files_rejected) == ({"complete": 3}, 6, 2)
    done = sunaug("ingest", f"{bucket}/fits/", "--out", f"{bucket}/cube.zarr", "--size", 32)
    assert done.returncode == 0, done.stderr
    assert f"{bucket}/cube.zarr: 3 frames (3 complete)" in done.stdout
    assert "6 inputs used, 2 left out." in done.stdout
    assert f"Why each was left out: {bucket}/cube.rejected.csv" in done.stdout
    assert _objects("cube.zarr") == _files(tmp_path / "cube.zarr")
    # Nothing else is left beside the cube, no lock above all.
    assert [name for name in _names("cube") if not name.startswith("cube.zarr/")] == ["cube.rejected.csv"]
    reasons = _reasons(location(f"{bucket}/cube.rejected.csv").read_text())
    assert reasons == _reasons(local.rejected_csv.read_text())
    assert "web page" in reasons["page.fits"]
    assert "empty" in reasons["empty.fits"]
    values = open_cube(f"{bucket}/cube.zarr").load()
    assert values.drop_attrs().identical(open_cube(local.cube).load().drop_attrs())

    shown = sunaug("inspect", f"{bucket}/cube.zarr")
    assert shown.returncode == 0, shown.stderr
    assert "time 3, channel 2, y 32, x 32" in shown.stdout
    assert "page.fits" in shown.stdout


@pytest.mark.usefixtures("_small_shards")
@pytest.mark.slow
def test_given_again_and_appended(bucket, days, tmp_path):
    pattern, cube = f"{bucket}/fits/*.fits", f"{bucket}/grown.zarr"
    ingest([pattern], cube, size=32)
    first = _objects("grown.zarr")
    again = ingest([pattern], cube, size=32)
    assert any("finished already" in note for note in again.notes)
    assert _objects("grown.zarr") == first

    early = open_cube(cube)
    appended = ingest([f"{bucket}/more"], cube, append=True)
    assert appended.frames == {"complete": 4}
    assert early.sizes["time"] == 3, "a cube that is open stays as it is"
    ingest([days[0]], tmp_path / "cube.zarr", size=32)
    ingest([days[1]], tmp_path / "cube.zarr", append=True)
    assert _objects("grown.zarr") == _files(tmp_path / "cube.zarr")


def test_files_of_a_bucket_into_a_local_cube(bucket, days, tmp_path):
    local = ingest([days[0]], tmp_path / "local.zarr", size=32)
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(f"{bucket}/{name}" for name in _names("fits/")))
    mixed = ingest([listed], tmp_path / "mixed.zarr", size=32)
    assert (mixed.files_used, mixed.files_rejected) == (6, 3), "a file that is named is accounted for, whatever it is"
    assert _files(tmp_path / "mixed.zarr").keys() == _files(local.cube).keys()


def _leave_lock_behind(name: str, age: float) -> None:
    """The lock of another run, renewed for the last time so many seconds ago."""
    renewed = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
    label = {"name": "other", "host": "elsewhere", "process": 1, "renewed": renewed}
    boto3.client("s3").put_object(Bucket=BUCKET, Key=name, Body=json.dumps(label).encode())


def test_a_second_writer_is_refused_until_the_lock_is_left_behind(bucket, monkeypatch):
    monkeypatch.setattr("sunaug.cube.lock.SETTLE_SECONDS", 0.1)
    cube = f"{bucket}/locked.zarr"
    with (
        only_writer(location(cube)),
        pytest.raises(SunaugError, match=r"another run \(process \d+ on .+\) is writing this cube"),
    ):
        ingest([f"{bucket}/fits"], cube, size=32)
    assert _names("locked") == []

    _leave_lock_behind("locked.zarr.lock", STALE_SECONDS / 2)
    with pytest.raises(SunaugError, match="process 1 on elsewhere"):
        ingest([f"{bucket}/fits"], cube, size=32)
    assert _names("locked") == ["locked.zarr.lock"]

    _leave_lock_behind("locked.zarr.lock", STALE_SECONDS + 1)
    assert ingest([f"{bucket}/fits"], cube, size=32).frames == {"complete": 3}
    assert "locked.zarr.lock" not in _names("locked")


def test_a_lock_is_renewed_and_one_that_was_taken_over_is_let_alone(bucket, monkeypatch):
    monkeypatch.setattr("sunaug.cube.lock.RENEW_SECONDS", 0.05)
    client, key = boto3.client("s3"), "renewed.zarr.lock"

    def label() -> dict[str, str]:
        return json.loads(client.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    with only_writer(location(f"{bucket}/renewed.zarr")):
        mine = label()
        client.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(mine | {"renewed": "2012-01-01T00:00:00Z"}).encode())
        deadline = time.monotonic() + 20
        while label()["renewed"] < mine["renewed"]:
            assert time.monotonic() < deadline, "the lock is not renewed"
            time.sleep(0.05)
        client.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(mine | {"name": "other"}).encode())
        time.sleep(0.5)
    assert label()["name"] == "other"
    client.delete_object(Bucket=BUCKET, Key=key)


@pytest.mark.usefixtures("_small_shards")
@pytest.mark.parametrize("what", ["the files", "the cube"])
def test_a_store_that_goes_away_stops_the_run_and_spoils_no_file(bucket, days, tmp_path, what):
    ingest([days[0]], tmp_path / "whole.zarr", size=32)
    with object_store() as server:
        _, port = server.get_host_and_port()
        files = f"{bucket}/fits" if what == "the files" else days[0]
        cube = f"{bucket}/torn.zarr" if what == "the cube" else tmp_path / "torn.zarr"

        def stop(what: str, done: int, total: int) -> None:
            if what == "reading files" and done:
                server.stop()

        with pytest.raises(SunaugError, match=r"cannot be (reached|written) \(Could not connect") as raised:
            ingest([files], cube, size=32, scheduler="synchronous", report=stop)
        assert "\n" not in str(raised.value)
        again = start_object_store(port)
        try:
            if what == "the cube":
                # The owner of this lock could not remove it and is gone.
                _leave_lock_behind("torn.zarr.lock", STALE_SECONDS + 1)
            finished = ingest([files], cube, size=32)
        finally:
            again.stop()
    assert "1 of 2 shards were kept from an earlier run" in finished.notes
    assert (finished.files_used, finished.files_rejected) == (6, 2)
    torn = _objects("torn.zarr") if what == "the cube" else _files(tmp_path / "torn.zarr")
    assert torn == _files(tmp_path / "whole.zarr")


def test_a_bucket_that_is_not_there_is_one_sentence(bucket, days, tmp_path):
    with pytest.raises(UsageError, match=r"^s3://no-such-bucket/fits/\*\.fits: this pattern finds no image"):
        ingest(["s3://no-such-bucket/fits/*.fits"], tmp_path / "cube.zarr", size=32)
    done = sunaug("ingest", days[0], "--out", "s3://no-such-bucket/cube.zarr", "--size", 32)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("sunaug: s3://no-such-bucket/cube.zarr: cannot be reached (The specified bucket does not")


@pytest.mark.parametrize("what", ["read", "write", "inspect"])
def test_an_endpoint_where_nothing_listens_is_one_sentence(bucket, days, tmp_path, monkeypatch, what):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    began = time.monotonic()
    done = sunaug(
        *{
            "read": ("ingest", f"{bucket}/fits/*.fits", "--out", tmp_path / "cube.zarr"),
            "write": ("ingest", days[0], "--out", f"{bucket}/dead.zarr"),
            "inspect": ("inspect", f"{bucket}/cube.zarr"),
        }[what]
    )
    assert time.monotonic() - began < 20
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"sunaug: {bucket}/")
    assert "cannot be reached (Could not connect to the endpoint URL" in line


def test_a_file_of_a_web_site(days, tmp_path):
    local = ingest([days[0] / "1-193.fits"], tmp_path / "local.zarr", size=32)
    with web_site(days[0]) as address:
        result = ingest([f"{address}/1-193.fits", f"{address}/page.fits"], tmp_path / "cube.zarr", size=32)
        with pytest.raises(UsageError, match=r"none\.fits: no such file"):
            ingest([f"{address}/none.fits"], tmp_path / "none.zarr", size=32)
    assert (result.files_used, result.files_rejected) == (1, 1)
    assert "web page" in _reasons(result.rejected_csv.read_text())["page.fits"]
    assert open_cube(result.cube).load().drop_attrs().identical(open_cube(local.cube).load().drop_attrs())
    with pytest.raises(UsageError, match=r"1-193\.fits: no such file"):
        ingest([f"{address}/1-193.fits"], tmp_path / "gone.zarr", size=32)
