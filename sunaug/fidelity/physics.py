"""First physical checks: what a solar physicist would measure on a frame, on synthetic frames and on real ones.

Every measure is made on the cube's own units, frame by frame, so that a set of frames gives a distribution. The
distance between two sets is the Wasserstein-1 distance of these distributions, in the measure's unit: it notices a
wrong mean, and a spread that has collapsed too. Nothing here has an absolute threshold. A limb in EUV stands 1 to 2 %
outside the photosphere, and a small cube blurs it: the floor, real frames against other real frames, says what is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import wasserstein_distance

from sunaug.errors import UsageError
from sunaug.lexicon import channel
from sunaug.measures.frame import COOL_CHANNEL, HOT_CHANNELS
from sunaug.measures.limb import Geometry, fit_limb, off_limb_fall
from sunaug.scaling import default_scaling

__all__ = ["Geometry", "Measurements", "compare", "fit_limb", "measure", "radial_power"]

_ORDER = (
    "total",
    "intensity",
    "power_spectrum",
    "fine_structure",
    "limb_radius",
    "limb_offset",
    "off_limb_fall",
    "hot_to_cool",
)
HISTOGRAM_BINS = 1024
FINE_BAND = 2 / 3
"""Spatial frequencies above this share of the Nyquist frequency are the fine structure."""


@cache
def _disk_window(geometry: Geometry) -> NDArray[np.float64]:
    """1 inside 0.85 radii, a cosine down to 0 at 0.98: keeps the limb's edge out of the spectrum."""
    offset = np.arange(geometry.size) - (geometry.size - 1) / 2
    share = np.hypot(offset[:, None], offset[None, :]) / geometry.disk_radius
    return 0.5 + 0.5 * np.cos(np.pi * np.clip((share - 0.85) / 0.13, 0, 1))


def radial_power(planes: NDArray[np.floating], geometry: Geometry) -> NDArray[np.float64]:
    """Azimuthally averaged power spectrum of the disk.

    Parameters
    ----------
    planes : ndarray, shape (n, y, x)
        Display-scaled frames without NaN.
    geometry : Geometry

    Returns
    -------
    ndarray of float64, shape (n, size // 2)
        Mean of |FFT|^2 of the windowed frame, its mean over the window taken off, in rings of 1, 2, ... cycles per
        frame width, up to the Nyquist frequency.
    """
    window = _disk_window(geometry)
    mean = (planes * window).sum(axis=(1, 2)) / window.sum()
    power = np.abs(np.fft.rfft2((planes - mean[:, None, None]) * window)) ** 2
    rows = np.fft.fftfreq(geometry.size, 1 / geometry.size)
    columns = np.arange(power.shape[2])
    ring = np.rint(np.hypot(rows[:, None], columns[None, :])).astype(int).ravel()
    rings = geometry.size // 2
    inside = (ring >= 1) & (ring <= rings)
    # rfft2 holds half of the plane; columns with a mirror image count twice.
    twice = np.where((columns == 0) | (2 * columns == geometry.size), 1.0, 2.0)
    weight = np.broadcast_to(twice, power.shape[1:]).ravel()[inside]
    averaging = sparse.csr_matrix(
        (weight, (ring[inside] - 1, np.arange(inside.sum()))), shape=(rings, int(inside.sum()))
    )
    total = averaging @ power.reshape(len(planes), -1)[:, inside].T
    return (total / (averaging @ np.ones(int(inside.sum())))[:, None]).T


@dataclass(frozen=True)
class Measurements:
    """The measures of a set of frames.

    Attributes
    ----------
    per_frame : dict of str to ndarray of float64, shape (n,)
        One value per frame, by the measure's name; NaN where a frame does not give one.
    histogram : dict of str to ndarray of float64, shape (bins,)
        Pixel counts of each channel.
    histogram_values : dict of str to ndarray of float64, shape (bins,)
        The bins' centres, in the measure's unit.
    log_power : dict of str to ndarray of float64, shape (size // 2,)
        Mean over frames of log10 of the radial power spectrum, by channel.
    units : dict of str to str
        Unit of every measure.
    count : int
        Number of frames.
    """

    per_frame: dict[str, NDArray[np.float64]]
    histogram: dict[str, NDArray[np.float64]]
    histogram_values: dict[str, NDArray[np.float64]]
    log_power: dict[str, NDArray[np.float64]]
    units: dict[str, str]
    count: int


def _bin_edges(name: str, intensity_scale: str) -> tuple[float, float, bool]:
    """Range of a channel's histogram in the measure's unit, and whether that is log10."""
    if intensity_scale == "browse":
        return 0.0, 1.0, False
    low, high = channel(name).clip
    return (low, high, False) if channel(name).signed else (float(np.log10(low)), float(np.log10(high)) + 1, True)


def measure(
    batches: Iterable[NDArray[np.floating]],
    channels: Sequence[str],
    intensity_scale: str,
    geometry: Geometry,
    *,
    report: Callable[[int], None] | None = None,
) -> Measurements:
    """Measure a set of frames, batch by batch.

    Per channel (magnetograms: the last three only):

    - ``limb_radius`` and ``limb_offset``: radius of the fitted disk, and distance of its centre from the frame's
      centre, in stated radii of the photosphere (`fit_limb`);
    - ``off_limb_fall``: fall of the mean intensity from 1.03 to 1.10 radii, per solar radius;
    - ``total``: mean intensity of the frame;
    - ``intensity``: all pixels' values, as a histogram;
    - ``power_spectrum``: of the disk (`radial_power`), and ``fine_structure``, log10 of its mean power in the upper
      third of the spatial frequencies.

    And ``hot_to_cool``, the total of 131 Å or 94 Å over that of 171 Å. Intensities and ratios are taken as log10 in a
    physical cube (dex), as display counts over 255 in a browse cube.

    Parameters
    ----------
    batches : iterable of ndarray, shape (n, channel, y, x)
        In the cube's units; NaN becomes the channel's lowest value.
    channels : sequence of str
        Lexicon names.
    intensity_scale : str
        The cube's attribute.
    geometry : Geometry
    report : callable, optional
        Called with the number of frames done so far.

    Raises
    ------
    UsageError
        If there is no frame.
    """
    browse = intensity_scale == "browse"
    value_unit = "counts / 255" if browse else "dex"
    per_frame: dict[str, list[NDArray[np.float64]]] = {}
    histogram: dict[str, NDArray[np.float64]] = {}
    log_power: dict[str, NDArray[np.float64]] = {}
    units: dict[str, str] = {}
    count = 0

    def keep(name: str, values: NDArray[np.float64], unit: str) -> None:
        per_frame.setdefault(name, []).append(values)
        units[name] = unit

    for batch in batches:
        totals: dict[str, NDArray[np.float64]] = {}
        for index, name in enumerate(channels):
            scaling = default_scaling([name], intensity_scale)
            low = 0.0 if channel(name).signed else scaling.low[0]
            intensity = np.nan_to_num(np.asarray(batch[:, index], np.float32), nan=low)
            share = np.clip((scaling.scale(intensity[:, None])[:, 0] + 1) / 2, 0, 1).astype(np.float64)

            begin, end, logarithmic = _bin_edges(name, intensity_scale)
            values = intensity.astype(np.float64)
            values = values / 255 if browse else np.log10(np.maximum(values, low)) if logarithmic else values
            counts, _ = np.histogram(np.clip(values, begin, end), HISTOGRAM_BINS, (begin, end))
            histogram[name] = histogram.get(name, 0.0) + counts.astype(np.float64)
            units[f"intensity {name}"] = "gauss" if channel(name).signed and not browse else value_unit

            power = np.log10(np.maximum(radial_power(share, geometry), 1e-12))
            log_power[name] = log_power.get(name, 0.0) + power.sum(axis=0)
            first = int(FINE_BAND * power.shape[1])
            keep(f"fine_structure {name}", np.log10((10 ** power[:, first:]).mean(axis=1)), "dex")
            units[f"power_spectrum {name}"] = "dex"
            if channel(name).signed:
                continue

            totals[name] = intensity.astype(np.float64).mean(axis=(1, 2))
            keep(
                f"total {name}", totals[name] / 255 if browse else np.log10(np.maximum(totals[name], 1e-6)), value_unit
            )
            radius, centre = fit_limb(share, geometry)
            keep(f"limb_radius {name}", radius / geometry.disk_radius, "stated radii")
            keep(f"limb_offset {name}", np.hypot(*centre.T) / geometry.disk_radius, "stated radii")
            fall = off_limb_fall(intensity, geometry, browse=browse, lowest=low)
            if fall is not None:
                keep(f"off_limb_fall {name}", fall, f"{value_unit} per solar radius")
        for hot in HOT_CHANNELS:
            if hot in totals and COOL_CHANNEL in totals:
                ratio = np.maximum(totals[hot], 1e-6) / np.maximum(totals[COOL_CHANNEL], 1e-6)
                unit = "ratio of counts" if browse else "dex"
                keep(f"hot_to_cool {hot}/{COOL_CHANNEL}", ratio if browse else np.log10(ratio), unit)
        count += len(batch)
        if report:
            report(count)
    if not count:
        raise UsageError("physical checks need at least one frame.")
    centres = {}
    for name in channels:
        begin, end, _ = _bin_edges(name, intensity_scale)
        edges = np.linspace(begin, end, HISTOGRAM_BINS + 1)
        centres[name] = (edges[1:] + edges[:-1]) / 2
    return Measurements(
        {name: np.concatenate(parts) for name, parts in per_frame.items()},
        histogram,
        centres,
        {name: total / count for name, total in log_power.items()},
        units,
        count,
    )


def _median(histogram: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    return float(values[np.searchsorted(np.cumsum(histogram), histogram.sum() / 2)])


def _distances(first: Measurements, second: Measurements) -> dict[str, float]:
    found = {}
    for name, values in second.per_frame.items():
        found[name] = float(wasserstein_distance(first.per_frame[name], values))
    for name, counts in second.histogram.items():
        difference = np.cumsum(first.histogram[name]) / first.histogram[name].sum() - np.cumsum(counts) / counts.sum()
        step = second.histogram_values[name][1] - second.histogram_values[name][0]
        found[f"intensity {name}"] = float(np.abs(difference).sum() * step)
    for name, power in second.log_power.items():
        found[f"power_spectrum {name}"] = float(np.abs(first.log_power[name] - power).mean())
    return found


def _typical(measurements: Measurements) -> dict[str, float]:
    found = {name: float(np.median(values)) for name, values in measurements.per_frame.items()}
    for name, counts in measurements.histogram.items():
        found[f"intensity {name}"] = _median(counts, measurements.histogram_values[name])
    for name, power in measurements.log_power.items():
        cycles = np.log10(np.arange(1, len(power) + 1))
        found[f"power_spectrum {name}"] = float(np.polyfit(cycles, power, 1)[0])
    return found


def compare(
    synthetic: Measurements, real: Measurements, other_real: Measurements | None = None
) -> dict[str, dict[str, float | str | None]]:
    """Set the measures of two sets of frames side by side.

    Parameters
    ----------
    synthetic, real : Measurements
    other_real : Measurements, optional
        Real frames of other months, for the floor.

    Returns
    -------
    dict of str to dict
        For each measure ``synthetic`` and ``real`` (the median frame; for ``power_spectrum`` the slope of log10 power
        over log10 frequency), their ``distance`` (Wasserstein-1; for ``power_spectrum`` the mean absolute difference of
        log10 power), ``floor`` (the same between `other_real` and `real`) and ``unit`` (of distance and floor).
    """
    ours, theirs = _typical(synthetic), _typical(real)
    distances = _distances(synthetic, real)
    floors = _distances(other_real, real) if other_real else {}
    return {
        name: {
            "synthetic": ours[name],
            "real": theirs[name],
            "distance": distances[name],
            "floor": floors.get(name),
            "unit": real.units[name],
        }
        for name in sorted(distances, key=lambda name: _ORDER.index(name.split(" ")[0]))
    }
