"""Damages to frames that a fidelity check has to notice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sunaug.measures.limb import Geometry
from sunaug.measures.regions import centre_distance

__all__ = ["DAMAGES", "Frames", "collapsed"]

Frames = NDArray[np.float32]
"""Display counts (n, channel, y, x) from 0 to 255."""

_SEED = 0


def blurred(frames: Frames, geometry: Geometry) -> Frames:
    """Blurred by a Gaussian of 1 pixel."""
    return np.asarray(ndimage.gaussian_filter(frames, (0, 0, 1, 1)), np.float32)


def noisy(frames: Frames, geometry: Geometry) -> Frames:
    """Normal noise of 2 % of the display range."""
    noise = np.random.default_rng(_SEED).standard_normal(frames.shape, np.float32)
    return np.clip(frames + 0.02 * 255 * noise, 0, 255)


def shifted(frames: Frames, geometry: Geometry) -> Frames:
    """Shifted by 2 pixels to the right."""
    return np.asarray(ndimage.shift(frames, (0, 0, 0, 2), order=0, mode="nearest"), np.float32)


def swapped(frames: Frames, geometry: Geometry) -> Frames:
    """Its last two channels in each other's place."""
    return frames[:, [*range(frames.shape[1] - 2), -1, -2]]


def brightened(channel: int) -> Callable[[Frames, Geometry], Frames]:
    """One channel times 1.1."""

    def brighter(frames: Frames, geometry: Geometry) -> Frames:
        changed = frames.copy()
        changed[:, channel] = np.clip(changed[:, channel] * 1.1, 0, 255)
        return changed

    return brighter


def without_regions(frames: Frames, geometry: Geometry) -> Frames:
    """Nothing on the disk and just off it brighter than the quiet Sun at this distance from the centre is."""
    distance = centre_distance(geometry)
    rings = np.minimum((distance * 40).astype(int), 60)
    flat = frames.reshape(*frames.shape[:2], -1).copy()
    for ring in range(rings.max() + 1):
        inside = rings.ravel() == ring
        if inside.any():
            ceiling = np.quantile(flat[..., inside], 0.7, axis=-1, keepdims=True)
            flat[..., inside] = np.minimum(flat[..., inside], ceiling)
    return flat.reshape(frames.shape)


def chequered(frames: Frames, geometry: Geometry) -> Frames:
    """A checkerboard of single pixels, of 1 % of the display range."""
    board = np.indices(frames.shape[-2:]).sum(axis=0) % 2
    return np.clip(frames + (0.01 * 255 * (2 * board - 1)).astype(np.float32), 0, 255)


DAMAGES: dict[str, Callable[[Frames, Geometry], Frames]] = {
    "blur of 1 px": blurred,
    "2 % noise": noisy,
    "shift of 2 px": shifted,
    "swapped channels": swapped,
    "channel 0 × 1.1": brightened(0),
    "channel 1 × 1.1": brightened(1),
    "channel 2 × 1.1": brightened(2),
    "no active regions": without_regions,
    "checkerboard of 1 %": chequered,
}


def collapsed(rows: int, kinds: int, seed: int = _SEED) -> NDArray[np.int64]:
    """Rows of a set that repeats a few of its frames: `rows` of them, of `kinds` different ones."""
    random = np.random.default_rng(seed)
    return np.asarray(random.permutation(rows)[:kinds][np.arange(rows) % kinds], np.int64)
