"""Plots of a report: every check on one axis, and curves of samples beside those of real months."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from sunaug.fidelity.gate import Check
from sunaug.fidelity.measured import Measured
from sunaug.fidelity.physics import Column
from sunaug.fidelity.reference import STRATA, Reference, strata
from sunaug.fidelity.report.words import label, number, signed
from sunaug.lexicon import CHANNELS, channel

__all__ = ["FARTHEST", "NEAREST", "Curves", "Months", "Row", "curves", "range_row"]

NEAREST, FARTHEST = -1.0, 3.0
"""Ends of the axis of a range plot, on which real frames are at 0 and the limit is at 1."""

_MARGIN = 3.0
"""Per cent of the plot's width at either end, so that marks are whole there."""

_FEWEST = 10
"""Frames of a month that it is shown with."""

_BINS = 64
_BLUE, _INK, _BAND = "#0072b2", "#333333", "#cccccc"
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "svg.fonttype": "none",
    "svg.hashsalt": "sunaug",
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#555555",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.frameon": False,
    "legend.fontsize": 7.5,
}
_FONTS = "ui-sans-serif, system-ui, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"


@dataclass(frozen=True)
class Row:
    """A check within a range plot; places are per cent of the plot's width.

    Attributes
    ----------
    label, value, limit : str
    state : str
        ``passed``, ``failed`` or ``reported``, which is for those that no set is refused for.
    low, high : float
        The range of the real windows.
    place : float
        Of the samples.
    beyond : {"", "left", "right"}
        Where the samples lie outside of the plot.
    excess : str
        Their place on the axis, in words.
    """

    label: str
    value: str
    limit: str
    state: str
    low: float
    high: float
    place: float
    beyond: str
    excess: str


def on_axis(excess: float) -> float:
    """Per cent of the plot's width at which a place on the axis lies."""
    share = (np.clip(excess, NEAREST, FARTHEST) - NEAREST) / (FARTHEST - NEAREST)
    return float(_MARGIN + (100 - 2 * _MARGIN) * share)


def range_row(check: Check, *, without: str = "") -> Row:
    """Place a check that is known.

    Parameters
    ----------
    check : Check
    without : str
        See `sunaug.fidelity.report.words.label`.
    """
    room = check.limit - check.floor
    # Where all real windows give the same figure the limit lies on it, and the samples keep to it or do not.
    low, high = sorted(((check.low - check.floor) / room, (check.high - check.floor) / room)) if room else (0.0, 0.0)
    excess = check.excess if room else 0.0 if check.state == "passed" else np.inf
    return Row(
        label=label(check.name, without=without),
        value=number(check.value),
        limit=number(check.limit),
        state=check.state if check.gating else "reported",
        low=on_axis(low),
        high=on_axis(high),
        place=on_axis(excess),
        beyond="left" if excess < NEAREST else "right" if excess > FARTHEST else "",
        excess=signed(excess) if np.isfinite(excess) else "",
    )


@dataclass(frozen=True)
class Months:
    """Real frames by month, each frame with the weight that gives its month the samples' mix of kinds.

    Attributes
    ----------
    names : list of str
    members : list of (Measured, ndarray)
        Frames and weights of each month.
    validation : (Measured, ndarray)
        The same of all validation frames.
    """

    names: list[str]
    members: list[tuple[Measured, NDArray[np.float64]]]
    validation: tuple[Measured, NDArray[np.float64]]

    @classmethod
    def of(cls, samples: Measured, reference: Reference) -> Months:
        """The months of a reference in which there are frames like the samples."""
        shares = _shares(samples.forecast_flux)
        names, members = [], []
        for side in (reference.train.measured, reference.validation.measured):
            assert side.times is not None
            months = side.times.astype("datetime64[M]")
            for month in np.unique(months):
                part = side.take(np.flatnonzero(months == month))
                weights = _weights(part.forecast_flux, shares)
                if (weights > 0).sum() >= _FEWEST:
                    names.append(str(month))
                    members.append((part, weights))
        validation = reference.validation.measured
        return cls(names, members, (validation, _weights(validation.forecast_flux, shares)))


def _shares(flux: NDArray[np.float64]) -> NDArray[np.float64] | None:
    kinds = strata(flux)
    known = kinds[kinds >= 0]
    return np.bincount(known, minlength=len(STRATA)) / len(known) if len(known) else None


def _weights(flux: NDArray[np.float64], shares: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """How much each frame counts for the set to have these shares of kinds; alike where none are known."""
    if shares is None:
        return np.ones(len(flux))
    kinds = strata(flux)
    counts = np.bincount(kinds[kinds >= 0], minlength=len(STRATA))
    each = shares / np.maximum(counts, 1)
    return np.where(kinds >= 0, each[kinds], 0)


@dataclass(frozen=True)
class Curves:
    """A quantity, with a drawing for each channel.

    Attributes
    ----------
    title, caption : str
    drawings : list of (str, str)
        What it shows in words, and the SVG.
    """

    title: str
    caption: str
    drawings: list[tuple[str, str]]


_QUANTITIES = (
    (
        "power_spectrum",
        "Power spectrum of the disk",
        "Azimuthally averaged power within 0.98 radii, over cycles per frame width.",
    ),
    ("profile", "Centre-to-limb profile", "Median over the position angles; 1 is the photosphere's limb."),
    ("intensity", "Intensity histogram", "Share of all pixels of the frames."),
    ("region_belts", "Latitude of active regions", "Area of the regions, each at its centre, in belts of 5 degrees."),
)


def curves(samples: Measured, months: Months) -> list[Curves]:
    """Draw the curves that a reader wants to see: samples, validation months, and the band of all months."""
    found = []
    for measure, title, caption in _QUANTITIES:
        drawings: list[tuple[str, str]] = []
        for name, column in samples.physics.items():
            if name.split(" ")[0] != measure or column.kind == "scalar":
                continue
            place = name.partition(" ")[2]
            where = channel(place).label if place in CHANNELS else ""
            drawn = _draw(measure, name, column, months, where, f"{measure}{len(drawings)}-")
            if drawn:
                about = f"{title}{f', {where}' if where else ''}: samples, validation months and all real months."
                drawings.append((about, drawn))
        if drawings:
            found.append(Curves(title, caption, drawings))
    return found


def _mean(column: Column, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted mean curve, NaN where no frame has a value; a histogram's shares."""
    values = column.values.astype(np.float64)
    if column.kind == "histogram":
        total = weights @ values
        return total / total.sum() if total.sum() > 0 else np.full(len(total), np.nan)
    known = np.isfinite(values)
    number_known = weights @ known
    return (weights @ np.where(known, values, 0)) / np.where(number_known > 0, number_known, np.nan)


def _coarser(positions: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """A histogram with `_BINS` bins where it has a multiple of them."""
    step = len(positions) // _BINS
    if step < 2 or len(positions) % _BINS:
        return positions, values
    return positions.reshape(-1, step).mean(axis=1), values.reshape(-1, step).sum(axis=1)


def _draw(measure: str, name: str, column: Column, months: Months, where: str, prefix: str) -> str | None:
    assert column.positions is not None
    ours = _mean(column, np.ones(len(column.values)))
    theirs = _mean(months.validation[0].physics[name], months.validation[1])
    real = [_mean(part.physics[name], weights) for part, weights in months.members]
    positions = column.positions
    if measure == "intensity":
        binned = [_coarser(positions, one) for one in (ours, theirs, *real)]
        positions, (ours, theirs, *real) = binned[0][0], [one[1] for one in binned]
    if not np.isfinite(ours).any() or not np.isfinite(theirs).any():
        return None
    with matplotlib.rc_context(_STYLE):
        beside = measure != "region_belts"
        figure = Figure(figsize=(3.3, 3.1 if beside else 2.5), layout="constrained")
        grid = figure.subplots(1 + beside, 1, sharex=True, squeeze=False, height_ratios=[3, 1.2][: 1 + beside])
        axes: list[Axes] = list(grid[:, 0])
        stepped: Literal["mid"] | None = "mid" if column.kind == "histogram" else None
        if measure == "intensity":
            ours, theirs, *real = (np.where(one > 0, one, np.nan) for one in (ours, theirs, *real))
        _lines(axes[0], positions, ours, theirs, real, stepped)
        axes[0].set_title(where, fontsize=9, loc="left", color="#222222")
        axes[0].set_ylabel(_ordinate(measure, column))
        if measure == "intensity":
            _log_share(axes[0])
            there = np.isfinite([theirs, ours]).any(axis=0)
            axes[0].set_xlim(positions[there].min(), positions[there].max())
            ours, theirs, *real = (np.log10(one) for one in (ours, theirs, *real))
        if beside:
            _lines(axes[1], positions, ours - theirs, theirs - theirs, [one - theirs for one in real], stepped)
            axes[1].set_ylabel("difference\n(dex)" if measure != "profile" else "difference")
            # The tails of a histogram are a few pixels, which must not set the scale.
            most = 0.97 if measure == "intensity" else 1.0
            reach = max(
                np.nanquantile(np.abs(ours - theirs), most),
                np.nanquantile(np.abs([one - theirs for one in real]), 0.97) if real else 0,
            )
            if reach > 0:
                axes[1].set_ylim(-1.15 * reach, 1.15 * reach)
        if measure == "power_spectrum":
            _log_frequency(axes[-1], positions)
        if measure == "region_belts":
            there = positions[np.nan_to_num([ours, theirs, *real]).max(axis=0) > 0]
            axes[0].set_xlim(there.min() - 7.5, there.max() + 7.5)
        axes[-1].set_xlabel(column.axis)
        axes[0].legend(loc="best", handlelength=1.6, borderaxespad=0.2)
        return _svg(figure, prefix)


def _lines(
    axes: Axes,
    positions: NDArray[np.float64],
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    real: Sequence[NDArray[np.float64]],
    step: Literal["mid"] | None,
) -> None:
    if real:
        stack = np.stack(real)
        there = np.isfinite(stack).any(axis=0)
        low, high = (
            np.where(there, edge, np.nan)
            for edge in (
                np.where(np.isfinite(stack), stack, np.inf).min(axis=0),
                np.where(np.isfinite(stack), stack, -np.inf).max(axis=0),
            )
        )
        axes.fill_between(
            positions,
            low,
            high,
            color=_BAND,
            linewidth=0,
            step=step,
            label="real, single months",
        )
    drawstyle = "default" if step is None else f"steps-{step}"
    axes.plot(
        positions,
        theirs,
        color=_INK,
        linewidth=1.0,
        linestyle=(0, (4, 1.5)),
        drawstyle=drawstyle,
        label="real, validation",
    )
    axes.plot(positions, ours, color=_BLUE, linewidth=1.4, drawstyle=drawstyle, label="samples")


def _ordinate(measure: str, column: Column) -> str:
    if measure == "power_spectrum":
        return "log₁₀ power"
    if measure == "profile":
        return f"intensity ({column.unit})"
    return "share of pixels" if measure == "intensity" else "share of the area"


def _log_share(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, 1).removeprefix("1 × ")))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _log_frequency(axes: Axes, positions: NDArray[np.float64]) -> None:
    axes.set_xscale("log")
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if positions[0] <= tick <= positions[-1]]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())


_METADATA = re.compile(r"<metadata>.*?</metadata>", re.S)
_SIZE = re.compile(
    r'(<svg[^>]*?) width="[^"]*"([^>]*?) height="[^"]*"|(<svg[^>]*?) height="[^"]*"([^>]*?) width="[^"]*"'
)


def _svg(figure: Figure, prefix: str) -> str:
    """The figure as an element of a page; `prefix` keeps its identifiers apart from those of other figures."""
    FigureCanvasSVG(figure)
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = _METADATA.sub("", text[text.index("<svg") :])
    text = _SIZE.sub(r"\1\3\2\4", text, count=1)
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r"url\(#", f"url(#{prefix}", text)
    text = re.sub(r'xlink:href="#', f'xlink:href="#{prefix}', text)
    return text.replace("'DejaVu Sans'", _FONTS.replace('"', "'"))
