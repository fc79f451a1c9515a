"""Spatial frequencies: the power spectrum of the disk and of its parts, fine structure, and traces of upsampling.

Networks that upsample leave power at the corner and the edges of the frequency plane, where the rings of a radial
average hardly reach or do not reach at all (Durall, Keuper & Keuper 2020, arXiv:2003.01826; Zhang, Karaman & Chang
2019, arXiv:1907.06515). So these frequencies have columns of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, sparse

from sunaug.fidelity.physics.columns import Table
from sunaug.fidelity.physics.planes import Plane
from sunaug.measures.limb import Geometry
from sunaug.measures.regions import centre_distance

__all__ = ["ANNULI", "FINE_BAND", "SLOPE_BAND", "radial_power", "spectrum"]

ANNULI = {"centre": (0.0, 0.5), "middle": (0.5, 0.8), "rim": (0.8, 0.98)}
"""Parts of the disk with a spectrum of their own, in radii."""

FINE_BAND = 2 / 3
"""Spatial frequencies above this share of the Nyquist frequency are the fine structure."""

SLOPE_BAND = (0.1, 0.8)
"""Shares of the Nyquist frequency between which the slope is fitted."""

_DISK = (-1.0, 0.915)
# Width of the cosine at a window's edge, in radii: for the disk it runs from 0.85 to 0.98.
_TAPER = 0.13
_FAINTEST = 1e-12
# A peak of the disk's window is about two frequencies wide.
_PEAK, _AROUND = 1.5, (3.0, 9.0)


@dataclass(frozen=True)
class _Rings:
    """Frequencies of `rfft2`, as matrices that average the flat power plane: shape (averages, frequencies)."""

    radial: sparse.csr_matrix
    corner: sparse.csr_matrix
    peaks: sparse.csr_matrix
    around: sparse.csr_matrix


@cache
def _window(geometry: Geometry, inner: float, outer: float) -> NDArray[np.float32]:
    """1 between two radii, a cosine of 0.13 radii around each of them, 0 beyond."""
    distance = centre_distance(geometry)
    rise = np.clip((distance - inner) / _TAPER + 0.5, 0, 1) if inner > 0 else 1.0
    fall = np.clip((outer - distance) / _TAPER + 0.5, 0, 1)
    return ((0.5 - 0.5 * np.cos(np.pi * rise)) * (0.5 - 0.5 * np.cos(np.pi * fall))).astype(np.float32)


@cache
def _rings(size: int) -> _Rings:
    rows = np.fft.fftfreq(size, 1 / size)
    columns = np.arange(size // 2 + 1)
    # rfft2 holds half of the plane; columns with a mirror image count twice.
    twice = np.broadcast_to(np.where((columns == 0) | (2 * columns == size), 1.0, 2.0), (size, len(columns)))
    frequency = np.hypot(rows[:, None], columns)
    ring = np.rint(frequency).astype(int)
    half = size // 2

    def averages(masks: list[NDArray[np.bool_]]) -> sparse.csr_matrix:
        weights = np.stack([np.where(mask, twice, 0).ravel() for mask in masks])
        return sparse.csr_matrix((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))

    peaks, around = [], []
    for y, x in ((half, half), (half, 0), (0, half)):
        # Distance on the torus of frequencies: the Nyquist row and column are their own mirror images.
        down = np.abs(rows[:, None] - y) % size
        across = np.abs(columns - x)
        away = np.hypot(np.minimum(down, size - down), across)
        peaks.append(away <= _PEAK)
        around.append((away >= _AROUND[0]) & (away <= _AROUND[1]))
    return _Rings(
        averages([ring == number for number in range(1, half + 1)]),
        averages([(ring > half) & ~peaks[0]]),
        averages(peaks),
        averages(around),
    )


def _power(planes: NDArray[np.floating], window: NDArray[np.float32]) -> NDArray[np.float32]:
    """|FFT|^2 of the windowed frames, their mean over the window taken off, flat: shape (frequencies, n)."""
    planes = planes.astype(np.float32, copy=False)
    mean = (planes.reshape(len(planes), -1) @ (window / window.sum(dtype=np.float64)).ravel().astype(np.float32))[
        :, None, None
    ]
    transformed = fft.rfft2((planes - mean) * window)
    return (transformed.real**2 + transformed.imag**2).reshape(len(planes), -1).T


def radial_power(
    planes: NDArray[np.floating], geometry: Geometry, inner: float = _DISK[0], outer: float = _DISK[1]
) -> NDArray[np.float32]:
    """Azimuthally averaged power spectrum of the disk, or of an annulus of it.

    Parameters
    ----------
    planes : ndarray, shape (n, y, x)
        Display-scaled frames without NaN.
    geometry : Geometry
    inner, outer : float
        Radii at which the window is at one half; its edge is a cosine 0.13 radii wide. An `inner` of 0 or less has no
        edge. By default the disk up to 0.98 radii, which keeps the limb out of the spectrum.

    Returns
    -------
    ndarray of float32, shape (n, size // 2)
        Mean of |FFT|^2 of the windowed frame, its mean over the window taken off, in rings of 1, 2, ... cycles per
        frame width, up to the Nyquist frequency.
    """
    return (_rings(geometry.size).radial @ _power(planes, _window(geometry, inner, outer))).T


def spectrum(planes: Sequence[Plane]) -> Table:
    """Spatial frequencies of each channel CH, on frames scaled as they are shown (0 to 1).

    - ``power_spectrum CH`` (curve): log10 of the disk's radial power (`radial_power`), over cycles per frame width;
    - ``power_spectrum_centre CH``, ``_middle``, ``_rim`` (curves): the same within 0.5 radii, from 0.5 to 0.8, and from
      0.8 to 0.98;
    - ``spectral_slope CH`` (scalar): of log10 power over log10 frequency from 0.1 to 0.8 of the Nyquist frequency, by
      least squares;
    - ``fine_structure CH`` (scalar): log10 of the mean power of the rings above 2/3 of the Nyquist frequency;
    - ``corner_structure CH`` (scalar): log10 of the mean power beyond the last ring, the corner itself left out: what
      is finer than a pixel along the diagonals;
    - ``checkerboard CH`` (scalar): log10 of the power within 1.5 frequencies of (Nyquist, Nyquist) over that of the
      frequencies 3 to 9 away;
    - ``stripes CH`` (scalar): the same at (Nyquist, 0) and (0, Nyquist), the larger of the two.

    Parameters
    ----------
    planes : sequence of Plane
    """
    if not planes:
        return {}
    geometry = planes[0].geometry
    rings = _rings(geometry.size)
    frequency = np.arange(1, geometry.size // 2 + 1, dtype=np.float64)
    table: Table = {}
    for plane in planes:

        def scalar(measure: str, values: NDArray[np.floating], unit: str = "dex", plane: Plane = plane) -> None:
            table[f"{measure} {plane.name}"] = plane.scalar(values, unit, "spectrum")

        def curve(measure: str, power: NDArray[np.floating], plane: Plane = plane) -> None:
            values = np.log10(np.maximum(power, _FAINTEST))
            table[f"{measure} {plane.name}"] = plane.curve(values, "dex", frequency, "cycles per frame", "spectrum")

        power = _power(plane.display, _window(geometry, *_DISK))
        radial = (rings.radial @ power).T
        curve("power_spectrum", radial)
        for part, (inner, outer) in ANNULI.items():
            curve(f"power_spectrum_{part}", radial_power(plane.display, geometry, inner, outer))
        scalar("spectral_slope", _slope(np.log10(np.maximum(radial, _FAINTEST)), frequency), "dex per dex")
        scalar("fine_structure", _log(radial[:, int(FINE_BAND * len(frequency)) :].mean(axis=1)))
        scalar("corner_structure", _log((rings.corner @ power)[0]))
        corner, across, down = _log(rings.peaks @ power) - _log(rings.around @ power)
        scalar("checkerboard", corner)
        scalar("stripes", np.maximum(across, down))
    return dict(sorted(table.items(), key=lambda item: _ORDER.index(item[0].split(" ")[0])))


_ORDER = [
    "power_spectrum",
    *(f"power_spectrum_{part}" for part in ANNULI),
    "spectral_slope",
    "fine_structure",
    "corner_structure",
    "checkerboard",
    "stripes",
]


def _log(power: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.log10(np.maximum(power.astype(np.float64), _FAINTEST))


def _slope(log_power: NDArray[np.floating], frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    band = (frequency >= SLOPE_BAND[0] * frequency[-1]) & (frequency <= SLOPE_BAND[1] * frequency[-1])
    abscissa = np.log10(frequency[band])
    abscissa -= abscissa.mean()
    return (log_power[:, band].astype(np.float64) @ abscissa) / (abscissa @ abscissa)
