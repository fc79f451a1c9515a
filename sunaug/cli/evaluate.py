"""``sunaug evaluate``: how far a synthetic cube is from real frames, beside how far real frames are from each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer


def evaluate(
    synthetic: Path = typer.Argument(..., help="Synthetic cube (an observed one is taken as if it were synthetic)."),
    against: Path = typer.Option(..., "--against", help="Observed cube with train and validation months."),
    json: Path | None = typer.Option(None, "--json", help="Write all figures to this file."),
    weights: Path | None = typer.Option(
        None,
        "--weights",
        envvar=["SUNAUG_EVALUATE_WEIGHTS", "SUNAUG_FID_WEIGHTS"],
        help="Inception weights: pytorch-fid's own file, or the 768-d safetensors file.",
    ),
    n: int | None = typer.Option(None, "--n", help="Most frames per side of a Fréchet distance. [default: all]"),
    seed: int = typer.Option(0, "--seed", help="Seed of the random choice of frames."),
) -> None:
    """Compare a synthetic cube with real frames: Fréchet distance and first physical checks, each beside its floor."""
    from json import dumps

    from sunaug.cli.progress import progress
    from sunaug.errors import SunaugError
    from sunaug.fidelity.evaluate import evaluate as run

    report = run(synthetic, against, weights=weights, n=n, seed=seed, progress=progress)
    for line in _table(report):
        typer.echo(line)
    if json:
        try:
            json.write_text(dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise SunaugError(f"{json}: the figures cannot be written ({error.strerror or error}).") from None
        typer.echo(f"All figures: {json}")


def _table(report: dict[str, Any]) -> list[str]:
    """The report as lines for people."""
    label = report["backbone"].split(" ")[0]
    header = ("measure", "synthetic", "floor", "ratio", "unit; median frame, synthetic against real")
    rows: list[tuple[str, ...]] = []
    for name, figures in report["fid"].items():
        if figures:
            against = f"N = {figures['n']:,} per side, validation frames: {name}"
            rows.append((label, *_figures(figures["value"], figures["floor"]), against))
    for name, figures in report["physics"].items():
        typical = f"{_number(figures['synthetic'])} against {_number(figures['real'])}"
        rows.append((name, *_figures(figures["distance"], figures["floor"]), f"{figures['unit']}; {typical}"))
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(4)]
    lines = [
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:>{widths[3]}}  {row[4]}".rstrip()
        for row in [header, *rows]
    ]
    lines.append("")
    lines.append(
        f"{report['synthetic']} and real frames of the validation months ({report['physics_against']} for the physical "
        "checks): the distance of the two; floor: that of real frames of the train months."
    )
    backbone = report["backbone"].partition(" ")[2].strip("()")
    lines.append(
        f"{label}: {backbone}" + ("." if label == "FID-2048" else "; not comparable with a published FID (2,048).")
    )
    return lines + [f"Note: {note}" for note in report["notes"]]


def _figures(value: float | None, floor: float | None) -> tuple[str, str, str]:
    ratio = f"{value / floor:.1f}" if value is not None and floor else ""
    return _number(value), _number(floor), ratio


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
