"""Where commands read and write: one decision for all of their paths.

``~`` is the home folder, wherever a path comes from: a shell that left it quoted, the environment, a ``.env`` file.
``file://`` names a local path. Any other URL goes to a command that can use it, and is refused by one that cannot,
before anything is made.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import typer

from sunaug.errors import SunaugError, UsageError
from sunaug.storage import is_remote, local_or_url

__all__ = ["ANYWHERE", "INPUT", "OUTPUT", "anywhere", "local_input", "local_output"]


def local_output(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> Any:
    """A path that is written to; it has to be local."""

    def checked(one: str | Path) -> Path:
        place = _local(ctx, param, one, "writes to")
        _writable(place)
        return place

    return _each(value, checked)


def local_input(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> Any:
    """A path that is read; it has to be local."""
    return _each(value, lambda one: _local(ctx, param, one, "reads from"))


def anywhere(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> Any:
    """A path or URL that is read."""
    return _each(value, lambda one: local_or_url(_text(one)))


def _each(value: Any, change: Any) -> Any:
    if value is None:
        return None
    return [change(one) for one in value] if isinstance(value, list | tuple) else change(value)


def _local(ctx: typer.Context, param: typer.CallbackParam, value: str | Path, does: str) -> Path:
    place = local_or_url(_text(value))
    if is_remote(place):
        option = str(param.opts[-1]) if param.param_type_name == "option" else str(param.name).upper()
        raise UsageError(f"{option} {value}: {ctx.command.name} {does} a local path only; give one, and copy it.")
    return Path(place)


def _writable(path: Path) -> None:
    """Refuse a place that cannot be written, before hours of work are done for it."""
    if path.exists():
        return
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir():
        raise UsageError(f"{path}: cannot be written ({above} is a file); choose another path.")
    if not os.access(above, os.W_OK):
        reason = "Read-only file system" if os.statvfs(above).f_flag & os.ST_RDONLY else "Permission denied"
        raise SunaugError(
            f"{path}: cannot be written ({reason}); choose another path, or change the permissions there."
        )


def _text(value: str | Path) -> str:
    if not str(value):
        raise UsageError("a path is empty; give one.")
    return str(value)


# Text up to here: a Path would take the second slash of s3:// away.
OUTPUT: dict[str, Any] = {"parser": str, "callback": local_output}
"""Options of a parameter that names a local file or folder to write."""

INPUT: dict[str, Any] = {"parser": str, "callback": local_input}
"""Options of a parameter that names a local file to read."""

ANYWHERE: dict[str, Any] = {"parser": str, "callback": anywhere}
"""Options of a parameter that names a cube to read, a path or a URL."""
