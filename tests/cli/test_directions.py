import pytest

from sunaug.bundle import load_bundle, write_directions
from tests.cli.commands import refused, sunaug
from tests.models import make_bundle, make_cube


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "tiny").path


def test_directions_are_fitted_described_and_drawn(bundle, tmp_path):
    before = load_bundle(bundle).hash
    done = sunaug("directions", bundle, "--components", 2, "--seed", 3, "--out", tmp_path / "atlas")
    assert done.returncode == 0, done.stderr
    assert "component 1:" in done.stdout
    assert "component 2:" not in done.stdout
    assert "flare direction: correlation at a given condition hot_emission" in done.stdout
    assert (tmp_path / "atlas" / "README.md").exists()
    fitted = load_bundle(bundle)
    assert fitted.hash != before
    done = sunaug("directions", bundle, "--no-fit")
    assert done.returncode == 0, done.stderr
    assert load_bundle(bundle).hash == fitted.hash


def test_directions_of_an_older_sunaug_are_not_described(bundle, tmp_path, capsys):
    opened = load_bundle(bundle)
    old = {name: value for name, value in opened.directions.items() if name != "flare_limit"}
    write_directions(bundle, old)
    code, sentence = refused(capsys, "directions", bundle, "--no-fit", "--out", tmp_path / "atlas")
    assert code == 2
    assert "of an older sunaug" in sentence
    assert not (tmp_path / "atlas").exists()


def test_what_cannot_be_fitted_is_one_sentence(bundle, tmp_path, capsys):
    plain = make_bundle(tmp_path / "plain", conditions=()).path
    cases = [
        ((plain,), 2, "an unconditional bundle has no flare direction"),
        ((bundle, "--cube", make_cube(tmp_path / "c.zarr")), 1, "its train frames are not those that"),
    ]
    for arguments, code, sentence in cases:
        found = refused(capsys, "directions", *arguments)
        assert found[0] == code
        assert sentence in found[1]
        assert len(found[1].splitlines()) == 1
