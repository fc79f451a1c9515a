"""Kill -9 in the midst of a step, and run again: the same result, nothing half-published."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipelines.publish import published, versions
from pipelines.run import run_recipe
from sunaug.cube import open_cube
from tests.models import quick_fits
from tests.pipelines.nights import make_home, only

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MOMENTS = (1, 5, 25)
"""Numbers of the files before which a process is killed, as far as its step gets to them."""


def _run(recipe: Path, step: str, moment: int) -> int:
    command = [sys.executable, "-m", "tests.pipelines.killed_pipeline", str(recipe), step, str(moment)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def _images(home: Path) -> np.ndarray:
    return open_cube(published(home / "published"))["intensity"].values


def _cube(home: Path) -> dict[str, bytes]:
    """Every file of the observed cube."""
    return {str(one.relative_to(home)): one.read_bytes() for one in sorted((home / "sun.zarr").rglob("*.*"))}


def _check_whole(home: Path) -> None:
    """One version, and nothing of a second one."""
    assert [(one.number, one.current) for one in versions(home / "published")] == [(1, True)]
    assert sorted(one.name for one in (home / "published" / "versions").iterdir()) == ["0001"]
    assert not list(home.rglob("*.partial"))


def test_killed_while_it_publishes(tmp_path):
    few = {"generate": {"request": {"n": 16, "critic": False}}}
    recipe = make_home(tmp_path, [], bundle="sdo2012-128", **(only("generate", "gate", "publish") | few))
    run_recipe(recipe, ["generate", "gate"])
    assert _run(recipe, "publish", 20) == -signal.SIGKILL
    assert list((tmp_path / "published").rglob("*.partial"))
    assert versions(tmp_path / "published") == []
    assert run_recipe(recipe).status == "published"
    _check_whole(tmp_path)
    made = open_cube(next((tmp_path / "work" / "sets").iterdir()))
    np.testing.assert_array_equal(_images(tmp_path), made["intensity"].values)


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """A home, and what it looked like before each step of a run that was never killed, and after it."""
    base = tmp_path_factory.mktemp("stages")
    recipe, kept = make_home(base / "home"), {}
    with quick_fits():
        for step in ("ingest", "labels", "train", "generate", "gate", "publish"):
            kept[step] = shutil.copytree(base / "home", base / step)
            run_recipe(recipe, [step])
    kept["end"] = shutil.copytree(base / "home", base / "end")
    return recipe, kept


@pytest.mark.slow
@pytest.mark.parametrize("step", ["ingest", "labels", "train", "generate", "gate", "publish"])
def test_killed_in_every_step(stages, step):
    recipe, kept = stages
    home = recipe.parent
    kills = 0
    for moment in MOMENTS:
        shutil.rmtree(home)
        shutil.copytree(kept[step], home)
        if _run(recipe, step, moment) == 0:
            break
        kills += 1
        with quick_fits():
            assert run_recipe(recipe).status == "published"
            _check_whole(home)
            assert _cube(home) == _cube(kept["end"])
            np.testing.assert_array_equal(_images(home), _images(kept["end"]))
            assert run_recipe(recipe).status == "idle"
    assert kills >= 2
