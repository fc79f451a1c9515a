import numpy as np
import pytest

from forecasting_adapters import SyntheticSolarDataset
from sunaug.cube import open_cube
from sunaug.errors import GateRefused
from sunaug.fidelity.fitting import add_reference
from sunaug.synthetic_fits import read_provenance
from tests.cli.commands import refused, sunaug
from tests.models import make_bundle, make_cube, quick_fits


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
        (("--n", "2", "--rare", "--min-class", "Q1"), 2, "'Q1' is not a GOES class"),
        (("--n", "2", "--steer", "component=99:1"), 2, "has components 0 to 7"),
        (("--n", "2", "--steer", "bright:1"), 2, "give flare:+1.5 or component=3:+2.5"),
        (("--n", "2", "--format", "png"), 2, "choose zarr or fits"),
        (("--n", "2", "--format", "fits", "--scheduler", "processes"), 2, "--scheduler writes cubes only"),
    ],
)
def test_bad_input_is_one_sentence(bundle, tmp_path, capsys, arguments, code, sentence):
    found = refused(capsys, "generate", "--bundle", bundle, *arguments, "--out", tmp_path / "r.zarr")
    assert found[0] == code
    assert sentence in found[1]
    assert len(found[1].splitlines()) == 1
    assert not (tmp_path / "r.zarr").exists()


def test_a_bundle_with_a_missing_file(bundle, tmp_path, capsys):
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "bundle.json").write_text("{}")
    code, said = refused(capsys, "generate", "--n", 1, "--bundle", tmp_path / "part", "--out", tmp_path / "r.zarr")
    assert code == 1
    assert "not a whole bundle, model.safetensors, reference.safetensors, README.md missing" in said


def test_conditions_steering_and_fits(bundle, tmp_path):
    (tmp_path / "c.csv").write_text("nowcast_flux,forecast_flux\nC1,M2\n1e-7,1e-6\n")
    done = sunaug(
        *("generate", "--bundle", bundle, "--condition-file", tmp_path / "c.csv", "--truncation", 0.8),
        *("--steer", "flare:-1", "--steer", "component=2:+0.5", "--out", tmp_path / "f", "--format", "fits"),
    )
    assert done.returncode == 0, done.stderr
    assert "2 SYNTHETIC frames from tiny" in done.stdout
    said = read_provenance(tmp_path / "f" / "sample-0000000_aia171.fits")
    assert said["steering"] == {"flare": -1.0, "component=2": 0.5}
    assert said["forecast_flux"] == 2e-5
    assert said["truncation"] == 0.8


def test_a_bundle_without_a_critic_says_that_nothing_is_refused(bundle, tmp_path):
    done = sunaug("generate", "--rare", "--n", 2, "--bundle", bundle, "--out", tmp_path / "r.zarr")
    assert "tiny has no critic, so that no sample is refused; fit one with `sunaug directions" in done.stderr
    done = sunaug("generate", "--rare", "--no-critic", "--n", 2, "--bundle", bundle, "--out", tmp_path / "s.zarr")
    assert "no critic" not in done.stderr


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_leaves_nothing_that_is_in_the_way(bundle, tmp_path):
    common = ("generate", "--n", 2, "--bundle", bundle, "--out", tmp_path / "r.zarr")
    done = sunaug(*common, "--scheduler", "tcp://127.0.0.1:9")
    assert done.returncode == 1
    assert "no Dask scheduler answers there" in done.stderr
    assert "Traceback" not in done.stderr
    assert sunaug(*common).returncode == 0


def test_an_ungated_cube_stays_ungated(bundle, tmp_path, capsys):
    out = tmp_path / "r.zarr"
    done = sunaug("generate", "--n", 3, "--bundle", bundle, "--out", out, "--no-gate")
    assert done.returncode == 0, done.stderr
    assert "Ungated: nothing was checked" in done.stdout
    assert open_cube(out).attrs["gate"]["verdict"] == "ungated"
    code, said = refused(capsys, "generate", "--n", 3, "--bundle", bundle, "--out", out)
    assert code == 1
    assert "was made with --no-gate and stays ungated" in said
    assert open_cube(out).attrs["gate"]["verdict"] == "ungated"


def test_a_bundle_without_real_frames_leaves_its_samples_unjudged(bundle, tmp_path, capsys):
    done = sunaug("generate", "--n", 2, "--bundle", bundle, "--out", tmp_path / "r.zarr")
    assert "Unjudged: tiny has no real frames to be compared with" in done.stdout
    code, said = refused(
        capsys, "generate", "--n", 2, "--bundle", bundle, "--out", tmp_path / "p.zarr", "--policy", "strictest"
    )
    assert code == 2
    assert "strictest: no such policy; give a YAML file or one of content, default" in said
    assert not (tmp_path / "p.zarr").exists()


def test_a_refused_cube_is_kept_and_the_exit_code_says_so(tmp_path, capsys):
    made = make_bundle(tmp_path / "tiny")
    months = tuple(range(1, 10))
    with quick_fits():
        assert add_reference(made, open_cube(make_cube(tmp_path / "real.zarr", months=months, frames=40)))
    for arguments in (("--out", tmp_path / "r.zarr"), ("--out", tmp_path / "fits", "--format", "fits")):
        code, said = refused(capsys, "generate", "--n", 40, "--bundle", made.path, *arguments)
        assert code == 3
        assert "Refused: " in said
        assert "The samples are kept, and adapters do not take them." in said
    assert open_cube(tmp_path / "r.zarr").sizes["sample"] == 40
    file = next((tmp_path / "fits").glob("*.fits"))
    # A network without any training makes no Sun: each of its samples is rejected by itself, too.
    assert read_provenance(file)["gate"] == "rejected"
    with pytest.raises(GateRefused, match="the fidelity gate has refused it"):
        SyntheticSolarDataset(tmp_path / "r.zarr")


def test_inspect_says_what_the_gate_has_said(bundle, tmp_path):
    sunaug("generate", "--n", 2, "--bundle", bundle, "--out", tmp_path / "r.zarr", "--no-gate")
    done = sunaug("inspect", tmp_path / "r.zarr")
    assert done.returncode == 0, done.stderr
    assert "Ungated: made with --no-gate, nothing was checked." in done.stdout
