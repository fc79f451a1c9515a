"""The comparison's figure: differences to the best baseline as a forest plot, reliability beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from forecasting_adapters.experiment.results import ArmResult, Results

__all__ = ["draw"]

_COLOURS = {"baseline": "#555555", "generative": "#0072b2"}
_CANDIDATE = "#d55e00"
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
}
_ROW_INCHES = 0.19


def draw(results: Results, path: Path) -> None:
    """Draw the results into a PNG: TSS of every arm, its difference to the best baseline, reliability of the best."""
    ordered = sorted(results.arms, key=lambda one: (one.arm.kind == "generative", -one.scores["tss"].value))
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(10, max(3.2, 1.1 + _ROW_INCHES * len(ordered))), layout="constrained")
        FigureCanvasAgg(figure)
        scores, differences, reliability = figure.subplots(1, 3, width_ratios=[1, 1, 1.1])
        _forest(scores, ordered, results, "scores", "TSS")
        _forest(differences, ordered, results, "against_baseline", f"difference in TSS to {results.baseline}")
        scores.set_yticks(range(len(ordered)), [one.arm.name for one in ordered])
        differences.set_yticks(range(len(ordered)), [])
        differences.axvline(0, color="black", linewidth=0.6)
        _reliability(reliability, results)
        figure.savefig(path, dpi=160)


def _forest(axes: Axes, ordered: list[ArmResult], results: Results, what: str, title: str) -> None:
    """A point and an interval for each arm, the first on top."""
    for row, one in enumerate(ordered):
        found = getattr(one, what).get("tss")
        if found is None:
            axes.plot(0, row, "o", markersize=4, markerfacecolor="white", color=_colour(one, results))
            continue
        if not np.isnan(found.low):
            axes.plot([found.low, found.high], [row, row], color=_colour(one, results), linewidth=1.2)
        axes.plot(found.value, row, "o", markersize=4, color=_colour(one, results))
    axes.set_ylim(len(ordered) - 0.5, -0.5)
    axes.set_xlabel(title)
    axes.grid(axis="x", color="#dddddd", linewidth=0.5)
    axes.tick_params(axis="y", length=0)


def _reliability(axes: Axes, results: Results) -> None:
    axes.plot([0, 1], [0, 1], color="#aaaaaa", linewidth=0.8)
    base = results.observed.labels.mean()
    axes.axhline(base, color="#aaaaaa", linewidth=0.6, linestyle=":")
    axes.annotate("base rate", (1, base), ha="right", va="bottom", fontsize=6.5, color="#777777")
    for name in filter(None, (results.baseline, results.candidate)):
        result = results.arm(name)
        curve, low, high = result.reliability.curve, result.reliability.low, result.reliability.high
        known = curve.count > 0
        axes.vlines(curve.probability, low, high, color=_colour(result, results), linewidth=0.8, alpha=0.5)
        axes.plot(
            curve.probability[known],
            curve.frequency[known],
            "-",
            color=_colour(result, results),
            linewidth=1,
            label=f"{name} (mean of seeds)",
        )
        axes.scatter(
            curve.probability[known],
            curve.frequency[known],
            s=6 + 90 * curve.count[known] / curve.count.sum(),
            color=_colour(result, results),
            zorder=3,
        )
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_xlabel("forecast probability")
    axes.set_ylabel("share followed by a flare")
    axes.legend(loc="upper left")
    axes.set_title(f"{results.stage} months", fontsize=8)


def _colour(result: ArmResult, results: Results) -> str:
    return _CANDIDATE if result.arm.name == results.candidate else _COLOURS[result.arm.kind]
