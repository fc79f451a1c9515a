"""The disk's edge: its radius and centre, and how the corona fades off the limb."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from sunaug.errors import UsageError

__all__ = ["OFF_LIMB", "Geometry", "LimbShape", "fit_limb", "limb_shape", "off_limb_fall", "polar", "polar_grid"]

OFF_LIMB = (1.03, 1.10)
"""Heights between which the corona off the limb is measured, in radii of the photosphere."""

_N_ANGLES = 120
_LIMB_SEARCH = (0.88, 1.12)
_RADIUS_STEP = 0.5
_LIMB_SMOOTHING = 1.0
_LIMB_REACH = 0.12
_CLIP_ROUNDS, _CLIP_SIGMA = 3, 2.5


@dataclass(frozen=True)
class Geometry:
    """The frames' size and the stated radius of the photosphere, both in pixels."""

    size: int
    disk_radius: float

    def __post_init__(self) -> None:
        if self.size < 16 or not self.disk_radius > 4:
            raise UsageError(
                f"frames of {self.size} pixels with a disk of {self.disk_radius:g} are too small for physical checks; "
                "give frames of 16 pixels and more."
            )


@cache
def polar_grid(geometry: Geometry) -> tuple[NDArray[np.float64], NDArray[np.float64], sparse.csr_matrix]:
    """Angles, radii (pixels) around the frame's centre, and the matrix that samples a flat frame there bilinearly."""
    centre = (geometry.size - 1) / 2
    outermost = min(_LIMB_SEARCH[1] * geometry.disk_radius + 2, centre)
    steps = int((outermost - _LIMB_SEARCH[0] * geometry.disk_radius + 2) / _RADIUS_STEP)
    radii = outermost - np.arange(steps, -1, -1, dtype=np.float64) * _RADIUS_STEP
    angles = np.arange(_N_ANGLES) * 2 * np.pi / _N_ANGLES
    x = (centre + np.outer(np.cos(angles), radii)).ravel()
    y = (centre + np.outer(np.sin(angles), radii)).ravel()
    left = np.clip(np.floor(x).astype(int), 0, geometry.size - 2)
    low = np.clip(np.floor(y).astype(int), 0, geometry.size - 2)
    right_share, high_share = x - left, y - low
    corners = [
        (low + dy, left + dx, (high_share if dy else 1 - high_share) * (right_share if dx else 1 - right_share))
        for dy in (0, 1)
        for dx in (0, 1)
    ]
    rows = np.tile(np.arange(len(x)), 4)
    columns = np.concatenate([row * geometry.size + column for row, column, _ in corners])
    weights = np.concatenate([weight for _, _, weight in corners])
    return angles, radii, sparse.csr_matrix((weights, (rows, columns)), shape=(len(x), geometry.size**2))


def polar(planes: NDArray[np.floating], geometry: Geometry) -> NDArray[np.float64]:
    """Planes (n, y, x) on the polar grid, shape (n, angle, radius)."""
    angles, radii, sampling = polar_grid(geometry)
    sampled = sampling @ planes.reshape(len(planes), geometry.size**2).T.astype(np.float64)
    return np.ascontiguousarray(sampled.T).reshape(len(planes), len(angles), len(radii))


def fit_limb(planes: NDArray[np.floating], geometry: Geometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Radius and centre of the disk, from the steepest radial fall of brightness at 120 position angles.

    The edge r(a) is fitted with R + dx cos(a) + dy sin(a) by least squares; angles where a loop or an active region
    behind the limb moves the edge are clipped at 2.5 standard deviations, three times over.

    Off the limb the corona fades slowly, so blurring moves the steepest fall outwards: on real frames of 64 pixels by
    about 1 pixel against the same frames at 472. The radius is only good for setting frames of one size side by side.

    Parameters
    ----------
    planes : ndarray, shape (n, y, x)
        Display-scaled frames without NaN.
    geometry : Geometry

    Returns
    -------
    radius : ndarray of float64, shape (n,)
        Pixels.
    centre : ndarray of float64, shape (n, 2)
        x and y of the disk's centre from the frame's centre, pixels.
    """
    angles = polar_grid(geometry)[0]
    edge, _ = _edges(planes, geometry)
    solution = _harmonics(edge, angles, 1)
    return solution[:, 0], solution[:, 1:]


@dataclass(frozen=True)
class LimbShape:
    """The limb of some frames.

    Attributes
    ----------
    radius : ndarray of float64, shape (n,)
        Pixels, as `fit_limb` gives it.
    centre : ndarray of float64, shape (n, 2)
        x and y of the disk's centre from the frame's centre, pixels, as `fit_limb` gives it.
    ellipticity : ndarray of float64, shape (n,)
        Flattening (a - b) / a of the disk, 0 for a circle.
    width : ndarray of float64, shape (n,)
        Full width at half maximum of the brightness gradient across the limb, pixels.
    """

    radius: NDArray[np.float64]
    centre: NDArray[np.float64]
    ellipticity: NDArray[np.float64]
    width: NDArray[np.float64]


def limb_shape(planes: NDArray[np.floating], geometry: Geometry) -> LimbShape:
    """Radius, centre, ellipticity and width of the limb.

    An ellipse of semi-axes a > b is r(t) = R + e cos 2(t - t0), to first order in a - b, with a - b = 2 e. So the edges
    of `fit_limb` are fitted with the second harmonic as well, and the ellipticity is 2 e / R.

    The width is measured on the mean over all position angles of the radial gradient, each shifted so that the fitted
    edge (offset and ellipticity with it) lies at the same place. It holds the smoothing by 1 pixel of `fit_limb`. Where
    the gradient does not fall to one half within the frame or 12 % of the radius, the width ends there.

    Parameters
    ----------
    planes : ndarray, shape (n, y, x)
        Display-scaled frames without NaN.
    geometry : Geometry

    Returns
    -------
    LimbShape
    """
    angles, radii, _ = polar_grid(geometry)
    edge, gradient = _edges(planes, geometry)
    circle, ellipse = _harmonics(edge, angles, 1), _harmonics(edge, angles, 2)
    ellipticity = 2 * np.hypot(ellipse[:, 3], ellipse[:, 4]) / np.maximum(ellipse[:, 0], 1e-9)

    reach = int(_LIMB_REACH * geometry.disk_radius / _RADIUS_STEP)
    at = np.rint((ellipse @ _basis(angles, 2).T - radii[0]) / _RADIUS_STEP).astype(int)
    places = np.clip(at[:, :, None] + np.arange(-reach, reach + 1), 0, len(radii) - 1)
    fall = -np.take_along_axis(gradient, places, axis=2).mean(axis=1)
    return LimbShape(circle[:, 0], circle[:, 1:], ellipticity, _half_width(fall) * _RADIUS_STEP)


def _edges(planes: NDArray[np.floating], geometry: Geometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Radius of the steepest fall at each position angle, pixels, shape (n, angle), and the gradient on the grid."""
    radii = polar_grid(geometry)[1]
    around = ndimage.gaussian_filter(
        polar(planes, geometry),
        (0, 1, _LIMB_SMOOTHING / _RADIUS_STEP),
        mode=("nearest", "wrap", "nearest"),
    )
    gradient = np.gradient(around, axis=2)
    steepest = np.clip(gradient.argmin(axis=2), 1, len(radii) - 2)
    before, at, after = (
        np.take_along_axis(gradient, (steepest + step)[:, :, None], axis=2)[:, :, 0] for step in (-1, 0, 1)
    )
    # A parabola through the three gradients puts the edge between the samples.
    curvature = before - 2 * at + after
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.where(curvature > 0, 0.5 * (before - after) / curvature, 0.0)
    return radii[steepest] + np.clip(shift, -1, 1) * _RADIUS_STEP, gradient


def _basis(angles: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """1, cos a, sin a, cos 2a, ... up to a harmonic, shape (angle, term)."""
    waves = [wave(number * angles) for number in range(1, order + 1) for wave in (np.cos, np.sin)]
    return np.stack([np.ones_like(angles), *waves], axis=1)


def _harmonics(edge: NDArray[np.float64], angles: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """Least-squares coefficients of the edges in `_basis`, outliers clipped, shape (n, term)."""
    basis = _basis(angles, order)
    terms = basis.shape[1]
    weight = np.ones_like(edge)
    for _ in range(_CLIP_ROUNDS + 1):
        normal = np.einsum("na,ai,aj->nij", weight, basis, basis)
        solution = np.linalg.solve(
            normal + 1e-9 * np.eye(terms), np.einsum("na,na,ai->ni", weight, edge, basis)[:, :, None]
        )[:, :, 0]
        residual = edge - solution @ basis.T
        spread = 1.4826 * np.median(np.abs(residual), axis=1, keepdims=True)
        weight = (np.abs(residual) <= _CLIP_SIGMA * np.maximum(spread, 0.05)).astype(np.float64)
    return solution


def _half_width(profile: NDArray[np.float64]) -> NDArray[np.float64]:
    """Full width at half maximum of the highest peak of each row, in samples; the row's ends bound it."""
    steps = np.arange(profile.shape[1])
    peak = profile.argmax(axis=1)
    half = np.take_along_axis(profile, peak[:, None], axis=1) / 2
    above = profile >= half
    # First sample below one half on either side of the peak.
    left = np.where(~above & (steps < peak[:, None]), steps, -1).max(axis=1)
    right = np.where(~above & (steps > peak[:, None]), steps, len(steps)).min(axis=1)
    rows = np.arange(len(profile))

    def crossing(low: NDArray[np.intp], inner: NDArray[np.intp]) -> NDArray[np.float64]:
        below, over = profile[rows, low], profile[rows, inner]
        rise = np.where(over > below, over - below, 1)
        return low + (inner - low) * (half[:, 0] - below) / rise

    last = len(steps) - 1
    start = np.where(left >= 0, crossing(np.maximum(left, 0), np.maximum(left, 0) + 1), 0.0)
    end = np.where(right <= last, crossing(np.minimum(right, last), np.minimum(right, last) - 1), float(last))
    return end - start


def off_limb_fall(
    intensity: NDArray[np.float32], geometry: Geometry, *, browse: bool, lowest: float
) -> NDArray[np.float64] | None:
    """Fall of the mean intensity around the Sun between two heights; None where the frame does not reach that far."""
    _, radii, _ = polar_grid(geometry)
    near, far = (share * geometry.disk_radius for share in OFF_LIMB)
    if radii[-1] < far:
        return None
    profile = polar(intensity, geometry).mean(axis=1)
    profile = profile / 255 if browse else np.log10(np.maximum(profile, lowest))
    # Linear interpolation at both heights, for all frames at once.
    ends = []
    for height in (near, far):
        index = min(int((height - radii[0]) / _RADIUS_STEP), len(radii) - 2)
        share = (height - radii[index]) / _RADIUS_STEP
        ends.append((1 - share) * profile[:, index] + share * profile[:, index + 1])
    return (ends[0] - ends[1]) / (OFF_LIMB[1] - OFF_LIMB[0])
