import json

import pytest

from tests.cli.commands import refused, sunaug
from tests.comparison import make_observed, make_synthetic


@pytest.fixture(scope="module")
def cubes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    observed = make_observed(folder)
    return observed, make_synthetic(folder, observed, gate={"verdict": "ungated"})


@pytest.mark.slow
def test_a_comparison_is_printed_written_and_gone_on_with(cubes, tmp_path):
    observed, synthetic = cubes
    recipe = tmp_path / "arms.yaml"
    recipe.write_text("- name: mine\n  flips: true\n  synthetic: {add: 0.5}\n")
    common = ["--cube", observed, "--synthetic", synthetic, "--out", tmp_path / "out", "--size", 16, "--epochs", 2]
    options = [*common, "--arms", "flips,mine", "--recipe", recipe, "--seeds", 2, "--allow-ungated"]
    done = sunaug("forecast-benchmark", *options, "--jobs", 1, "--json", tmp_path / "all.json")
    assert done.returncode == 0, done.stderr
    assert "training: 6 of 6 runs" in done.stderr
    assert "No verdict yet." in done.stdout
    figures = json.loads((tmp_path / "all.json").read_text())
    assert figures == json.loads((tmp_path / "out" / "validation.json").read_text())
    assert figures["synthetic"][0]["gate"] == "ungated"
    assert [one["name"] for one in figures["arms"]] == ["real", "flips", "mine"]
    assert (tmp_path / "out" / "validation.md").read_text().startswith("| arm")
    assert (tmp_path / "out" / "validation.png").exists()
    final = sunaug("forecast-benchmark", *options, "--final")
    assert final.returncode == 0, final.stderr
    assert json.loads((tmp_path / "out" / "test.json").read_text())["stage"] == "test"


def test_refusals_are_one_sentence(cubes, tmp_path, capsys):
    observed, synthetic = cubes
    common = ("forecast-benchmark", "--cube", observed, "--out", tmp_path / "out", "--size", 16)
    for arguments, code, message in (
        (("--synthetic", synthetic), 3, "--no-gate"),
        (("--arms", "flip"), 2, "unknown arm 'flip'"),
        (("--model", "nowhere:Net"), 2, "cannot be imported"),
        (("--recipe", tmp_path / "none.yaml"), 2, "cannot be read"),
        (("--learning-rate", -1), 2, "learning_rate: -1.0 is not above 0"),
        (("--size", 5), 2, "frames of 16 pixels cannot become 5"),
    ):
        found, said = refused(capsys, *common, *arguments)
        assert (found, message in said, said.count("\n")) == (code, True, 1), said
