import pytest

from sunaug.bundle import load_bundle, write_directions
from tests.cli.commands import refused, run_main, sunaug
from tests.models import make_bundle, make_cube


def contents(bundle):
    """The files of a bundle, to the bit."""
    return {one.name: one.read_bytes() for one in bundle.iterdir() if one.is_file()}


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "tiny").path


def test_directions_are_fitted_described_and_drawn(bundle, tmp_path):
    before, files = load_bundle(bundle).hash, contents(bundle)
    done = sunaug("directions", bundle, "--fit", "--components", 2, "--seed", 3, "--out", tmp_path / "fitted")
    assert done.returncode == 0, done.stderr
    assert "component 1:" in done.stdout
    assert "component 2:" not in done.stdout
    assert "flare direction: correlation at a given condition hot_emission" in done.stdout
    fitted = load_bundle(tmp_path / "fitted")
    assert fitted.hash != before
    assert f"hash {fitted.hash[:12]}" in done.stdout
    done = sunaug("directions", tmp_path / "fitted", "--components", 2, "--out", tmp_path / "atlas")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "atlas" / "README.md").exists()
    assert load_bundle(tmp_path / "fitted").hash == fitted.hash
    assert contents(bundle) == files
    assert {one.name for one in tmp_path.iterdir()} == {"tiny", "fitted", "atlas"}


def test_a_bundle_is_changed_in_place_only_where_that_is_said(bundle, capsys):
    (bundle / "effects.json").write_text("{}")
    (bundle / "notes").mkdir()
    before = load_bundle(bundle).hash
    assert "with fitted directions" in run_main(capsys, "directions", bundle, "--fit", "--seed", 3, "--out", bundle)[0]
    assert load_bundle(bundle).hash != before
    assert (bundle / "notes").is_dir()
    assert (bundle / "effects.json").read_text() == "{}"
    assert not list(bundle.parent.glob("*.partial"))


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--seed", 1), 2, "--seed goes with --fit: add it, or omit --seed."),
        (("--cube", "c.zarr"), 2, "--cube goes with --fit: add it, or omit --cube."),
        (("--fit",), 2, "--fit writes a bundle: name its folder with --out."),
        (("--fit", "--out", "INSTALLED"), 1, "comes with sunaug and is never changed"),
        (("--fit", "--out", "INSTALLED/new"), 1, "comes with sunaug and is never changed"),
        (("--fit", "--out", "OTHER"), 2, "exists already; choose another --out."),
    ],
)
def test_nothing_installed_is_changed(tmp_path, capsys, arguments, code, sentence):
    installed = load_bundle("sdo2012-64").path
    (tmp_path / "other").mkdir()
    places = {"INSTALLED": installed, "INSTALLED/new": installed / "new", "OTHER": tmp_path / "other"}
    before = contents(installed)
    found = refused(capsys, "directions", "sdo2012-64", *(places.get(one, one) for one in arguments))
    assert found[0] == code
    assert sentence in found[1]
    assert contents(installed) == before
    assert not list(installed.parent.glob("*.partial"))


def test_directions_are_shown_and_nothing_is_written(bundle, capsys):
    before = contents(bundle)
    assert "component 1:" in run_main(capsys, "directions", bundle, "--components", 2)[0]
    assert contents(bundle) == before


def test_directions_of_an_older_sunaug_are_not_described(bundle, tmp_path, capsys):
    opened = load_bundle(bundle)
    old = {name: value for name, value in opened.directions.items() if name != "flare_limit"}
    write_directions(bundle, old)
    code, sentence = refused(capsys, "directions", bundle, "--out", tmp_path / "atlas")
    assert code == 2
    assert "of an older sunaug" in sentence
    assert not (tmp_path / "atlas").exists()


def test_what_cannot_be_fitted_is_one_sentence(bundle, tmp_path, capsys):
    plain = make_bundle(tmp_path / "plain", conditions=()).path
    cases = [
        ((plain,), 2, "an unconditional bundle has no flare direction"),
        (
            (bundle, "--fit", "--cube", make_cube(tmp_path / "c.zarr"), "--out", tmp_path / "new"),
            1,
            "its train frames are not those that",
        ),
    ]
    for arguments, code, sentence in cases:
        found = refused(capsys, "directions", *arguments)
        assert found[0] == code
        assert sentence in found[1]
        assert len(found[1].splitlines()) == 1
    assert not list(tmp_path.glob("new*"))
