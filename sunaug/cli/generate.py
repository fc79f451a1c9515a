"""``sunaug generate``."""

from __future__ import annotations

from pathlib import Path

import typer


def generate(
    out: Path = typer.Option(..., help="Synthetic cube to write (Zarr)."),
    n: int = typer.Option(100, help="Number of samples."),
    rare: bool = typer.Option(False, "--rare", help="Only flare-like frames: conditions from the real tail, steered."),
    min_class: str = typer.Option("M1.0", help="Weakest GOES class of a rare sample."),
    label: str = typer.Option("forecast", help="Label that --min-class speaks of: forecast or nowcast."),
    bundle: str = typer.Option("sdo2012-128", help="Folder of a bundle, or the name of one that comes with sunaug."),
    seed: int = typer.Option(0, help="Seed: the same one gives the same samples."),
    steer: float | None = typer.Option(
        None, help="Steps along the flare direction; calibrated for --rare if left out."
    ),
    batch_size: int = typer.Option(256, help="Samples made at a time; the result does not depend on it."),
    device: str = typer.Option("cpu", help="Torch device."),
) -> None:
    """Make synthetic frames of the Sun and stream them into a cube."""
    from sunaug.bundle import load_bundle
    from sunaug.cli.progress import progress
    from sunaug.generation import FEW_FRAMES, Request, generate_cube, tail_rows

    request = Request(n=n, rare=rare, min_class=min_class, label=label, seed=seed, steer=steer)
    opened = load_bundle(bundle)
    frames = len(tail_rows(opened, request))
    if rare and frames < FEW_FRAMES:
        typer.echo(
            f"sunaug: {opened.info.name} was trained on only {frames} frames of {min_class} or more: its samples of "
            "that class repeat what these few show.",
            err=True,
        )
    with progress("generating", n, "samples") as report:
        path = generate_cube(out, opened, request, batch_size=batch_size, device=device, report=report)
    what = f"rare frames ({label} {min_class} or more)" if rare else "frames"
    typer.echo(f"{path}: {n:,} SYNTHETIC {what} from {opened.info.name}, seed {seed}.")
