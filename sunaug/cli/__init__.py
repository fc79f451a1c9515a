"""The command line: one file per subcommand.

A subcommand imports the room it needs inside its function, so that ``sunaug --help`` answers at once. Every option can
come from the environment as ``SUNAUG_<COMMAND>_<OPTION>``, apart from flags that print something in place of the work
(``--help``, ``--version``, ``--list``). Exit codes: 0 done, 1 failed, 2 wrong usage, 3 gate refused or gave no verdict,
130 interrupted. With ``SUNAUG_DEBUG=1`` a failure shows its traceback as well.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module

import typer

from sunaug import __version__
from sunaug.cli.command import Command, Group
from sunaug.cli.failures import is_of_the_system, stopped_by
from sunaug.errors import SunaugError

COMMANDS = (
    *("fetch", "ingest", "inspect", "train", "directions", "generate", "evaluate", "judge"),
    *("project", "complete"),
    *("export", "forecast-benchmark", "serve", "keys"),
    *("run", "schedule", "publish"),
)

app = typer.Typer(
    name="sunaug",
    cls=Group,
    help="Rare solar events, made to order, that a forecaster can trust.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"auto_envvar_prefix": "SUNAUG", "help_option_names": ["-h", "--help"]},
)
for _name in COMMANDS:
    _function = _name.replace("-", "_")
    _found = getattr(import_module(f"sunaug.cli.{_function}"), _function)
    if isinstance(_found, typer.Typer):
        app.add_typer(_found, name=_name, cls=Group)
    else:
        app.command(_name, cls=Command)(_found)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sunaug {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Print the version."),
) -> None: ...


def main() -> None:
    """Run the command line; what stops a command on purpose or from outside becomes one sentence and an exit code."""
    try:
        app()
    except SunaugError as error:
        _fail(error)
    except (Exception, KeyboardInterrupt) as error:
        if is_of_the_system(error):
            _fail(stopped_by(error))
        traceback.print_exception(error)
        reason = " ".join(str(error).split())
        _say(f"this is a bug of sunaug ({type(error).__name__}: {reason}); please report it with the lines above.")
        sys.exit(1)


def _fail(error: SunaugError) -> None:
    if os.environ.get("SUNAUG_DEBUG", "0") not in ("", "0"):
        traceback.print_exception(error)
    _say(str(error))
    sys.exit(error.exit_code)


def _say(sentence: str) -> None:
    typer.secho(f"sunaug: {sentence}", err=True, fg=typer.colors.RED if sys.stderr.isatty() else None)
