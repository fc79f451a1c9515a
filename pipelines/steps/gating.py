"""The step ``gate``: the set is judged, and refused where it is not like real frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pipelines.state import Done, content_key, file_digest
from pipelines.steps import Bench, Task
from sunaug.bundle import load_bundle
from sunaug.cube import open_cube
from sunaug.fidelity.gating import gate_cube
from sunaug.fidelity.policy import Policy
from sunaug.fidelity.stored import FILE
from sunaug.fidelity.verdict import PASSED, verdict_of


@dataclass(frozen=True)
class GateStep:
    """Judges a set again when the policy or the real frames that it is compared with have changed."""

    bench: Bench
    name: ClassVar[str] = "gate"

    @property
    def _policy(self) -> Policy:
        section = self.bench.recipe.gate
        assert section is not None
        return section.asked()

    def look(self) -> Task:
        """The set, the policy and the bundle's reference, by their content."""
        made = self.bench.state.read("generate")
        if made is None or not Path(made.values["cube"]).exists():
            return Task(None, "no set is made yet")
        key = content_key(made.key, self._policy.hash, file_digest(Path(made.values["bundle"]) / FILE))
        return Task(key, f"{made.values['n']:,} samples by the policy {self._policy.name}", inputs=made.values)

    def do(self, task: Task) -> Done:
        """Judge it; the verdict stands in the set, too."""
        assert task.key is not None
        cube = task.inputs["cube"]
        gate_cube(cube, load_bundle(task.inputs["bundle"]), self._policy)
        attributes = open_cube(cube).attrs
        refused = verdict_of(attributes) != PASSED
        sentence = str(attributes["gate"]["sentence"]).rstrip(".")
        return Done(task.key, sentence, {**task.inputs, "policy": self._policy.name}, refused)
