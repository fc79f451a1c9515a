"""``sunaug export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sunaug.cli.command import refuse_with, was_given
from sunaug.cli.places import ANYWHERE, OUTPUT

if TYPE_CHECKING:
    from forecasting_adapters.exports import Ecosystem


def export(
    ctx: typer.Context,
    cube: str | None = typer.Argument(None, **ANYWHERE, help="Synthetic cube (Zarr), a path or URL."),
    out: Path | None = typer.Argument(None, **OUTPUT, help="Folder to make."),
    to: str | None = typer.Option(None, help="Layout to write: see --list."),
    list_: bool = typer.Option(False, "--list", help="Say what each layout wants, or all about that of --to."),
    n: int | None = typer.Option(None, help="Number of samples, the first ones; all if left out."),
    start: str | None = typer.Option(
        None, help="Time of the first frame, ISO 8601 in UTC; frames get times in February to September. [2031-02-01]"
    ),
    size: int | None = typer.Option(None, help="Width in pixels where the layout takes any; the cube's if left out."),
    border: str = typer.Option(
        "continue",
        help="Beyond the cube's field, where the layout's is wider: continue its outermost pixels, or missing.",
    ),
    split: str | None = typer.Option(
        None,
        help="Published split that the forecaster is evaluated by (suryabench, sdofm, sdofmv2, flarebench, ...), or "
        "none: by other times. [that of the layout]",
    ),
    allow_ungated: bool = typer.Option(
        False, "--allow-ungated", help="Take a cube that the fidelity gate has refused or not judged."
    ),
    option: list[str] | None = typer.Option(None, help="Option of the layout, as key=value. Repeatable."),
) -> None:
    """Write a synthetic cube as files that another project's data loader reads."""
    from forecasting_adapters.exports import NAMES, ecosystem
    from forecasting_adapters.exports import export as write_export
    from forecasting_adapters.exports.exporting import check_options
    from forecasting_adapters.exports.preparing import prepare
    from forecasting_adapters.exports.times import DEFAULT_START
    from forecasting_adapters.leakage import LeakageError
    from sunaug.cli.progress import progress
    from sunaug.cube import open_cube
    from sunaug.errors import GateRefused, UsageError

    refuse_with(ctx, "--list", list_, "cube", "out", "n", "start", "size", "border", "split", "allow_ungated", "option")
    if list_:
        typer.echo(_all_about(ecosystem(to)) if to else _table([ecosystem(name) for name in NAMES]))
        return
    if cube is None or out is None or to is None:
        raise UsageError("give a cube, a layout and a folder: `sunaug export CUBE --to NAME OUT`; --list shows them.")
    options = check_options(ecosystem(to), dict(_parse_option(text) for text in option or ()))
    opened = open_cube(cube)
    if was_given(ctx, "border") and "channel" in opened.dims:
        how = prepare(opened, ecosystem(to), size, border, cube)
        if not how.widened:
            raise UsageError(f"--border {border}: has no effect, {to} shows no more of the sky than {cube}; omit it.")
    asked: dict[str, Any] = {"n": n, "size": size, "start": start or DEFAULT_START, "border": border, "split": split}
    try:
        with progress("exporting", n or opened.sizes.get("sample", 0)) as report:
            path = write_export(opened, to, out, **asked, allow_ungated=allow_ungated, report=report, **options)
    except GateRefused as error:
        raise GateRefused(str(error).replace("allow_ungated=True", "--allow-ungated")) from error
    except LeakageError as error:
        raise LeakageError(str(error).replace("split='none'", "--split none"), error.ranges) from error
    _say_what_was_written(path, to)


def _say_what_was_written(path: Path, to: str) -> None:
    from forecasting_adapters.exports.note import NOTE, read_note

    note = read_note(path)
    times = note["samples"]["time"]
    typer.echo(f"{path}: {len(times):,} SYNTHETIC frames for {to}, {times[0]} to {times[-1]}; see {NOTE} in it.")
    for sentence in note["warnings"]:
        typer.echo(f"sunaug: {sentence}", err=True)


def _parse_option(text: str) -> tuple[str, str]:
    from sunaug.errors import UsageError

    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError(f"--option {text}: give key=value.")
    return name, value


def _needs(one: Ecosystem) -> tuple[str, str]:
    """Size and units in words."""
    units = {"physical": "DN/s", "browse": "display counts", None: "as the cube"}[one.intensity_scale]
    return (f"{one.size} px" if one.size else "any"), units


def _table(offered: list[Ecosystem]) -> str:
    rows = [("NAME", "SIZE", "UNITS", "FOR"), *((one.name, *_needs(one), one.title) for one in offered)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join([*(f"{text:{width}}" for text, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    ]
    return "\n".join([*lines, "", "All about one: sunaug export --list --to NAME"])


def _all_about(one: Ecosystem) -> str:
    from textwrap import fill

    size, units = _needs(one)
    radius = f", disk radius {one.disk_radius:.2f} px" if one.disk_radius else ""
    radius = f", disk radius {one.disk_share:.4f} of the width" if one.disk_share else radius
    channels = ", ".join(name if name == theirs else f"{name} as {theirs}" for name, theirs in one.channels.items())
    facts = {
        "Frames": f"{size}{radius}; {units}; one every {one.cadence.astype('timedelta64[m]').astype(int)} minutes",
        "Channels": channels,
        "Options": ", ".join(f"{name}={value}" for name, value in one.options.items()) or "none",
    }
    lines = [f"{one.name}: {one.title}", "", fill(one.wants, 100), ""]
    return "\n".join([*lines, *(fill(f"{name}: {text}", 100, subsequent_indent="  ") for name, text in facts.items())])
