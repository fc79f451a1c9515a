"""Where commands read and write: ~, file://, other URLs, and places that cannot be written."""

import inspect
import typing
from importlib import import_module
from pathlib import Path

import pytest
import typer

from sunaug.cli import COMMANDS
from sunaug.cli.places import anywhere, local_input, local_output
from sunaug.cube import open_cube
from sunaug.storage import local_or_url, location
from tests.cli.commands import refused, run_main

_ITS_OWN = ("ingest",)
"""Reads and writes URLs itself."""


def functions():
    """The functions of all commands, by their names."""
    for name in COMMANDS:
        module = import_module(f"sunaug.cli.{name.replace('-', '_')}")
        found = getattr(module, name.replace("-", "_"))
        if isinstance(found, typer.Typer):
            yield from ((f"{name} {one.callback.__name__}", one.callback) for one in found.registered_commands)
        elif name not in _ITS_OWN:
            yield name, found


def test_every_path_of_every_command_goes_through_one_decision():
    seen = 0
    for name, function in functions():
        hints = typing.get_type_hints(function)
        for parameter in inspect.signature(function).parameters.values():
            hint, info = hints[parameter.name], parameter.default
            if Path in (hint, *typing.get_args(hint)):
                assert info.callback in (local_output, local_input), (name, parameter.name)
                seen += 1
            elif parameter.name in ("cube", "synthetic", "against", "policy"):
                assert info.callback is anywhere, (name, parameter.name)
                seen += 1
    assert seen > 30


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("~/c.zarr", "HOME/c.zarr"),
        ("~", "HOME"),
        ("a/~/c.zarr", "a/~/c.zarr"),
        ("file:///tmp/a%20b.zarr", "/tmp/a b.zarr"),
        ("s3://bucket/~/c.zarr", "s3://bucket/~/c.zarr"),
        ("https://host/c.zarr", "https://host/c.zarr"),
        ("c.zarr", "c.zarr"),
    ],
)
def test_what_is_local(monkeypatch, given, place):
    monkeypatch.setenv("HOME", "/somewhere")
    assert local_or_url(given) == place.replace("HOME", "/somewhere")
    if "://" not in place:
        assert str(location(given)) == str(Path(place.replace("HOME", "/somewhere")))


URL = "s3://bucket/x"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("generate", "--out", URL), f"--out {URL}: generate writes to a local path only"),
        (("generate", "--out", URL, "--format", "fits"), f"--out {URL}: generate writes to a local path only"),
        (("generate", "--out", "x", "--condition-file", URL), f"--condition-file {URL}: generate reads from a local"),
        (("export", "c.zarr", URL, "--to", "fits"), f"OUT {URL}: export writes to a local path only"),
        (("inspect", "c.zarr", "--picture", URL), f"--picture {URL}: inspect writes to a local path only"),
        (("evaluate", "s", "--against", "c", "--report", URL), f"--report {URL}: evaluate writes to a local path only"),
        (("evaluate", "s", "--against", "c", "--json", URL), f"--json {URL}: evaluate writes to a local path only"),
        (("evaluate", "s", "--against", "c", "--weights", URL), f"--weights {URL}: evaluate reads from a local path"),
        (("train", "--cube", "c", "--out", URL), f"--out {URL}: train writes to a local path only"),
        (("directions", "sdo2012-64", "--out", URL), f"--out {URL}: directions writes to a local path only"),
        (("project", "c", "--out", URL), f"--out {URL}: project writes to a local path only"),
        (("complete", "c", "--given", "171", "--out", URL), f"--out {URL}: complete writes to a local path only"),
        (("judge", "s", "--against", "c", "--database", URL), f"--database {URL}: judge writes to a local path only"),
        (("forecast-benchmark", "--cube", "c", "--out", URL), f"--out {URL}: forecast-benchmark writes to a local"),
        (("fetch", URL, "--start", "2012-01-01", "--end", "2012-01-02"), f"OUT {URL}: fetch writes to a local path"),
        (("serve", "--state", URL), f"--state {URL}: serve writes to a local path only"),
        (("keys", "create", "me", "--state", URL), f"--state {URL}: create writes to a local path only"),
        (("publish", "list", URL), f"FOLDER {URL}: list reads from a local path only"),
        (("run", URL), f"RECIPE {URL}: run reads from a local path only"),
        (("schedule", URL, "--every", "1h"), f"RECIPE {URL}: schedule reads from a local path only"),
    ],
)
def test_a_url_is_used_or_refused_before_anything_is_made(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    code, sentence = refused(capsys, *arguments)
    assert code == 2
    assert said in sentence
    assert sentence.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_generate_and_inspect_know_the_home_folder_and_file_urls(tmp_path, monkeypatch, capsys):
    work, home = tmp_path / "work", tmp_path / "home"
    work.mkdir()
    home.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(home))
    common = ("generate", "--n", 2, "--bundle", "sdo2012-64", "--no-gate")
    run_main(capsys, *common, "--out", "~/s.zarr")
    assert f"{home}/s.zarr: 2 SYNTHETIC" in run_main(capsys, *common, "--out", "~/s.zarr")[0]  # it is there already
    monkeypatch.setenv("SUNAUG_GENERATE_OUT", "~/e.zarr")
    run_main(capsys, *common)
    monkeypatch.delenv("SUNAUG_GENERATE_OUT")
    run_main(capsys, *common, "--out", f"file://{home}/a%20b.zarr")
    run_main(capsys, *common, "--format", "fits", "--out", "~/fits")
    run_main(capsys, "inspect", "~/s.zarr", "--picture", "~/p.png")
    run_main(capsys, "export", "~/s.zarr", "~/x", "--to", "fits", "--allow-ungated")
    assert {one.name for one in home.iterdir()} >= {"s.zarr", "e.zarr", "a b.zarr", "fits", "p.png", "x"}
    assert open_cube("~/s.zarr").sizes["sample"] == 2
    assert not list(work.iterdir())


def test_a_place_below_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "f.txt").write_text("mine")
    code, said = refused(capsys, "generate", "--out", tmp_path / "f.txt" / "x.zarr")
    assert code == 2
    assert f"cannot be written ({tmp_path}/f.txt is a file)" in said
