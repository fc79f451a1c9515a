"""``sunaug fetch``: images or a flare list from their archives."""

from __future__ import annotations

from pathlib import Path

import typer

from sunaug.cli.command import refuse_with
from sunaug.cli.places import OUTPUT


def fetch(
    ctx: typer.Context,
    out: Path = typer.Argument(
        ..., **OUTPUT, metavar="OUT", help="Folder for the images; with --flares the CSV to write."
    ),
    start: str = typer.Option(..., "--start", help="First moment, UTC (2017-01-01 or 2017-01-01T06:00)."),
    end: str = typer.Option(..., "--end", help="End of the range, itself left out."),
    channels: str = typer.Option("aia94,aia131,aia171", "--channels", help="Channels, separated by commas."),
    cadence: str = typer.Option("1h", "--cadence", help="Time between images (30min, 2h); all takes every file."),
    kind: str = typer.Option("synoptic", "--kind", help="synoptic (AIA, 1024 pixels) or full (AIA level 1, hmi_m)."),
    flares: str | None = typer.Option(None, "--flares", help="Fetch a flare list in place of images: swpc or hek."),
    attempts: int = typer.Option(4, "--attempts", min=1, help="How often a file is asked for."),
    backoff: float = typer.Option(5.0, "--backoff", min=0, help="Seconds before the second attempt, then doubled."),
) -> None:
    """Download SDO images, or a flare list for their labels.

    What is there already is not asked for again, so a fetch that was stopped goes on when the same command is given
    again. Each file is checked when it comes; what could not be had stands, with the reason, in OUT/failed.csv.
    """
    if flares is not None:
        refuse_with(ctx, "--flares", True, "channels", "cadence", "kind", "attempts", "backoff")
        _fetch_flares(out, start, end, flares)
        return
    from contextlib import ExitStack

    from pipelines.fetch import fetch as run
    from sunaug.cli.progress import Report, progress
    from sunaug.errors import SunaugError

    with ExitStack() as bars:
        shown: dict[str, Report] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in shown:
                bars.close()
                shown[what] = bars.enter_context(progress(what, total, "steps" if what == "searching" else "files"))
            shown[what](done)

        result = run(
            out,
            start,
            end,
            channels=[name for name in channels.split(",") if name.strip()],
            cadence=cadence,
            kind=kind,
            attempts=attempts,
            backoff=backoff,
            report=report,
        )
    if result.missing:
        channel, moment = result.missing[0]
        typer.echo(
            f"note: the archive lists no file for {len(result.missing):,} of the steps (the first: {channel}, "
            f"{moment.astype('datetime64[s]')}Z)."
        )
    if not (result.downloaded or result.failed):
        typer.echo(f"{out}: nothing to do, all {result.kept:,} files are there.")
        return
    typer.echo(
        f"{out}: {result.downloaded:,} files downloaded ({result.downloaded_bytes / 2**20:,.1f} MiB), "
        f"{result.kept:,} were there, {result.seconds:.1f} s. All are named in {result.manifest}."
    )
    if result.failed:
        first = result.failed[0]
        raise SunaugError(
            f"{len(result.failed):,} files could not be had, each with its reason in {result.failed_csv} (the first: "
            f"{first.channel}, {first.time}: {first.reason.rstrip('.')}); give the command again to try them once more."
        )


def _fetch_flares(out: Path, start: str, end: str, source: str) -> None:
    from sunaug.catalogues import fetch_flares, write_catalogue
    from sunaug.errors import UsageError
    from sunaug.flares import class_letters

    if out.suffix != ".csv":
        raise UsageError(f"{out}: a flare list is written as CSV; give a name that ends in .csv.")
    catalogue = fetch_flares(start, end, source)
    write_catalogue(out, catalogue)
    letters = list(class_letters(catalogue.flares["peak_flux"]))
    counts = ", ".join(f"{letter} {letters.count(letter):,}" for letter in "XMCBA" if letter in letters)
    typer.echo(f"{out}: {len(letters):,} flares ({counts or 'a quiet range'}) of {catalogue.source}.")
    for kind, count in catalogue.repairs.items():
        typer.echo(f"note: {count:,} x {kind}.")
