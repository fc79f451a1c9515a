import signal
import subprocess
import sys
import time
from unittest import mock

import numpy as np
import pytest
import torch

from forecasting_adapters import SyntheticSolarDataset
from sunaug.cube import FrameStatus, open_cube, write_frames
from sunaug.errors import SunaugError, UsageError
from sunaug.fidelity.evaluate import evaluate
from sunaug.generation import regenerate
from sunaug.latent.projection import GROUP, Projection
from sunaug.reconstruction import real_frames, reconstruct, rms_error, total_error, total_steps
from tests.models import make_cube

QUICK = Projection(steps=5)


@pytest.fixture(scope="module")
def frames(tmp_path_factory, bundle):
    cube = make_cube(tmp_path_factory.mktemp("cube") / "real.zarr")
    return real_frames(open_cube(cube), bundle, ["aia171", "aia94"], n=GROUP + 3)


@pytest.fixture(scope="module")
def made(tmp_path_factory, bundle, frames):
    return reconstruct(tmp_path_factory.mktemp("made") / "made.zarr", bundle, frames, QUICK)


def test_the_cube_holds_what_its_w_make_and_how_far_that_is(made, bundle, frames):
    cube, info = open_cube(made), bundle.info
    scaled = bundle.generator.synthesize(torch.from_numpy(cube["w"].values)).numpy()
    images = info.within_range(info.scaling.unscale(scaled))
    np.testing.assert_allclose(cube["intensity"].values, images, atol=0.01)
    np.testing.assert_array_equal(cube["source_time"].values, frames.times)
    np.testing.assert_array_equal(cube["forecast_flux"].values, frames.fluxes[:, 1])
    real = frames.intensity()
    rms = np.sqrt(np.mean((scaled - (2 * real / 255 - 1)) ** 2, axis=(2, 3)))
    np.testing.assert_allclose(cube["rms_error"].values, rms, rtol=1e-4)
    total = images.sum(axis=(2, 3), dtype=float) / real.sum(axis=(2, 3), dtype=float) - 1
    np.testing.assert_allclose(cube["total_error"].values, total, atol=1e-5)


def test_it_is_neither_an_observation_nor_a_sample(made, bundle, frames):
    cube = open_cube(made)
    assert "time" not in cube.dims
    assert cube.attrs["synthetic"]
    assert cube.attrs["title"].startswith("SYNTHETIC reconstructions")
    assert "seed" not in cube
    said = cube.attrs["reconstruction"]
    assert (said["source"], said["counted_channels"], said["steps"]) == ("real.zarr", ["aia171", "aia94"], 5)
    with pytest.raises(UsageError, match=r"made.zarr: holds reconstructions of real frames, not samples"):
        SyntheticSolarDataset(made, allow_ungated=True)
    with pytest.raises(UsageError, match="holds reconstructions of real frames"):
        evaluate(made, frames.name)
    with pytest.raises(UsageError, match="holds reconstructions of real frames"):
        regenerate(cube, 0, bundle)
    with pytest.raises(UsageError, match="is a synthetic cube"):
        real_frames(cube, bundle)


def test_another_request_does_not_overwrite_it(made, bundle, frames):
    with pytest.raises(SunaugError, match=r"made.zarr: exists already and holds something else"):
        reconstruct(made, bundle, frames, Projection(steps=6))


def test_frames_that_are_whole_are_kept(made, tmp_path, bundle, frames):
    path, steps = tmp_path / "part.zarr", []
    reconstruct(path, bundle, frames, QUICK)
    marked = np.full((1, 3, 16, 16), 7, np.float32)
    pending = np.array([FrameStatus.PENDING], np.int8)
    write_frames(path, 0, {"intensity": marked, "frame_status": np.array([FrameStatus.COMPLETE], np.int8)})
    write_frames(path, GROUP + 1, {"intensity": marked, "frame_status": pending})
    reconstruct(path, bundle, frames, QUICK, report=steps.append)
    again, whole = open_cube(path), open_cube(made)
    assert (again["intensity"].values[0] == 7).all()
    np.testing.assert_array_equal(again["intensity"].values[1:], whole["intensity"].values[1:])
    assert steps == [5, 6, 7, 8, 9, 10, 10]
    assert total_steps(frames, QUICK) == 10


def test_a_run_that_was_killed_before_its_cube_stood_begins_again(made, tmp_path, bundle, frames):
    path = tmp_path / "begun.zarr"
    killed = mock.patch("sunaug.cube.store.commit", side_effect=KeyboardInterrupt)
    with killed, pytest.raises(KeyboardInterrupt):
        reconstruct(path, bundle, frames, QUICK)
    again = open_cube(reconstruct(path, bundle, frames, QUICK))
    np.testing.assert_array_equal(again["w"].values, open_cube(made)["w"].values)


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bits(tmp_path, bundle, frames):
    script = (
        "import sys; from sunaug.bundle import load_bundle; from sunaug.cube import open_cube\n"
        "from sunaug.latent.projection import Projection\n"
        "from sunaug.reconstruction import real_frames, reconstruct\n"
        "bundle = load_bundle(sys.argv[2])\n"
        "frames = real_frames(open_cube(sys.argv[3]), bundle, n=16)\n"
        "reconstruct(sys.argv[1], bundle, frames, Projection(steps=25))\n"
    )
    path = tmp_path / "killed.zarr"
    running = subprocess.Popen([sys.executable, "-c", script, path, bundle.path, frames.name])
    while not (path / "frame_status" / "c").exists():
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    status = open_cube(path)["frame_status"].values
    assert (status == FrameStatus.PENDING).any()
    asked = real_frames(open_cube(frames.name), bundle, n=16), Projection(steps=25)
    resumed = open_cube(reconstruct(path, bundle, *asked))
    whole = open_cube(reconstruct(tmp_path / "whole.zarr", bundle, *asked))
    for name in ("w", "intensity", "frame_status"):
        np.testing.assert_array_equal(resumed[name].values, whole[name].values)


def test_errors_are_of_the_pixels_that_the_real_frame_has():
    real, made = np.full((1, 2, 2, 2), np.nan, np.float32), np.ones((1, 2, 2, 2), np.float32)
    real[0, 0, 0] = [4, 1]
    np.testing.assert_allclose(rms_error(made, real), [[np.sqrt(9 / 2), np.nan]], rtol=1e-6)
    np.testing.assert_allclose(total_error(made, real), [[2 / 5 - 1, np.nan]], rtol=1e-6)
