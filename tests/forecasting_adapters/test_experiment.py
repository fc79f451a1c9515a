"""A comparison from cubes to results, on frames whose brightest spot tells of the flare to come."""

import json
from contextlib import contextmanager

import numpy as np
import pytest

from forecasting_adapters import LeakageError
from forecasting_adapters.experiment import Settings, choose_arms, run_benchmark
from forecasting_adapters.experiment.figure import draw
from forecasting_adapters.experiment.report import markdown, text
from forecasting_adapters.experiment.runs import read_run, run_path
from sunaug.cube import open_cube
from sunaug.errors import GateRefused, SunaugError, UsageError
from tests.comparison import make_observed, make_synthetic

pytestmark = pytest.mark.slow

SETTINGS = Settings(size=16, epochs=6, batch=12, learning_rate=1e-2, average_steps=5, checkpoints=2)
ARMS = ("flips", "oversampling", "fill-50", "flips+taught", "pretrain")
SEEDS = 2


@contextmanager
def _silent(what, total, unit):
    yield lambda done: None


@pytest.fixture(scope="module")
def cubes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    observed = make_observed(folder)
    return observed, make_synthetic(folder, observed)


def _run(cubes, out, *, arms=ARMS, seeds=SEEDS, settings=SETTINGS, synthetic=None, **options):
    given = {"jobs": 1, "final": False, "progress": _silent} | options
    made = [cubes[1]] if synthetic is None else synthetic
    return run_benchmark(cubes[0], made, out, choose_arms(arms), settings=settings, seeds=seeds, **given)


@pytest.fixture(scope="module")
def finished(cubes, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    return out, _run(cubes, out)


def test_validation_results(finished):
    out, results = finished
    assert results.stage == "validation"
    assert [one.arm.name for one in results.arms] == ["real", *ARMS]
    assert results.baseline in ("real", "flips", "oversampling")
    assert results.candidate in ("fill-50", "flips+taught", "pretrain")
    # The spot is easily seen: a forecaster that learns nothing would have a TSS of 0.
    assert results.arm(results.baseline).scores["tss"].value > 0.3
    assert results.arm(results.baseline).against_baseline == {}
    assert results.verdict.effect == "none"
    assert "No verdict yet" in results.verdict.sentence
    figures = json.loads(json.dumps(results.as_json(), allow_nan=False))
    assert figures["synthetic"][0]["gate"] == "passed"
    assert figures["synthetic"][0]["leakage"] is None
    assert figures["arms"][0]["training"]["counts"]["synthetic_positive"] == 0
    assert figures["arms"][3]["training"]["counts"]["synthetic_positive"] > 0
    assert {one["training"]["steps"] for one in figures["arms"]} == {6 * 4}
    # The frames of the test months stay unread.
    assert not (out / "frames" / "test.safetensors").exists()


def test_what_is_finished_is_not_made_again(cubes, finished):
    out, results = finished
    paths = sorted(out.rglob("*.safetensors"))
    before = {path: path.stat().st_mtime_ns for path in paths}
    lost = run_path(out, "fill-50", 1)
    lost.unlink()
    again = _run(cubes, out)
    assert {path for path in paths if path.stat().st_mtime_ns != before[path]} == {lost}
    # A run that was made again has the same bits.
    assert again.as_json()["arms"][3]["scores"] == results.as_json()["arms"][3]["scores"]


def test_several_processes_make_the_same_runs(cubes, finished, tmp_path):
    out, _ = finished
    _run(cubes, tmp_path, arms=("flips+taught",), jobs=2)
    for arm in ("real", "flips+taught"):
        for seed in range(SEEDS):
            ours, theirs = read_run(tmp_path, arm, seed), read_run(out, arm, seed)
            assert np.array_equal(ours.logits, theirs.logits)


def test_the_test_months_are_read_once(cubes, finished):
    out, validation = finished
    results = _run(cubes, out, final=True)
    assert results.stage == "test"
    assert (results.baseline, results.candidate) == (validation.baseline, validation.candidate)
    test = open_cube(cubes[0]).isel(time=open_cube(cubes[0])["split"].values == 3)
    assert len(results.observed.labels) == test.sizes["time"]
    assert results.verdict.sentence.startswith(("No effect shown", results.candidate))
    lock = json.loads((out / "final.json").read_text())
    assert lock == results.about["test_read"]
    assert lock["arms"] == ["real", *ARMS]
    again = _run(cubes, out, final=True)
    assert again.as_json() == results.as_json()
    with pytest.raises(UsageError, match="are read once"):
        _run(cubes, out, arms=("flips",), final=True)


def test_other_settings_arms_and_data_are_refused(cubes, finished, tmp_path):
    out, _ = finished
    with pytest.raises(UsageError, match="other settings \\(epochs 6, now 7\\); give another --out"):
        _run(cubes, out, settings=SETTINGS.model_copy(update={"epochs": 7}))
    with pytest.raises(UsageError, match="other synthetic"):
        _run(cubes, out, synthetic=[])
    arms = [arm.model_copy(update={"noise": 0.3}) if arm.name == "flips" else arm for arm in choose_arms(["flips"])]
    with pytest.raises(UsageError, match="arm 'flips' that was described otherwise"):
        run_benchmark(
            cubes[0], [cubes[1]], out, arms, settings=SETTINGS, seeds=1, jobs=1, final=False, progress=_silent
        )


def test_a_damaged_run_is_named(cubes, finished, tmp_path):
    _run(cubes, tmp_path, arms=(), seeds=1)
    path = run_path(tmp_path, "real", 0)
    path.write_bytes(b"half")
    with pytest.raises(SunaugError, match=r"seed-0.safetensors: not a finished run; delete it"):
        _run(cubes, tmp_path, arms=(), seeds=1)


def test_the_guard_and_the_gate(cubes, tmp_path):
    leaking = make_synthetic(tmp_path, cubes[0], "leaking", training_ranges=[["2012-01-01", "2012-09-01"]])
    with pytest.raises(LeakageError, match="SYNTHETIC/leaking"):
        _run(cubes, tmp_path / "out", synthetic=[leaking])
    ungated = make_synthetic(tmp_path, cubes[0], "ungated", gate={"verdict": "ungated"})
    with pytest.raises(GateRefused):
        _run(cubes, tmp_path / "out", synthetic=[ungated])
    allowed = {"allow_leakage": True, "allow_ungated": True}
    results = _run(cubes, tmp_path / "out", arms=("fill-50",), seeds=1, synthetic=[leaking, ungated], **allowed)
    first, second = results.as_json()["synthetic"]
    assert "2012-09-01" in first["leakage"]
    assert second["gate"] == "ungated"


def test_arms_that_cannot_be_filled_are_left_out_and_named(cubes, tmp_path):
    rare = make_synthetic(tmp_path, cubes[0], "rare", rare=True)
    results = _run(cubes, tmp_path / "out", arms=("fill-50", "add-0.8"), seeds=1, synthetic=[rare])
    assert [one.arm.name for one in results.arms] == ["real", "fill-50"]
    assert any(line.startswith("Left out: add-0.8 (needs ") for line in text(results))
    with pytest.raises(UsageError, match=r"can fill no arm \(add-0\.8: needs"):
        _run(cubes, tmp_path / "other", arms=("add-0.8",), seeds=1, synthetic=[rare])


def test_without_synthetic_cubes_there_is_nothing_to_judge(cubes, tmp_path):
    results = _run(cubes, tmp_path, arms=("noise", "add-0.8"), seeds=1, synthetic=[])
    assert results.candidate is None
    assert "Nothing to judge" in results.verdict.sentence


def test_frames_that_do_not_fit(cubes, tmp_path):
    with pytest.raises(UsageError, match="16 pixels cannot be averaged to 5"):
        _run(cubes, tmp_path / "a", settings=SETTINGS.model_copy(update={"size": 5}))
    other = make_synthetic(tmp_path, cubes[0], "physical", intensity_scale="physical")
    with pytest.raises(UsageError, match="SYNTHETIC/physical: differs from the real frames in the intensity scale"):
        _run(cubes, tmp_path / "b", synthetic=[other])


def test_tables_and_figure(finished, tmp_path):
    _, results = finished
    lines = markdown(results).splitlines()
    assert lines[0].startswith("| arm | TSS | ΔTSS |")
    rows = [line.split("|")[1].split()[0] for line in lines[2:] if line.startswith("|")]
    assert sorted(rows) == sorted(["real", *ARMS])
    shown = "\n".join(text(results))
    assert f"{results.baseline} *" in shown
    assert f"{results.candidate} †" in shown
    assert results.verdict.sentence in shown
    draw(results, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
