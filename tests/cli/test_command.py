"""What holds for the options of all commands: the environment, numbers, options without effect."""

import os
from pathlib import Path

import pytest
import typer.main

from sunaug import __version__
from sunaug.cli import app
from tests.cli.commands import refused, run_main, sunaug

OF_OTHERS = {
    *("SUNAUG_API_KEY", "SUNAUG_CACHE", "SUNAUG_DATA", "SUNAUG_DEBUG", "SUNAUG_FID_WEIGHTS", "SUNAUG_PEERS"),
    *("SUNAUG_VERSION", "SUNAUG_HELP", "SUNAUG_SCREENSHOTS", "SUNAUG_WEBHOOK"),
}
"""Variables that mean something else, here or to whoever runs sunaug in a container."""


def commands():
    """All commands with their contexts, those within groups as well."""
    root = typer.main.get_command(app)
    found = []

    def walk(command, context):
        found.append((command, context))
        for name, one in getattr(command, "commands", {}).items():
            walk(one, type(context)(one, info_name=name, parent=context))

    walk(root, root.context_class(root, info_name="sunaug", auto_envvar_prefix="SUNAUG"))
    return found


def variables():
    """Variable by variable, the options that it sets."""
    found = {}
    for command, context in commands():
        for one in command.get_params(context):
            if one.param_type_name == "option" and one.allow_from_autoenv:
                named = one.envvar if isinstance(one.envvar, list) else [one.envvar] if one.envvar else []
                for name in {*named, f"{context.auto_envvar_prefix}_{one.name.upper()}"}:
                    found.setdefault(name, []).append(f"{context.command_path} {one.opts[0]}")
    return found


def test_no_variable_means_two_things():
    found = variables()
    assert "SUNAUG_GENERATE_FORMAT" in found
    assert "SUNAUG_KEYS_CREATE_PER_DAY" in found
    shared = {name: options for name, options in found.items() if len(options) > 1}
    assert set(shared) <= {"SUNAUG_FID_WEIGHTS"}
    assert not (set(found) - {"SUNAUG_FID_WEIGHTS"}) & OF_OTHERS


def test_flags_that_end_a_command_are_not_read_from_the_environment(capsys, monkeypatch):
    ending = {"--version", "--help", "--install-completion", "--show-completion", "--list", "--example", "--results"}
    read = {option.split()[-1] for options in variables().values() for option in options}
    assert not ending & read
    for command, context in commands():
        for one in command.get_params(context):
            if ending & set(one.opts):
                monkeypatch.setenv(f"{context.auto_envvar_prefix}_{one.name.upper()}", "1")
    assert {"SUNAUG_VERSION", "SUNAUG_GENERATE_HELP", "SUNAUG_EXPORT_LIST_"} <= set(os.environ)
    said = run_main(capsys, "inspect", "sdo2012-64")[0]
    assert "architecture" in said
    assert "2012-01-30T02:00:01Z; 2012-01-31T10:00:00Z to " in said, "with the gaps between its training ranges"
    assert "choose zarr or fits" in refused(capsys, "generate", "--out", "x", "--format", "png")[1]
    assert "RECIPE: name the YAML file" in refused(capsys, "run")[1]
    assert run_main(capsys, "--version")[0].strip() == f"sunaug {__version__}"


def test_the_format_comes_from_the_environment_under_its_own_name(capsys, monkeypatch):
    monkeypatch.setenv("SUNAUG_GENERATE_FORMAT", "png")
    assert "--format png: choose zarr or fits" in refused(capsys, "generate", "--out", "x")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("generate", "--out", "x", "--truncation", "nan"), "--truncation nan: give a finite number."),
        (("generate", "--out", "x", "--truncation", "inf"), "--truncation inf: give a finite number."),
        (("generate", "--out", "x", "--n", 10**30), f"--n {10**30}: is too large"),
        (("fetch", "x", "--start", "a", "--end", "b", "--backoff", "inf"), "--backoff inf: give a finite number."),
        (("serve", "--max-disk", "inf"), "--max-disk inf: give a finite number."),
        (("train", "--cube", "c", "--out", "o", "--minutes", "inf"), "--minutes inf: give a finite number."),
        (("forecast-benchmark", "--cube", "c", "--out", "o", "--weight-decay", "nan"), "--weight-decay nan: give a"),
    ],
)
def test_numbers_are_finite_and_fit(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    code, sentence = refused(capsys, *arguments)
    assert code == 2
    assert said in sentence
    assert not list(tmp_path.iterdir())


GENERATE = ("generate", "--out", "x", "--bundle", "sdo2012-64")
BENCHMARK = ("forecast-benchmark", "--cube", "c", "--out", "o")
FLARES = ("fetch", "f.csv", "--start", "2012-01-01", "--end", "2012-01-02", "--flares", "swpc")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        *(
            ((*GENERATE, *option), f"{option[0]} goes with --rare: add it, or omit {option[0]}.")
            for option in (
                *(("--min-class", "X1.0"), ("--min-class", "M1.0"), ("--label", "nowcast"), ("--tail", "power-law")),
                *(("--no-critic",), ("--critic",), ("--force",)),
            )
        ),
        ((*GENERATE, "--no-gate", "--policy", "content"), "--policy has no effect with --no-gate"),
        ((*GENERATE, "--workers", 2), "--workers goes with --scheduler processes"),
        ((*GENERATE, "--scheduler", "tcp://h:1", "--workers", 2), "--workers goes with --scheduler processes"),
        ((*GENERATE, "--scheduler", "processes", "--device", "cpu"), "--device has no effect with --scheduler"),
        ((*GENERATE, "--scheduler", "processes", "--batch-size", 8), "--batch-size has no effect with --scheduler"),
        ((*GENERATE, "--rare", "--condition-file", "CONDITIONS"), "omit it or --condition-file."),
        (("export", "--list", "--n", 3), "--n has no effect with --list"),
        (("export", "--list", "c.zarr"), "CUBE has no effect with --list"),
        (("export", "--list", "--option", "a=b"), "--option has no effect with --list"),
        ((*FLARES, "--channels", "aia171"), "--channels has no effect with --flares"),
        ((*FLARES, "--cadence", "1h"), "--cadence has no effect with --flares"),
        ((*FLARES, "--kind", "full"), "--kind has no effect with --flares"),
        ((*FLARES, "--attempts", 3), "--attempts has no effect with --flares"),
        ((*FLARES, "--backoff", 3), "--backoff has no effect with --flares"),
        ((*BENCHMARK, "--allow-ungated"), "--allow-ungated goes with --synthetic"),
        ((*BENCHMARK, "--allow-leakage"), "--allow-leakage goes with --synthetic"),
        ((*BENCHMARK, "--arms", "flips", "--recipe", "ARMS"), "none of its arms is among --arms flips"),
        (("judge", "--results", "--n", 3), "--n has no effect with --results"),
        (("judge", "--results", "s.zarr"), "SYNTHETIC has no effect with --results"),
        (("judge", "--json", "j.json", "--port", 0), "--port has no effect with --json"),
        (("judge", "--results", "--all"), "--all has no effect with --results"),
        (("run", "--example", "r.yaml"), "RECIPE has no effect with --example"),
        (("run", "--example", "--step", "gate"), "--step has no effect with --example"),
        (("run", "--example", "--dry-run"), "--dry-run has no effect with --example"),
        (("train", "--cube", "c", "--out", "o", "--weights", "w.pth"), "recipe cpu-64 evaluates nothing"),
        (("inspect", "sdo2012-64", "--picture", "p.png"), "a bundle holds no frames to draw"),
        (("evaluate", "s", "--against", "c", "--compare"), "two synthetic cubes with --compare"),
    ],
)
def test_options_without_effect_are_refused(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.csv").write_text("nowcast_flux,forecast_flux\nC1,M2\n")
    (tmp_path / "arms.yaml").write_text("- name: mine\n  flips: true\n")
    files = {"CONDITIONS": "c.csv", "ARMS": "arms.yaml"}
    code, sentence = refused(capsys, *(files.get(one, one) for one in arguments))
    assert code == 2
    assert said in sentence
    assert sentence.count("\n") == 1
    assert {one.name for one in tmp_path.iterdir()} == {"c.csv", "arms.yaml"}


def test_an_option_of_the_environment_is_named_by_its_variable(capsys, monkeypatch):
    monkeypatch.setenv("SUNAUG_GENERATE_MIN_CLASS", "M5")
    said = refused(capsys, *GENERATE)[1]
    assert "--min-class (from the environment, SUNAUG_GENERATE_MIN_CLASS) goes with --rare" in said


def test_weights_of_the_environment_may_be_there_for_other_commands(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SUNAUG_FID_WEIGHTS", "w.pth")
    said = refused(capsys, "train", "--cube", tmp_path / "no.zarr", "--out", tmp_path / "o")[1]
    assert "no such cube" in said


def test_export_says_that_a_border_is_none(tmp_path, capsys):
    run_main(capsys, "generate", "--n", 2, "--bundle", "sdo2012-64", "--no-gate", "--out", tmp_path / "s.zarr")
    common = ("export", tmp_path / "s.zarr", tmp_path / "out", "--allow-ungated", "--border", "missing")
    elsewhere = ("--split", "none")
    code, said = refused(capsys, *common, "--to", "fits")
    assert code == 2
    assert "--border missing: has no effect, fits shows no more of the sky" in said
    assert "2 SYNTHETIC frames" in run_main(capsys, *common, *elsewhere, "--to", "suryabench")[0]


def test_looking_at_keys_makes_no_service(tmp_path):
    state = tmp_path / "none"
    for arguments in (("list",), ("revoke", "abc")):
        done = sunaug("keys", *arguments, "--state", state)
        assert done.returncode == 2
        assert f"--state {state}: no such folder of a service" in done.stderr
    assert not Path(state).exists()
