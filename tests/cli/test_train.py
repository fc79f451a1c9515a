import signal
import subprocess
import sys
import time

import torch
import yaml
import zarr

from sunaug.training.checkpoint import checkpoint_paths, load_checkpoint
from tests.cli.commands import sunaug
from tests.models import RECIPE, make_cube


def test_a_killed_training_resumes_to_the_same_weights(tmp_path):
    cube = make_cube(tmp_path / "c.zarr")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**RECIPE, "images": 320, "checkpoint_images": 16, "sample_images": 400}))
    common = ("train", "--cube", cube, "--recipe", recipe, "--accelerator", "cpu")
    done = sunaug(*common, "--out", tmp_path / "whole")
    assert done.returncode == 0, done.stderr
    assert "ready; make frames with" in done.stdout

    running = subprocess.Popen([sys.executable, "-m", "sunaug", *map(str, common), "--out", str(tmp_path / "killed")])
    while not checkpoint_paths(tmp_path / "killed"):
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert 0 < load_checkpoint(tmp_path / "killed")["images"] < 320
    assert not (tmp_path / "killed" / "bundle").exists()

    refused = sunaug(*common, "--out", tmp_path / "killed")
    assert refused.returncode == 2
    assert "holds a run already; add --resume" in refused.stderr
    done = sunaug(*common, "--out", tmp_path / "killed", "--resume")
    assert done.returncode == 0, done.stderr
    whole, killed = (load_checkpoint(tmp_path / name)["average"] for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


def test_cube_of_another_schema_version(tmp_path):
    cube = make_cube(tmp_path / "c.zarr")
    zarr.open_group(cube, mode="r+").attrs["schema_version"] = "99"
    done = sunaug("train", "--cube", cube, "--out", tmp_path / "run")
    assert done.returncode == 1
    assert "has schema version 99, this sunaug reads version 2" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_missing_cube_and_recipe(tmp_path):
    done = sunaug("train", "--cube", tmp_path / "no.zarr", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "no such cube; make one with `sunaug ingest" in done.stderr
    done = sunaug("train", "--cube", tmp_path / "no.zarr", "--out", tmp_path / "run", "--recipe", "fast")
    assert done.returncode == 2
    assert "fast: no such recipe" in done.stderr
