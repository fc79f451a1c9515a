"""What a run did, step by step: as JSON for programs and as Markdown for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from upath import UPath

from sunaug.storage import replace_object

__all__ = ["Outcome", "RunReport", "write_report"]

KEPT_REPORTS = 200
DONE, KEPT, IDLE, REFUSED, FAILED = "done", "done already", "nothing to do", "refused", "failed"


@dataclass(frozen=True)
class Outcome:
    """How a step ended.

    Attributes
    ----------
    step : str
    status : {"done", "done already", "nothing to do", "refused", "failed"}
        ``done already``: for the same inputs, by an earlier run.
    sentence : str
    seconds : float
    key : str, optional
        Of the step's inputs.
    """

    step: str
    status: str
    sentence: str
    seconds: float = 0.0
    key: str | None = None

    def __str__(self) -> str:
        return f"{self.step}: {self.status}: {self.sentence}."


@dataclass
class RunReport:
    """A run of a pipeline.

    Attributes
    ----------
    recipe : str
        Its name.
    started : str
        UTC, ISO 8601.
    steps : list of Outcome
    seconds : float
    notes : list of str
        What went wrong beside the steps, as a webhook that did not answer.
    """

    recipe: str
    started: str
    steps: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        """``failed``, ``refused``, ``published``, ``done`` (something, but nothing published) or ``idle``."""
        for status in (FAILED, REFUSED):
            if any(one.status == status for one in self.steps):
                return status
        new = [one.step for one in self.steps if one.status == DONE]
        return "published" if "publish" in new else "done" if new else "idle"

    @property
    def sentence(self) -> str:
        """How it ended: the step that stopped it, or the last one that did something."""
        stopped = [one for one in self.steps if one.status in (FAILED, REFUSED)]
        told = stopped or [one for one in self.steps if one.status == DONE][-1:]
        return f"{self.recipe}: {told[0] if told else 'nothing new.'}"

    def described(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {**asdict(self), "status": self.status, "sentence": self.sentence}

    def markdown(self) -> str:
        """The report as a page."""
        rows = [
            f"| {one.step} | {one.status} | {one.seconds:.1f} s | {one.sentence.replace('|', chr(92) + '|')} |"
            for one in self.steps
        ]
        notes = [f"\nNote: {note}" for note in self.notes]
        head = [f"# {self.recipe}: {self.status}", "", f"Started {self.started}, {self.seconds:.1f} s.", ""]
        return "\n".join([*head, "| step | | time | |", "| --- | --- | --- | --- |", *rows, *notes]) + "\n"


def write_report(folder: Path, report: RunReport) -> Path:
    """Write a report as ``<time>.json`` and ``<time>.md``; the oldest beyond 200 are removed. Gives the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = report.started.replace(":", "").replace("+0000", "Z")
    texts = {".json": json.dumps(report.described(), indent=1), ".md": report.markdown()}
    for suffix, text in texts.items():
        replace_object(UPath(folder / f"{stem}{suffix}"), text.encode())
        _drop_old(sorted(folder.glob(f"*{suffix}")))
    return folder / f"{stem}.md"


def _drop_old(reports: Sequence[Path]) -> None:
    for path in reports[:-KEPT_REPORTS]:
        path.unlink()
