"""``sunaug forecast-benchmark``: whether synthetic frames make a forecaster better, with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sunaug.cli.command import refuse_without
from sunaug.cli.places import ANYWHERE, INPUT, OUTPUT

if TYPE_CHECKING:
    from forecasting_adapters.experiment import Results


def forecast_benchmark(
    ctx: typer.Context,
    cube: str = typer.Option(..., "--cube", **ANYWHERE, help="Observed cube with train, validation and test months."),
    out: Path = typer.Option(
        ..., "--out", **OUTPUT, help="Folder of the comparison; finished runs in it are not made again."
    ),
    synthetic: list[str] | None = typer.Option(None, "--synthetic", **ANYWHERE, help="Synthetic cube. Repeatable."),
    arms: str = typer.Option("all", "--arms", help="Names, by commas; baseline, generative or all for all of a kind."),
    recipe: Path | None = typer.Option(None, "--recipe", **INPUT, help="YAML file with arms of your own."),
    seeds: int = typer.Option(10, "--seeds", min=1, help="Trainings of each arm."),
    model: str | None = typer.Option(
        None, "--model", help="Forecaster, package.module:factory. [default: compact CNN]"
    ),
    size: int | None = typer.Option(
        None, "--size", min=1, help="Average frames down to this many pixels. [default: 64]"
    ),
    label: str = typer.Option("forecast", "--label", help="Label that is forecast: forecast or nowcast."),
    min_class: str = typer.Option("M1.0", "--min-class", help="GOES class from which on a frame is positive."),
    epochs: int | None = typer.Option(None, "--epochs", min=1, help="Passes over the real frames. [default: 6]"),
    learning_rate: float | None = typer.Option(None, "--learning-rate", help="Of AdamW. [default: 0.002]"),
    weight_decay: float | None = typer.Option(None, "--weight-decay", help="Of AdamW. [default: 0.05]"),
    jobs: int = typer.Option(2, "--jobs", min=1, help="Processes that train at a time, on one thread each."),
    final: bool = typer.Option(False, "--final", help="Read the test months, once, and give the verdict."),
    allow_ungated: bool = typer.Option(False, "--allow-ungated", help="Take cubes that the gate has not passed."),
    allow_leakage: bool = typer.Option(
        False, "--allow-leakage", help="Go on where the generator has seen validation or test months; it is recorded."
    ),
    json: Path | None = typer.Option(None, "--json", **OUTPUT, help="Write all figures to this file, too."),
) -> None:
    """Train one forecaster in many ways, with and without synthetic frames, and compare their skill."""
    from pydantic import ValidationError

    from forecasting_adapters.experiment import Settings, choose_arms, load_arms, run_benchmark
    from sunaug.cli.progress import progress
    from sunaug.errors import UsageError
    from sunaug.field_errors import field_error

    refuse_without(ctx, "--synthetic", synthetic, "allow_ungated", "allow_leakage")
    own = load_arms(recipe) if recipe else []
    named = [name.strip() for name in arms.split(",") if name.strip()]
    chosen = choose_arms(named, own)
    if recipe and not any(arm in own for arm in chosen):
        raise UsageError(f"--recipe {recipe}: none of its arms is among --arms {arms}; add one, or omit --recipe.")
    asked = {
        "size": size,
        "label": label,
        "threshold": min_class,
        "model": model,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
    }
    try:
        settings = Settings.model_validate({name: value for name, value in asked.items() if value is not None})
    except ValidationError as error:
        raise UsageError(f"{field_error(error)}.") from error
    results = run_benchmark(
        cube,
        synthetic or [],
        out,
        chosen,
        settings=settings,
        seeds=seeds,
        jobs=jobs,
        final=final,
        progress=progress,
        allow_ungated=allow_ungated,
        allow_leakage=allow_leakage,
    )
    _write(results, out, json)


def _write(results: Results, out: Path, json: Path | None) -> None:
    """Print the table, and write it with the figure and all numbers into the comparison's folder."""
    from json import dumps

    from forecasting_adapters.experiment.figure import draw
    from forecasting_adapters.experiment.report import markdown, text
    from sunaug.errors import SunaugError

    figures = dumps(results.as_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    target = out / results.stage
    try:
        target.with_suffix(".md").write_text(markdown(results), encoding="utf-8")
        for path in filter(None, (target.with_suffix(".json"), json)):
            path.write_text(figures, encoding="utf-8")
        draw(results, target.with_suffix(".png"))
    except OSError as error:
        raise SunaugError(f"{error.filename}: cannot be written ({error.strerror or error}).") from None
    for line in text(results):
        typer.echo(line)
    typer.echo(f"Table, figures and picture: {target}.md, .json, .png")
