"""``sunaug ingest``: FITS files or browse images into a cube."""

from __future__ import annotations

from pathlib import Path

import typer


def ingest(
    sources: list[Path] = typer.Argument(..., metavar="SOURCE...", help="Files or folders of FITS or browse JPEG."),
    out: Path = typer.Option(..., "--out", help="The cube to make (a Zarr store)."),
    size: int = typer.Option(256, "--size", help="Width and height of a frame in pixels."),
    channels: str | None = typer.Option(
        None, "--channels", help="Channels, separated by commas (aia171,aia193); those of the files by default."
    ),
    flares: Path | None = typer.Option(None, "--flares", help="Flare catalogue (CSV) for the labels."),
    xrs: Path | None = typer.Option(None, "--xrs", help="GOES X-ray flux (CSV) for the label of the hour before."),
    degradation: Path | None = typer.Option(None, "--degradation", help="Folder of degradation tables."),
    disk_radius: float | None = typer.Option(None, "--disk-radius", help="Solar radius in pixels; 7/16 of the size."),
    lenient_quality: bool = typer.Option(
        False, "--lenient-quality", help="Take frames whose QUALITY spoils them only in part."
    ),
    workers: int | None = typer.Option(None, "--workers", min=1, help="Threads; all cores by default."),
    scheduler: str | None = typer.Option(None, "--scheduler", help="Address of a Dask scheduler (tcp://host:8786)."),
) -> None:
    """Make a cube of FITS files or browse images, with flare labels.

    Files that cannot be used are named, with the reason, in a table beside the cube. An ingest that was stopped goes on
    when the same command is given again.
    """
    from contextlib import ExitStack

    from pipelines.ingest import ingest as run
    from sunaug.cli.progress import Report, progress

    with ExitStack() as bars:
        shown: dict[str, Report] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in shown:
                bars.close()
                unit = "frames" if what == "comparing frames" else "files"
                shown[what] = bars.enter_context(progress(what, total, unit))
            shown[what](done)

        result = run(
            sources,
            out,
            size=size,
            channels=[name for name in channels.split(",") if name.strip()] if channels else None,
            flares=flares,
            xrs=xrs,
            degradation=degradation,
            disk_radius=disk_radius,
            lenient_quality=lenient_quality,
            workers=workers,
            scheduler=scheduler,
            report=report,
        )
    for note in result.notes:
        typer.echo(f"note: {note}.")
    frames = ", ".join(f"{count:,} {status}" for status, count in sorted(result.frames.items()))
    size_on_disk = sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) / 2**20
    typer.echo(
        f"{out}: {sum(result.frames.values()):,} frames ({frames}), {size_on_disk:,.1f} MiB, {result.seconds:.1f} s."
    )
    if result.files_rejected:
        typer.echo(f"{result.files_rejected:,} files left out, each with its reason in {result.rejected_csv}.")
