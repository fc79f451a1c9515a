import errno
import json
import shutil

import numpy as np
import pytest
from filelock import FileLock

from forecasting_adapters.exports import NAMES, ecosystem, export, is_export, open_export
from forecasting_adapters.exports import fits as fits_layout
from forecasting_adapters.leakage import LeakageError
from sunaug.cube import FrameStatus, open_cube
from sunaug.errors import GateRefused, SunaugError, UsageError
from tests.exported import RANGES, synthetic_cube
from tests.suns import make_suns, write_cube


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    return synthetic_cube(tmp_path_factory.mktemp("cube") / "rare.zarr")


@pytest.mark.parametrize("name", NAMES)
def test_every_layout_says_what_it_wants(name):
    found = ecosystem(name)
    assert found.name == name
    assert len(found.wants) > 80
    assert found.channels


def test_the_note_says_where_the_frames_come_from(cube, tmp_path):
    out = export(cube, "suryabench", tmp_path / "out", n=5)
    note = json.loads((out / "SYNTHETIC.json").read_text())
    assert note["training_ranges"] == RANGES
    assert note["bundle_hash"] == open_cube(cube).attrs["bundle_hash"]
    assert note["gate"]["verdict"] == "passed"
    assert note["images"]["intensity_scale"] == "browse-inverted"
    assert note["samples"]["number"] == [0, 1, 2, 3, 4]
    assert note["samples"]["forecast_flux"] == [5e-5, 1e-5, 9.99e-6, 1.3e-4, 9.3e-4]
    assert note["samples"]["nowcast_flux"] == [None] * 5
    assert [step["step"] for step in note["steps"]] == ["stretch", "resample"]
    assert note["steps"][0]["channels"]["aia171"]["rms_error_dex"] == 0.13
    assert "aia171 within 0.13 dex rms, aia131 not measured" in note["warnings"][0]
    assert set(note["files"]) == {str(one.relative_to(out)) for one in out.rglob("*.*") if one.name != "SYNTHETIC.json"}


def test_rejected_samples_are_left_out(tmp_path):
    cube = open_cube(synthetic_cube(tmp_path / "rare.zarr")).load()
    cube["frame_status"][[0, 3]] = FrameStatus.REJECTED
    opened = open_export(export(cube, "fits", tmp_path / "out"))
    np.testing.assert_array_equal(opened["sample"], [1, 2, 4, 5, 6, 7])
    np.testing.assert_array_equal(opened["intensity"], cube["intensity"][[1, 2, 4, 5, 6, 7]])
    with pytest.raises(UsageError, match=r"--n 7: .* has 6 complete samples"):
        export(cube, "fits", tmp_path / "more", n=7)


@pytest.mark.parametrize("verdict", ["refused", "ungated", "unjudged"])
def test_the_gate_is_obeyed(tmp_path, verdict):
    cube = synthetic_cube(tmp_path / "rare.zarr", n=2, gate={"verdict": verdict})
    with pytest.raises(GateRefused):
        export(cube, "fits", tmp_path / "out")
    assert not list(tmp_path.glob("out*"))
    out = export(cube, "fits", tmp_path / "out", allow_ungated=True)
    assert open_export(out).attrs["gate"]["verdict"] == verdict


def test_observed_cubes_are_refused(tmp_path):
    times = np.array(["2012-01-01", "2012-01-02"], "datetime64[ns]")
    path = write_cube(tmp_path / "real.zarr", make_suns(2, 0), np.array([1e-6, 1e-5]), times)
    with pytest.raises(UsageError, match="is an observed cube, and only synthetic ones are exported"):
        export(path, "suryabench", tmp_path / "out")


@pytest.mark.parametrize(
    ("given", "kind", "sentence"),
    [
        ({"to": "jpeg"}, UsageError, "--to jpeg: no such layout; choose one of suryabench"),
        ({"size": 64, "to": "sdoml"}, UsageError, "--size 64: sdoml takes 512 pixels"),
        ({"size": 0}, UsageError, "--size 0: give one of 1 or more"),
        ({"n": 0}, UsageError, "--n 0: .* ask for 1 to 8"),
        ({"border": "wrap"}, UsageError, "--border wrap: choose continue or missing"),
        ({"quality": 3}, UsageError, "suryabench: no option quality; it knows root"),
        ({"start": "soon"}, UsageError, "--start soon: not a time"),
        ({"start": "2012-05-01"}, UsageError, "the Sun of 2012 is or will be observed"),
        ({"start": "2031-11-05"}, LeakageError, "bear times that SDO-FM holds out"),
        ({"start": "2031-01-31T23:59"}, LeakageError, "bear times that SDO-FM holds out"),
    ],
)
def test_requests_that_make_no_sense(cube, tmp_path, given, kind, sentence):
    with pytest.raises(kind, match=sentence):
        export(cube, **{"to": "suryabench", "out": tmp_path / "out", **given})
    assert not list(tmp_path.iterdir())


def test_channels_without_a_place_or_a_stretch(tmp_path):
    path = synthetic_cube(tmp_path / "c.zarr", n=2, channels=["aia1700", "aia4500", "hmi_v"])
    with pytest.raises(UsageError, match="display stretch of aia1700 is not known"):
        export(path, "sdoml", tmp_path / "out")
    with pytest.raises(UsageError, match="display stretch of hmi_v is not known"):
        export(path, "suryabench", tmp_path / "out")
    path = synthetic_cube(tmp_path / "d.zarr", n=2, channels=["aia4500", "hmi_v", "hmi_m"])
    with pytest.raises(UsageError, match="has the channels aia4500, hmi_v, hmi_m, and sdoml has a place for aia94"):
        export(path, "sdoml", tmp_path / "out")


def test_the_same_request_goes_on_and_another_one_is_refused(cube, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def die(done):
        if done == 3:
            raise Killed

    out = tmp_path / "out"
    with pytest.raises(Killed):
        export(cube, "suryabench", out, report=die)
    partial = tmp_path / "out.partial"
    assert not out.exists()
    with pytest.raises(SunaugError, match="not finished"):
        open_export(partial)
    first = min(partial.rglob("*.nc"))
    made = first.stat().st_mtime_ns
    (partial / "2031" / "x.nc.partial").write_bytes(b"left behind")
    with pytest.raises(SunaugError, match="another export was stopped there"):
        export(cube, "suryabench", out, n=5)
    seen = []
    export(cube, "suryabench", out, report=seen.append)
    assert seen[-1] == 8
    assert (out / first.relative_to(partial)).stat().st_mtime_ns == made
    assert not list(tmp_path.rglob("*.partial"))
    whole = export(cube, "suryabench", tmp_path / "whole")
    assert (whole / "SYNTHETIC.json").read_text() == (out / "SYNTHETIC.json").read_text()


def test_what_is_there_is_not_touched(cube, tmp_path):
    out = export(cube, "fits", tmp_path / "out", n=2)
    made = (out / "SYNTHETIC.json").stat().st_mtime_ns
    assert export(cube, "fits", out, n=2) == out
    assert (out / "SYNTHETIC.json").stat().st_mtime_ns == made
    with pytest.raises(SunaugError, match="holds another export"):
        export(cube, "fits", out, n=3)
    (tmp_path / "mine").mkdir()
    with pytest.raises(SunaugError, match="mine: exists already; choose another OUT"):
        export(cube, "fits", tmp_path / "mine")
    (tmp_path / "yours.partial").mkdir()
    (tmp_path / "yours.partial" / "notes.txt").write_text("keep")
    with pytest.raises(SunaugError, match="another export was stopped there"):
        export(cube, "fits", tmp_path / "yours")
    with pytest.raises(UsageError, match="written to a local folder"):
        export(cube, "fits", "s3://bucket/out")


def test_a_full_disk_is_one_sentence(cube, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fits_layout, "write_sample", full)
    with pytest.raises(SunaugError, match=r"out: the disk is full \(\d+ MiB free\); .* it goes on\."):
        export(cube, "fits", tmp_path / "out")
    monkeypatch.undo()
    assert is_export(export(cube, "fits", tmp_path / "out"))


def test_an_opened_export_is_a_synthetic_cube_with_its_guard(cube, tmp_path):
    from forecasting_adapters import MixedSolarDataset, SolarDataset, SyntheticSolarDataset

    out = export(cube, "suryabench", tmp_path / "out")
    synthetic = SyntheticSolarDataset(open_export(out))
    assert len(synthetic) == 8
    np.testing.assert_array_equal(synthetic.labels, [1, 1, 0, 1, 1, 0, 0, 1])
    assert synthetic.training_ranges == (tuple(RANGES[0]),)
    times = np.array(["2012-07-01", "2012-09-01"], "datetime64[ns]")
    path = write_cube(
        tmp_path / "real.zarr",
        make_suns(2, 0, size=32),
        np.array([1e-6, 1e-5]),
        times,
        intensity_scale="physical",
        disk_radius=976 / 0.6 / 4096 * 32,
    )
    real = SolarDataset(path)
    with pytest.raises(LeakageError, match="trained on times that the forecaster is evaluated on"):
        MixedSolarDataset(real, synthetic, 1.0, evaluation=[real])


@pytest.mark.parametrize("verify", [False, True])
def test_an_export_without_its_note_or_with_another_one_is_refused(cube, tmp_path, verify):
    out = export(cube, "fits", tmp_path / "out", n=2)
    note = out / "SYNTHETIC.json"
    text = note.read_text()
    note.write_text(text.replace("2012-02-01", "2011-01-01"))
    with pytest.raises(SunaugError, match="was changed after it was written"):
        open_export(out, verify=verify)
    note.write_text(text[:-40])
    with pytest.raises(SunaugError, match="is damaged or not finished"):
        open_export(out, verify=verify)
    note.unlink()
    assert not is_export(out)
    with pytest.raises(SunaugError, match=r"has no SYNTHETIC\.json, so that nothing tells its frames from real ones"):
        open_export(out, verify=verify)


def test_files_that_are_not_those_written_are_refused(cube, tmp_path):
    out = export(cube, "fits", tmp_path / "out", n=2)
    (out / "Thumbs.db").write_text("a loader's cache is nobody's business")
    assert open_export(out, verify=True).sizes["sample"] == 2
    file = min(out.glob("*.fits"))
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"x")
    open_export(out)
    with pytest.raises(SunaugError, match="was changed after the export"):
        open_export(out, verify=True)
    file.write_bytes(content[:-1])
    with pytest.raises(SunaugError, match="was changed after the export"):
        open_export(out)
    file.unlink()
    with pytest.raises(SunaugError, match="is missing"):
        open_export(out)


def test_a_moved_export_opens(cube, tmp_path):
    out = export(cube, "suryabench", tmp_path / "out", n=2)
    shutil.move(out, tmp_path / "elsewhere")
    assert float(open_export(tmp_path / "elsewhere")["intensity"][1].mean()) > 0


@pytest.mark.parametrize(
    ("layout", "wrong", "right"),
    [
        ("flarebench", {}, {"absent": "zero"}),
        ("folder", {"bits": 9}, {"bits": 8}),
        ("webdataset", {"shard": 0}, {"shard": 4}),
        ("inaf", {"classes": "none"}, {}),
        ("pandey", {"folds": "some"}, {}),
        ("sdobenchmark", {"steps": "first"}, {}),
    ],
)
def test_a_refused_export_leaves_nothing(cube, tmp_path, layout, wrong, right):
    out = tmp_path / "new" / "deep" / "out"
    with pytest.raises(UsageError):
        export(cube, layout, out, **wrong)
    assert not list(tmp_path.iterdir())
    assert is_export(export(cube, layout, out, **right))


def test_a_refused_export_of_before_is_not_in_the_way(cube, tmp_path):
    partial = tmp_path / "out.partial"
    partial.mkdir()
    (partial / "SYNTHETIC.json").write_text("{}")
    assert is_export(export(cube, "fits", tmp_path / "out"))


def test_a_refusal_leaves_the_export_of_another_run_alone(cube, tmp_path):
    partial = tmp_path / "out.partial"
    partial.mkdir()
    (partial / "SYNTHETIC.json").write_text("{}")
    with (
        FileLock(str(tmp_path / "out.lock")),
        pytest.raises(SunaugError, match="another run is writing"),
    ):
        export(cube, "fits", tmp_path / "out")
    assert (partial / "SYNTHETIC.json").exists()


def test_home_and_file_urls_are_local_folders(cube, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert export(cube, "fits", "~/out", n=1) == tmp_path / "home" / "out"
    assert export(cube, "fits", f"file://{tmp_path}/a%20b", n=1) == tmp_path / "a b"
