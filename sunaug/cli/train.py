"""``sunaug train``."""

from __future__ import annotations

from pathlib import Path

import typer


def train(
    cube: Path = typer.Option(..., help="Cube to train on: its train months."),
    out: Path = typer.Option(
        ..., help="Folder of the run: log, checkpoints, sample sheets, and the bundle at the end."
    ),
    recipe: str = typer.Option("cpu-64", help="Name of a preset, or a YAML file."),
    images: int | None = typer.Option(None, min=1, help="Images to show in all, in place of the recipe's."),
    seed: int | None = typer.Option(None, min=0, help="Seed, in place of the recipe's."),
    resume: bool = typer.Option(False, "--resume", help="Go on from the run's newest checkpoint."),
    accelerator: str = typer.Option("auto", help="auto, cpu, cuda or mps."),
) -> None:
    """Train a conditional StyleGAN2 and pack it into a bundle."""
    from pipelines.train import train_bundle
    from sunaug.cli.progress import progress
    from sunaug.training.recipe import load_recipe

    overrides = {name: value for name, value in (("images", images), ("seed", seed)) if value is not None}
    chosen = load_recipe(recipe, **overrides)
    with progress("training", chosen.images, "images") as report:
        bundle = train_bundle(cube, out, chosen, resume=resume, accelerator=accelerator, report=report)
    typer.echo(f"{bundle}: ready; make frames with `sunaug generate --rare --n 100 --bundle {bundle} --out rare.zarr`.")
