"""Active regions and coronal holes: where they are on the disk, and how much of it they cover.

Both are found relative to the frame's own quiet disk, so that neither the instrument's wear nor a generator's level
changes how many there are. They are measures to set frames beside each other, not a catalogue: SPoCA (Verbeeck et al.
2014, A&A 561, A29) and the HEK's modules use several channels in DN/s and follow regions from frame to frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sunaug.errors import UsageError
from sunaug.measures.limb import Geometry

__all__ = ["ActiveRegions", "Region", "active_regions", "centre_distance", "coronal_hole_area", "heliographic"]

REGION_RADII = 0.95
"""Active regions are looked for within so many radii: beyond, the brightened limb would count."""

REGION_THRESHOLD = 5.0
SMALLEST_REGION = 0.002
HOLE_RADII = 0.9
HOLE_DARKNESS = 0.5
SMALLEST_HOLE = 0.005

_SMOOTHING = 0.03
# One pixel's neighbours, diagonals too, in its own frame only: a stack of frames is labelled in one go.
_NEIGHBOURS = np.zeros((3, 3, 3), bool)
_NEIGHBOURS[1] = True


@dataclass(frozen=True)
class Region:
    """One active region.

    Attributes
    ----------
    latitude, longitude : float
        Of its centre, weighted by the excess over the quiet disk; degrees, north and west positive.
    area : float
        Share of the disk, as seen: not corrected for foreshortening, and with the rim that the smoothing adds.
    peak : float
        Its brightest pixel, in the unit of the frame.
    """

    latitude: float
    longitude: float
    area: float
    peak: float


@dataclass(frozen=True)
class ActiveRegions:
    """Active regions of a batch of frames.

    Attributes
    ----------
    number : ndarray of float64, shape (n,)
    area : ndarray of float64, shape (n,)
        Share of the disk that they cover together, as seen.
    latitude, longitude : ndarray of float64, shape (n,)
        Mean of |latitude| and of the signed longitude over their pixels, weighted by the excess over the quiet disk;
        degrees, NaN without regions.
    regions : tuple of tuple of Region
        Those of each frame, the largest first.

    All four are NaN for a frame whose disk has no pixel.
    """

    number: NDArray[np.float64]
    area: NDArray[np.float64]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    regions: tuple[tuple[Region, ...], ...]


@cache
def centre_distance(geometry: Geometry) -> NDArray[np.float64]:
    """Distance of the pixels from the frame's centre in stated radii of the photosphere, shape (y, x)."""
    offset = np.arange(geometry.size) - (geometry.size - 1) / 2
    return np.hypot(offset[:, None], offset[None, :]) / geometry.disk_radius


@cache
def heliographic(geometry: Geometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Latitude and longitude of the pixel centres, as an observer far off above the equator sees them.

    Row 0 is the south of the disk and column 0 its east, as in every cube. B0 and P are taken as 0: the real B0 goes up
    to 7.25 degrees within the year, and moves single latitudes by as much.

    Parameters
    ----------
    geometry : Geometry

    Returns
    -------
    latitude, longitude : ndarray of float64, shape (y, x)
        Degrees, north and west positive; NaN off the disk.
    """
    offset = (np.arange(geometry.size) - (geometry.size - 1) / 2) / geometry.disk_radius
    y, x = np.meshgrid(offset, offset, indexing="ij")
    off = np.hypot(x, y) >= 1
    y = np.where(off, np.nan, y)
    # Orthographic: x = cos(latitude) sin(longitude), y = sin(latitude), in radii.
    return np.degrees(np.arcsin(y)), np.degrees(np.arcsin(x / np.sqrt(1 - y**2)))


def _smoothed(
    planes: NDArray[np.floating], geometry: Geometry, disk: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """The frames smoothed by 0.03 radii, the disk's pixels that are there, and the frames which have any."""
    if planes.ndim != 3 or planes.shape[1:] != (geometry.size, geometry.size):
        raise UsageError(f"frames of shape {planes.shape}, geometry of {geometry.size} pixels: give frames (n, y, x).")
    planes = np.asarray(planes, np.float32)
    there = np.isfinite(planes)
    inside = there & disk
    measured = inside.any(axis=(1, 2))
    if not there.all():
        # The disk's median is neither a region nor a hole, and does not darken what lies next to a gap.
        planes = planes.copy()
        for plane, present, within in zip(planes, there, inside, strict=True):
            if not present.all():
                plane[~present] = np.median(plane[within]) if within.any() else 0
    sigma = _SMOOTHING * geometry.disk_radius
    return ndimage.gaussian_filter(planes, (0, sigma, sigma)), inside, measured


def _percentiles(
    smoothed: NDArray[np.float32], inside: NDArray[np.bool_], disk: NDArray[np.bool_], shares: list[float]
) -> NDArray[np.float64]:
    """Percentiles of the disk's pixels that are there, shape (share, n)."""
    found = np.percentile(smoothed[:, disk], shares, axis=1).astype(np.float64)
    there = inside.sum(axis=(1, 2))
    for index in np.flatnonzero((there > 0) & (there < disk.sum())):
        found[:, index] = np.percentile(smoothed[index][inside[index]], shares)
    return found


def _patches(mask: NDArray[np.bool_], geometry: Geometry, smallest: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Flat positions of the pixels in connected patches of at least `smallest` of the disk, and each one's patch."""
    labels, _ = ndimage.label(mask, _NEIGHBOURS)
    pixels = np.flatnonzero(labels)
    patch = labels.ravel()[pixels].astype(np.intp)
    large = np.bincount(patch, minlength=1) >= smallest * _disk_pixels(geometry)
    kept = large[patch]
    return pixels[kept], np.unique(patch[kept], return_inverse=True)[1]


def _disk_pixels(geometry: Geometry) -> float:
    return float(np.pi * geometry.disk_radius**2)


def active_regions(
    planes: NDArray[np.floating],
    geometry: Geometry,
    *,
    threshold: float = REGION_THRESHOLD,
    smallest: float = SMALLEST_REGION,
) -> ActiveRegions:
    """Find the connected bright patches of the disk, within 0.95 radii.

    The frame is smoothed by 0.03 radii. A pixel is bright above m + `threshold` s: m is the median of the frame's disk,
    s = 1.4826 (m - first quartile) its spread below the median, the standard deviation if the quiet disk were normal.
    Active regions do not enter s, as they would the median absolute deviation.

    Parameters
    ----------
    planes : ndarray, shape (n, y, x)
        One channel of the frames in any unit, on a logarithm or as display counts rather than in DN/s; NaN is neither
        bright nor quiet.
    geometry : Geometry
    threshold : float
        The default is for browse images of 94 Å; `sunaug.measures.frame.REGION_CHANNELS` has those of other channels.
    smallest : float
        Least area of a region, as a share of the disk.

    Returns
    -------
    ActiveRegions

    Raises
    ------
    UsageError
        If the frames do not have the geometry's size.
    """
    planes = np.asarray(planes)
    disk = centre_distance(geometry) <= REGION_RADII
    smoothed, inside, measured = _smoothed(planes, geometry, disk)
    quartile, median = _percentiles(smoothed, inside, disk, [25, 50])
    # On a disk without any texture the rounding of the smoothing would stand out.
    spread = np.maximum(1.4826 * (median - quartile), 1e-5 * np.abs(smoothed).max(axis=(1, 2)))
    level = median + threshold * spread
    pixels, patch = _patches((smoothed > level[:, None, None]) & inside, geometry, smallest)

    frame, place = np.divmod(pixels, geometry.size**2)
    latitude, longitude = (angle.ravel()[place] for angle in heliographic(geometry))
    excess = smoothed.ravel()[pixels].astype(np.float64) - median[frame]

    frames, patches = len(planes), int(patch.max(initial=-1)) + 1
    with np.errstate(invalid="ignore"):
        weight = np.bincount(frame, excess, frames)
        mean_latitude = np.bincount(frame, excess * np.abs(latitude), frames) / weight
        mean_longitude = np.bincount(frame, excess * longitude, frames) / weight
    owner = np.zeros(patches, np.intp)
    owner[patch] = frame
    peak = np.full(patches, -np.inf)
    np.maximum.at(peak, patch, planes.ravel()[pixels].astype(np.float64))
    weight = np.bincount(patch, excess, patches)
    found: list[list[Region]] = [[] for _ in range(frames)]
    for index, values in enumerate(
        zip(
            np.bincount(patch, excess * latitude, patches) / weight,
            np.bincount(patch, excess * longitude, patches) / weight,
            np.bincount(patch, minlength=patches) / _disk_pixels(geometry),
            peak,
            strict=True,
        )
    ):
        found[owner[index]].append(Region(*(float(value) for value in values)))
    return ActiveRegions(
        np.where(measured, np.bincount(owner, minlength=frames).astype(np.float64), np.nan),
        np.where(measured, np.bincount(frame, minlength=frames) / _disk_pixels(geometry), np.nan),
        mean_latitude,
        mean_longitude,
        tuple(tuple(sorted(regions, key=lambda region: -region.area)) for regions in found),
    )


def coronal_hole_area(
    planes: NDArray[np.floating],
    geometry: Geometry,
    *,
    darkness: float = HOLE_DARKNESS,
    smallest: float = SMALLEST_HOLE,
) -> NDArray[np.float64]:
    """Share of the disk, within 0.9 radii, that is covered by large dark patches.

    A proxy. In 193 and 211 Å these are coronal holes, with the largest filament channels among them; in 171 Å holes
    hardly differ from the quiet Sun, and filament channels and the gaps around active regions count as much. Holes at
    the poles lie mostly beyond 0.9 radii.

    Parameters
    ----------
    planes : ndarray, shape (n, y, x)
        One channel of the frames, in DN/s or display counts (not on a logarithm: a share of it has no meaning).
    geometry : Geometry
    darkness : float
        A pixel is dark below this share of the frame's median on the disk, after smoothing by 0.03 radii. The default
        is for browse images of 193 Å; `sunaug.measures.frame.HOLE_CHANNELS` has those of other channels.
    smallest : float
        Least area of a hole, as a share of the disk.

    Returns
    -------
    ndarray of float64, shape (n,)
        Share of the disk within 0.9 radii; NaN for a frame whose disk has no pixel.

    Raises
    ------
    UsageError
        If the frames do not have the geometry's size.
    """
    disk = centre_distance(geometry) <= HOLE_RADII
    smoothed, inside, measured = _smoothed(np.asarray(planes), geometry, disk)
    level = darkness * _percentiles(smoothed, inside, disk, [50])[0]
    pixels, _ = _patches((smoothed < level[:, None, None]) & inside, geometry, smallest)
    dark = np.bincount(pixels // geometry.size**2, minlength=len(planes))
    return np.where(measured, dark / disk.sum(), np.nan)
