"""``sunaug directions``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sunaug.cli.command import refuse_without
from sunaug.cli.places import ANYWHERE, OUTPUT

if TYPE_CHECKING:
    from sunaug.bundle import Bundle


def directions(
    ctx: typer.Context,
    bundle: str = typer.Argument(..., help="Folder of the bundle, or the name of one that comes with sunaug."),
    out: Path | None = typer.Option(
        None,
        **OUTPUT,
        help="Folder for pictures and a table of what each direction changes; with --fit the bundle to write, BUNDLE "
        "itself to change it in place.",
    ),
    cube: str | None = typer.Option(
        None,
        **ANYWHERE,
        help="Cube the bundle was trained on: --fit first fits its critic, its finish and what its samples are judged "
        "by.",
    ),
    components: int = typer.Option(10, min=1, help="Leading components that are shown."),
    seed: int = typer.Option(0, min=0, help="Seed of the latents of --fit."),
    fit: bool = typer.Option(
        False, "--fit/--no-fit", help="Fit the directions, and write the bundle with them to --out."
    ),
) -> None:
    """Show the GANSpace components and the flare direction of a bundle; with --fit, fit them.

    BUNDLE stays as it is, unless --fit is given it as --out.
    """
    from sunaug.bundle import load_bundle
    from sunaug.errors import UsageError

    refuse_without(ctx, "--fit", fit, "seed", "cube")
    opened = load_bundle(bundle)
    if not opened.info.network.labels:
        raise UsageError(f"{bundle}: an unconditional bundle has no flare direction; train one with conditions.")
    if fit:
        if out is None:
            raise UsageError("--fit writes a bundle: name its folder with --out.")
        fitted = _fitted(opened, out, cube, seed)
        _say(fitted, components)
        typer.echo(f"{out}: {fitted.info.name} with fitted directions, hash {fitted.hash[:12]}.")
        return
    if not opened.directions:
        raise UsageError(f"{bundle}: has no directions yet; fit them with --fit --out FOLDER.")
    if out is None:
        _say(opened, components)
        return
    if "flare_limit" not in opened.directions:
        raise UsageError(
            f"{bundle}: its directions are of an older sunaug, which measured less; fit them with --fit --out FOLDER."
        )
    _say(opened, components)
    _draw(opened, out, components)


def _fitted(bundle: Bundle, out: Path, cube: str | None, seed: int) -> Bundle:
    """A bundle with all fitted that is asked for, at `out`: whole, or not there at all.

    Raises
    ------
    UsageError, SunaugError
        If something else stands at `out`, or it lies in the installed package.
    """
    from shutil import rmtree

    from sunaug.bundle import load_bundle, write_directions
    from sunaug.errors import UsageError
    from sunaug.generation import fit_steering
    from sunaug.installed import refuse_installed

    refuse_installed(out)
    in_place = out.exists() and out.resolve() == bundle.path.resolve()
    if out.exists() and not in_place:
        raise UsageError(f"--out {out}: exists already; choose another --out.")
    partial = out.with_name(f"{out.name}.partial")
    _copy(bundle.path, partial)
    try:
        if cube is not None:
            _fit_on_frames(partial, cube)
        write_directions(partial, fit_steering(load_bundle(partial), seed))
        if in_place:
            for file in partial.iterdir():
                file.replace(out / file.name)
        else:
            partial.rename(out)
    finally:
        rmtree(partial, ignore_errors=True)
    return load_bundle(out)


def _copy(source: Path, target: Path) -> None:
    """Copy the files of a bundle into a new folder, writable by their owner."""
    import shutil

    from sunaug.bundle import readable

    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in source.iterdir():
        if file.is_file() and file.suffix != ".partial":
            shutil.copyfile(file, target / file.name)
    readable(target)


def _fit_on_frames(path: Path, cube: str) -> None:
    """Fit what needs the real frames that a bundle was trained on."""
    from pipelines.train import add_fits
    from sunaug.bundle import load_bundle
    from sunaug.cube import open_cube
    from sunaug.fidelity.fitting import add_reference

    typer.echo(add_fits(load_bundle(path), cube))
    fitted = load_bundle(path)
    if add_reference(fitted, open_cube(cube), typer.echo):
        typer.echo(f"{fitted.info.name}: has the real frames now that its samples are judged by.")


def _say(bundle: Bundle, components: int) -> None:
    """Print how much each component varies, and what the flare direction goes with."""
    fitted = bundle.directions
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


def _draw(bundle: Bundle, out: Path, components: int) -> None:
    """Measure what each direction changes, and write it with pictures into a folder."""
    from sunaug.cli.progress import progress
    from sunaug.latent.atlas import write_atlas
    from sunaug.latent.effects import measure_effects

    with progress("measuring", components + 1, "directions") as report:
        effects = measure_effects(bundle, components=components, report=report)
    typer.echo(f"{write_atlas(bundle, effects, out)}: what each direction changes, with pictures.")
