import json

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from sunaug.cli.evaluate import evaluate
from sunaug.cube import FrameStatus, create_cube, write_frames
from sunaug.errors import GateRefused, SunaugError, UsageError
from sunaug.fidelity.backbones import Backbone
from sunaug.fidelity.instruments import Instruments

SIZE = 32


class _Means(torch.nn.Module):
    """Features without weights to find: the means of a few patches."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()), requires_grad=False)

    def forward(self, images):
        return torch.nn.functional.avg_pool2d(images, 8).flatten(1)[:, :12] * self.scale


def _frames(count, seed, brightness=90):
    random = np.random.default_rng(seed)
    axis = np.arange(SIZE) - (SIZE - 1) / 2
    disk = np.hypot(*np.meshgrid(axis, axis)) < 14.2
    return (disk * brightness + random.gamma(2, 6, (count, 3, SIZE, SIZE))).astype(np.float32)


@pytest.fixture(scope="module")
def cubes(tmp_path_factory):
    """Samples like real frames, samples that are brighter, few samples, real frames; and real frames, few of them."""
    folder = tmp_path_factory.mktemp("cubes")

    def times(train, validation):
        firsts = np.datetime64("2012-01-02", "ns"), np.datetime64("2012-08-02", "ns")
        day = np.timedelta64(1, "D")
        return np.concatenate([firsts[0] + np.arange(train) * day, firsts[1] + np.arange(validation) * day])

    kinds = {
        "fine": ({"n_samples": 40}, {"brightness": 90}),
        "bright": ({"n_samples": 40, "attrs": {"bundle_name": "nowhere", "bundle_hash": "abc"}}, {"brightness": 91}),
        "few": ({"n_samples": 22}, {}),
        "real": ({"times": times(200, 40)}, {}),
        "short": ({"times": times(24, 24)}, {}),
    }
    paths = {}
    for seed, (name, (axis, look)) in enumerate(kinds.items()):
        paths[name] = folder / f"{name}.zarr"
        count = axis.get("n_samples", len(axis.get("times", ())))
        create_cube(
            paths[name], channels=["171", "131", "94"], size=SIZE, disk_radius=14.0, intensity_scale="browse", **axis
        )
        write_frames(
            paths[name],
            0,
            {
                "intensity": _frames(count, seed, **look),
                "forecast_flux": np.full(count, 2e-5),
                "frame_status": np.full(count, FrameStatus.COMPLETE, np.int8),
            },
        )
    return paths


@pytest.fixture
def run(monkeypatch):
    networks = [Backbone(label, _Means(), 12, "means of patches") for label in ("FID-12", "EffNet-Lite0")]
    monkeypatch.setattr("sunaug.fidelity.evaluate.load_backbones", lambda weights: (networks, ["a network is missing"]))
    monkeypatch.setattr(
        "sunaug.fidelity.evaluate.fit_instruments", lambda cube, networks, **options: Instruments.of(cube, networks)
    )
    monkeypatch.setattr("sunaug.fidelity.evaluate.RESAMPLES", 2)
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(evaluate)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_verdict_table_and_json(cubes, run, tmp_path):
    result = run(cubes["few"], "--against", cubes["short"], "--json", tmp_path / "m.json", "--n", 8, "--exit-zero")
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))
    assert report["distribution"]["FID-12"]["all"]["n"] == 8
    assert report["distribution"]["EffNet-Lite0"]["classes"]["M"]["frechet"]["floor"] > 0
    lines = result.stdout.splitlines()
    # Too few frames for the gate, so that the physical measures have a table of their own.
    assert lines[0] == report["gate"]["sentence"]
    assert lines[0].startswith("Refused: ")
    assert lines[1].startswith(f"Samples: {report['gate']['account']}. Gating checks: 0 passed")
    lines = lines[lines.index("") + 1 :]
    assert lines[0].split() == [
        *("network", "frames", "N", "Fréchet", "floor", "ratio"),
        *("KID×1000", "floor", "coverage", "floor", "ratio"),
    ]
    assert [line.split()[:2] for line in lines[1:7]] == [
        [label, name] for label in ("FID-12", "EffNet-Lite0") for name in ("all", "matched", "class")
    ]
    figures = report["distribution"]["FID-12"]["all"]
    cells = lines[1].split()
    assert cells[2:6] == ["8", *(f"{figures['frechet'][key]:.3g}" for key in ("value", "floor")), cells[5]]
    assert float(cells[5]) == pytest.approx(figures["frechet"]["ratio"], abs=0.051)
    assert cells[6:9] == [f"{1000 * figures['kid']['value']:.2f}", "±", f"{1000 * figures['kid']['stderr']:.2f}"]
    assert lines[3].split()[1:4] == ["class", "M", "8"]
    assert len({len(line) for line in lines[:7]}) == 1
    assert lines[7] == ""
    assert lines[8].split()[:4] == ["measure", "synthetic", "floor", "ratio"]
    assert any(line.startswith("limb_radius aia171") for line in lines)
    assert "FID-12: means of patches; not comparable with a published FID (2,048)." in lines
    assert "EffNet-Lite0: means of patches; not comparable with a published FID (2,048)." in lines
    assert "Note: a network is missing" in lines
    assert "Note: FID-12: N (all 8, matched 8, class M 8) is below twice the 12 dimensions" in result.stdout


def test_failed_checks_come_first(cubes, run, tmp_path):
    report = tmp_path / "report.html"
    result = run(cubes["bright"], "--against", cubes["real"], "--report", report, "--json", tmp_path / "m.json")
    assert isinstance(result.exception, GateRefused)
    gate = json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))["gate"]
    lines = result.stdout.splitlines()
    assert lines[0] == gate["sentence"]
    assert gate["verdict"] == "refused"
    start = next(number for number, line in enumerate(lines) if line.startswith("failed check"))
    assert lines[start].split() == ["failed", "check", "samples", "real", "limit", "excess", "role,", "unit"]
    failed = [name for name, one in gate["checks"].items() if one["gating"] and one["state"] == "failed"]
    assert "total aia171" in failed
    worst = lines[start + 1].split()
    name = " ".join(worst[:2]) if " ".join(worst[:2]) in failed else worst[0]
    assert name in failed
    assert f"{gate['checks'][name]['limit']:.3g}" in worst
    # What the gate says of the physical measures is not said twice.
    assert not any(line.startswith("measure ") for line in lines)
    assert f"Report: {report}" in lines
    text = report.read_text(encoding="utf-8")
    assert "Fidelity of bright.zarr" in text
    assert "was not found here" in text


def test_figures_that_cannot_be_made_are_left_blank(cubes, run):
    result = run(cubes["few"], "--against", cubes["short"], "--n", 3, "--exit-zero")
    assert result.exit_code == 0, result.output
    cells = next(line for line in result.stdout.splitlines() if line.startswith("FID-12")).split()
    # Three frames are too few for an error of the KID and for coverage.
    assert len(cells) == 8
    assert "±" not in cells
    assert "nan" not in result.stdout.lower().replace("nano", "")


def test_the_exit_code_follows_the_verdict(cubes, run):
    result = run(cubes["few"], "--against", cubes["short"])
    assert isinstance(result.exception, GateRefused)
    assert result.exception.exit_code == 3
    assert str(result.exception).startswith(f"{cubes['few']}: Refused: ")
    # All is printed before.
    assert "FID-12" in result.stdout
    assert run(cubes["few"], "--against", cubes["short"], "--exit-zero").exit_code == 0


def test_policy(cubes, run, tmp_path):
    lenient = tmp_path / "lenient.yaml"
    lenient.write_text("gating: [limb_offset *]\nenough: 12\njudges: 0\ndrop: false\ndrop_share: 1.0\n")
    result = run(cubes["bright"], "--against", cubes["real"], "--policy", lenient)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Passed: all 3 gating checks")
    absent = run(cubes["bright"], "--against", cubes["real"], "--policy", "absent")
    assert isinstance(absent.exception, UsageError)
    assert "no such policy" in str(absent.exception)


def test_compare(cubes, run, tmp_path):
    arguments = "--compare", cubes["fine"], cubes["bright"], "--against", cubes["real"]
    result = run(*arguments, "--json", tmp_path / "c.json")
    assert isinstance(result.exception, GateRefused)
    found = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    assert [one["synthetic"] for one in found["evaluations"]] == [str(cubes["fine"]), str(cubes["bright"])]
    lines = result.stdout.splitlines()
    verdicts = found["comparison"]["verdicts"]
    assert lines[:2] == [f"fine.zarr: {verdicts['fine.zarr']}", f"bright.zarr: {verdicts['bright.zarr']}"]
    header = next(number for number, line in enumerate(lines) if line.startswith("check "))
    assert lines[header].split()[:3] == ["check", "fine.zarr", "bright.zarr"]
    total = next(line for line in lines if line.startswith("total aia171"))
    assert total.endswith("bright.zarr  fine.zarr")
    assert found["comparison"]["sentence"] in lines
    assert lines.index(found["comparison"]["sentence"]) > header
    assert run(*arguments, "--exit-zero").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("few", "fine"), "takes one synthetic cube"),
        (("--compare", "few"), "takes two synthetic cubes"),
        (("--compare", "few", "fine", "--report", "r.html"), "a report is of one cube"),
        (("few", "--report", "one", "--json", "one"), "is the file of --report as well"),
        (("bright", "--bundle", "sdo2012-64"), "did not make"),
        (("bright", "--bundle", "absent"), "no such bundle"),
    ],
)
def test_wrong_usage(cubes, run, arguments, message):
    result = run(*(cubes.get(one, one) for one in arguments), "--against", cubes["short"])
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)


def test_the_bundle_of_the_cube_is_found_by_its_name(cubes, run, monkeypatch, tmp_path):
    from sunaug.bundle import load_bundle

    bundle = load_bundle("sdo2012-64")
    path = tmp_path / "made.zarr"
    known = {"bundle_name": "sdo2012-64", "bundle_hash": bundle.hash}
    create_cube(path, channels=["171"], size=SIZE, disk_radius=14.0, intensity_scale="browse", n_samples=2, attrs=known)
    given = {}

    def stop(*arguments, **options):
        given.update(options)
        raise SunaugError("far enough")

    monkeypatch.setattr("sunaug.fidelity.evaluate.run_evaluation", stop)
    for more in ((), ("--bundle", "sdo2012-64")):
        given.clear()
        run(path, "--against", cubes["real"], *more)
        assert given["bundle"].hash == bundle.hash
    run(cubes["bright"], "--against", cubes["real"])
    assert given["bundle"] is None


def test_json_that_cannot_be_written(cubes, run, tmp_path):
    result = run(cubes["few"], "--against", cubes["short"], "--json", tmp_path / "no" / "m.json")
    assert isinstance(result.exception, SunaugError)
    assert "cannot be written" in str(result.exception)


def test_missing_cube(run, tmp_path):
    result = run(tmp_path / "absent.zarr", "--against", tmp_path / "absent.zarr")
    assert isinstance(result.exception, SunaugError)
    assert "no such cube" in str(result.exception)


def test_against_is_needed(run, tmp_path):
    assert run(tmp_path / "rare.zarr").exit_code == 2
