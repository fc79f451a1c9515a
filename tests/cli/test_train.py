import re
import signal
import subprocess
import sys
import time

import pytest
import yaml
import zarr

from sunaug.cli import main, progress
from sunaug.training.checkpoint import checkpoint_paths, load_checkpoint
from tests.cli.commands import sunaug
from tests.models import RECIPE, assert_same_bits, make_cube


def write_recipe(path, **fields):
    path.write_text(yaml.safe_dump({**RECIPE, **fields}))
    return path


@pytest.fixture
def refused(monkeypatch, capsys):
    """Runs the command in this process, where nothing has to be imported again, and sees it refused.

    One sentence on stderr and the exit code of a wrong usage; what would be a traceback is raised.
    """

    def run(*arguments, text, code=2):
        monkeypatch.setattr(sys, "argv", ["sunaug", *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            main()
        shown = capsys.readouterr()
        assert done.value.code == code, shown.err
        assert text in shown.err
        assert shown.err.startswith("sunaug: ")
        assert len(shown.err.splitlines()) == 1
        assert shown.out == ""

    return run


@pytest.mark.slow
def test_a_killed_training_resumes_to_the_same_weights(tmp_path, refused):
    cube = make_cube(tmp_path / "c.zarr")
    recipe = write_recipe(tmp_path / "recipe.yaml", images=320, checkpoint_images=16, sample_images=400)
    common = ("train", "--cube", cube, "--recipe", recipe, "--accelerator", "cpu")
    done = sunaug(*common, "--out", tmp_path / "whole")
    assert done.returncode == 0, done.stderr
    assert "ready; make frames with" in done.stdout
    assert re.search(r"training: 320 of 320 images, [\d.]+ per second\n", done.stderr)

    running = subprocess.Popen([sys.executable, "-m", "sunaug", *map(str, common), "--out", str(tmp_path / "killed")])
    while not checkpoint_paths(tmp_path / "killed"):
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert 0 < load_checkpoint(tmp_path / "killed")["trainer"]["images"] < 320
    assert not (tmp_path / "killed" / "bundle").exists()

    refused(*common, "--out", tmp_path / "killed", text="holds a run already; add --resume")
    other = write_recipe(tmp_path / "other.yaml", images=320, checkpoint_images=16, sample_images=400, r1_gamma=9.0)
    changed = ("train", "--cube", cube, "--recipe", other, "--out", tmp_path / "killed", "--resume")
    refused(*changed, text="started with another recipe (r1_gamma differ)")
    looked_at = write_recipe(tmp_path / "recipe.yaml", images=320, checkpoint_images=64, sample_images=100)
    done = sunaug(*common, "--recipe", looked_at, "--out", tmp_path / "killed", "--resume")
    assert done.returncode == 0, done.stderr
    whole, killed = (load_checkpoint(tmp_path / name)["trainer"] for name in ("whole", "killed"))
    assert_same_bits(whole, killed)
    bundles = [(tmp_path / name / "bundle" / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert bundles[0] == bundles[1]


def test_a_training_that_its_time_stops_leaves_a_bundle(tmp_path):
    cube, recipe = make_cube(tmp_path / "c.zarr"), write_recipe(tmp_path / "recipe.yaml")
    done = sunaug("train", "--cube", cube, "--recipe", recipe, "--out", tmp_path / "run", "--minutes", "0")
    assert done.returncode == 0, done.stderr
    assert load_checkpoint(tmp_path / "run")["trainer"]["images"] == 8
    assert (tmp_path / "run" / "bundle" / "bundle.json").is_file()


def test_progress_says_how_fast_it_is_and_how_long_it_still_takes(capsys, monkeypatch):
    now = iter([0.0, 0.0, 10.0, 15.0, 21.0, 100.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    with progress.progress("training", 4000, "images") as report:
        # Two thousand were done by the run that this one goes on from: they are no work of this one.
        for done in (2000, 2100, 2150, 2210, 4000):
            report(done)
    assert capsys.readouterr().err.splitlines() == [
        "training: 2,100 of 4,000 images, 10.0 per second, 3 min left",
        "training: 2,210 of 4,000 images, 10.0 per second, 3 min left",
        "training: 4,000 of 4,000 images, 20.0 per second",
    ]


def test_time_left_is_told_in_seconds_minutes_or_hours():
    found = [progress._duration(seconds) for seconds in (45.4, 720, 3 * 3600 + 20 * 60)]
    assert found == ["45 s", "12 min", "3 h 20 min"]


def test_cube_of_another_schema_version(tmp_path, refused):
    cube = make_cube(tmp_path / "c.zarr")
    zarr.open_group(cube, mode="r+").attrs["schema_version"] = "99"
    text = "has schema version 99, this sunaug reads version 2"
    refused("train", "--cube", cube, "--out", tmp_path / "run", text=text, code=1)
    assert not (tmp_path / "run").exists()


def test_missing_cube(tmp_path):
    """In a process of its own, as users see it."""
    done = sunaug("train", "--cube", tmp_path / "no.zarr", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "no such cube; make one with `sunaug ingest" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_recipe_that_is_missing_or_bad(tmp_path, refused):
    common = ("train", "--cube", tmp_path / "no.zarr", "--out", tmp_path / "run", "--recipe")
    refused(*common, "fast", text="fast: no such recipe")
    bad = write_recipe(tmp_path / "bad.yaml", augment_probability=1.5)
    refused(*common, bad, text="augment_probability: 1.5 is above 1")


def test_an_unknown_bundle_to_start_from(tmp_path, refused):
    cube, recipe = make_cube(tmp_path / "c.zarr"), write_recipe(tmp_path / "recipe.yaml", start="nowhere")
    common = ("train", "--cube", cube, "--out", tmp_path / "run", "--recipe", recipe, "--accelerator", "cpu")
    refused(*common, text="nowhere: no such bundle")
    assert not (tmp_path / "run").exists()


def test_a_training_that_cannot_be_saved_is_one_sentence(tmp_path, refused):
    """Absurd rates, before the first checkpoint: failed work and not wrong usage."""
    cube, recipe = make_cube(tmp_path / "c.zarr"), write_recipe(tmp_path / "r.yaml", discriminator_rate=1e30)
    common = ("train", "--cube", cube, "--out", tmp_path / "run", "--recipe", recipe, "--accelerator", "cpu")
    refused(*common, text="there is no good checkpoint to go back to", code=1)


def test_work_whose_first_report_is_its_last_has_no_speed(capsys):
    with progress.progress("generating", 96, "samples") as report:
        report(96)
    assert capsys.readouterr().err == "generating: 96 of 96 samples\n"
