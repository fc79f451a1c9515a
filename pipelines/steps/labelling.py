"""The step ``labels``: what the tables of flares have come to know since a frame came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pipelines.labels import update_labels
from pipelines.sections import LabelsSection
from pipelines.state import Done, content_key, file_digest
from pipelines.steps import Bench, Task
from sunaug.cube import open_cube


@dataclass(frozen=True)
class LabelsStep:
    """Has something to do when frames have come or a table has changed."""

    bench: Bench
    name: ClassVar[str] = "labels"

    @property
    def _section(self) -> LabelsSection:
        section = self.bench.recipe.labels
        assert section is not None
        return section

    def look(self) -> Task:
        """The cube's frames and the tables, by their content."""
        cube, section = self.bench.recipe.cube, self._section
        assert cube is not None
        if not cube.exists():
            return Task(None, f"{cube.name} is not made yet")
        times = open_cube(cube)["time"].values
        tables = [file_digest(one) for one in (section.flares, *section.xrs)]
        key = content_key(tables, times.astype("int64").tolist())
        return Task(key, f"labels of {len(times):,} frames by {section.flares.name}")

    def do(self, task: Task) -> Done:
        """Fill in what is known by now."""
        cube, section = self.bench.recipe.cube, self._section
        assert cube is not None
        assert task.key is not None
        found = update_labels(cube, section.flares, section.xrs)
        said = [
            f"{name}: {found.filled[name]:,} filled in, {found.unknown[name]:,} still unknown"
            + (f", {found.differ[name]:,} told otherwise by now and left as they were" if found.differ[name] else "")
            + (f", {found.doubted[name]:,} unknown by now and left as they were" if found.doubted[name] else "")
            for name in found.filled
        ]
        return Done(task.key, "; ".join(said))
