"""Saturation: how much of a frame is at the top of its range, and what the largest such patch looks like.

A saturated flare on AIA bleeds along the columns of the CCD and throws a diffraction cross; elsewhere saturated patches
are small and roundish. A generator that paints large flat round ones, or none, is noticed here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sunaug.fidelity.physics.columns import Table
from sunaug.fidelity.physics.planes import Plane

__all__ = ["SATURATED_COUNTS", "SATURATED_SHARE", "saturation"]

SATURATED_COUNTS = 250.0
"""Browse counts from which a pixel is near saturation: means over a pixel's footprint seldom reach 255 themselves."""

SATURATED_SHARE = 0.9
"""Share of the lexicon's upper limit from which a pixel of a physical cube is near saturation."""

SMALLEST_PATCH = 4
"""Pixels that a patch needs to have a shape."""

# One pixel's neighbours, diagonals too, in its own frame only: a stack of frames is labelled in one go.
_NEIGHBOURS = np.zeros((3, 3, 3), bool)
_NEIGHBOURS[1] = True


def saturation(planes: Sequence[Plane]) -> Table:
    """Saturation of each channel CH that is not a magnetogram.

    - ``saturated_share CH``: pixels near saturation, as a share of the frame;
    - ``saturated_patch CH``: area of the largest connected patch of them (neighbours along the diagonal count), as a
      share of the disk; 0 without any;
    - ``saturated_elongation CH``: long over short axis of the ellipse with the patch's second moments, 1 for a round
      one, large for bleeding or a streak; NaN for a patch of fewer than 4 pixels;
    - ``saturated_compactness CH``: a / (2 pi (m20 + m02)), a the area, m the central second moments over the area: 1
      for a full circle, less for all that is long, ragged or hollow (Zunic, Hirota & Rosin 2010, Pattern Recognition
      43, 47); NaN as above.

    Parameters
    ----------
    planes : sequence of Plane
    """
    table: Table = {}
    for plane in planes:
        if plane.channel.signed:
            continue
        level = SATURATED_COUNTS if plane.browse else SATURATED_SHARE * plane.channel.clip[1]
        mask = plane.intensity >= np.float32(level)
        if plane.there is not None:
            mask &= plane.there
        area, elongation, compactness = _largest_patch(mask)
        disk = np.pi * plane.geometry.disk_radius**2
        for name, values, unit in (
            ("share", mask.mean(axis=(1, 2)), "share of the frame"),
            ("patch", area / disk, "share of the disk"),
            ("elongation", elongation, "ratio of axes"),
            ("compactness", compactness, "1"),
        ):
            table[f"saturated_{name} {plane.name}"] = plane.scalar(values, unit, "saturation")
    return dict(sorted(table.items(), key=lambda item: _ORDER.index(item[0].split(" ")[0])))


_ORDER = [f"saturated_{name}" for name in ("share", "patch", "elongation", "compactness")]


def _largest_patch(
    mask: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Pixels, elongation and compactness of each frame's largest patch, shape (n,) each."""
    frames = len(mask)
    area, elongation, compactness = np.zeros(frames), np.full(frames, np.nan), np.full(frames, np.nan)
    busy = np.flatnonzero(mask.any(axis=(1, 2)))
    if not len(busy):
        return area, elongation, compactness
    labels, patches = ndimage.label(mask[busy], _NEIGHBOURS)
    frame, y, x = np.nonzero(labels)
    patch = labels[frame, y, x] - 1
    pixels = np.bincount(patch, minlength=patches).astype(np.float64)
    owner = np.zeros(patches, np.intp)
    owner[patch] = frame
    # Of each frame the last in order of size; among equals the first that was labelled.
    order = np.lexsort((-np.arange(patches), pixels, owner))
    largest = order[np.append(np.flatnonzero(np.diff(owner[order])), patches - 1)]
    area[busy[owner[largest]]] = pixels[largest]

    mean_x, mean_y = (np.bincount(patch, place, patches) / pixels for place in (x, y))
    dx, dy = x - mean_x[patch], y - mean_y[patch]
    # A pixel is a square, not a point: 1/12 is its own moment.
    xx, yy = (np.bincount(patch, one**2, patches) / pixels + 1 / 12 for one in (dx, dy))
    xy = np.bincount(patch, dx * dy, patches) / pixels
    half, root = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    shaped = largest[pixels[largest] >= SMALLEST_PATCH]
    elongation[busy[owner[shaped]]] = np.sqrt((half + root) / (half - root))[shaped]
    compactness[busy[owner[shaped]]] = (pixels / (2 * np.pi * (xx + yy)))[shaped]
    return area, elongation, compactness
