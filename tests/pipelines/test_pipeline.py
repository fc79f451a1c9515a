"""Whole pipelines: what is new is done, nothing twice, and a refusal leaves what is published."""

import json

import numpy as np
import pytest

from pipelines.publish import published, versions
from pipelines.run import preview, run_recipe
from sunaug.cube import open_cube
from sunaug.errors import GateRefused, SunaugError, UsageError
from sunaug.sources import fits_files
from tests.cli.commands import refused
from tests.models import quick_fits
from tests.pipelines.nights import (
    FEW,
    LATER,
    make_home,
    only,
    write_flares,
    write_nights,
    write_pipeline,
)


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with quick_fits():
        yield


@pytest.fixture
def read_files(monkeypatch):
    """Names of the files whose header is read."""
    names = []
    refer = fits_files.refer
    monkeypatch.setattr(
        fits_files, "refer", lambda path, channels=None: names.append(path.name) or refer(path, channels)
    )
    return names


def _statuses(report):
    return {one.step: one.status for one in report.steps}


def test_new_files_become_a_new_version_and_a_refusal_leaves_it(tmp_path, capsys, read_files):
    recipe = make_home(tmp_path)
    first = run_recipe(recipe)
    assert set(_statuses(first).values()) == {"done"}
    assert first.status == "published"
    assert len(read_files) == 124
    reader = open_cube(published(tmp_path / "published"), chunks={})
    seen = reader["intensity"].values

    again = run_recipe(recipe)
    assert again.status == "idle"
    assert {"done already", "nothing to do"} == set(_statuses(again).values())
    assert len(read_files) == 124

    late = write_nights(tmp_path / "incoming", LATER)
    read_files.clear()
    second = run_recipe(recipe)
    assert sorted(read_files) == [path.name for path in late]
    assert second.steps[0].sentence == "8 of 8 new files used; 132 frames in all"
    assert second.steps[2].sentence == "8 new frames of the 12 that a training takes"
    assert {one.step for one in second.steps if one.status == "done"} == {"ingest", "labels"}

    other = {"request": {"n": 24, "force": True, "critic": False, "seed": 1}}
    write_pipeline(tmp_path, generate=other)
    assert run_recipe(recipe).status == "published"
    assert [(one.number, one.current) for one in versions(tmp_path / "published")] == [(1, False), (2, True)]
    # Whoever reads the first version goes on reading it.
    np.testing.assert_array_equal(reader["intensity"].values, seen)
    assert not np.array_equal(open_cube(published(tmp_path / "published"))["intensity"].values, seen)

    write_pipeline(tmp_path, generate=other, gate={"policy": "refuses.yaml"})
    code, said = refused(capsys, "run", recipe)
    assert code == 3
    assert "sunaug: tiny: Refused: " in said
    assert "version 2 stays published" in said
    assert [one.current for one in versions(tmp_path / "published")] == [False, True]
    # The same set is not judged a second time, and is still refused.
    with pytest.raises(GateRefused, match="gating checks fail"):
        run_recipe(recipe)
    assert "gate: refused: " in "\n".join(preview(recipe))
    reports = sorted((tmp_path / "work" / "reports").glob("*.json"))
    assert [json.loads(one.read_text())["status"] for one in reports] == [
        *("published", "idle", "done", "published", "refused", "refused")
    ]
    assert "| gate | refused |" in reports[-1].with_suffix(".md").read_text()


def test_labels_are_filled_in_once_the_catalogue_knows(tmp_path):
    recipe = make_home(tmp_path, FEW, **only("ingest", "labels"))
    write_flares(tmp_path / "flares.csv", until="2012-08-03")
    run_recipe(recipe)
    before = open_cube(tmp_path / "sun.zarr")["forecast_flux"].values
    # A window of 24 h that begins after the 2nd of August ends after the list.
    assert np.isnan(before).sum() == 16
    write_flares(tmp_path / "flares.csv", until="2012-09-01")
    report = run_recipe(recipe)
    assert _statuses(report) == {"ingest": "nothing to do", "labels": "done"}
    assert report.steps[1].sentence.startswith("forecast_flux: 16 filled in, 0 still unknown")
    after = open_cube(tmp_path / "sun.zarr")
    known = ~np.isnan(before)
    np.testing.assert_array_equal(after["forecast_flux"].values[known], before[known])
    assert (after["forecast_flux"].values > 0).all()
    assert after.attrs["label_sources"]["forecast_flux"]["source"] == "flares.csv"


def test_a_file_that_may_still_be_coming_and_one_that_is_none_stop_nothing(tmp_path):
    recipe = make_home(tmp_path, FEW, **only("ingest"))
    run_recipe(recipe)
    (tmp_path / "incoming" / "broken.fits").write_text("<!DOCTYPE html>")
    report = run_recipe(recipe)
    assert "0 of 1 new files used, 1 left out (sun.rejected.csv); 20 frames in all" in report.steps[0].sentence
    assert "broken.fits" in (tmp_path / "sun.rejected.csv").read_text()
    assert run_recipe(recipe).status == "idle"

    waits = {"folder": "incoming", "settle": "1h", "options": {"size": 16}}
    write_pipeline(tmp_path, **(only() | {"ingest": waits}))
    write_nights(tmp_path / "incoming", LATER)
    report = run_recipe(recipe)
    assert "29 still coming" in report.steps[0].sentence
    assert report.status == "idle"


def test_one_step_alone_and_a_preview_that_changes_nothing(tmp_path):
    recipe = make_home(tmp_path, FEW)
    lines = preview(recipe)
    assert lines[0] == "ingest: to do: 20 new files for sun.zarr."
    assert "labels: nothing to do: sun.zarr is not made yet, before the steps above." in lines
    assert not (tmp_path / "work").exists()
    assert not (tmp_path / "sun.zarr").exists()
    assert _statuses(run_recipe(recipe, ["ingest"])) == {"ingest": "done"}
    assert preview(recipe, ["labels"]) == ["labels: to do: labels of 20 frames by flares.csv."]
    with pytest.raises(UsageError, match="--step fetch: tiny has the steps ingest, labels"):
        run_recipe(recipe, ["fetch"])


def test_a_failure_is_reported_and_the_next_run_goes_on(tmp_path):
    recipe = make_home(tmp_path, FEW, **only("ingest", "labels"))
    (tmp_path / "flares.csv").rename(tmp_path / "elsewhere.csv")
    with pytest.raises(UsageError, match=r"flares\.csv: no such file"):
        run_recipe(recipe)
    (page,) = (tmp_path / "work" / "reports").glob("*.md")
    assert page.read_text().startswith("# tiny: failed\n")
    assert "| labels | failed |" in page.read_text()
    (tmp_path / "elsewhere.csv").rename(tmp_path / "flares.csv")
    assert _statuses(run_recipe(recipe)) == {"ingest": "nothing to do", "labels": "done"}


def test_a_generator_of_other_images_is_no_start(tmp_path):
    recipe = make_home(tmp_path, FEW, bundle="sdo2012-64", **only("ingest", "labels", "train"))
    with pytest.raises(UsageError, match=r"its channels are .*'aia94'.*, those of the cube .*'aia193'"):
        run_recipe(recipe)


def test_a_damaged_state_says_what_to_do(tmp_path):
    recipe = make_home(tmp_path, FEW, **only("ingest"))
    run_recipe(recipe)
    (tmp_path / "work" / "state" / "ingest.json").write_text("{")
    with pytest.raises(SunaugError, match=r"ingest\.json: damaged; remove it"):
        run_recipe(recipe)
