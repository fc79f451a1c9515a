"""A pipeline on a schedule, by Prefect: its own server on this machine, or one that is there already.

Each run is a process of its own, so that nothing of it is left when it ends, and a run that dies takes nothing with it.
Runs do not overlap: one that would begin while another is at work is cancelled.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time as clock
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from pipelines.recipe import load_pipeline
from pipelines.sections import duration
from pipelines.tasks import end_with_parent
from sunaug.errors import SunaugError, UsageError

__all__ = ["schedule"]

START_SECONDS = 300.0
"""The server's first start makes its database."""
MIN_SECONDS = 5.0


def schedule(
    recipe: str | Path,
    *,
    cron: str | None = None,
    every: str | float | None = None,
    server: str | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Run a pipeline at its times until this process is stopped (Ctrl-C, or SIGTERM).

    Parameters
    ----------
    recipe : str or pathlib.Path
        It is read anew by each run.
    cron : str, optional
        Five fields (``0 3 * * *``), UTC.
    every : str or float, optional
        Time between runs: ``60s``, ``6h``. Either this or `cron`.
    server : str, optional
        URL of a Prefect server; by default one is started on this machine, its database in ``<work>/prefect``.
    say : callable, optional

    Raises
    ------
    UsageError
        If the recipe or the times make no sense, or Prefect is not installed.
    SunaugError
        If no server answers.
    """
    loaded = load_pipeline(recipe)
    if (cron is None) == (every is None):
        raise UsageError("give either --cron '0 3 * * *' or --every 6h.")
    seconds = None if every is None else _interval(every)
    if find_spec("prefect") is None:
        raise UsageError(
            "schedules need Prefect: pip install 'sunaug[schedule]'; `sunaug run` in a crontab needs none."
        )
    home = loaded.work / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PREFECT_HOME", str(home))
    os.environ.setdefault("DO_NOT_TRACK", "1")
    with _server_at(server, say) if server else _own_server(home, say) as url:
        os.environ["PREFECT_API_URL"] = url
        _serve(Path(recipe).resolve(), loaded.name, cron, seconds, say)


def _interval(every: str | float) -> float:
    try:
        seconds = duration(every)
    except ValueError as error:
        raise UsageError(f"--every: {error}.") from None
    if seconds < MIN_SECONDS:
        raise UsageError(f"--every {every}: {MIN_SECONDS:g} s at least; a run takes longer than that to begin.")
    return seconds


def _serve(recipe: Path, name: str, cron: str | None, seconds: float | None, say: Callable[[str], None]) -> None:
    """Serve the flow; Prefect reads its settings when it is first imported, so not before this."""
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.flows import EntrypointType

    from pipelines.flow import pipeline

    times = f"at {cron} (UTC)" if cron else f"every {seconds:g} s"
    say(f"{name}: runs {times}; Ctrl-C ends it")
    one_at_a_time = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
    try:
        pipeline.serve(
            name=name,
            cron=cron,
            interval=seconds,
            parameters={"recipe": str(recipe)},
            global_limit=one_at_a_time,
            pause_on_shutdown=True,
            print_starting_message=False,
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
    except ValueError as error:
        reason = str(error).splitlines()[-1].strip() if cron is None else "five fields are needed, as 0 3 * * *"
        raise UsageError(f"--cron {cron!r}: no times to run at ({reason}).") from None


@contextmanager
def _server_at(url: str, say: Callable[[str], None]) -> Iterator[str]:
    """A server that is there already."""
    address = url.rstrip("/")
    address = address if address.endswith("/api") else f"{address}/api"
    if not _answers(address):
        raise SunaugError(f"{url}: no Prefect server answers there; start one with `prefect server start`.")
    say(f"Prefect server: {address}")
    yield address


@contextmanager
def _own_server(home: Path, say: Callable[[str], None]) -> Iterator[str]:
    """A server of one's own on a free port of this machine, ended with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url, log = f"http://127.0.0.1:{port}/api", home / "server.log"
    say(f"starting a Prefect server, log in {log}")
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_API_URL": url}
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, preexec_fn=end_with_parent
        )
        try:
            _wait_for(url, process, log)
            say(f"Prefect server: {url.removesuffix('/api')}")
            yield url
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = clock.monotonic() + START_SECONDS
    while not _answers(url):
        if process.poll() is not None or clock.monotonic() > deadline:
            raise SunaugError(f"Prefect's server did not start; {log} says why. --server names one that is there.")
        clock.sleep(0.5)


def _answers(url: str) -> bool:
    if not url.startswith(("http://", "https://")):
        return False
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False
