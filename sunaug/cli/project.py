"""``sunaug project``."""

from __future__ import annotations

from pathlib import Path

import typer

from sunaug.cli.places import ANYWHERE, OUTPUT


def project(
    cube: str = typer.Argument(..., **ANYWHERE, help="Observed cube (Zarr), a path or URL."),
    out: Path = typer.Option(
        ..., **OUTPUT, help="Cube of reconstructions to write (Zarr); one that was left unfinished is continued."
    ),
    bundle: str = typer.Option("sdo2012-128", help="Folder of a bundle, or the name of one that comes with sunaug."),
    split: str = typer.Option("validation", help="Months to take frames of: train, validation, test or all."),
    n: int = typer.Option(16, help="Number of frames, evenly spaced."),
    channels: str | None = typer.Option(
        None, help="Channels to go by, separated by commas.", show_default="those of bundle and cube"
    ),
    layers: str = typer.Option("one", help="one: one w for all layers; each: a w for each, nearer and less natural."),
    steps: int = typer.Option(300, help="Steps of the optimisation."),
    seed: int = typer.Option(0, help="Seed of the noise on w."),
    device: str = typer.Option("cpu", help="Torch device."),
    picture: Path | None = typer.Option(
        None, **OUTPUT, help="Also write a picture (PNG): real frames beside reconstructions."
    ),
) -> None:
    """Find what the generator makes that is nearest to real frames: how much of them it knows."""
    from sunaug.bundle import load_bundle
    from sunaug.cli.reconstructing import draw, parse_channels, run, say_errors

    made = run(
        cube,
        load_bundle(bundle),
        out,
        parse_channels(channels) if channels is not None else None,
        split=split,
        n=n,
        steps=steps,
        layers=layers,
        seed=seed,
        device=device,
    )
    say_errors({"reconstruction": made.errors}, made.bundle.info.channels)
    if picture is not None:
        draw(picture, made)
