"""Every input is in the cube or has its reason: archives full of bad files, a full disk, files that vanish."""

import csv
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.ingest import ingest
from sunaug.cube import FrameStatus, open_cube
from tests.cli.commands import sunaug
from tests.make_data import disk_image, write_fits


def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def _files(cube: Path) -> dict[str, bytes]:
    return {str(one.relative_to(cube)): one.read_bytes() for one in sorted(cube.rglob("*")) if one.is_file()}


def _time(number: int) -> str:
    return f"2012-04-{1 + number // 24:02d}T{number % 24:02d}:00:00.00"


class _Archive:
    """A folder of files an hour apart, with what is to become of each: a part of its reason, empty if it is good."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.expected: dict[str, str] = {}

    def _next_time(self) -> str:
        number = len(self.expected)
        return f"2012-04-{1 + number // 24:02d}T{number % 24:02d}:00:00.00"

    def add(self, name: str, reason: str = "", **how: Any) -> None:
        how.setdefault("time", self._next_time())
        write_fits(self.folder / name, **how)
        self.expected[name] = reason

    def add_bytes(self, name: str, reason: str, content: bytes) -> None:
        (self.folder / name).write_bytes(content)
        self.expected[name] = reason

    def add_changed(self, name: str, reason: str, change: Callable[[bytes], bytes], **how: Any) -> None:
        """A good file whose bytes are changed."""
        self.add(name, reason, **how)
        path = self.folder / name
        path.write_bytes(change(path.read_bytes()))


def _cut(end: int) -> Callable[[bytes], bytes]:
    return lambda whole: whole[:end]


def _noise(start: int) -> Callable[[bytes], bytes]:
    random = np.random.default_rng(0).integers(0, 256, 2000, dtype=np.uint8).tobytes()
    return lambda whole: whole[:start] + random + whole[start + 2000 :]


def _add_damaged(archive: _Archive) -> None:
    # Within the first header, at a block's end, within the second header, within the tiles, and by the last byte.
    for end, reason in (
        (1, "not a FITS file"),
        (79, "damaged FITS"),
        (1000, "damaged FITS"),
        (2880, "cut off before it"),
        (4000, "cut off before it"),
        (5760, "damaged FITS"),
        (9000, "truncated: 9,000 of"),
        (-2880, "truncated"),
        (-1, "truncated"),
    ):
        archive.add_changed(f"cut{end}.fits", reason, _cut(end))
    for end, reason in ((2879, "damaged FITS"), (30000, "truncated: 30,000 of"), (-1, "truncated")):
        archive.add_changed(f"plain{end}.fits", reason, _cut(end), compression=None)
    for end in (3000, -3000):
        archive.add_changed(f"cut{end}.fits.gz", "download it again", _cut(end))
    for start in (11000, 12500):
        archive.add_changed(f"noise{start}.fits", "damaged FITS", _noise(start))
    archive.add_bytes("empty.fits", "an empty file", b"")
    archive.add_bytes("nothing.fits", "not a FITS file", bytes(5760))
    archive.add_bytes("page.fits", "answered with a web page", b"<!DOCTYPE html><html>")
    archive.add_bytes("list.fits", 'starts with "1.fits', b"1.fits\n2.fits\n")
    archive.add_bytes("picture.jpg", "the file name tells neither time nor channel", b"\xff\xd8\xff\xe0")
    (archive.folder / "folder.fits").mkdir()
    archive.expected["folder.fits"] = "Is a directory"


def _add_useless(archive: _Archive) -> None:
    sun = disk_image(128, (63.5, 63.5), 50.0)
    archive.add("nan.fits", "every pixel is missing", image=sun * np.nan, dtype=np.float32, compression=None)
    archive.add("zero.fits", "nothing but zeros", image=sun * 0)
    archive.add("row.fits", "wrong shape", image=sun[0], compression=None)
    archive.add("cube.fits", "wrong shape", image=np.stack([sun, sun]), compression=None)
    archive.add("oblong.fits", "wrong shape", image=np.pad(sun, ((0, 0), (0, 9))))
    archive.add("cut-out.fits", "not full disk", centre=(110.0, 63.0))
    for name, bit, meaning in (("eclipse", 13, "eclipse"), ("dark", 16, "dark frame"), ("quicklook", 30, "quicklook")):
        archive.add(f"{name}.fits", meaning, quality=1 << bit)
    archive.add("missing.fits", "image missing", quality=-(1 << 31))
    for name, reason, keywords in (
        ("time", "no readable T_OBS or DATE-OBS", {"T_OBS": None, "DATE-OBS": None}),
        ("nonsense-time", "no readable T_OBS or DATE-OBS", {"T_OBS": "yesterday", "DATE-OBS": "2012-13-01"}),
        ("instrument", "not an AIA or HMI image", {"TELESCOP": None, "INSTRUME": None}),
        ("eit", "not an AIA or HMI image", {"TELESCOP": "SOHO", "INSTRUME": "EIT"}),
        ("wavelength", "no usable WAVELNTH", {"WAVELNTH": None}),
        ("wavelength-text", "no usable WAVELNTH", {"WAVELNTH": "green"}),
        ("wavelength195", "unknown channel", {"WAVELNTH": 195}),
        ("exposure", "EXPTIME", {"EXPTIME": None}),
        ("no-exposure", "EXPTIME", {"EXPTIME": 0.0}),
        ("radius", "no usable RSUN_OBS or DSUN_OBS", {"RSUN_OBS": None, "DSUN_OBS": None}),
        ("cdelt1", "no usable CDELT1", {"CDELT1": None}),
        ("cdelt2", "no usable CDELT2", {"CDELT2": None}),
        ("cdelt0", "plate scale (CDELT) of zero", {"CDELT1": 0.0}),
        ("crpix1", "no usable CRPIX1", {"CRPIX1": None}),
        ("crpix2", "no usable CRPIX2", {"CRPIX2": "nan"}),
        ("cunit", "neither arcsec nor deg", {"CUNIT1": "pix"}),
        ("gauss", "unit is gauss", {"BUNIT": "Gauss"}),
        ("erg", "is not DN, DN/s or Gauss", {"BUNIT": "erg / s"}),
    ):
        archive.add(f"{name}.fits", reason, keywords=keywords)


@pytest.fixture
def archive(tmp_path) -> _Archive:
    (tmp_path / "fits").mkdir()
    return _Archive(tmp_path / "fits")


def _check_account(archive: _Archive, cube: Path) -> None:
    """Every file is in the cube, whole, or in the table with its reason, once."""
    rejected = {Path(row["file"]).name: row["reason"] for row in _rows(cube.with_name("cube.rejected.csv"))}
    frames = open_cube(cube).load()
    complete = frames["frame_status"].values == FrameStatus.COMPLETE
    used = list(frames["source"].values[complete].ravel())
    assert sorted([*used, *rejected]) == sorted(archive.expected)
    assert set(used) == {name for name, reason in archive.expected.items() if not reason}
    for name, reason in rejected.items():
        assert archive.expected[name] in reason, f"{name}: {reason}"
        assert reason.endswith(".")
        assert name not in reason
    np.testing.assert_array_equal(np.isfinite(frames["intensity"].values).all(axis=(1, 2, 3)), complete)


def test_one_good_file_among_fifty_bad_ones(archive, tmp_path):
    archive.add("good.fits")
    _add_damaged(archive)
    _add_useless(archive)
    archive.add("twin.fits", "the same channel and time as good.fits", time="2012-04-01T00:00:00.00")
    assert len(archive.expected) > 50, "the good one, and fifty bad ones"
    result = ingest([archive.folder], tmp_path / "cube.zarr", size=32)
    _check_account(archive, tmp_path / "cube.zarr")
    assert (result.files_used, result.files_rejected) == (1, len(archive.expected) - 1)


def test_a_link_to_nothing_is_left_out(archive, tmp_path):
    archive.add("good.fits")
    (archive.folder / "gone.fits").symlink_to(archive.folder / "never")
    archive.expected["gone.fits"] = "No such file"
    ingest([archive.folder], tmp_path / "cube.zarr", size=32)
    _check_account(archive, tmp_path / "cube.zarr")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_left_out(archive, tmp_path):
    archive.add("good.fits")
    archive.add("secret.fits", "Permission denied")
    (archive.folder / "secret.fits").chmod(0)
    ingest([archive.folder], tmp_path / "cube.zarr", size=32)
    _check_account(archive, tmp_path / "cube.zarr")


def test_good_files_of_every_make_are_taken(archive, tmp_path):
    """Written in another order than that of their times, with two 3 s apart and one that has only what is needed."""
    sun = disk_image(128, (63.5, 63.5), 50.0)
    archive.add("z-first.fits", image=sun, time="2012-03-01T00:00:00.00")
    archive.add("a-last.fits", image=sun, time="2012-06-01T00:00:00.00")
    archive.add("soon.fits", image=sun, time="2012-03-01T00:00:03.00")
    archive.add("gzip.fits.gz", image=sun)
    archive.add("gzip-tiles.fits", image=sun, compression="GZIP_1")
    archive.add("gzip2-tiles.fits", image=sun, compression="GZIP_2")
    archive.add("plain.fts", image=sun, compression=None)
    archive.add("short.fit", image=sun, compression=None, dtype=np.int16)
    archive.add("float.fits", image=np.round(sun), compression=None, dtype=np.float32)
    archive.add("float-tiles.fits", image=np.round(sun), compression="GZIP_2", dtype=np.float32)
    archive.add("bare.fits", image=sun, keywords=dict.fromkeys(("T_OBS", "QUALITY", "RSUN_OBS", "CROTA2", "WAVEUNIT")))
    result = ingest([archive.folder], tmp_path / "cube.zarr", size=32)
    assert (result.files_used, result.files_rejected) == (len(archive.expected), 0)
    _check_account(archive, tmp_path / "cube.zarr")
    cube = open_cube(result.cube).load()
    assert list(cube["source"].values[[0, 1, -1], 0]) == ["z-first.fits", "soon.fits", "a-last.fits"]
    assert (np.diff(cube["time"].values) > np.timedelta64(0)).all()
    # Floats in tiles are quantised when they are written.
    np.testing.assert_allclose(cube["intensity"].values, cube["intensity"].values[:1].repeat(11, axis=0), rtol=5e-3)


def _write_moment(folder: Path, moment: int, *, channels: tuple[int, ...] = (171, 193)) -> None:
    for channel in channels:
        second = channels.index(channel) * 4
        time = f"2012-03-01T{moment:02d}:00:{second:02d}.00"
        write_fits(folder / f"{moment}-{channel}.fits", time=time, wavelength=channel, seed=1)


def test_a_missing_channel_makes_a_partial_frame_or_none(tmp_path):
    folder = tmp_path / "fits"
    folder.mkdir()
    for moment in range(5):
        _write_moment(folder, moment, channels=(171,) if moment == 2 else (171, 193))
    # A channel that is there and of no use is missing as well.
    write_fits(folder / "5-171.fits", time="2012-03-01T05:00:00.00", wavelength=171, seed=1)
    write_fits(folder / "5-193.fits", time="2012-03-01T05:00:04.00", quality=1 << 13)

    kept = ingest([folder], tmp_path / "kept.zarr", size=32)
    assert kept.frames == {"complete": 4, "partial": 2}
    assert [Path(row["file"]).name for row in _rows(kept.rejected_csv)] == ["5-193.fits"]
    partial = open_cube(kept.cube).isel(time=[2, 5]).load()
    assert np.isfinite(partial["intensity"].sel(channel="aia171")).all()
    assert partial["intensity"].sel(channel="aia193").isnull().all()

    done = sunaug("ingest", folder, "--out", tmp_path / "dropped.zarr", "--size", 32, "--drop-partial")
    assert done.returncode == 0, done.stderr
    assert "8 inputs used, 3 left out." in done.stdout
    reasons = {Path(row["file"]).name: row["reason"] for row in _rows(tmp_path / "dropped.rejected.csv")}
    assert set(reasons) == {"2-171.fits", "5-171.fits", "5-193.fits"}
    assert reasons["2-171.fits"] == reasons["5-171.fits"] == "its frame lacks aia193, and partial frames are left out."
    assert "eclipse" in reasons["5-193.fits"]
    dropped = open_cube(tmp_path / "dropped.zarr").load()
    assert not (dropped["frame_status"] == FrameStatus.PARTIAL).any()
    assert set(dropped["source"].values[dropped["frame_status"] == FrameStatus.COMPLETE].ravel()) == {
        f"{moment}-{channel}.fits" for moment in (0, 1, 3, 4) for channel in (171, 193)
    }


@pytest.mark.parametrize("what", ["vanished", "cut off"])
def test_a_file_that_changes_after_it_was_looked_at_is_left_out(archive, tmp_path, what):
    for name in ("a.fits", "b.fits", "c.fits"):
        archive.add(name)
    file = archive.folder / "b.fits"

    def change(step: str, done: int, total: int) -> None:
        if step == "reading files" and not done:
            if what == "vanished":
                file.unlink()
            else:
                file.write_bytes(file.read_bytes()[:9000])

    archive.expected["b.fits"] = "No such file" if what == "vanished" else "truncated"
    result = ingest([archive.folder], tmp_path / "cube.zarr", size=32, report=change)
    assert result.frames == {"complete": 2, "rejected": 1}
    _check_account(archive, tmp_path / "cube.zarr")
    (row,) = _rows(result.rejected_csv)
    assert row["time"] == "2012-04-01T01:00:00.000"


_SMALL_SHARDS = "import sunaug.cube.store as s; s.SHARD_BYTES = 4 * 64 * 64 * 4; from sunaug.cli import main; main()"
_FULL = """
set -e
mkdir disk
mount -t tmpfs -o size=400k none disk
"$0" -c "$1" ingest fits --out disk/cube.zarr --size 64 --workers 1 --rounding none && exit 9
test $? = 1
mount -o remount,size=64m disk
"$0" -c "$1" ingest fits --out disk/cube.zarr --size 64 --workers 1 --rounding none
cp -r disk copy
"""


def _can_mount() -> bool:
    if not shutil.which("unshare"):
        return False
    return subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], check=False).returncode == 0


def test_a_full_disk_keeps_what_is_complete(tmp_path, monkeypatch):
    if not _can_mount():
        pytest.skip("mounting a small disk needs root and unshare")
    folder = tmp_path / "fits"
    folder.mkdir()
    for hour in range(40):
        noise = np.random.default_rng(hour).normal(1, 0.1, (128, 128))
        image = disk_image(128, (63.5, 63.5), 50.0) * noise
        write_fits(folder / f"{hour}.fits", time=f"2012-03-{1 + hour // 24:02d}T{hour % 24:02d}:00:00.00", image=image)
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", _FULL, sys.executable, _SMALL_SHARDS],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("sunaug: ")]
    assert line.startswith("sunaug: disk/cube.zarr: no space is left to write it")
    assert "Traceback" not in done.stderr
    kept = re.search(r"note: (\d+) of 10 shards were kept from an earlier run", done.stdout)
    assert kept
    assert 0 < int(kept[1]) < 10
    monkeypatch.setattr("sunaug.cube.store.SHARD_BYTES", 4 * 64 * 64 * 4)
    whole = ingest([folder], tmp_path / "whole.zarr", size=64, rounding="none")
    assert whole.frames == {"complete": 40}
    assert _files(tmp_path / "copy" / "cube.zarr") == _files(tmp_path / "whole.zarr")
    assert sorted(one.name for one in (tmp_path / "copy").iterdir()) == ["cube.rejected.csv", "cube.zarr"]
