import sqlite3

import numpy as np
import pytest

from sunaug.errors import SunaugError
from sunaug.fidelity.cache import RowCache, content_keys, default_cache

FRAMES = np.random.default_rng(0).random((4, 2, 5, 5), np.float32)


def test_rows_are_found_by_content_and_maker(tmp_path):
    cache, keys = RowCache(tmp_path), content_keys(FRAMES)
    rows = np.arange(8, dtype=np.float32).reshape(4, 2)
    cache.keep("a", keys, rows, "the layout")
    found = RowCache(tmp_path).find("a", [keys[2], b"other", keys[0]])
    assert set(found) == {0, 2}
    np.testing.assert_array_equal(found[0], rows[2])
    np.testing.assert_array_equal(found[2], rows[0])
    assert cache.find("b", keys) == {}
    assert (cache.layout("a"), cache.layout("b")) == ("the layout", "")


def test_other_pixels_and_shapes_have_other_keys():
    changed = FRAMES.copy()
    changed[1, 0, 0, 0] += 1e-6
    same = [one == other for one, other in zip(content_keys(FRAMES), content_keys(changed), strict=True)]
    assert same == [True, False, True, True]
    assert content_keys(FRAMES.reshape(4, 1, 10, 5))[0] != content_keys(FRAMES)[0]


def test_without_a_folder_nothing_is_kept():
    cache = RowCache(None)
    cache.keep("a", [b"x"], np.ones((1, 2), np.float32))
    assert cache.find("a", [b"x"]) == {}


def test_a_file_that_is_no_cache_is_named(tmp_path):
    (tmp_path / "measured.sqlite").write_bytes(b"not a database, but long enough to look like one" * 40)
    with pytest.raises(SunaugError, match=r"measured\.sqlite: cannot be used .* SUNAUG_CACHE"):
        RowCache(tmp_path)


def test_a_writer_that_died_leaves_what_it_had_written(tmp_path):
    keys = content_keys(FRAMES)
    RowCache(tmp_path).keep("a", keys[:2], np.ones((2, 3), np.float32))
    connection = sqlite3.connect(tmp_path / "measured.sqlite")
    connection.execute("INSERT INTO rows VALUES ('a', ?, ?)", (keys[2], b"half"))
    connection.close()  # not committed
    assert set(RowCache(tmp_path).find("a", keys)) == {0, 1}


def test_the_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("SUNAUG_CACHE", str(tmp_path / "mine"))
    assert default_cache() == tmp_path / "mine"
    monkeypatch.delenv("SUNAUG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "sunaug"
