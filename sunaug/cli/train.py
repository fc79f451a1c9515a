"""``sunaug train``."""

from __future__ import annotations

from pathlib import Path

import typer

from sunaug.cli.places import ANYWHERE, INPUT, OUTPUT


def train(
    ctx: typer.Context,
    cube: str = typer.Option(..., **ANYWHERE, help="Cube to train on: its train months."),
    out: Path | None = typer.Option(
        None, **OUTPUT, help="Folder of the run: log, checkpoints, sample sheets, and the bundle at the end. [required]"
    ),
    recipe: str = typer.Option("cpu-64", **ANYWHERE, help="Name of a preset, or a YAML file."),
    images: int | None = typer.Option(None, min=1, help="Images to show in all, in place of the recipe's."),
    seed: int | None = typer.Option(None, min=0, help="Seed, in place of the recipe's."),
    resume: bool = typer.Option(False, "--resume", help="Go on from the run's newest checkpoint."),
    minutes: float | None = typer.Option(None, min=0, help="Stop after this time and pack what there is."),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Print networks, memory and time that are expected, no more."
    ),
    accelerator: str = typer.Option("auto", help="auto, cpu, cuda or mps."),
    devices: int = typer.Option(1, min=1, help="Processes that share each batch, or each image, one per device."),
    strategy: str = typer.Option(
        "auto",
        help="auto; ddp: each device holds the networks; fsdp: a slice of them; deepspeed: them, and a part of "
        "the optimisers' state; bands: each computes a band of rows of every image.",
    ),
    tensorboard: bool = typer.Option(False, "--tensorboard", help="Write the figures for TensorBoard as well."),
    weights: Path | None = typer.Option(
        None,
        "--weights",
        **INPUT,
        envvar=["SUNAUG_TRAIN_WEIGHTS", "SUNAUG_FID_WEIGHTS"],
        help="Inception weights for the evaluations of the recipe.",
    ),
) -> None:
    """Train a conditional generator and pack it into a bundle."""
    from sunaug.errors import UsageError
    from sunaug.training.recipe import load_recipe

    overrides = {name: value for name, value in (("images", images), ("seed", seed)) if value is not None}
    chosen = load_recipe(recipe, **overrides)
    if weights is not None and _typed(ctx, "weights") and not chosen.evaluate_images:
        raise UsageError(f"--weights {weights}: recipe {recipe} evaluates nothing (evaluate_images is 0); omit it.")
    if dry_run:
        from pipelines.expectations import expectations

        for line in expectations(cube, chosen, accelerator=accelerator, devices=devices, strategy=strategy):
            typer.echo(line)
        return
    if out is None:
        raise UsageError("--out: name the run's folder, runs/NAME, or add --dry-run.")

    from pipelines.train import train_bundle
    from sunaug.cli.progress import progress

    with progress("training", chosen.images, "images") as report:
        bundle = train_bundle(
            cube,
            out,
            chosen,
            resume=resume,
            accelerator=accelerator,
            devices=devices,
            strategy=strategy,
            minutes=minutes,
            tensorboard=tensorboard,
            weights=weights,
            report=report,
            say=lambda text: typer.echo(text, err=True),
        )
    if bundle is not None:
        typer.echo(
            f"{bundle}: ready; make frames with `sunaug generate --rare --n 100 --bundle {bundle} --out rare.zarr`."
        )


def _typed(ctx: typer.Context, name: str) -> bool:
    """Whether an option was typed: a variable in the environment may be there for other commands."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
