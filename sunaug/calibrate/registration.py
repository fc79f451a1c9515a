"""Registration: centring, north up, and scaling to a fixed disk radius in one area-true resampling.

Each pixel of the frame is the mean of the source over the pixel's footprint, so a frame holds surface brightness, and
its sum times the footprint's area (in source pixels) is the flux of the source. Resampling twice would blur twice, so
centre, roll and scale are applied together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.sparse import csr_array

from sunaug.sources import DiskGeometry

_ROLL_LIMIT_PIXELS = 0.05
"""Largest displacement by roll at the frame's edge, in source pixels, that is left uncorrected."""
_SAMPLES_PER_SOURCE_PIXEL = 1.5


def overlap_weights(n_source: int, edges: NDArray[np.float64]) -> csr_array:
    """Share of each frame pixel's footprint that lies on each source pixel, along one axis.

    Sparse, because a dense product would wake BLAS threads in every Dask thread at once, and they fight: measured,
    twenty times slower on two cores.

    Parameters
    ----------
    n_source : int
        Number of source pixels; pixel k covers [k - 1/2, k + 1/2].
    edges : ndarray, shape (n + 1,)
        Borders of the footprints in source pixels, ascending.

    Returns
    -------
    sparse array, shape (n, n_source)
        Rows sum to 1, and to less where a footprint leaves the source.
    """
    borders = np.arange(n_source + 1) - 0.5
    low = np.maximum(edges[:-1, None], borders[None, :-1])
    high = np.minimum(edges[1:, None], borders[None, 1:])
    return csr_array(np.clip(high - low, 0, None) / np.diff(edges)[:, None])


def mean_over_footprints(image: NDArray[np.floating], rows: csr_array, columns: csr_array) -> NDArray[np.float64]:
    """Mean of an image (y, x) over footprints; NaN where one leaves the image."""
    frame = np.asarray((columns @ (rows @ image.astype(np.float64)).T).T)
    # Rounding must not throw the outermost pixel away where footprint and source end together.
    frame[rows.sum(axis=1) < 1 - 1e-6] = np.nan
    frame[:, columns.sum(axis=1) < 1 - 1e-6] = np.nan
    return frame


def register(
    image: NDArray[np.float32], geometry: DiskGeometry, size: int, disk_radius: float
) -> tuple[NDArray[np.float32], float]:
    """Resample an image to a frame with the disk centred, north up and of a fixed radius.

    Parameters
    ----------
    image : ndarray, shape (y, x)
        NaN where missing.
    geometry : DiskGeometry
        Where the disk lies on `image`.
    size : int
        Width and height of the frame.
    disk_radius : float
        Radius of the photosphere in the frame's pixels.

    Returns
    -------
    frame : ndarray of float32, shape (size, size)
        Mean over each pixel's footprint; NaN where the footprint leaves the image or touches a missing pixel.
    pixel_area : float
        Area of a footprint in source pixels.
    """
    missing = np.isnan(image)
    any_missing = bool(missing.any())
    filled = np.where(missing, np.float32(0), image) if any_missing else image
    scale = geometry.to_pixels / disk_radius
    area = float(abs(np.linalg.det(scale)))
    roll = max(abs(scale[0, 1]), abs(scale[1, 0])) * size / 2
    if roll < _ROLL_LIMIT_PIXELS and scale[0, 0] > 0 and scale[1, 1] > 0:
        borders = np.arange(size + 1) - size / 2
        columns = overlap_weights(image.shape[1], geometry.centre[0] + borders * scale[0, 0])
        rows = overlap_weights(image.shape[0], geometry.centre[1] + borders * scale[1, 1])
        frame = mean_over_footprints(filled, rows, columns)
        if any_missing:
            frame[mean_over_footprints(missing.astype(np.float32), rows, columns) > 1e-9] = np.nan
        return frame.astype(np.float32), area
    return _register_rolled(filled, missing if any_missing else None, geometry, size, scale), area


def _register_rolled(
    filled: NDArray[np.float32],
    missing: NDArray[np.bool_] | None,
    geometry: DiskGeometry,
    size: int,
    scale: NDArray[np.float64],
) -> NDArray[np.float32]:
    """The same with a roll: the mean over a regular grid of points in each footprint, linear between source pixels."""
    per_pixel = max(2, int(np.ceil(_SAMPLES_PER_SOURCE_PIXEL * np.sqrt(abs(np.linalg.det(scale))))))
    points = (np.arange(size * per_pixel) + 0.5) / per_pixel - size / 2
    frame = np.empty((size, size), dtype=np.float32)
    absent = None if missing is None else missing.astype(np.float32)
    for row in range(size):
        # Row by row: all points of a 4096-pixel source at once would take gigabytes.
        north = points[row * per_pixel : (row + 1) * per_pixel, None]
        place = [
            geometry.centre[1] + scale[1, 0] * points[None] + scale[1, 1] * north,
            geometry.centre[0] + scale[0, 0] * points[None] + scale[0, 1] * north,
        ]
        values = map_coordinates(filled, place, order=1, mode="constant", cval=np.nan, prefilter=False)
        if absent is not None:
            values[map_coordinates(absent, place, order=1, mode="nearest", prefilter=False) > 0] = np.nan
        frame[row] = values.reshape(per_pixel, size, per_pixel).mean(axis=(0, 2))
    return frame
