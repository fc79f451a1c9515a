"""``sunaug run``: the steps of a pipeline, once."""

from __future__ import annotations

from pathlib import Path

import typer

from sunaug.cli.command import refuse_with
from sunaug.cli.places import INPUT


def run(
    ctx: typer.Context,
    recipe: Path | None = typer.Argument(
        None, **INPUT, metavar="RECIPE", help="YAML file; --example prints one. [required]"
    ),
    step: list[str] | None = typer.Option(None, "--step", help="Run this step alone; may be repeated."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Say what there is to do, and change nothing."),
    example: bool = typer.Option(False, "--example", help="Print a recipe to start from."),
) -> None:
    """Run a pipeline: what is new since the last run, and nothing twice.

    Exit code 3 where the gate refused the new set; the version that was published last is still current then.
    """
    from pipelines.recipe import example_text
    from pipelines.run import preview, run_recipe
    from sunaug.errors import UsageError

    refuse_with(ctx, "--example", example, "recipe", "step", "dry_run")
    if example:
        typer.echo(example_text(), nl=False)
        return
    if recipe is None:
        raise UsageError("RECIPE: name the YAML file of a pipeline; `sunaug run --example` prints one to start from.")
    if dry_run:
        for line in preview(recipe, step or ()):
            typer.echo(line)
        return
    report = run_recipe(recipe, step or (), say=lambda text: typer.echo(text, err=True))
    typer.echo(report.sentence)
