"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SECONDS_BETWEEN_LINES = 10.0

Report = Callable[[int], None]
"""Called with the number of items done so far."""


@contextmanager
def progress(what: str, total: int, unit: str = "frames") -> Iterator[Report]:
    """Show how far `what` has come; the value is a function to call with the number of `unit` done so far."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        speed = TextColumn("{task.fields[speed]}")
        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), speed, TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(what, total=total, speed="")

            def draw(done: int) -> None:
                rate = bar.tasks[task].speed
                bar.update(task, completed=done, speed=f"{rate:.1f} {unit}/s" if rate else "")

            yield draw
        return

    started = last = time.monotonic()
    before: int | None = None

    def line(done: int) -> None:
        nonlocal last, before
        now = time.monotonic()
        # What a stopped run had done before is no work of this one.
        before = done if before is None else before
        if now - last >= _SECONDS_BETWEEN_LINES or done == total:
            last = now
            rate = max(done - before, 0) / max(now - started, 1e-9)
            speed = f", {rate:.1f} per second" if rate else ""
            left = f", {_duration((total - done) / rate)} left" if rate and done < total else ""
            print(f"{what}: {done:,} of {total:,} {unit}{speed}{left}", file=sys.stderr, flush=True)

    yield line


def _duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
