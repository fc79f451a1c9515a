import sys
from unittest import mock

import pytest

from forecasting_adapters.exports import NAMES, open_export
from sunaug.cli import main
from tests.cli.commands import refused, sunaug
from tests.exported import synthetic_cube


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    return synthetic_cube(tmp_path_factory.mktemp("cube") / "rare.zarr")


def _done(capsys, *arguments):
    """What a command that succeeds prints, in this process: starting one takes seconds."""
    with mock.patch.object(sys, "argv", ["sunaug", *map(str, arguments)]), pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    return capsys.readouterr().out


def test_a_cube_is_exported_and_what_to_know_is_said(cube, tmp_path):
    out = tmp_path / "out"
    done = sunaug("export", cube, out, "--to", "suryabench", "--n", 3, "--size", 64, "--start", "2035-06-01")
    assert done.returncode == 0, done.stderr
    assert f"{out}: 3 SYNTHETIC frames for suryabench, 2035-06-01T00:00 to 2035-06-01T08:00" in done.stdout
    assert "exporting: 3 of 3 frames" in done.stderr
    assert "sunaug: upsampled 1.82 times: holds no finer detail than the cube." in done.stderr
    assert open_export(out).sizes["x"] == 64


def test_options_of_a_layout(cube, tmp_path, capsys):
    _done(capsys, "export", cube, tmp_path / "out", "--to", "suryabench", "--n", 1, "--option", "root=/data/a=b")
    assert "/data/a=b/2031/02/20310201_0100.nc" in (tmp_path / "out" / "train_index.csv").read_text()


def test_the_list_tells_what_each_layout_wants(capsys):
    lines = _done(capsys, "export", "--list").splitlines()
    assert lines[0].split() == ["NAME", "SIZE", "UNITS", "FOR"]
    assert [line.split()[0] for line in lines[1 : len(NAMES) + 1]] == list(NAMES)
    assert max(map(len, lines)) <= 120


def test_the_list_tells_all_about_one(capsys):
    said = _done(capsys, "export", "--list", "--to", "sdoml")
    assert "Frames: 512 px, disk radius 203.33 px; DN/s; one every 12 minutes" in said
    assert "aia94 as 94A" in said
    assert "SDO-FM validates on October and January" in said.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ((), 2, "give a cube, a layout and a folder"),
        (("CUBE", "OUT"), 2, "give a cube, a layout and a folder"),
        (("--list", "--to", "nix"), 2, "--to nix: no such layout"),
        (("CUBE", "OUT", "--to", "suryabench", "--option", "root"), 2, "--option root: give key=value"),
        (("CUBE", "OUT", "--to", "suryabench", "--option", "n=4"), 2, "suryabench: no option n; it knows root"),
        (("CUBE", "OUT", "--to", "fits", "--option", "a=1"), 2, "fits: no option a; it has none"),
        (("CUBE", "OUT", "--to", "fits", "--n", "9"), 2, "has 8 complete samples; ask for 1 to 8"),
        (("CUBE", "OUT", "--to", "fits", "--start", "2031-10-01"), 1, "bear times that SDO-FM holds out"),
        (("nowhere.zarr", "OUT", "--to", "fits"), 2, "nowhere.zarr: no such cube"),
    ],
)
def test_bad_input_is_one_sentence(cube, tmp_path, capsys, arguments, code, sentence):
    places = {"CUBE": cube, "OUT": tmp_path / "out"}
    found = refused(capsys, "export", *(places.get(one, one) for one in arguments))
    assert found[0] == code
    assert sentence in found[1]
    assert len(found[1].splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_gate_is_obeyed_and_the_way_out_is_an_option(tmp_path, capsys):
    cube = synthetic_cube(tmp_path / "r.zarr", n=2, gate={"verdict": "unjudged"})
    code, said = refused(capsys, "export", cube, tmp_path / "out", "--to", "fits")
    assert code == 3
    assert "the fidelity gate has not judged it; pass --allow-ungated to use it anyway." in said
    assert "2 SYNTHETIC frames" in _done(capsys, "export", cube, tmp_path / "out", "--to", "fits", "--allow-ungated")
