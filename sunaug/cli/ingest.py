"""``sunaug ingest``: FITS files, browse images and other archives into a cube."""

from __future__ import annotations

from pathlib import Path

import typer

from sunaug.cli.command import refuse_with

_CALIBRATION = "Calibration"
_RUN = "Where it runs"


def ingest(
    ctx: typer.Context,
    sources: list[str] = typer.Argument(
        ...,
        metavar="SOURCE...",
        help="Files, folders, patterns ('2012/*.fits'), lists (.txt) or URLs (s3://bucket/aia/) of FITS, JP2, browse "
        "JPEG, SDOML v2 (.zarr) or SuryaBench (.nc).",
    ),
    out: str = typer.Option(..., "--out", help="The cube to make (a Zarr store), a path or URL."),
    append: bool = typer.Option(False, "--append", help="Add what is later than the cube's last frame to it."),
    size: int | None = typer.Option(
        None, "--size", help="Width and height of a frame in pixels.", show_default="256, or the cube's"
    ),
    channels: str | None = typer.Option(
        None, "--channels", help="Channels, separated by commas (aia171,aia193).", show_default="those of the files"
    ),
    flares: Path | None = typer.Option(None, "--flares", help="Flare catalogue (CSV or JSON) for the labels."),
    xrs: list[Path] | None = typer.Option(
        None, "--xrs", help="GOES X-ray flux (CSV, NetCDF or FITS) for the label of the hour before; may be repeated."
    ),
    splits: str | None = typer.Option(
        None, "--splits", help="Months of the splits.", show_default="train=1-7 validation=8,9 test=10-12"
    ),
    tolerance: float | None = typer.Option(
        None, "--tolerance", help="Seconds between channels that are one frame.", show_default="60"
    ),
    drop_partial: bool = typer.Option(False, "--drop-partial", help="Leave out frames that lack a channel."),
    rounding: str | None = typer.Option(
        None,
        "--rounding",
        help="photon: round to what photon noise can tell; none: keep every bit.",
        show_default="photon",
    ),
    saturation_mask: bool = typer.Option(
        False, "--saturation-mask", help="Also keep which share of each pixel is saturated."
    ),
    disk_radius: str | None = typer.Option(
        None,
        "--disk-radius",
        help="Solar radius in pixels; keep: as it appears, at a fixed plate scale.",
        show_default="7/16 of the size",
        rich_help_panel=_CALIBRATION,
    ),
    lenient_quality: bool = typer.Option(
        False,
        "--lenient-quality",
        help="Take frames whose QUALITY spoils them only in part.",
        rich_help_panel=_CALIBRATION,
    ),
    pointing: str | None = typer.Option(
        None, "--pointing", help="Pointing table for AIA level 1, or jsoc.", rich_help_panel=_CALIBRATION
    ),
    degradation: str | None = typer.Option(
        None, "--degradation", help="Folder of degradation tables, or aiapy.", rich_help_panel=_CALIBRATION
    ),
    psf: Path | None = typer.Option(
        None, "--psf", help="Folder of PSFs: deconvolve AIA level 1 (slow).", rich_help_panel=_CALIBRATION
    ),
    undo_stretch: bool = typer.Option(
        False,
        "--undo-stretch",
        help="Turn browse images back into approximate DN/s.",
        rich_help_panel=_CALIBRATION,
    ),
    workers: int | None = typer.Option(
        None,
        "--workers",
        min=1,
        help="Threads or processes.",
        show_default="all cores",
        rich_help_panel=_RUN,
    ),
    scheduler: str | None = typer.Option(
        None,
        "--scheduler",
        help="Address of a Dask scheduler (tcp://host:8786), or threads, processes.",
        rich_help_panel=_RUN,
    ),
) -> None:
    """Make a cube of FITS files or other images of the Sun, with flare labels.

    Files that cannot be used are named, with the reason, in a table beside the cube. An ingest that was stopped goes on
    when the same command is given again.
    """
    from contextlib import ExitStack

    from pipelines.ingest import ingest as run
    from sunaug.cli.progress import Report, progress
    from sunaug.cube.splits import parse_splits

    refuse_with(ctx, "--scheduler ADDRESS", scheduler is not None and "://" in scheduler, "workers")
    with ExitStack() as bars:
        shown: dict[str, Report] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in shown:
                bars.close()
                unit = "files" if what.endswith("files") else "frames"
                shown[what] = bars.enter_context(progress(what, total, unit))
            shown[what](done)

        options = {
            "size": size,
            "channels": [name for name in channels.split(",") if name.strip()] if channels else None,
            "flares": flares,
            "xrs": xrs or None,
            "disk_radius": disk_radius,
            "lenient_quality": lenient_quality or None,
            "pointing": pointing,
            "degradation": degradation,
            "psf": psf,
            "undo_stretch": undo_stretch or None,
            "saturation_mask": saturation_mask or None,
            "tolerance": tolerance,
            "keep_partial": False if drop_partial else None,
            "rounding": rounding,
            "splits": parse_splits(splits) if splits else None,
        }
        given = {name: value for name, value in options.items() if value is not None}
        result = run(sources, out, append=append, workers=workers, scheduler=scheduler, report=report, **given)
    for note in result.notes:
        typer.echo(f"note: {note}.")
    frames = ", ".join(f"{count:,} {status}" for status, count in sorted(result.frames.items()))
    typer.echo(
        f"{out}: {sum(result.frames.values()):,} frames ({frames}), {result.size_on_disk / 2**20:,.1f} MiB, "
        f"{result.seconds:.1f} s."
    )
    known = f", {result.files_known:,} in the cube before" if result.files_known else ""
    typer.echo(f"{result.files_used:,} inputs used, {result.files_rejected:,} left out{known}.")
    if result.files_rejected:
        typer.echo(f"Why each was left out: {result.rejected_csv}")
