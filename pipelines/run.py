"""A run of a pipeline: the recipe's steps one after the other, a report, and whoever wants to hear of it.

Examples
--------
>>> from pipelines.run import run_recipe
>>> run_recipe("recipe.yaml").status
'published'
"""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pipelines.notify import notify
from pipelines.recipe import PipelineRecipe, load_pipeline
from pipelines.reports import DONE, FAILED, IDLE, KEPT, REFUSED, Outcome, RunReport, write_report
from pipelines.state import State, only_run
from pipelines.steps import Bench, Step, make_step
from sunaug.errors import GateRefused, UsageError

__all__ = ["perform_step", "preview", "run_recipe"]

Perform = Callable[[Step, State], Outcome]
"""Does a step; a scheduler puts its own in place, with attempts."""


def perform_step(step: Step, state: State) -> Outcome:
    """Do what a step finds to do, and remember it once it is done."""
    began = clock.monotonic()
    task = step.look()
    if task.key is None:
        return Outcome(step.name, IDLE, task.sentence, clock.monotonic() - began)
    done = state.read(step.name)
    status = KEPT if task.is_done(done) else DONE
    if done is None or status == DONE:
        done = step.do(task)
        state.write(step.name, done)
    seconds = clock.monotonic() - began
    return Outcome(step.name, REFUSED if done.refused else status, done.sentence, seconds, task.key)


def run_recipe(
    recipe: str | Path | PipelineRecipe,
    steps: Sequence[str] = (),
    *,
    say: Callable[[str], None] = lambda text: None,
    perform: Perform = perform_step,
) -> RunReport:
    """Run a pipeline.

    What an earlier run has done for the same inputs is not done again. A run that was stopped, at whatever moment, is
    finished by the next one.

    Parameters
    ----------
    recipe : str, pathlib.Path or PipelineRecipe
    steps : sequence of str
        Steps to run alone, on what the others have left; all of the recipe's if empty.
    say : callable, optional
        Told how each step ended, and what takes long.
    perform : callable, optional
        Does a step, see `perform_step`.

    Returns
    -------
    RunReport
        It stands in ``<work>/reports``, too.

    Raises
    ------
    UsageError
        If the recipe makes no sense, or has no such step.
    GateRefused
        If the gate refused the set; what was published last is still current.
    SunaugError
        If a step failed, or another run of the pipeline is at work.
    """
    loaded = recipe if isinstance(recipe, PipelineRecipe) else load_pipeline(recipe)
    state = State(loaded.work)
    report = RunReport(loaded.name, datetime.now(UTC).isoformat(timespec="milliseconds"))
    began = clock.monotonic()
    with only_run(loaded.work / "run.lock", f"{loaded.work}: another run of {loaded.name}"):
        state.remove_halves()
        try:
            for name in _chosen(loaded, steps):
                say(f"{name}: begins")
                try:
                    outcome = perform(make_step(name, Bench(loaded, state, say)), state)
                except Exception as error:
                    report.steps.append(Outcome(name, FAILED, _reason(error)))
                    raise
                outcome = _with_what_stays(outcome, loaded)
                report.steps.append(outcome)
                say(str(outcome))
                if outcome.status == REFUSED:
                    raise GateRefused(f"{loaded.name}: {outcome.sentence}.")
        finally:
            report.seconds = clock.monotonic() - began
            if report.steps:
                report.notes = notify(loaded.notify, report)
                for note in report.notes:
                    say(note)
                say(f"report: {write_report(loaded.work / 'reports', report)}")
    return report


def preview(recipe: str | Path | PipelineRecipe, steps: Sequence[str] = ()) -> list[str]:
    """What a run would do as things stand, a line for each step; nothing is changed.

    A step is looked at with what the steps before it have left so far, and not with what they would make.
    """
    loaded = recipe if isinstance(recipe, PipelineRecipe) else load_pipeline(recipe)
    state, lines, before = State(loaded.work), [], False
    for name in _chosen(loaded, steps):
        task = make_step(name, Bench(loaded, state)).look()
        done = state.read(name)
        if task.key is None:
            what = IDLE
        elif task.is_done(done):
            what = REFUSED if done and done.refused else KEPT
        else:
            what = "to do"
        lines.append(f"{name}: {what}: {task.sentence}{', before the steps above' if before else ''}.")
        before = before or what == "to do"
    return lines


def _chosen(recipe: PipelineRecipe, steps: Sequence[str]) -> tuple[str, ...]:
    if unknown := [name for name in steps if name not in recipe.steps]:
        raise UsageError(f"--step {unknown[0]}: {recipe.name} has the steps {', '.join(recipe.steps)}.")
    return tuple(name for name in recipe.steps if not steps or name in steps)


def _with_what_stays(outcome: Outcome, recipe: PipelineRecipe) -> Outcome:
    """A refusal says which version is still there for readers."""
    published = State(recipe.work).read("publish") if outcome.status == REFUSED else None
    if published is None:
        return outcome
    return replace(outcome, sentence=f"{outcome.sentence}; version {published.values['version']} stays published")


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return text or type(error).__name__
