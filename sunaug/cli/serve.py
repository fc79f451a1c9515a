"""``sunaug serve``: samples to order over HTTP, and the page to explore them."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sunaug.cli.places import ANYWHERE, OUTPUT

if TYPE_CHECKING:
    import socket

    from sunaug.bundle import Bundle
    from sunaug.service.settings import Settings

_PACKAGES = ("fastapi", "uvicorn", "sqlalchemy", "prometheus_client")
_GIB = 2**30
_DAY = 24 * 3600
_END_SECONDS = 5


def serve(
    host: str = typer.Option("127.0.0.1", help="Address to serve on; others than localhost need an API key."),
    port: int = typer.Option(8000, min=0, max=65535, help="Port to serve on; 0 takes a free one."),
    state: Path = typer.Option(Path("sunaug-service"), **OUTPUT, help="Folder of what the service keeps."),
    database: str = typer.Option("", help="SQLAlchemy URL of the database. [default: SQLite in --state]"),
    bundle: list[str] | None = typer.Option(
        None, help="Bundle to serve, a folder or a name. Repeatable; all that come with sunaug if left out."
    ),
    workers: int = typer.Option(1, min=1, max=64, help="Processes that make samples, each with a model of its own."),
    scheduler: str | None = typer.Option(None, help="Make samples on Dask workers: tcp://host:8786."),
    policy: str = typer.Option(
        "default", **ANYWHERE, help="Policy of the gate: a YAML file, or the name of one of sunaug's."
    ),
    max_queue: int = typer.Option(100, min=1, help="Sets that may wait."),
    max_samples: int = typer.Option(10_000, min=1, help="Samples in one batch."),
    max_disk: float = typer.Option(20.0, min=0.001, help="Disk that all sets may take, GiB."),
    keep_days: float = typer.Option(7.0, min=0.001, help="Batches older than this are deleted."),
    rate: float = typer.Option(20.0, min=0.1, help="Requests per second of one key; three times as many at once."),
    body_seconds: float = typer.Option(10.0, min=0.1, help="Seconds in which the body of a request has to arrive."),
    judging: str | None = typer.Option(None, help="Address of a running `sunaug judge`, for the page to link to."),
    lease: float = typer.Option(20.0, min=1, help="Seconds after which a silent worker's set is given to another."),
) -> None:
    """Serve samples over HTTP: file a batch, wait for it, download it."""
    need_packages()
    from sunaug.cli.listening import listening
    from sunaug.fidelity.policy import load_policy
    from sunaug.service.database import database_url
    from sunaug.service.settings import Limits, Settings, open_bundles

    opened = open_bundles(bundle or [])
    limits = Limits(
        queue=max_queue,
        samples=max_samples,
        disk_bytes=int(max_disk * _GIB),
        keep_seconds=keep_days * _DAY,
        per_second=rate,
        burst=max(int(3 * rate), 1),
        body_seconds=body_seconds,
    )
    settings = Settings(
        state=state.resolve(),
        bundles={name: one.path.resolve() for name, one in opened.items()},
        policy=load_policy(policy),
        database=database_url(state, database),
        workers=workers,
        scheduler=_checked(scheduler),
        open_to_local=_is_local(host),
        judging=judging,
        lease_seconds=lease,
        limits=limits,
    )
    with listening(host, port) as listener:
        _serve(settings, opened, listener, host)


def need_packages() -> None:
    """Raise a sentence where the extra ``service`` is not installed."""
    from importlib.util import find_spec

    from sunaug.errors import SunaugError

    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise SunaugError(
            f"the service needs {', '.join(missing)}, not installed here: pip install 'sunaug[service]' "
            "(or install sunaug[service] from your checkout)."
        )


def _checked(scheduler: str | None) -> str | None:
    from sunaug.errors import UsageError

    if scheduler is not None and "://" not in scheduler:
        raise UsageError(f"--scheduler {scheduler}: give an address (tcp://host:8786); --workers are processes here.")
    return scheduler


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _serve(settings: Settings, bundles: dict[str, Bundle], listener: socket.socket, host: str) -> None:
    """Serve until it is interrupted."""
    import uvicorn

    from sunaug.errors import UsageError
    from sunaug.service.app import make_app
    from sunaug.service.logs import set_up_logs

    app = make_app(settings, bundles)
    if not settings.open_to_local and not app.state.access.keys.any():
        raise UsageError(
            f"--host {host}: other machines are let in with an API key only; make one with `sunaug keys create NAME "
            f"--state {settings.state}`, or leave --host out."
        )
    set_up_logs()
    address = f"[{host}]" if ":" in host else host
    typer.echo(
        f"Bundles: {', '.join(bundles)}. Files: {settings.state}. Stop with Ctrl-C; batches wait for the next start."
    )
    typer.echo(f"Serving on http://{address}:{listener.getsockname()[1]}/")
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # the service writes its own, see sunaug.service.logs
        server_header=False,
        timeout_graceful_shutdown=_END_SECONDS,
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn has ended by then and passes the signal on
        typer.echo("Stopped.")
