import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from sunaug.cli import app
from sunaug.cube import open_cube
from tests.cli.commands import refused
from tests.models import make_bundle, make_cube

QUICK = ("--n", 3, "--steps", 4)


def done(*arguments: object) -> Result:
    """A command that ends well, in this process: starting one takes seconds."""
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "tiny").path


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    return make_cube(tmp_path_factory.mktemp("cube") / "real.zarr")


def test_project(bundle, cube, tmp_path):
    out, picture = tmp_path / "made.zarr", tmp_path / "sheet.png"
    said = done(
        *("project", cube, "--bundle", bundle, "--out", out, *QUICK, "--layers", "each", "--channels", "171,94"),
        *("--picture", picture),
    )
    assert f"{out}: 3 SYNTHETIC reconstructions of frames of {cube} by tiny, gone by aia171, aia94." in said.stdout
    assert "projecting: 4 of 4 steps" in said.stderr
    made = open_cube(out)
    for number, name in enumerate(made["channel"].values):
        line = next(line for line in said.stdout.splitlines() if line.split()[:1] == [name])
        assert f"{made['rms_error'].values[:, number].mean():.3f}" in line
    assert not np.array_equal(made["w"][:, 0], made["w"][:, -1])
    with Image.open(picture) as sheet:
        assert min(sheet.size) > 100

    seen = done("inspect", out).stdout
    assert "made.zarr (SYNTHETIC)" in seen
    assert "frames of real.zarr (validation) by tiny, aia171, aia94" in seen
    assert "gate" not in seen


def test_complete(bundle, cube, tmp_path):
    out = tmp_path / "made.zarr"
    said = done("complete", cube, "--given", "aia171,aia131", "--bundle", bundle, "--out", out, *QUICK)
    heads = next(line for line in said.stdout.splitlines() if "mean frame" in line)
    assert heads.split() == ["generator", "mean", "frame", "regression"]
    completed = next(line for line in said.stdout.splitlines() if line.split()[:1] == ["aia94"])
    given = next(line for line in said.stdout.splitlines() if line.split()[:1] == ["aia171"])
    assert completed.count("%") == 3
    assert given.split()[-2:] == ["-", "-"]
    assert open_cube(out).attrs["reconstruction"]["counted_channels"] == ["aia171", "aia131"]


def test_without_train_months_there_is_nothing_to_compare_with(bundle, tmp_path):
    cube = make_cube(tmp_path / "august.zarr", months=(8,), frames=4)
    said = done("complete", cube, "--given", "aia171", "--bundle", bundle, "--out", tmp_path / "m.zarr", *QUICK)
    assert "no mean frame and no regression to compare with" in said.stderr
    assert "no usable frame in the train months" in said.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("project", "--layers", "two"), "--layers two: choose one"),
        (("project", "--steps", 0), "--steps 0: give one step or more"),
        (("project", "--n", 0), "--n 0: ask for at least one frame"),
        (("project", "--channels", "aia193"), "has no channel aia193, only aia171, aia131, aia94"),
        (("project", "--channels", "green"), "unknown channel 'green'"),
        (("complete", "--given", "aia171,131,94"), "leaves nothing to complete"),
        (("complete", "--given", ","), "has no channel that counts"),
    ],
)
def test_bad_input_is_one_sentence(bundle, cube, tmp_path, capsys, arguments, sentence):
    out = tmp_path / "made.zarr"
    command, *options = arguments
    code, said = refused(capsys, command, cube, "--bundle", bundle, "--out", out, *options)
    assert code == 2
    assert sentence in said
    assert len(said.splitlines()) == 1
    assert not out.exists()


def test_what_is_there_already_is_kept(bundle, cube, tmp_path, capsys):
    code, said = refused(capsys, "project", cube, "--bundle", bundle, "--out", cube)
    assert code == 1
    assert "exists already and holds something else than these reconstructions" in said
    assert "time" in open_cube(cube).dims
