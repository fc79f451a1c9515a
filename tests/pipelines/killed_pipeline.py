"""Run a pipeline that kills its own process just before the Nth file of one of its steps is opened for writing.

Called as ``python -m tests.pipelines.killed_pipeline RECIPE STEP N``. Renaming and removing count as well as opening.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from pipelines.reports import Outcome
from pipelines.run import perform_step, run_recipe
from pipelines.state import State
from pipelines.steps import Step
from tests.models import quick_fits

_CHANGES = ("os.rename", "os.remove", "os.mkdir", "shutil.rmtree", "shutil.copyfile")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def main(recipe: Path, fatal_step: str, fatal: int) -> None:
    home, current, count = str(recipe.parent), "", 0

    def watch(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count
        if current != fatal_step or not (event in _CHANGES or (event == "open" and args[2] & _WRITING)):
            return
        if str(args[0]).startswith(home):
            count += 1
            if count == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

    def perform(step: Step, state: State) -> Outcome:
        nonlocal current
        current = step.name
        return perform_step(step, state)

    sys.addaudithook(watch)
    with quick_fits():
        run_recipe(recipe, perform=perform)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
