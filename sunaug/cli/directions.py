"""``sunaug directions``."""

from __future__ import annotations

from pathlib import Path

import typer


def directions(
    bundle: Path = typer.Argument(..., help="Folder of the bundle."),
    seed: int = typer.Option(0, min=0, help="Seed of the latents."),
) -> None:
    """Fit the GANSpace components and the flare direction of a bundle, and store them in it."""
    from sunaug.bundle import load_bundle, write_directions
    from sunaug.latent import fit_directions

    opened = load_bundle(bundle)
    fitted = fit_directions(opened, seed)
    write_directions(opened.path, fitted)
    typer.echo(f"conditions explain {float(fitted['condition_share']):.0%} of the variance of W; of the rest:")
    for number, share in enumerate(fitted["explained"][:10].tolist()):
        typer.echo(f"  component {number}: {share:.1%}")
    typer.echo(
        f"flare direction: correlation {float(fitted['flare_correlation']):.2f} with hot emission at a given "
        f"condition, {float(fitted['flare_calibration']):.2f} standard deviations for --rare"
    )
