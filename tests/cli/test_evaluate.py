import json

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from sunaug.cli.evaluate import evaluate
from sunaug.cube import FrameStatus, create_cube, write_frames
from sunaug.errors import SunaugError
from sunaug.fidelity.backbones import Backbone

SIZE = 32


class _Means(torch.nn.Module):
    """Features without weights to find: the means of a few patches."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()), requires_grad=False)

    def forward(self, images):
        return torch.nn.functional.avg_pool2d(images, 8).flatten(1)[:, :12] * self.scale


def _frames(count, seed):
    random = np.random.default_rng(seed)
    axis = np.arange(SIZE) - (SIZE - 1) / 2
    disk = np.hypot(*np.meshgrid(axis, axis)) < 14.2
    return (disk * 90 + random.gamma(2, 6, (count, 3, SIZE, SIZE))).astype(np.float32)


@pytest.fixture
def cubes(tmp_path, monkeypatch):
    networks = [Backbone(label, _Means(), 12, "means of patches") for label in ("FID-12", "EffNet-Lite0")]
    monkeypatch.setattr("sunaug.fidelity.evaluate.load_backbones", lambda weights: (networks, ["a network is missing"]))
    days = np.arange(24) * np.timedelta64(1, "D")
    times = np.concatenate([np.datetime64("2012-03-02", "ns") + days, np.datetime64("2012-08-02", "ns") + days])
    paths = tmp_path / "rare.zarr", tmp_path / "real.zarr"
    for seed, (path, axis) in enumerate(zip(paths, ({"n_samples": 22}, {"times": times}), strict=True)):
        count = axis.get("n_samples", len(times))
        create_cube(path, channels=["171", "131", "94"], size=SIZE, disk_radius=14.0, intensity_scale="browse", **axis)
        write_frames(
            path,
            0,
            {
                "intensity": _frames(count, seed),
                "forecast_flux": np.full(count, 2e-5),
                "frame_status": np.full(count, FrameStatus.COMPLETE, np.int8),
            },
        )
    return paths


@pytest.fixture
def run():
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(evaluate)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_table_and_json(cubes, run, tmp_path):
    rare, real = cubes
    result = run(rare, "--against", real, "--json", tmp_path / "m.json", "--n", 8)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))
    assert report["distribution"]["FID-12"]["all"]["n"] == 8
    assert report["distribution"]["EffNet-Lite0"]["classes"]["M"]["frechet"]["floor"] > 0
    lines = result.stdout.splitlines()
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


def test_figures_that_cannot_be_made_are_left_blank(cubes, run):
    result = run(cubes[0], "--against", cubes[1], "--n", 3)
    assert result.exit_code == 0, result.output
    cells = result.stdout.splitlines()[1].split()
    # Three frames are too few for an error of the KID and for coverage.
    assert len(cells) == 8
    assert "±" not in cells
    assert "nan" not in result.stdout.lower().replace("nano", "")


def test_json_that_cannot_be_written(cubes, run, tmp_path):
    result = run(cubes[0], "--against", cubes[1], "--json", tmp_path / "no" / "m.json")
    assert isinstance(result.exception, SunaugError)
    assert "cannot be written" in str(result.exception)


def test_missing_cube(run, tmp_path):
    result = run(tmp_path / "absent.zarr", "--against", tmp_path / "absent.zarr")
    assert isinstance(result.exception, SunaugError)
    assert "no such cube" in str(result.exception)


def test_against_is_needed(run, tmp_path):
    assert run(tmp_path / "rare.zarr").exit_code == 2
