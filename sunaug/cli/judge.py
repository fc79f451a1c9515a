"""``sunaug judge``: people say which frames are real, on a page in the browser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sunaug.cli.command import refuse_with
from sunaug.cli.places import ANYWHERE, OUTPUT

if TYPE_CHECKING:
    import socket

    from sunaug.judging import Answers, Choice, Frames

_LISTED = 5
_PACKAGES = ("fastapi", "uvicorn", "jinja2")
_OF_A_PAGE = (
    *("synthetic", "against", "mode", "n", "channel", "seconds", "split", "matched", "seed"),
    *("host", "port"),
)
"""Parameters that the results have no use for."""


def judge(
    ctx: typer.Context,
    synthetic: str | None = typer.Argument(None, **ANYWHERE, help="Synthetic cube."),
    against: str | None = typer.Option(
        None, "--against", **ANYWHERE, help="Observed cube whose frames stand for the real ones."
    ),
    mode: str = typer.Option("single", help="single: is this frame real? pair: which of the two is?"),
    n: int | None = typer.Option(None, "--n", help="Trials of each judge. [default: 40, or as many as there are]"),
    channel: str | None = typer.Option(None, help="Show this channel alone. [default: all, side by side]"),
    seconds: float | None = typer.Option(None, help="Hide a picture after this time; it can be answered all the same."),
    split: str = typer.Option("validation", help="Where the real frames come from: train, validation or test."),
    matched: bool | None = typer.Option(
        None,
        "--matched/--all",
        help="Real frames with forecast fluxes in the samples' range, or any. [default: matched where possible]",
    ),
    seed: int = typer.Option(0, min=0, help="Seed of the choice of frames and of each judge's order."),
    database: Path = typer.Option(
        Path("judge.sqlite"), **OUTPUT, help="SQLite file of the answers; goes on where it is."
    ),
    host: str = typer.Option("127.0.0.1", help="Address to serve on; 0.0.0.0 lets other machines in."),
    port: int = typer.Option(8765, min=0, max=65535, help="Port to serve on; 0 takes a free one."),
    results: bool = typer.Option(False, "--results", help="Print the results in the database and end."),
    json: Path | None = typer.Option(
        None, "--json", **OUTPUT, help="Write the results to this file too; as --results."
    ),
) -> None:
    """Let people judge a synthetic cube: a page that shows real and synthetic frames and keeps the answers."""
    if results or json:
        refuse_with(ctx, "--results" if results else "--json", True, *_OF_A_PAGE)
        _report(database, json)
        return
    from sunaug.errors import UsageError

    if synthetic is None or against is None:
        raise UsageError("a judge needs both: `sunaug judge SYNTHETIC --against CUBE`, or --results for the answers.")
    if seconds is not None and not 0 < seconds <= 3600:
        raise UsageError(f"--seconds {seconds:g}: give a time above 0, at most 3600, or leave it out for no limit.")
    _need_service()
    from sunaug.cli.listening import listening
    from sunaug.cube import open_cube
    from sunaug.judging import Answers, Experiment, Frames, choose

    made, real = open_cube(synthetic), open_cube(against)
    choice = choose(made, real, mode=mode, n=n, split=split, matched=matched, seed=seed)
    frames = Frames(made, real, channel)
    listener = listening(host, port)  # which may be refused, before there is a database
    answers = Answers(
        database,
        Experiment(
            synthetic=_whole(synthetic),
            against=_whole(against),
            bundle_hash=made.attrs.get("bundle_hash"),
            fingerprint=frames.fingerprint(choice),
            split=split,
            seed=seed,
            mode=mode,
            n=choice.n,
            seconds=seconds,
            channels=frames.channels,
            matched=choice.matched,
            samples=choice.samples,
            times=choice.times,
        ),
    )
    _serve(answers, frames, choice, host, listener)


def _whole(path: str) -> str:
    """A path that means the same in every folder; a URL does anyway."""
    from sunaug.storage import is_remote

    return path if is_remote(path) else str(Path(path).resolve())


def _need_service() -> None:
    from importlib.util import find_spec

    from sunaug.errors import SunaugError

    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise SunaugError(
            f"the page needs {', '.join(missing)}, not installed here: pip install 'sunaug[service]' "
            "(or install sunaug[service] from your checkout); --results works without."
        )


def _serve(answers: Answers, frames: Frames, choice: Choice, host: str, listener: socket.socket) -> None:
    """Serve the page until it is interrupted."""
    import uvicorn

    from sunaug.judging.app import make_app

    with listener:
        address = f"[{host}]" if ":" in host else host
        what = "trials with one frame" if choice.mode == "single" else "pairs"
        typer.echo(f"{choice.n} {what} for each judge; real: {choice.note}.")
        typer.echo(f"Answers: {answers.path}. Stop with Ctrl-C; given again, the command goes on.")
        typer.echo(f"Open http://{address}:{listener.getsockname()[1]}/ in a browser.")
        server = uvicorn.Server(
            uvicorn.Config(make_app(answers, frames, choice), log_level="warning", server_header=False)
        )
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:  # uvicorn has ended by then and passes the signal on
            typer.echo(f"Stopped. Results: sunaug judge --results --database {answers.path}")


def _report(database: Path, json: Path | None) -> None:
    from json import dumps

    from sunaug.errors import SunaugError
    from sunaug.judging import read_answers, sum_up

    found = sum_up(*read_answers(database))
    for line in _lines(found):
        typer.echo(line)
    if json:
        try:
            json.write_text(dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise SunaugError(f"{json}: the results cannot be written ({error.strerror or error}).") from None
        typer.echo(f"All results: {json}")


def _lines(found: dict[str, Any]) -> list[str]:
    experiment, overall = found["experiment"], found["overall"]
    single = experiment["mode"] == "single"
    limit = f"{experiment['seconds']:g} s each" if experiment["seconds"] else "no time limit"
    lines = [
        f"{experiment['synthetic']} against {experiment['split']} frames of {experiment['against']}",
        f"mode {experiment['mode']}, {experiment['n']} trials, {limit}, {', '.join(experiment['channels'])}, "
        f"seed {experiment['seed']}",
        "",
    ]
    if not overall["n"]:
        return [*lines, "No answers yet."]
    kinds = ("synthetic found", "real believed") if single else ()
    rows: list[tuple[str, ...]] = [("judge", "answers", "correct", "accuracy", "95 % interval", *kinds, "median")]
    for one in [*found["judges"], {"name": "all", "milliseconds": None, **overall}]:
        of = f" of {one['trials']}" if "trials" in one else ""
        parts = [_share(one[kind]) for kind in ("synthetic", "real")] if single else []
        took = f"{one['milliseconds'] / 1000:.1f} s" if one["milliseconds"] is not None else ""
        rows.append((one["name"], f"{one['n']}{of}", str(one["correct"]), *_figures(one), *parts, took))
    lines += _aligned(rows)
    low, high = overall["interval"]
    verdict = "better than" if low > 0.5 else "worse than" if high < 0.5 else "not told from"
    lines += ["", f"All together: {verdict} guessing (50 %)."]
    lines += ["", "Gave themselves away most often:", *_frames(found["samples"][:_LISTED])]
    least = sorted(found["samples"], key=lambda one: one["interval"][1])[:_LISTED]
    return [*lines, "", "Least often:", *_frames(least)]


def _frames(samples: Sequence[dict[str, Any]]) -> list[str]:
    rows = [("sample", "detected", "share", "95 % interval")]
    rows += [(str(one["sample"]), f"{one['correct']} of {one['n']}", *_figures(one)) for one in samples]
    return [f"  {line}" for line in _aligned(rows)]


def _figures(one: dict[str, Any]) -> tuple[str, str]:
    if not one["n"]:
        return "", ""
    low, high = one["interval"]
    return f"{one['share']:.0%}", f"{low:.0%} to {high:.0%}"


def _share(one: dict[str, Any]) -> str:
    return f"{one['correct']} of {one['n']}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as lines, the first column flush left and the others flush right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            f"{text:<{width}}" if column == 0 else f"{text:>{width}}"
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
