"""Published versions: whole or not there, switched in one step, and readable by whoever reads an older one."""

import shutil
import threading

import numpy as np
import pytest
from typer.testing import CliRunner

from pipelines.publish import publish, published, rollback, versions
from pipelines.state import only_run
from sunaug.cli import app
from sunaug.cube import FrameStatus, create_cube, open_cube, write_frames
from sunaug.errors import GateRefused, SunaugError, UsageError
from tests.cli.commands import refused


def _make_set(path, value, verdict="passed", status=FrameStatus.COMPLETE):
    create_cube(
        path,
        channels=["aia193"],
        size=8,
        disk_radius=3.5,
        intensity_scale="browse",
        n_samples=6,
        attrs={"gate": {"verdict": verdict, "sentence": "."}},
    )
    frames = np.full((6, 1, 8, 8), value, np.float32)
    write_frames(path, 0, {"intensity": frames, "frame_status": np.full(6, status, np.int8)})
    return path


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A home with three versions; their pixels are 1, 2 and 3."""
    home = tmp_path_factory.mktemp("three")
    for value in (1, 2, 3):
        _publish(home, value)
    return home


@pytest.fixture
def folder(three, tmp_path):
    """A copy of these versions, with the sets that they were made of beside them."""
    shutil.copytree(three, tmp_path, dirs_exist_ok=True)
    return tmp_path / "out"


def _publish(home, value, keep=3, **options):
    cube = home / f"{value}.zarr"
    if not cube.exists():
        _make_set(cube, value, **options)
    about = {"n": 6, "bundle_name": "tiny", "policy": "default"}
    return publish(cube, home / "out", key=f"key {value}", name="rare", keep=keep, about=about)


def _value(cube):
    return float(open_cube(cube)["intensity"].values.mean())


def test_versions_are_counted_and_the_last_one_is_current(folder):
    assert [(one.number, one.current, _value(one.cube)) for one in versions(folder)] == [
        *((1, False, 1.0), (2, False, 2.0), (3, True, 3.0))
    ]
    assert published(folder) == folder / "versions" / "0003" / "rare.zarr"


def test_the_oldest_go_and_no_number_is_given_twice(folder):
    _publish(folder.parent, 4, keep=2)
    assert [one.number for one in versions(folder)] == [3, 4]
    rollback(folder)
    _publish(folder.parent, 5, keep=1)
    assert [one.number for one in versions(folder)] == [5]


def test_the_same_key_is_published_once(folder):
    before = {one: one.stat().st_mtime_ns for one in folder.rglob("*") if one.is_file()}
    version, written = _publish(folder.parent, 3)
    assert (version.number, written) == (3, False)
    assert {one: one.stat().st_mtime_ns for one in folder.rglob("*") if one.is_file()} == before


@pytest.mark.parametrize("verdict", ["refused", "ungated", "unjudged"])
def test_only_what_the_gate_has_passed(tmp_path, verdict):
    with pytest.raises(GateRefused):
        _publish(tmp_path, 1, verdict=verdict)
    assert not (tmp_path / "out" / "versions").exists()


def test_nothing_unfinished(tmp_path):
    with pytest.raises(SunaugError, match="not finished"):
        _publish(tmp_path, 1, status=FrameStatus.PENDING)


def test_a_copy_that_differs_is_not_published(folder, monkeypatch):
    copy = shutil.copytree

    def spoil(source, target, *below, **options):
        copy(source, target, *below, **options)
        if not below:  # the cube itself, when all is there
            next(one for one in target.rglob("c/**/*") if one.is_file()).write_bytes(b"spoilt")

    monkeypatch.setattr(shutil, "copytree", spoil)
    with pytest.raises(SunaugError, match=r"its copy in .* differs from it"):
        _publish(folder.parent, 4)
    assert _value(published(folder)) == 3
    assert not list(folder.rglob("*.partial"))


def test_rollback_goes_back_and_forth(folder):
    assert rollback(folder).number == 2
    assert rollback(folder).number == 1
    with pytest.raises(UsageError, match="no version before the current one"):
        rollback(folder)
    assert rollback(folder, 3).number == 3
    assert _value(published(folder)) == 3
    with pytest.raises(UsageError, match="has no version 9, only 1, 2, 3"):
        rollback(folder, 9)


def test_rollback_refuses_what_was_changed(folder):
    pixels = next(one for one in (folder / "versions" / "0002").rglob("intensity/c/**/*") if one.is_file())
    pixels.write_bytes(b"other")
    with pytest.raises(SunaugError, match="no longer what was published as version 2"):
        rollback(folder)
    assert _value(published(folder)) == 3


def test_readers_see_one_version_or_the_other_while_it_switches(folder):
    seen, stop = set(), threading.Event()

    def read():
        while not stop.is_set():
            seen.add(_value(published(folder)))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(10):
        rollback(folder)
        rollback(folder, 3)
    stop.set()
    reader.join()
    assert seen
    assert seen <= {2.0, 3.0}


def test_one_publisher_at_a_time(folder):
    with only_run(folder / "publish.lock", "test"), pytest.raises(SunaugError, match="another publisher is at work"):
        rollback(folder)


def test_the_command_line(folder, capsys, tmp_path):
    def said(*arguments):
        done = CliRunner().invoke(app, ["publish", *map(str, arguments)])
        assert done.exit_code == 0, done.output
        return done.output

    lines = said("list", folder).splitlines()
    assert [line[:6] for line in lines] == ["     1", "     2", "*    3"]
    assert "6 samples from tiny, policy default" in lines[0]
    assert said("rollback", folder).startswith(f"{folder}: version 2 is current")
    assert said("path", folder).strip() == str(folder / "versions" / "0002" / "rare.zarr")
    assert refused(capsys, "publish", "list", tmp_path / "none") == (
        *(2, f"sunaug: {tmp_path / 'none'}: nothing is published there; name the folder of a recipe's `publish`.\n"),
    )
