"""``sunaug keys``: who may use a service."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sunaug.cli.command import Command
from sunaug.cli.places import OUTPUT

if TYPE_CHECKING:
    from sunaug.service.access import Keys

keys = typer.Typer(help="API keys of `sunaug serve`.", no_args_is_help=True)

_STATE = typer.Option(Path("sunaug-service"), **OUTPUT, help="Folder of the service, as for `sunaug serve`.")
_DATABASE = typer.Option("", help="Its database, as for `sunaug serve`.")


@keys.command(cls=Command)
def create(
    name: str = typer.Argument(help="Whose key it is."),
    scope: list[str] = typer.Option(
        ["generate", "read"], help="What it may do: generate (file, delete), read (see, download), admin. Repeatable."
    ),
    per_day: int | None = typer.Option(
        None, help="Samples that it may have made in a day (UTC); any number if left out."
    ),
    state: Path = _STATE,
    database: str = _DATABASE,
) -> None:
    """Make a key and show it, once."""
    key, token = _opened(state, database).create(name, scope, per_day)
    typer.echo(f"Key {key.id} of {key.name}: {', '.join(sorted(key.scopes))}. It is shown this once:", err=True)
    typer.echo(token)


@keys.command("list", cls=Command)
def list_(state: Path = _STATE, database: str = _DATABASE) -> None:
    """List the keys."""
    _need(state, database)
    rows = [("ID", "SCOPES", "PER DAY", "CREATED", "REVOKED", "NAME")]
    for key in _opened(state, database).list():
        quota = f"{key.samples_per_day:,}" if key.samples_per_day else "any"
        rows.append((key.id, " ".join(sorted(key.scopes)), quota, _day(key.created), _day(key.revoked), key.name))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        typer.echo("  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip())


@keys.command(cls=Command)
def revoke(
    identifier: str = typer.Argument(metavar="ID", help="As `sunaug keys list` shows it."),
    state: Path = _STATE,
    database: str = _DATABASE,
) -> None:
    """Let a key open nothing any more."""
    _need(state, database)
    _opened(state, database).revoke(identifier)
    typer.echo(f"{identifier}: revoked.")


def _need(state: Path, database: str) -> None:
    """Refuse a folder that no service has kept anything in: looking makes none."""
    from sunaug.cli.serve import need_packages
    from sunaug.errors import UsageError

    need_packages()
    if not database and not state.is_dir():
        raise UsageError(f"--state {state}: no such folder of a service; make a key with `sunaug keys create NAME`.")


def _opened(state: Path, database: str) -> Keys:
    from sunaug.cli.serve import need_packages

    need_packages()
    from sunaug.service.access import Keys, pepper_file, read_pepper
    from sunaug.service.database import Database, database_url

    pepper = read_pepper(pepper_file(state))
    return Keys(Database(database_url(state, database)), pepper)


def _day(moment: float | None) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d") if moment else "-"
