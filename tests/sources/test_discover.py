import pytest

from sunaug.errors import UsageError
from sunaug.sources import discover


@pytest.fixture
def folder(tmp_path):
    for name in (
        "b.fits",
        "deep/a.jpg",
        "deep/c.fits.gz",
        "index.csv",
        "sdomlv2.zarr/2012/171A/0.0.0",
        "note.fits.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def _found(*paths):
    return [(one.path.name, one.source) for one in discover(paths)]


def test_a_folder_is_searched_and_a_store_is_one_input(folder):
    everything = [("b.fits", "fits"), ("a.jpg", "browse"), ("c.fits.gz", "fits"), ("sdomlv2.zarr", "sdoml")]
    assert _found(folder, folder / "b.fits") == everything
    assert discover([folder])[0].size == 1


def test_patterns_and_lists(folder):
    assert _found(f"{folder}/**/*.fits*") == [("b.fits", "fits"), ("c.fits.gz", "fits")]
    (folder / "deep" / "list.txt").write_text(f"a.jpg\n\n{folder}/b.fits\n")
    assert _found(folder / "deep" / "list.txt") == [("b.fits", "fits"), ("a.jpg", "browse")]


def test_a_file_that_is_named_is_kept_whatever_it_is(folder):
    assert _found(folder / "index.csv") == [("index.csv", "")]


def test_a_url_is_a_place_like_any_other():
    from upath import UPath

    for name in ("2012/a.fits", "2012/b.fits", "2012/index.csv"):
        UPath(f"memory://sun/{name}").write_bytes(b"xy")
    assert _found("memory://sun/") == _found("memory://sun/2012/*.fits") == [("a.fits", "fits"), ("b.fits", "fits")]
    assert discover(["memory://sun/2012/a.fits"])[0].size == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "no such file or folder"),
        ("empty", "this folder holds no image"),
        ("*.nothing", "this pattern finds no image"),
        ("list.txt", "no such list of files"),
    ],
)
def test_what_finds_nothing_is_refused(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=message):
        discover([tmp_path / name])


def test_a_url_that_cannot_be_used_says_why():
    with pytest.raises(UsageError, match="cannot be used"):
        discover(["nowhere://bucket/x.fits"])
    with pytest.raises(UsageError, match="no such file or folder, or nothing answers there"):
        discover(["http://127.0.0.1:9/x.fits"])


def test_what_exists_is_a_path_and_only_the_rest_a_pattern(tmp_path):
    folder = tmp_path / "AIA [2012]"
    folder.mkdir()
    (folder / "a[1].fits").write_bytes(b"x")
    (folder / "b.fits").write_bytes(b"x")
    both = [("a[1].fits", "fits"), ("b.fits", "fits")]
    assert _found(folder) == _found(f"{folder}/*.fits") == both
    assert _found(folder / "a[1].fits") == both[:1]
    (tmp_path / "notes.txt").mkdir()
    (tmp_path / "notes.txt" / "c.fits").write_bytes(b"x")
    assert _found(tmp_path / "notes.txt") == [("c.fits", "fits")]


@pytest.mark.parametrize("ending", ["", ".gz", ".bz2", ".xz", ".fz", ".Z", ".zip", ".zst"])
def test_every_compression_of_fits_is_an_input(tmp_path, ending):
    for name in (f"a.fits{ending}", f"b.fts{ending}", f"c.fit{ending}"):
        (tmp_path / name).write_bytes(b"x")
    assert [source for _, source in _found(tmp_path)] == ["fits"] * 3


def test_what_is_passed_over_is_told(folder):
    names: list[str] = []
    discover([folder], passed_over=names.append)
    assert sorted(names) == ["index.csv", "note.fits.txt"]


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.fits").write_bytes(b"x")
    (tmp_path / "list.txt").write_text("~/a.fits\n")
    assert _found("~/a.fits") == _found("~/*.fits") == _found("~/list.txt") == [("a.fits", "fits")]
    assert str(discover(["~/a.fits"])[0].path) == str(tmp_path / "a.fits")
