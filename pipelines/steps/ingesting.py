"""The step ``ingest``: files that appeared in a folder are appended to the cube."""

from __future__ import annotations

import time as clock
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from upath import UPath

from pipelines.ingest import ingest
from pipelines.sections import IngestSection
from pipelines.state import Done, content_key, file_digest
from pipelines.steps import Bench, Task
from sunaug.cube import open_cube
from sunaug.cube.opening import is_unfinished
from sunaug.errors import UsageError
from sunaug.sources import discover

Files = dict[str, dict[str, Any]]
"""Files by their name in the folder: ``size``, ``changed`` (nanoseconds since 1970) and ``sha256``."""


@dataclass(frozen=True)
class IngestStep:
    """Keeps a list of the files that are in the cube or were left out, each with its hash, and ingests the others."""

    bench: Bench
    name: ClassVar[str] = "ingest"

    @property
    def _section(self) -> IngestSection:
        section = self.bench.recipe.ingest
        assert section is not None
        return section

    @property
    def _cube(self) -> Path:
        cube = self.bench.recipe.cube
        assert cube is not None
        return cube

    def look(self) -> Task:
        """The files that are new; where an ingest was stopped, those that it had begun with."""
        handled: Files = done.values["files"] if (done := self.bench.state.read(self.name)) else {}
        arrived, waiting = self._arrived(handled)
        new = {name: one for name, one in arrived.items() if handled.get(name, {}).get("sha256") != one["sha256"]}
        planned: Files = (self.bench.state.plan(self.name) or {}).get("files", {})
        begun = {name: one for name, one in planned.items() if arrived.get(name, {}).get("sha256") == one["sha256"]}
        chosen = begun if begun and len(begun) == len(planned) else new
        later = f", {waiting:,} still coming" if waiting else ""
        if not chosen:
            return Task(None, f"no new file in {self._section.folder} ({len(handled):,} known{later})")
        key = content_key(self._section.options, sorted((name, one["sha256"]) for name, one in chosen.items()))
        again = " of an ingest that was stopped" if chosen is begun else ""
        return Task(
            key,
            f"{len(chosen):,} new files{again} for {self._cube.name}{later}",
            output=self._cube,
            inputs={"files": chosen, "handled": handled},
        )

    def do(self, task: Task) -> Done:
        """Make the cube, or append to it."""
        assert task.key is not None
        files: Files = task.inputs["files"]
        self.bench.state.write_plan(self.name, {"files": files})
        recipe, folder = self.bench.recipe, self._section.folder
        result = ingest(
            [folder / name for name in files],
            self._cube,
            append=_is_made(self._cube),
            workers=recipe.workers,
            scheduler=recipe.scheduler,
            **self._section.options,
        )
        frames = sum(result.frames.values())
        left_out = f", {result.files_rejected:,} left out ({result.rejected_csv.name})" if result.files_rejected else ""
        known = f", {result.files_known:,} in the cube before" if result.files_known else ""
        sentence = f"{result.files_used:,} of {len(files):,} new files used{left_out}{known}; {frames:,} frames in all"
        return Done(task.key, sentence, {"files": {**task.inputs["handled"], **files}})

    def _arrived(self, handled: Files) -> tuple[Files, int]:
        """Files in the folder that are whole, and the number of those that may still be coming."""
        folder = self._section.folder
        if not folder.is_dir():
            if self.bench.recipe.fetch is not None:
                return {}, 0
            raise UsageError(f"{folder}: no such folder; make it, or name another one in the recipe's `ingest`.")
        files: Files = {}
        waiting = 0
        for path in _images(folder):
            about, name = path.stat(), path.relative_to(folder).as_posix()
            if clock.time() - about.st_mtime < self._section.settle:
                waiting += 1
                continue
            seen = handled.get(name, {})
            # A file of the same size and time is not read again.
            same = (seen.get("size"), seen.get("changed")) == (about.st_size, about.st_mtime_ns)
            digest = seen["sha256"] if same else file_digest(path)
            files[name] = {"size": about.st_size, "changed": about.st_mtime_ns, "sha256": digest}
        return files, waiting


def _images(folder: Path) -> list[Path]:
    """Files below a folder that a source reads; none where there is none yet."""
    try:
        found = discover([folder])
    except UsageError:
        return []
    paths = [Path(str(one.path)) for one in found]
    return [path for path in paths if path.is_file()]


def _is_made(cube: Path) -> bool:
    """Whether the cube is there and its first ingest has ended."""
    return cube.exists() and not is_unfinished(UPath(cube)) and bool(open_cube(cube).attrs.get("ingests"))
