"""What was measured once is not measured again: rows of numbers by the content of the frame.

A row is found by a hash of the frame's pixels and by what measured it, so that other frames, weights or versions never
find it. Rows are stored as they are made, so that work which was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sunaug.errors import SunaugError

__all__ = ["RowCache", "content_keys", "default_cache"]

CACHE_VARIABLE = "SUNAUG_CACHE"
_FILE = "measured.sqlite"


def default_cache() -> Path:
    """The folder in the environment variable ``SUNAUG_CACHE``, or ``sunaug`` in the user's cache folder."""
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sunaug"


def content_keys(frames: NDArray[np.floating]) -> list[bytes]:
    """SHA-256 of each frame's pixels and shape."""
    shape = repr(frames.shape[1:]).encode()
    return [hashlib.sha256(shape + np.ascontiguousarray(frame).tobytes()).digest() for frame in frames]


class RowCache:
    """Rows of float32 numbers in a file, by what made them and by the content of the frame.

    Parameters
    ----------
    folder : pathlib.Path or None
        Made if need be; nothing is kept if None.

    Raises
    ------
    SunaugError
        If the folder or the file in it cannot be used.
    """

    def __init__(self, folder: Path | None) -> None:
        self.path = None if folder is None else folder / _FILE
        if folder is None or self.path is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as connection, connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS rows (maker TEXT, frame BLOB, numbers BLOB, "
                    "PRIMARY KEY (maker, frame)) WITHOUT ROWID"
                )
                connection.execute("CREATE TABLE IF NOT EXISTS layouts (maker TEXT PRIMARY KEY, layout TEXT)")
        except (OSError, sqlite3.Error) as error:
            raise SunaugError(
                f"{self.path}: cannot be used to keep what was measured ({error}); remove it, or name another folder "
                f"in the environment variable {CACHE_VARIABLE}."
            ) from None

    def _connect(self) -> sqlite3.Connection:
        assert self.path is not None
        return sqlite3.connect(self.path, timeout=60)

    def find(self, maker: str, keys: Sequence[bytes]) -> dict[int, NDArray[np.float32]]:
        """The rows that are there, by place in `keys`."""
        if self.path is None:
            return {}
        with closing(self._connect()) as connection:
            found = {}
            for place, key in enumerate(keys):
                row = connection.execute(
                    "SELECT numbers FROM rows WHERE maker = ? AND frame = ?", (maker, key)
                ).fetchone()
                if row is not None:
                    found[place] = np.frombuffer(row[0], np.float32)
        return found

    def keep(self, maker: str, keys: Sequence[bytes], rows: NDArray[np.float32], layout: str = "") -> None:
        """Store rows (n, k), one for each key."""
        if self.path is None:
            return
        try:
            with closing(self._connect()) as connection, connection:
                connection.execute("INSERT OR REPLACE INTO layouts VALUES (?, ?)", (maker, layout))
                connection.executemany(
                    "INSERT OR REPLACE INTO rows VALUES (?, ?, ?)",
                    [
                        (maker, key, np.ascontiguousarray(row, np.float32).tobytes())
                        for key, row in zip(keys, rows, strict=True)
                    ],
                )
        except sqlite3.Error as error:
            raise SunaugError(
                f"{self.path}: what was measured cannot be kept ({error}); make room there, or name another folder in "
                f"the environment variable {CACHE_VARIABLE}."
            ) from None

    def layout(self, maker: str) -> str:
        """What the numbers of a maker's rows are; empty if nothing is known of it."""
        if self.path is None:
            return ""
        with closing(self._connect()) as connection:
            row = connection.execute("SELECT layout FROM layouts WHERE maker = ?", (maker,)).fetchone()
        return row[0] if row else ""
