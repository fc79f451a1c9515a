"""Samples as files: killed, on a full disk, as FITS, from several processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
import sunpy.map
import zarr

import sunaug
from pipelines.augment import generate_on
from sunaug.bundle import load_bundle, write_directions
from sunaug.cube import FrameStatus, open_cube
from sunaug.errors import SunaugError, UsageError
from sunaug.generation import Request, generate_cube, generate_fits, sampler, writing
from sunaug.synthetic_fits import read_provenance
from tests.models import make_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr("sunaug.cube.store.MAX_SHARD_FRAMES", 16)


def test_a_killed_generation_ends_with_the_same_bits(bundle, tmp_path):
    """kill -9 at a moment that nobody chose; what is whole is kept."""
    script = (
        "import sys; import sunaug.cube.store; sunaug.cube.store.MAX_SHARD_FRAMES = 16\n"
        "from sunaug.bundle import load_bundle; from sunaug.generation import Request, generate_cube\n"
        "generate_cube(sys.argv[1], load_bundle(sys.argv[2]), Request(4000, seed=6))\n"
    )
    path = tmp_path / "killed.zarr"
    running = subprocess.Popen([sys.executable, "-c", script, path, bundle.path])
    while not (path / "intensity" / "c").exists() or len(list((path / "intensity" / "c").iterdir())) < 3:
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    status = open_cube(path)["frame_status"].values
    assert (status == FrameStatus.PENDING).any()
    assert (status == FrameStatus.COMPLETE).any()
    cube = open_cube(generate_cube(path, bundle, Request(4000, seed=6)))
    assert (cube["frame_status"] == FrameStatus.COMPLETE).all()
    whole = sunaug.generate(bundle, 200, seed=6)
    for name in ("intensity", "forecast_flux", "draw"):
        np.testing.assert_array_equal(cube[name].values[:200], whole[name].values)


def test_a_generation_that_was_killed_before_its_cube_stood_begins_again(bundle, tmp_path):
    begun = tmp_path / "r.zarr"
    begun.mkdir()
    (begun / "zarr.json.0123.partial").write_text("{")
    cube = open_cube(generate_cube(begun, bundle, Request(4, seed=6)))
    assert (cube["frame_status"] == FrameStatus.COMPLETE).all()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_one_sentence_and_is_resumed(bundle, tmp_path, small_shards, monkeypatch):
    monkeypatch.setattr(writing, "check_room", lambda *_, **__: None)  # the disk fills up later
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=320k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted: {mounted.stderr.decode()}")
    request = Request(160, seed=2)
    try:
        with pytest.raises(SunaugError, match=r"r.zarr: could not be written \(No space left.*make room there"):
            generate_cube(disk / "r.zarr", bundle, request)
        subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
        kept = (open_cube(disk / "r.zarr")["frame_status"].values == FrameStatus.COMPLETE).sum()
        assert 0 < kept < 160
        cube = open_cube(generate_cube(disk / "r.zarr", bundle, request)).load()
        np.testing.assert_array_equal(
            cube["intensity"].values, sunaug.generate(bundle, 160, seed=2)["intensity"].values
        )
    finally:
        subprocess.run(["umount", disk], check=True)


def test_processes_make_the_same_bits_as_one(bundle, tmp_path, small_shards):
    request = Request(60, rare=True, seed=8)
    done = []
    path = generate_on(tmp_path / "r.zarr", bundle, request, scheduler="processes", workers=2, report=done.append)
    cube, whole = open_cube(path), sunaug.generate(bundle, 60, rare=True, seed=8)
    for name in ("intensity", "forecast_flux", "attempt", "draw"):
        np.testing.assert_array_equal(cube[name].values, whole[name].values)
    assert done[-1] == 60
    before = len(done)
    generate_on(path, bundle, request, scheduler="processes", workers=2, report=done.append)
    assert len(done) == before  # nothing was left to make


def test_a_bundle_that_changes_under_the_workers_is_refused(tmp_path, small_shards):
    bundle = make_bundle(tmp_path / "tiny")
    write_directions(bundle.path, {name: value * 2 for name, value in bundle.directions.items()})
    with pytest.raises(SunaugError, match="another bundle stands there"):
        generate_on(tmp_path / "r.zarr", bundle, Request(4), scheduler="synchronous")
    with pytest.raises(UsageError, match="torch uses all cores by itself"):
        generate_on(tmp_path / "s.zarr", load_bundle(bundle.path), Request(4), scheduler="threads")


def test_fits_hold_the_bits_and_the_origin_of_a_cube(bundle, tmp_path):
    request = Request(5, rare=True, seed=3, truncation=0.9)
    folder = generate_fits(tmp_path / "fits", bundle, request, batch_size=2)
    whole = sunaug.generate(bundle, 5, rare=True, seed=3, truncation=0.9)
    assert len(list(folder.glob("*.fits"))) == 15
    opened = sunpy.map.Map(folder / "sample-0000003_aia131.fits")
    np.testing.assert_array_equal(opened.data, whole["intensity"].values[3, 1])
    said = read_provenance(folder / "sample-0000003_aia131.fits")
    assert (said["seed"], said["draw"], said["truncation"]) == (3, 3, 0.9)
    assert said["forecast_flux"] == whole["forecast_flux"].values[3]
    assert said["bundle_hash"] == bundle.hash

    lost = folder / "sample-0000001_aia94.fits"
    kept = folder / "sample-0000004_aia94.fits"
    content, stamp = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    generate_fits(folder, bundle, request, batch_size=2)
    assert lost.read_bytes() == content
    assert kept.stat().st_mtime_ns == stamp
    with pytest.raises(SunaugError, match="made by another request"):
        generate_fits(folder, bundle, Request(5, seed=4))
    assert json.loads((folder / "request.json").read_text())["request"]["seed"] == 3


@pytest.mark.parametrize("write", [generate_cube, generate_fits])
def test_what_the_disk_has_no_room_for_is_refused_before_anything_is_made(bundle, tmp_path, write):
    out = tmp_path / "new" / "h.zarr"
    with pytest.raises(
        SunaugError, match=r"--n 100000000000: so many samples take about [\d,.]+ GiB, and .* are free in"
    ):
        write(out, bundle, Request(100_000_000_000))
    assert not list(tmp_path.iterdir())


def test_the_room_that_is_asked_for_is_what_a_cube_takes(tmp_path, monkeypatch):
    bundle = load_bundle("sdo2012-64")
    path = generate_cube(tmp_path / "r.zarr", bundle, Request(64))
    taken = sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
    for free, fits_in in ((taken * 0.7, False), (taken * 1.3, True)):
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: shutil._ntuple_diskusage(0, 0, int(free)))
        if fits_in:
            writing.check_room(tmp_path / "s.zarr", bundle.info, 64)
        else:
            with pytest.raises(SunaugError, match="are free in"):
                writing.check_room(tmp_path / "s.zarr", bundle.info, 64)


def test_labels_that_do_not_fit_into_memory_are_refused(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, 2**80))
    with pytest.raises(SunaugError, match=r"the labels of so many samples take about .* of memory"):
        generate_cube(tmp_path / "h.zarr", bundle, Request(10**12))


def test_something_else_that_stands_there_is_not_touched(bundle, tmp_path):
    folder, file, group = tmp_path / "d", tmp_path / "f.txt", tmp_path / "g.zarr"
    folder.mkdir()
    (folder / "note.txt").write_text("mine")
    file.write_text("mine")
    zarr.create_group(str(group))
    before = {one: one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()}
    for place in (folder, file, group):
        with pytest.raises(SunaugError, match=rf"{place.name}: exists and is not a cube; choose another --out\.$"):
            generate_cube(place, bundle, Request(2))
        with pytest.raises(SunaugError, match=rf"{place.name}: exists and is not a folder of generated FITS files"):
            generate_fits(place, bundle, Request(2))
    assert {one: one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()} == before


@pytest.mark.parametrize("kind", ["cube", "fits", "processes"])
def test_a_request_that_the_critic_refuses_leaves_nothing(bundle, tmp_path, monkeypatch, kind):
    def refuse(self, numbers):
        raise SunaugError("its critic accepted none")

    monkeypatch.setattr(sampler.Sampler, "choose", refuse)
    out = tmp_path / "r"
    make = {"cube": generate_cube, "fits": generate_fits, "processes": partial(generate_on, scheduler="synchronous")}
    with pytest.raises(SunaugError, match="accepted none"):
        make[kind](out, bundle, Request(4))
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    # Another request has the place to itself.
    assert open_cube(generate_cube(out, bundle, Request(6))).sizes["sample"] == 6


def test_samples_that_were_made_outlive_a_refusal(bundle, tmp_path, monkeypatch, small_shards):
    choose = sampler.Sampler.choose

    def refuse_later(self, numbers):
        if numbers[0] >= 16:
            raise SunaugError("its critic accepted none")
        return choose(self, numbers)

    monkeypatch.setattr(sampler.Sampler, "choose", refuse_later)
    with pytest.raises(SunaugError, match="accepted none"):
        generate_cube(tmp_path / "r.zarr", bundle, Request(40))
    status = open_cube(tmp_path / "r.zarr")["frame_status"].values
    assert (status == FrameStatus.COMPLETE).sum() == 16
