"""The class of sunaug's commands: what holds for every option and every failure is written here, once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from sunaug.cli.failures import is_of_the_system, stopped_by
from sunaug.errors import UsageError

__all__ = ["Command", "Group", "refuse_with", "refuse_without", "was_given"]

_LARGEST = 2**63 - 1
_IN_PLACE_OF_WORK = ("example", "list_", "results")
"""Flags that print something in place of the command's work."""


class _WorkFromTheEnvironment:
    """Reads no flag that ends a command from the environment: ``SUNAUG_VERSION`` may be a variable of the user's."""

    def get_params(self, ctx: Any) -> list[Any]:
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for one in parameters:
            if one.is_eager or not one.expose_value or one.name in _IN_PLACE_OF_WORK:
                one.allow_from_autoenv = False
        return parameters


class Command(_WorkFromTheEnvironment, TyperCommand):
    """A command whose failures are sentences, and whose numbers are finite."""

    def invoke(self, ctx: Any) -> Any:
        """Check the numbers, and run the command."""
        for one in self.params:
            _check_number(one, ctx.params.get(one.name))
        try:
            return super().invoke(ctx)
        except Exception as error:
            if not is_of_the_system(error) or isinstance(error, BrokenPipeError):
                raise
            raise stopped_by(error, ctx.params) from error
        except KeyboardInterrupt as error:
            raise stopped_by(error, ctx.params) from error


class Group(_WorkFromTheEnvironment, TyperGroup):
    """A group of commands."""


def _check_number(parameter: Any, value: Any) -> None:
    if isinstance(value, list | tuple):
        for one in value:
            _check_number(parameter, one)
    elif isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{parameter.opts[0]} {value}: give a finite number.")
    elif isinstance(value, int) and abs(value) > _LARGEST:
        raise UsageError(f"{parameter.opts[0]} {value}: is too large; give a number up to {_LARGEST}.")


def was_given(ctx: typer.Context, name: str) -> bool:
    """Whether a parameter has a value from the command line or the environment, and not its default."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT")


def refuse_without(ctx: typer.Context, wanted: str, has_it: object, *names: str) -> None:
    """Refuse options that do something with another option only, where that one is missing.

    Parameters
    ----------
    ctx : typer.Context
    wanted : str
        The option that they go with, as it is written: ``--rare``.
    has_it : object
        True where the command has it.
    *names : str
        Names of the parameters.

    Raises
    ------
    UsageError
        If one of them was given.
    """
    if not has_it:
        for name in _given(ctx, names):
            option = _written(ctx, name)
            raise UsageError(f"{option}{_origin(ctx, name)} goes with {wanted}: add it, or omit {option}.")


def refuse_with(ctx: typer.Context, other: str, has_it: object, *names: str) -> None:
    """Refuse options that have no effect beside another option.

    Parameters
    ----------
    ctx : typer.Context
    other : str
        The option that leaves them without effect, as it is written.
    has_it : object
        True where the command has it.
    *names : str
        Names of the parameters.

    Raises
    ------
    UsageError
        If one of them was given.
    """
    if has_it:
        for name in _given(ctx, names):
            option = _written(ctx, name)
            raise UsageError(f"{option}{_origin(ctx, name)} has no effect with {other}: omit one of the two.")


def _given(ctx: typer.Context, names: Iterable[str]) -> list[str]:
    return [name for name in names if was_given(ctx, name)]


def _written(ctx: typer.Context, name: str) -> str:
    """A parameter as it is written on the command line; a flag that is off by its second name."""
    parameters: Mapping[str, Any] = {one.name: one for one in ctx.command.params if one.name}
    parameter = parameters[name]
    if parameter.param_type_name == "argument":
        return name.upper()
    off = getattr(parameter, "secondary_opts", ()) and ctx.params.get(name) is False
    return str((parameter.secondary_opts if off else parameter.opts)[-1])


def _origin(ctx: typer.Context, name: str) -> str:
    """Where a value came from that was not typed."""
    source = ctx.get_parameter_source(name)
    if source is None or source.name != "ENVIRONMENT":
        return ""
    return f" (from the environment, {ctx.auto_envvar_prefix}_{name.rstrip('_').upper()})"
