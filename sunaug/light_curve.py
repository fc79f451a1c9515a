"""The light curve of a cube: how bright each channel was, when it flared, and where frames are missing."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
import sunpy.visualization.colormaps  # noqa: F401  registers the colour tables with matplotlib
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from sunaug.flares import CLASS_FLUX, format_goes_class
from sunaug.lexicon import channel

__all__ = ["find_gaps", "light_curve"]

_HEIGHT_INCHES = 3.2
_DOTS_PER_INCH = 110
_GAP_FACTOR = 3.0
_MARKED_CLASS = "M"
_NAMED_FLARES = 8


def find_gaps(times: NDArray[np.datetime64]) -> list[tuple[np.datetime64, np.datetime64]]:
    """Stretches without a frame that are longer than three times the usual step (the median) between frames.

    Parameters
    ----------
    times : ndarray of datetime64, shape (n,)
        Ascending.

    Returns
    -------
    list of (datetime64, datetime64)
        The frames before and after each gap.
    """
    steps = np.diff(times)
    if not len(steps):
        return []
    wide = np.flatnonzero(steps > _GAP_FACTOR * np.median(steps))
    return [(times[place], times[place + 1]) for place in wide]


def light_curve(
    times: NDArray[np.datetime64],
    mean_intensity: NDArray[np.floating],
    channels: Sequence[str],
    nowcast_flux: NDArray[np.floating],
    *,
    width: int,
) -> Image.Image:
    """Draw the mean intensity of each channel over time, flares of M1.0 and more marked.

    Parameters
    ----------
    times : ndarray of datetime64, shape (n,)
        Ascending.
    mean_intensity : ndarray, shape (n, channel)
        Drawn as a multiple of the channel's median.
    channels : sequence of str
        Lexicon names.
    nowcast_flux : ndarray, shape (n,)
        W m-2; the peaks of its runs above M1.0 are the flares that are marked.
    width : int
        In pixels.
    """
    figure = Figure(figsize=(width / _DOTS_PER_INCH, _HEIGHT_INCHES), dpi=_DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    step = np.median(np.diff(times)) if len(times) > 1 else np.timedelta64(1, "h")
    breaks = np.flatnonzero(np.diff(times) > _GAP_FACTOR * step) + 1
    for number, name in enumerate(channels):
        known = channel(name)
        values = np.abs(mean_intensity[:, number]) if known.signed else mean_intensity[:, number]
        usual = np.nanmedian(values) if np.isfinite(values).any() else np.nan
        curve = np.insert((values / usual).astype(float), breaks, np.nan)
        axes.plot(
            np.insert(times, breaks, times[breaks - 1]),
            curve,
            color=matplotlib.colormaps[known.colormap](0.35 + 0.3 * (number % 2)),
            linewidth=0.9,
            marker="." if len(times) < 60 else None,
            label=known.label,
        )
    peaks = _flare_peaks(nowcast_flux)
    strongest = set(sorted(peaks, key=lambda place: -nowcast_flux[place])[:_NAMED_FLARES])
    for place in peaks:
        axes.axvline(times[place], color="crimson", linewidth=0.5, alpha=0.5)
        if place in strongest:
            axes.annotate(
                format_goes_class(nowcast_flux[place]),
                (times[place], 1),
                xycoords=("data", "axes fraction"),
                xytext=(1, -2),
                textcoords="offset points",
                rotation=90,
                va="top",
                fontsize=7,
                color="crimson",
            )
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_ylabel("mean / median")
    flares = f"; {len(peaks)} flares of M1.0 or more marked" if peaks else ""
    unknown = int(np.isnan(nowcast_flux).sum())
    flares += f"; {unknown:,} frames without a known flux" if unknown else ""
    axes.set_title(f"mean intensity of {len(times):,} usable frames, UTC{flares}", fontsize=9, loc="left")
    axes.margins(x=0.01)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), fontsize=7, ncols=len(channels), frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")


def _flare_peaks(flux: NDArray[np.floating]) -> list[int]:
    """The strongest frame of each run of frames at or above M1.0."""
    strong = np.nan_to_num(flux) >= CLASS_FLUX[_MARKED_CLASS]
    borders = np.flatnonzero(np.diff(np.concatenate([[False], strong, [False]]).astype(int)))
    return [int(first + np.argmax(flux[first:last])) for first, last in zip(borders[::2], borders[1::2], strict=True)]
