"""``sunaug evaluate``: how far a synthetic cube is from real frames, beside how far real frames are from each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    """Compare a synthetic cube with real frames: distributions and first physical checks, each beside its floor."""
    from json import dumps

    from sunaug.cli.progress import progress
    from sunaug.errors import SunaugError
    from sunaug.fidelity.evaluate import evaluate as run

    report = run(synthetic, against, weights=weights, n=n, seed=seed, progress=progress)
    for line in (*_distributions(report), "", *_physics(report), "", *_explanations(report)):
        typer.echo(line)
    if json:
        try:
            json.write_text(dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise SunaugError(f"{json}: the figures cannot be written ({error.strerror or error}).") from None
        typer.echo(f"All figures: {json}")


def _selections(figures: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the samples were compared with in one network, and how that came out."""
    for name in ("all", "matched"):
        if figures[name]:
            yield name, figures[name]
    for name, one in figures["classes"].items():
        yield f"class {name}", one


def _distributions(report: dict[str, Any]) -> list[str]:
    """A line for each feature network and selection of validation frames."""
    header = ("network", "frames", "N", "Fréchet", "floor", "ratio", "KID×1000", "floor", "coverage", "floor", "ratio")
    rows: list[tuple[str, ...]] = [header]
    for label, figures in report["distribution"].items():
        for name, one in _selections(figures):
            kid, coverage = one["kid"], one["coverage"]
            rows.append(
                (
                    label,
                    name,
                    f"{one['n']:,}",
                    *_figures(one["frechet"]["value"], one["frechet"]["floor"]),
                    _thousandths(kid["value"], kid["stderr"]),
                    _thousandths(kid["floor"], kid["floor_stderr"]),
                    *_figures(coverage["value"], coverage["floor"], digits=2),
                )
            )
    return _aligned(rows, left=2)


def _physics(report: dict[str, Any]) -> list[str]:
    rows: list[tuple[str, ...]] = [
        ("measure", "synthetic", "floor", "ratio", "unit; median frame, synthetic against real")
    ]
    for name, figures in report["physics"].items():
        typical = f"{_number(figures['synthetic'])} against {_number(figures['real'])}"
        rows.append((name, *_figures(figures["distance"], figures["floor"]), f"{figures['unit']}; {typical}"))
    lines = _aligned([row[:-1] for row in rows], left=1)
    return [f"{line}  {row[-1]}" for line, row in zip(lines, rows, strict=True)]


def _explanations(report: dict[str, Any]) -> list[str]:
    lines = [
        f"{report['synthetic']} and real frames of the validation months ({report['physics_against']} for the physical "
        "checks): the distance of the two; floor: that of real frames of the train months.",
        "Coverage is a share of the validation frames: less than the floor's means that kinds of frames are missing.",
    ]
    for label, origin in report["backbones"].items():
        comparable = "" if label == "FID-2048" else "; not comparable with a published FID (2,048)"
        lines.append(f"{label}: {origin}{comparable}.")
    return lines + [f"Note: {note}" for note in report["notes"]]


def _aligned(rows: Sequence[tuple[str, ...]], left: int) -> list[str]:
    """Rows as lines, the first `left` columns flush left and the others flush right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            f"{text:<{width}}" if column < left else f"{text:>{width}}"
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _figures(value: float | None, floor: float | None, digits: int = 1) -> tuple[str, str, str]:
    ratio = f"{value / floor:.{digits}f}" if value is not None and floor else ""
    return _number(value), _number(floor), ratio


def _thousandths(value: float | None, stderr: float | None) -> str:
    if value is None:
        return ""
    return f"{1000 * value:.2f}" + ("" if stderr is None else f" ± {1000 * stderr:.2f}")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
