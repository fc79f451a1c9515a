"""``sunaug directions``."""

from __future__ import annotations

from pathlib import Path

import typer


def directions(
    bundle: str = typer.Argument(..., help="Folder of the bundle, or the name of one that comes with sunaug."),
    out: Path | None = typer.Option(None, help="Folder for pictures and a table of what each direction changes."),
    cube: Path | None = typer.Option(
        None,
        help="Cube the bundle was trained on: first fits its critic, its finish and what its samples are judged by.",
    ),
    components: int = typer.Option(10, min=1, help="Leading components that --out describes."),
    seed: int = typer.Option(0, min=0, help="Seed of the latents."),
    fit: bool = typer.Option(True, "--fit/--no-fit", help="Fit the directions and store them in the bundle."),
) -> None:
    """Fit the GANSpace components and the flare direction of a bundle, and say what they change."""
    from sunaug.bundle import load_bundle, write_directions
    from sunaug.cli.progress import progress
    from sunaug.errors import UsageError
    from sunaug.generation import fit_steering

    opened = load_bundle(bundle)
    if not opened.info.network.labels:
        raise UsageError(f"{bundle}: an unconditional bundle has no flare direction; train one with conditions.")
    if cube is not None:
        from pipelines.train import add_fits
        from sunaug.cube import open_cube
        from sunaug.fidelity.fitting import add_reference

        typer.echo(add_fits(opened, cube))
        opened = load_bundle(bundle)
        if add_reference(opened, open_cube(cube), typer.echo):
            typer.echo(f"{opened.info.name}: has the real frames now that its samples are judged by.")
    if fit:
        write_directions(opened.path, fit_steering(opened, seed))
        opened = load_bundle(bundle)
    elif not opened.directions:
        raise UsageError(f"{bundle}: has no directions yet; leave --no-fit out.")
    elif out is not None and "flare_limit" not in opened.directions:
        raise UsageError(f"{bundle}: its directions are of an older sunaug, which measured less; leave --no-fit out.")
    fitted = opened.directions
    typer.echo(f"conditions explain {float(fitted['condition_share']):.0%} of the variance; of the rest:")
    for number, share in enumerate(fitted["explained"][:components].tolist()):
        typer.echo(f"  component {number}: {share:.1%}")
    correlations = ", ".join(
        f"{name.partition('.')[2] or 'hot_emission'} {float(value):.2f}"
        for name, value in fitted.items()
        if name.startswith("flare_correlation")
    )
    typer.echo(
        f"flare direction: correlation at a given condition {correlations}; "
        f"{float(fitted['flare_calibration']):.2f} standard deviations for --rare"
    )
    if out is not None:
        from sunaug.latent.atlas import write_atlas
        from sunaug.latent.effects import measure_effects

        with progress("measuring", components + 1, "directions") as report:
            effects = measure_effects(opened, components=components, report=report)
        typer.echo(f"{write_atlas(opened, effects, out)}: what each direction changes, with pictures.")
