"""The command line: one file per subcommand.

A subcommand imports the room it needs inside its function, so that ``sunaug --help`` answers at once. Every option can
come from the environment as ``SUNAUG_<COMMAND>_<OPTION>``. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 gate refused.
"""

from __future__ import annotations

import sys
from importlib import import_module

import typer

from sunaug import __version__
from sunaug.errors import SunaugError

COMMANDS = (
    *("fetch", "ingest", "inspect", "train", "directions", "generate", "evaluate", "judge"),
    *("project", "complete"),
    *("export", "forecast-benchmark", "serve", "keys"),
    *("run", "schedule", "publish"),
)

app = typer.Typer(
    name="sunaug",
    help="Rare solar events, made to order, that a forecaster can trust.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"auto_envvar_prefix": "SUNAUG", "help_option_names": ["-h", "--help"]},
)
for _name in COMMANDS:
    _function = _name.replace("-", "_")
    _found = getattr(import_module(f"sunaug.cli.{_function}"), _function)
    if isinstance(_found, typer.Typer):
        app.add_typer(_found, name=_name)
    else:
        app.command(_name)(_found)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sunaug {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Print the version."),
) -> None: ...


def main() -> None:
    """Run the command line; what sunaug raises on purpose becomes one sentence and an exit code."""
    try:
        app()
    except SunaugError as error:
        typer.secho(f"sunaug: {error}", err=True, fg=typer.colors.RED if sys.stderr.isatty() else None)
        sys.exit(error.exit_code)
