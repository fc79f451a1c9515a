"""``sunaug complete``."""

from __future__ import annotations

from pathlib import Path

import typer

from sunaug.cli.places import ANYWHERE, OUTPUT


def complete(
    cube: str = typer.Argument(
        ..., **ANYWHERE, help="Observed cube (Zarr), a path or URL; it may lack the channels to complete."
    ),
    given: str = typer.Option(..., help="Channels to go by, separated by commas; the bundle's others are completed."),
    out: Path = typer.Option(
        ..., **OUTPUT, help="Cube of reconstructions to write (Zarr); one that was left unfinished is continued."
    ),
    bundle: str = typer.Option("sdo2012-128", help="Folder of a bundle, or the name of one that comes with sunaug."),
    split: str = typer.Option("validation", help="Months to take frames of: train, validation, test or all."),
    n: int = typer.Option(16, help="Number of frames, evenly spaced."),
    layers: str = typer.Option("each", help="each: a w for each layer; one: one for all, less near."),
    steps: int = typer.Option(
        100, help="Steps of the optimisation; more bring what is given nearer, and the completed channels not."
    ),
    seed: int = typer.Option(0, help="Seed of the noise on w."),
    device: str = typer.Option("cpu", help="Torch device."),
    picture: Path | None = typer.Option(
        None, **OUTPUT, help="Also write a picture (PNG): real frames beside completed ones."
    ),
) -> None:
    """Complete missing channels: project the given ones, and read the others off the generator."""
    from sunaug.bundle import load_bundle
    from sunaug.cli.reconstructing import draw, parse_channels, run, say_errors
    from sunaug.cube import open_cube
    from sunaug.errors import SunaugError, UsageError
    from sunaug.reconstruction import fit_baselines

    channels = parse_channels(given)
    opened = load_bundle(bundle)
    known = opened.info.channels
    if len(channels) >= len(known):
        raise UsageError(f"--given {given}: leaves nothing to complete, {bundle} has the channels {', '.join(known)}.")
    made = run(cube, opened, out, channels, split=split, n=n, steps=steps, layers=layers, seed=seed, device=device)
    errors = {"generator": made.errors}
    try:
        errors |= fit_baselines(open_cube(cube), opened.info, made.frames.counted).errors(made.frames)
    except SunaugError as error:
        typer.echo(f"sunaug: no mean frame and no regression to compare with: {error}", err=True)
    say_errors(errors, known)
    if picture is not None:
        draw(picture, made)
