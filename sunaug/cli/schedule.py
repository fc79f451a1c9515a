"""``sunaug schedule``: a pipeline at its times."""

from __future__ import annotations

from pathlib import Path

import typer

from sunaug.cli.places import INPUT


def schedule(
    recipe: Path = typer.Argument(
        ..., **INPUT, metavar="RECIPE", help="YAML file of a pipeline, read anew by each run."
    ),
    cron: str | None = typer.Option(None, "--cron", help="When to run, as in a crontab ('0 3 * * *'), UTC."),
    every: str | None = typer.Option(None, "--every", help="Time between runs in place of --cron (60s, 6h)."),
    server: str | None = typer.Option(
        None,
        "--server",
        envvar=["SUNAUG_SCHEDULE_SERVER", "PREFECT_API_URL"],
        help="URL of a Prefect server; by default one is started on this machine.",
    ),
) -> None:
    """Run a pipeline on a schedule, each run as `sunaug run` does it, failed steps again after a while (Prefect)."""
    from pipelines.schedule import schedule as run

    run(recipe, cron=cron, every=every, server=server, say=lambda text: typer.echo(text, err=True))
