"""The step ``publish``: the set that has passed becomes the current version."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pipelines.publish import publish
from pipelines.sections import PublishSection
from pipelines.state import Done, content_key
from pipelines.steps import Bench, Task


@dataclass(frozen=True)
class PublishStep:
    """Publishes a set once; a version that was rolled back does not come back by itself."""

    bench: Bench
    name: ClassVar[str] = "publish"

    @property
    def _section(self) -> PublishSection:
        section = self.bench.recipe.publish
        assert section is not None
        return section

    def look(self) -> Task:
        """The set that the gate has passed."""
        judged = self.bench.state.read("gate")
        if judged is None or judged.refused or not Path(judged.values["cube"]).exists():
            return Task(None, "the gate refused the set" if judged and judged.refused else "no set has passed the gate")
        key = content_key(judged.key, str(self._section.folder.resolve()))
        return Task(key, f"{judged.values['n']:,} samples into {self._section.folder}", inputs=judged.values)

    def do(self, task: Task) -> Done:
        """Write the version, check it and make it current."""
        assert task.key is not None
        recipe, section, made = self.bench.recipe, self._section, task.inputs
        about = {name: made[name] for name in ("bundle_name", "bundle_hash", "n", "policy")}
        version, written = publish(
            made["cube"], section.folder, key=task.key, name=recipe.name, keep=section.keep, about=about
        )
        again = "" if written else ", which had been written before"
        values = {"version": version.number, "bundle": made["bundle"], "base": recipe.bundle}
        return Done(task.key, f"version {version.number} is current{again}: {version.cube}", values)
