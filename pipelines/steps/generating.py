"""The step ``generate``: a synthetic set by the newest generator."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import torch

from pipelines.augment import generate_on
from pipelines.sections import GenerateSection
from pipelines.state import Done, content_key
from pipelines.steps import Bench, Task
from pipelines.steps.training import trained_bundle
from sunaug.bundle import load_bundle
from sunaug.generation import generate_cube

_SHORT = 16


@dataclass(frozen=True)
class GenerateStep:
    """Has something to do when the generator or the request has changed: the same ones make the same samples."""

    bench: Bench
    name: ClassVar[str] = "generate"

    @property
    def _section(self) -> GenerateSection:
        section = self.bench.recipe.generate
        assert section is not None
        return section

    def look(self) -> Task:
        """The bundle and the request, by their content."""
        newest, request = trained_bundle(self.bench.recipe, self.bench.state), self._section.asked()
        if newest is None:
            return Task(None, "no generator is trained yet")
        bundle = load_bundle(newest)
        # Another version of torch may round another way; a cube holds samples of one.
        key = content_key(bundle.hash, asdict(request), torch.__version__)
        path = self.bench.recipe.work / "sets" / f"{key[:_SHORT]}.zarr"
        what = "rare samples" if request.rare else "samples"
        return Task(key, f"{request.n:,} {what} from {bundle.info.name}, seed {request.seed}", path, {"bundle": bundle})

    def do(self, task: Task) -> Done:
        """Make them, or what is missing of them; sets of before are removed."""
        assert task.key is not None
        assert task.output is not None
        bundle, request, path = task.inputs["bundle"], self._section.asked(), task.output
        path.parent.mkdir(parents=True, exist_ok=True)
        if scheduler := self.bench.recipe.scheduler:
            generate_on(path, bundle, request, scheduler=scheduler, workers=self.bench.recipe.workers)
        else:
            generate_cube(path, bundle, request, device=self._section.device)
        _forget_all_but(path)
        values = {"cube": str(path), "bundle": str(bundle.path), "bundle_hash": bundle.hash, "n": request.n}
        return Done(task.key, task.sentence, {**values, "bundle_name": bundle.info.name})


def _forget_all_but(path: Path) -> None:
    for other in path.parent.glob("*.zarr"):
        if other != path:
            shutil.rmtree(other)
