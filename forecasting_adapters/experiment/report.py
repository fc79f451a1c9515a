"""The comparison's results as text: a table for the terminal, and one for Markdown."""

from __future__ import annotations

from forecasting_adapters.experiment.results import ArmResult, Results
from forecasting_adapters.uncertainty import Estimate

__all__ = ["markdown", "table_rows", "text"]

_HEADER = ("arm", "TSS", "ΔTSS", "HSS2", "BSS", "AP", "X recall", "ensemble TSS", "ΔTSS")
_DAYS = {"validation": "thresholds cross-fitted over days", "test": "thresholds chosen on validation"}


def table_rows(results: Results) -> list[tuple[str, ...]]:
    """Rows of the table, the header first; baselines before the others, each kind by falling TSS."""
    ordered = sorted(results.arms, key=lambda one: (one.arm.kind, -one.scores["tss"].value))
    return [_HEADER, *(_row(one, results) for one in ordered)]


def text(results: Results) -> list[str]:
    """Lines for a terminal."""
    rows = table_rows(results)
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = [
        "  ".join(
            f"{cell:<{width}}" if column == 0 else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    left_out = [f"Left out: {name} ({lack})." for name, lack in results.about["left_out"].items()]
    return [*lines, "", _caption(results), *left_out, results.verdict.sentence]


def markdown(results: Results) -> str:
    """The table, its caption and the verdict in Markdown."""
    header, *rows = table_rows(results)
    ruler = ["---", *("---:" for _ in header[1:])]
    lines = ["| " + " | ".join(row) + " |" for row in (header, ruler, *rows)]
    return "\n".join([*lines, "", _caption(results), "", f"**{results.verdict.sentence}**", ""])


def _caption(results: Results) -> str:
    labels = results.observed.labels
    count = results.about["seeds"]
    seeds = f"mean of {count} seeds" if count > 1 else "one seed"
    return (
        f"{results.stage.capitalize()} months, {len(labels):,} frames, {int(labels.sum()):,} with a flare to come; "
        f"{seeds}, {_DAYS[results.stage]}; 95% intervals over days and seeds. Δ: paired "
        f"difference to {results.baseline}, the best arm without synthetic frames on validation (*). †: the best with "
        "synthetic frames on validation."
    )


def _row(result: ArmResult, results: Results) -> tuple[str, ...]:
    name = result.arm.name
    mark = " *" if name == results.baseline else " †" if name == results.candidate else ""
    scores = result.scores
    return (
        name + mark,
        interval(scores["tss"]),
        interval(result.against_baseline.get("tss"), sign="+"),
        *(interval(scores[score]) for score in ("hss2", "bss", "average_precision", "x_recall")),
        interval(result.ensemble["tss"]),
        interval(result.ensemble_against_baseline.get("tss"), sign="+"),
    )


def interval(found: Estimate | None, sign: str = "") -> str:
    """``0.312 [0.201, 0.420]``; a dash where there is nothing, no brackets where there is no interval."""
    if found is None or found.value != found.value:
        return "–"
    value = f"{found.value:{sign}.3f}"
    return value if found.low != found.low else f"{value} [{found.low:{sign}.2f}, {found.high:{sign}.2f}]"
