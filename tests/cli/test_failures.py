"""What stops a command from outside is one sentence, whatever the command."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import typer
from hypothesis import given
from hypothesis import strategies as st

import sunaug.cli
from sunaug.cli.command import Command, Group
from sunaug.cli.failures import INTERRUPTED, is_of_the_system, stopped_by
from sunaug.cube import FrameStatus, open_cube
from sunaug.errors import SunaugError
from tests.cli.commands import refused

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/x")


@pytest.mark.parametrize(
    ("error", "given", "sentence"),
    [
        (FULL, {}, "out/x: cannot be written (No space left on device); make room there and run the command again."),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
            {"out": "r.zarr"},
            "r.zarr: cannot be written (No space left on device); make room there and run the command again.",
        ),
        (
            OSError(errno.EROFS, os.strerror(errno.EROFS), "ro/x.zarr"),
            {"out": "ro/x.zarr"},
            "ro/x.zarr: cannot be written (Read-only file system); choose another path, or change the permissions "
            "there.",
        ),
        (
            PermissionError(errno.EACCES, os.strerror(errno.EACCES), "cube/zarr.json"),
            {"cube": "cube"},
            "cube/zarr.json: cannot be read (Permission denied); choose another path, or change the permissions there.",
        ),
        (
            FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/proc/x.zarr"),
            {"out": "/proc/x.zarr"},
            "/proc/x.zarr: cannot be written (No such file or directory); check the path, or choose another one.",
        ),
        (
            OSError(errno.EIO, os.strerror(errno.EIO), b"in.fits"),
            {},
            "in.fits: cannot be read (Input/output error); check the disk and the permissions there, and run the "
            "command again.",
        ),
        (
            ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)),
            {"out": "f"},
            "f: Connection reset by peer; check the disk, the permissions and the network, and run the command again.",
        ),
        (
            MemoryError("Unable to allocate 745. GiB for an array"),
            {"n": 5, "batch_size": 8, "out": "r.zarr"},
            "r.zarr: not enough memory (Unable to allocate 745. GiB for an array); give a smaller --n or --batch-size, "
            "or use a machine with more memory.",
        ),
        (
            MemoryError(),
            {},
            "not enough memory (MemoryError); give it less to do at a time, or use a machine with more memory.",
        ),
        (
            RuntimeError("[enforce fail at alloc] DefaultCPUAllocator: can't allocate memory: you tried 8 bytes.\nx"),
            {},
            "not enough memory ([enforce fail at alloc] DefaultCPUAllocator: can't allocate memory: you tried 8 "
            "bytes); give it less to do at a time, or use a machine with more memory.",
        ),
        (
            OverflowError("Python int too large to convert to C long"),
            {},
            "a number is too large (Python int too large to convert to C long); give a smaller one.",
        ),
        (
            KeyboardInterrupt(),
            {"out": "r.zarr"},
            "r.zarr: interrupted; what is complete is kept. Run the command again to continue.",
        ),
    ],
)
def test_each_kind_has_its_sentence(error, given, sentence):
    assert is_of_the_system(error)
    stopped = stopped_by(error, given)
    assert str(stopped) == sentence
    assert stopped.exit_code == (INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1)


@given(
    number=st.sampled_from(sorted(errno.errorcode)),
    path=st.none() | st.text(min_size=1, max_size=20).filter(lambda text: "\0" not in text and text.isprintable()),
    out=st.none() | st.just("out.zarr"),
)
def test_whatever_the_system_says_is_one_sentence_with_the_path(number, path, out):
    error = OSError(number, os.strerror(number)) if path is None else OSError(number, os.strerror(number), path)
    sentence = str(stopped_by(error, {"out": out}))
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert os.strerror(number) in sentence
    assert (path or out or "") in sentence


@pytest.mark.parametrize("error", [TypeError("x"), ValueError("x"), KeyError("x"), RuntimeError("x"), IndexError("x")])
def test_a_bug_is_none_of_them(error):
    assert torch  # whose own errors are told apart
    assert not is_of_the_system(error)


@pytest.fixture
def raising(monkeypatch):
    """The command line with one command that raises what it is told to."""
    told = {}
    app = typer.Typer(cls=Group, pretty_exceptions_enable=False)

    @app.command("other", cls=Command)
    def other() -> None: ...

    @app.command("work", cls=Command)
    def work(out: str = typer.Option("o.zarr")) -> None:
        raise told["error"]

    monkeypatch.setattr(sunaug.cli, "app", app)
    return told


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (FULL, 1, "sunaug: out/x: cannot be written (No space left on device)"),
        (MemoryError("Unable to allocate"), 1, "sunaug: o.zarr: not enough memory"),
        (OverflowError("too large"), 1, "sunaug: a number is too large"),
        (KeyboardInterrupt(), 130, "sunaug: o.zarr: interrupted"),
        (SunaugError("wrong."), 1, "sunaug: wrong."),
    ],
)
def test_a_command_ends_with_one_sentence_and_the_cause_on_request(raising, capsys, monkeypatch, error, code, said):
    monkeypatch.delenv("SUNAUG_DEBUG", raising=False)
    raising["error"] = error
    found = refused(capsys, "work")
    assert found[0] == code
    assert found[1].startswith(said)
    assert found[1].count("\n") == 1
    monkeypatch.setenv("SUNAUG_DEBUG", "1")
    found = refused(capsys, "work")
    assert found[0] == code
    assert "Traceback (most recent call last)" in found[1]
    assert f"{type(error).__name__}" in found[1]
    assert found[1].splitlines()[-1].startswith(said)


@pytest.mark.parametrize("error", [TypeError("a + b"), KeyError("intensity"), AssertionError()])
def test_a_bug_keeps_its_traceback_and_is_called_one(raising, capsys, error):
    raising["error"] = error
    code, said = refused(capsys, "work")
    assert code == 1
    assert "Traceback (most recent call last)" in said
    assert said.splitlines()[-1].startswith(f"sunaug: this is a bug of sunaug ({type(error).__name__}")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounting a disk needs root")
@pytest.mark.parametrize("options", [(), ("--format", "fits")])
def test_a_disk_that_cannot_be_written(tmp_path, capsys, options):
    disk = tmp_path / "ro"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,ro", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted: {mounted.stderr.decode()}")
    try:
        found = refused(capsys, "generate", "--n", 2, "--bundle", "sdo2012-64", "--out", disk / "x.zarr", *options)
    finally:
        subprocess.run(["umount", disk], check=True)
    assert found[0] == 1
    assert f"{disk}/x.zarr: cannot be written (Read-only file system); " in found[1]
    assert found[1].count("\n") == 1


def test_ctrl_c_keeps_what_is_complete(tmp_path):
    out = tmp_path / "r.zarr"
    command = [sys.executable, "-m", "sunaug", "generate", "--n", "100000", "--bundle", "sdo2012-64", "--no-gate"]
    running = subprocess.Popen([*command, "--out", out], stderr=subprocess.PIPE, text=True)
    while not list(out.glob("intensity/c/*")):
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=120)[1]
    assert running.returncode == 130
    assert "Traceback" not in said
    assert f"sunaug: {out}: interrupted; what is complete is kept. Run the command again to continue." in said
    assert (open_cube(out)["frame_status"] == FrameStatus.COMPLETE).any()
