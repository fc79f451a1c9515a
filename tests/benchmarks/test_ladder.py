"""The ladder: what its rungs change, one run of it, and the page that is made of its figures."""

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.ladder import MARKS, RUNGS, changed, mean_ratio, network_range, recipe_of, table, write_page
from benchmarks.trained_runs import SHEET_BYTES, Job, collapses, draw, finished, run
from sunaug.cube import open_cube, select_split
from sunaug.fidelity.backbones import Backbone
from sunaug.fidelity.judge import Judge
from tests.models import make_cube

SMALL = {"base_width": 64, "max_width": 8, "z_dim": 8, "w_dim": 8, "mapping_layers": 2}


def test_rungs_are_cumulative():
    recipes = [recipe_of(rung, 10_000, 1).model_dump() for rung in RUNGS]
    for rung, before, after in zip(RUNGS[1:], recipes, recipes[1:], strict=False):
        differ = {name for name in after if after[name] != before[name]}
        assert differ == set(rung.changes) == set(changed(rung))
    assert recipes[0]["loss"] == "non_saturating"
    assert recipes[-1]["augment"] == ("translation", "cutout")
    assert [rung.large for rung in RUNGS] == [False] * 4 + [True] * 3


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    return open_cube(make_cube(tmp_path_factory.mktemp("ladder") / "cube.zarr"))


def test_raw_takes_the_brightest_train_pixel_as_one(cube):
    stretched, scaling = network_range(cube, "linear")
    train = select_split(cube, "train")["intensity"].values
    np.testing.assert_allclose(scaling.high, train.max(axis=(0, 2, 3)))
    # The training scales by the cube's own range, 0 to 255 here: what it sees, taken back, is the frames.
    seen = select_split(stretched, "train")["intensity"].values / 255 * 2 - 1
    assert seen.max(axis=(0, 2, 3)) == pytest.approx(np.ones(3), abs=1e-5)
    np.testing.assert_allclose(scaling.unscale(seen), train, atol=1e-3)
    assert network_range(cube, "log")[0] is cube


class Means(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.shades = torch.nn.Conv2d(3, 4, 3)

    def forward(self, images):
        return self.shades(images).relu().mean(dim=(2, 3))


def test_a_run_leaves_its_figures(cube, tmp_path):
    judge = Judge.of(
        cube,
        n=100,
        backbone=Backbone("means", Means(), 4, "random"),
        cache=None,
        conditions=("nowcast_flux", "forecast_flux"),
    )
    recipe = recipe_of(RUNGS[0], 32, 0).model_copy(update=SMALL)
    result = run(cube, tmp_path, recipe, [judge], network_range(cube, recipe.scaling))
    assert result["finite"]
    assert result["images"] == 32
    assert result["figures"]["means"]["frechet"] > judge.floor["frechet"]
    assert result["diversity"] > 0
    with np.load(tmp_path / "sheet.npz") as content:
        assert content["intensity"].shape == (12, 3, 16, 16)
    assert finished(Job("raw", 0, recipe, tmp_path)) == result
    with pytest.raises(SystemExit, match="another recipe"):
        finished(Job("raw", 0, recipe.model_copy(update={"images": 64}), tmp_path))


def test_a_run_that_is_no_longer_finite_ends(cube, tmp_path):
    wild = recipe_of(RUNGS[1], 4_000, 0).model_copy(update={**SMALL, "generator_rate": 1e30, "health_images": 8})
    result = run(cube, tmp_path, wild, [])
    assert not result["finite"]
    assert result["images"] < 100
    assert result["figures"] == {}


def test_collapses(tmp_path):
    assert collapses(tmp_path) == []
    text = "500 images: the generator has collapsed: samples differ 0.01 times as much as real frames\n"
    (tmp_path / "events.txt").write_text(text + "900 images: loss_g no longer finite\n" + text)
    assert collapses(tmp_path) == [500]


def _found():
    def one(seed, frechet, collapsed=()):
        figures = {"FID-768": {"frechet": frechet, "kid": 0.002, "kid_stderr": 0.0001}} if frechet else {}
        good = {"finite": bool(frechet), "images": 800, "collapses": list(collapsed), "diversity": 0.5}
        return {"seed": seed, "figures": figures, "seconds": 8.0, "images_per_second": 100.0, **good}

    floor = {"FID-768": {"frechet": 0.1, "kid": 0.0001, "kid_stderr": 0.00001}}
    cube = {"size": 32, "channels": ["aia171"], "frames": {"train": 20, "validation": 10}, "samples": 10}
    steps = {"raw": [one(0, 0), one(1, 2.0, [400, 800])], "log": [one(0, 1.0), one(1, 1.1)]}
    steps |= {"rates": [one(0, 1.0), one(1, 1.08)], "diffaugment": [one(0, 1.5), one(1, 1.6)]}
    return {
        "command": "python -m benchmarks.ladder",
        "machine": "a machine",
        "versions": {"torch": "2"},
        "images": 800,
        "seeds": [0, 1],
        "runs_at_a_time": 2,
        "common": recipe_of(RUNGS[0], 800, 0).model_dump(mode="json"),
        "cubes": {"small.zarr": {**cube, "floor": floor, "networks": ["FID-768 (of something)"]}},
        "rungs": [
            {"name": rung.name, "title": rung.title, "cube": "small.zarr", "deck": rung.deck, "changes": changed(rung)}
            | {"runs": steps[rung.name]}
            for rung in RUNGS[:4]
        ],
    }


def test_table():
    found = _found()
    raw, log, rates, augmented = table(found).splitlines()[2:6]
    assert "| –, 2 | **20.0** |" in raw
    assert "seed 0: not finite after 800 images" in raw
    assert "seed 1: collapsed, first noticed after 400 images, and at the end" in raw
    assert "`scaling` linear → log" in log
    assert "**10.5**" in log
    assert "no step beyond the seeds' difference" in rates
    assert "worse than the rung below" in augmented
    assert augmented.endswith("| 35 |")
    assert mean_ratio(found, found["rungs"][-1], "FID-768") == pytest.approx(15.5)


def test_page_keeps_what_people_wrote(tmp_path):
    page = tmp_path / "docs" / "ladder.md"
    write_page(_found(), page)
    first = page.read_text()
    assert first.startswith("# The ladder")
    page.write_text(first.replace("## How to read it", "## Written by hand").replace("**10.5**", "**9.9**"))
    write_page(_found(), page)
    assert page.read_text() == first.replace("## How to read it", "## Written by hand")
    page.write_text("no marks")
    with pytest.raises(SystemExit, match=MARKS[0]):
        write_page(_found(), page)


def test_sheets_stay_small(cube, tmp_path):
    grain = np.random.default_rng(0).uniform(0, 255, (12, 3, 64, 64)).astype(np.float32)
    draw(tmp_path / "grain.png", [""] * 12, grain, cube, synthetic=True)
    assert (tmp_path / "grain.png").stat().st_size <= SHEET_BYTES
    with Image.open(tmp_path / "grain.png") as picture:
        assert picture.width > 2000
