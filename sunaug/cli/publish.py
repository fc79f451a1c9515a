"""``sunaug publish``: the versions of a published set."""

from __future__ import annotations

from pathlib import Path

import typer

from sunaug.cli.command import Command
from sunaug.cli.places import INPUT

publish = typer.Typer(no_args_is_help=True, help="List the versions of a published set, and go back to an earlier one.")

_FOLDER = typer.Argument(..., **INPUT, metavar="FOLDER", help="Folder of a recipe's `publish`.")


@publish.command("list", cls=Command)
def list_versions(folder: Path = _FOLDER) -> None:
    """List the versions; a star marks the current one."""
    from pipelines.publish import versions

    for one in versions(folder):
        record = one.record
        typer.echo(
            f"{'*' if one.current else ' '} {one.number:>4}  {record['published']}  {record['n']:,} samples from "
            f"{record['bundle_name']}, policy {record['policy']}  {one.cube}"
        )


@publish.command(cls=Command)
def path(folder: Path = _FOLDER) -> None:
    """Print the path of the current cube: no later version changes what it leads to."""
    from pipelines.publish import published

    typer.echo(published(folder))


@publish.command(cls=Command)
def rollback(
    folder: Path = _FOLDER,
    version: int | None = typer.Argument(
        None, metavar="[VERSION]", help="Number of the version; the one before the current one if left out."
    ),
) -> None:
    """Make an earlier version current again, in one step; no version is removed."""
    from pipelines.publish import rollback as go_back

    chosen = go_back(folder, version)
    typer.echo(f"{folder}: version {chosen.number} is current: {chosen.cube}")
