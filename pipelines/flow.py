"""A pipeline as Prefect sees it: a flow with a task for each step. Needs the extra ``schedule``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed
from prefect.tasks import exponential_backoff

from pipelines.recipe import load_pipeline
from pipelines.reports import Outcome
from pipelines.run import perform_step, run_recipe
from pipelines.sections import RetrySection
from pipelines.state import State
from pipelines.steps import Step
from sunaug.errors import GateRefused, UsageError

__all__ = ["pipeline"]

MAX_WAIT = 3600.0
"""Seconds between two attempts, at most."""


def waits(retry: RetrySection) -> list[float]:
    """Seconds before each attempt after the first: doubled each time."""
    delays = exponential_backoff(backoff_factor=retry.wait)(retry.attempts - 1) if retry.attempts > 1 else []
    return [min(delay, MAX_WAIT) for delay in delays]


def may_pass(step: Any, run: Any, state: Any) -> bool:
    """Whether what made a step fail may be gone at the next attempt: not so for a recipe that makes no sense."""
    error = state.result(raise_on_failure=False)
    return not isinstance(error, UsageError)


@flow(name="sunaug", persist_result=False)
def pipeline(recipe: str) -> Any:
    """Run the recipe of this path; a refusal of the gate is the state ``Refused``, which counts as failed."""
    loaded, log = load_pipeline(Path(recipe)), get_run_logger()

    def perform(step: Step, state: State) -> Outcome:
        attempted = task(
            name=step.name,
            cache_policy=NO_CACHE,
            persist_result=False,
            retries=loaded.retry.attempts - 1,
            retry_delay_seconds=waits(loaded.retry),
            retry_condition_fn=may_pass,
        )(perform_step)
        outcome: Outcome = attempted(step, state)
        return outcome

    try:
        report = run_recipe(loaded, say=log.info, perform=perform)
    except GateRefused as error:
        return Failed(name="Refused", message=str(error))
    return Completed(name=report.status.capitalize(), message=report.sentence)
