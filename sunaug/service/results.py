"""The files of sets: a folder for each cube, with the cube and what it was packed into.

A folder is changed by whoever holds its lock. Names come from hashes that the service has made itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sunaug.service.packing import SUFFIXES

__all__ = ["Results"]


class Results:
    """The files below a folder.

    Parameters
    ----------
    state : pathlib.Path
        Folder of the service; it is made if it is missing.
    """

    def __init__(self, state: Path) -> None:
        self._folder = state / "sets"
        self._folder.mkdir(parents=True, exist_ok=True)

    def cube(self, cube: str) -> Path:
        """Where a cube is."""
        return self._folder / cube / "SYNTHETIC.zarr"

    def package(self, cube: str, form: str) -> Path:
        """Where the file to download is."""
        return self._folder / cube / f"SYNTHETIC-{cube[:16]}{SUFFIXES[form]}"

    def size(self, cube: str, form: str) -> int:
        """Bytes of a cube and its file."""
        files = [path for path in self.cube(cube).rglob("*") if path.is_file()]
        if (package := self.package(cube, form)).is_file():
            files.append(package)
        return sum(path.stat().st_size for path in files)

    @contextmanager
    def held(self, cube: str, timeout: float = -1) -> Iterator[None]:
        """Hold the lock of a cube's folder, which is made.

        Raises
        ------
        filelock.Timeout
            If somebody else holds it for longer than `timeout` (seconds; without end where it is negative).
        """
        with FileLock(self._lock(cube), timeout=timeout):
            self.cube(cube).parent.mkdir(exist_ok=True)
            yield

    def discard(self, cube: str, wanted: Callable[[], set[str]]) -> None:
        """Remove a folder that no set is made from any more.

        Parameters
        ----------
        cube : str
        wanted : callable
            Hashes of the cubes that are wanted, asked for while the folder is held.
        """
        try:
            with FileLock(self._lock(cube), timeout=0):
                if cube not in wanted():
                    shutil.rmtree(self._folder / cube, ignore_errors=True)
                    self._lock(cube).unlink(missing_ok=True)
        except Timeout:  # whoever makes it will find that it is not wanted, and come here
            return

    def sweep(self, wanted: Callable[[], set[str]]) -> None:
        """Remove all folders that no set is made from, such as those of a service that was killed."""
        known = wanted()
        for folder in self._folder.iterdir():
            if folder.is_dir() and folder.name not in known:
                self.discard(folder.name, wanted)

    def _lock(self, cube: str) -> Path:
        return self._folder / f"{cube}.lock"
