"""Samples as files: killed, on a full disk, as FITS, from several processes."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import sunpy.map

import sunaug
from pipelines.augment import generate_on
from sunaug.bundle import load_bundle, write_directions
from sunaug.cube import FrameStatus, open_cube
from sunaug.errors import SunaugError, UsageError
from sunaug.generation import Request, generate_cube, generate_fits
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
def test_a_full_disk_is_one_sentence_and_is_resumed(bundle, tmp_path, small_shards):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=220k", "tmpfs", disk], capture_output=True)
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
