import numpy as np
import pytest

from sunaug.cube import open_cube
from tests.cli.commands import sunaug
from tests.models import make_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "tiny").path


def test_generate_rare(bundle, tmp_path):
    done = sunaug(
        "generate", "--rare", "--n", 10, "--bundle", bundle, "--out", tmp_path / "r.zarr", "--min-class", "M2"
    )
    assert done.returncode == 0, done.stderr
    assert "10 SYNTHETIC rare frames (forecast M2 or more) from tiny, seed 0" in done.stdout
    assert "trained on only" in done.stderr
    assert "generating: 10 of 10 samples" in done.stderr
    assert (open_cube(tmp_path / "r.zarr")["forecast_flux"] >= 2e-5).all()


def test_options_come_from_the_environment(bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("SUNAUG_GENERATE_N", "3")
    monkeypatch.setenv("SUNAUG_GENERATE_SEED", "7")
    done = sunaug("generate", "--bundle", bundle, "--out", tmp_path / "r.zarr")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(open_cube(tmp_path / "r.zarr")["seed"], [7, 7, 7])


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--n", "0"), 2, "--n 0: ask for at least one sample"),
        (("--n", "2", "--batch-size", "0"), 2, "--batch-size 0: at least one sample at a time"),
        (("--n", "2", "--bundle", "nowhere"), 2, "nowhere: no such bundle"),
        (("--n", "2", "--rare", "--min-class", "X99"), 1, "trained on no frame with forecast_flux of X99 or more"),
        (("--n", "2", "--min-class", "Q1"), 2, "'Q1' is not a GOES class"),
    ],
)
def test_bad_input_is_one_sentence(bundle, tmp_path, arguments, code, sentence):
    done = sunaug("generate", "--bundle", bundle, *arguments, "--out", tmp_path / "r.zarr")
    assert done.returncode == code
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "r.zarr").exists()


def test_a_bundle_with_a_missing_file(bundle, tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "bundle.json").write_text("{}")
    done = sunaug("generate", "--n", 1, "--bundle", tmp_path / "part", "--out", tmp_path / "r.zarr")
    assert done.returncode == 1
    assert "not a whole bundle, model.safetensors, reference.safetensors, README.md missing" in done.stderr
    assert "Traceback" not in done.stderr
