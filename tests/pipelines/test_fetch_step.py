"""The step ``fetch`` of a pipeline: images and flares come from servers that speak as the archives do."""

import numpy as np
import pytest
from sunpy.net.dataretriever.sources.aia_synopsis import AIASynopsisClient

from pipelines.run import run_recipe
from sunaug.cube import open_cube
from sunaug.errors import SunaugError
from tests.archive import Archive
from tests.pipelines.nights import only, write_pipeline


@pytest.fixture
def archive(tmp_path, monkeypatch):
    archive = Archive(tmp_path / "archive")
    monkeypatch.setattr(AIASynopsisClient, "pattern", archive.pattern)
    yield archive
    archive.close()


def _recipe(home, hek):
    asked = {"channels": ["aia193"], "days": 2, "cadence": "6h"}
    flares = {"flares": "hek", "flares_since": "2017-09-01", "hek": hek.url}
    return write_pipeline(home, fetch=asked | flares, **only("fetch", "ingest", "labels"))


def _add(archive, hours_ago):
    # Hours in the middle of a cadence of six: at its borders a minute that passes would choose another file.
    time = np.datetime64("now", "m") - np.timedelta64(60 * hours_ago, "m")
    return archive.add(str(time), 193, size=32, radius=12.0, seed=hours_ago)


def test_new_images_and_flares_come_and_what_is_there_does_not_come_again(tmp_path, archive, hek):
    recipe = _recipe(tmp_path, hek)
    names = [_add(archive, hours) for hours in (27, 15)]
    report = run_recipe(recipe)
    said = {one.step: one.sentence for one in report.steps}
    assert said["fetch"].startswith("2 files came, 0 were there")
    assert "flares listed until" in said["fetch"]
    assert said["ingest"].startswith("2 of 2 new files used")
    assert sorted(archive.asked) == sorted(names)
    assert "X9.3" in (tmp_path / "flares.csv").read_text() or "0.00093" in (tmp_path / "flares.csv").read_text()

    archive.asked.clear()
    later = _add(archive, 3)
    said = {one.step: one.sentence for one in run_recipe(recipe).steps}
    assert archive.asked == [later]
    assert said["ingest"].startswith("1 of 1 new files used; 3 frames in all")
    assert open_cube(tmp_path / "sun.zarr").sizes["time"] == 3


def test_an_archive_that_is_down_fails_the_run_and_the_next_one_goes_on(tmp_path, archive, hek):
    recipe = _recipe(tmp_path, hek)
    _add(archive, 18)
    hek.broken = True
    with pytest.raises(SunaugError):
        run_recipe(recipe)
    assert not (tmp_path / "flares.csv").exists()
    hek.broken = False
    said = {one.step: one.sentence for one in run_recipe(recipe).steps}
    assert said["fetch"].startswith("0 files came, 1 were there")
    assert said["ingest"].startswith("1 of 1 new files used")
