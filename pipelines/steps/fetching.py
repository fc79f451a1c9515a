"""The step ``fetch``: new images and flare lists from their archives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipelines.fetch import fetch
from pipelines.sections import FetchSection
from pipelines.state import Done, content_key
from pipelines.steps import Bench, Task
from sunaug.catalogues import fetch_flares, write_catalogue
from sunaug.errors import SunaugError


@dataclass(frozen=True)
class FetchStep:
    """Asks each time, since only the archive knows what is new; what is there already is not asked for again."""

    bench: Bench
    name: ClassVar[str] = "fetch"

    @property
    def _section(self) -> FetchSection:
        section = self.bench.recipe.fetch
        assert section is not None
        return section

    def look(self) -> Task:
        """Everything up to this moment."""
        section, now = self._section, np.datetime64("now", "s")
        begin = now - np.timedelta64(round(section.days * 86400), "s")
        asked = [f"{', '.join(section.channels)} since {begin}Z"] if section.channels else []
        asked += [f"flares ({section.flares}) since {section.flares_since}"] if section.flares else []
        return Task(
            content_key(section.model_dump(), now), " and ".join(asked), inputs={"begin": str(begin), "end": str(now)}
        )

    def do(self, task: Task) -> Done:
        """Fetch images, then the flare list; images that could not be had are asked for again the next time."""
        assert task.key is not None
        section, recipe, said = self._section, self.bench.recipe, []
        if section.channels:
            assert recipe.ingest is not None
            found = fetch(
                recipe.ingest.folder,
                task.inputs["begin"],
                task.inputs["end"],
                channels=section.channels,
                cadence=section.cadence,
                kind=section.kind,
            )
            said.append(f"{found.downloaded:,} files came, {found.kept:,} were there")
            if found.failed:
                first = found.failed[0]
                said.append(f"{len(found.failed):,} could not be had ({first.reason.rstrip('.')})")
            if found.failed and not (found.downloaded or found.kept):
                raise SunaugError(f"{said[-1]}, each with its reason in {found.failed_csv}; they are asked for again.")
        if section.flares:
            assert recipe.labels is not None
            catalogue = fetch_flares(section.flares_since, task.inputs["end"], section.flares, url=section.hek)
            write_catalogue(recipe.labels.flares, catalogue)
            said.append(f"{len(catalogue.flares):,} flares listed until {task.inputs['end']}Z")
        return Done(task.key, "; ".join(said))
