"""How far a figure may be from real frames: as far as real frames of another season are.

The same figures are made of sets of real frames in the samples' place: windows of the train months whose frames follow
each other in time, as many frames with the same mix of conditions, against the same validation frames. A limit lies
above the median window by as much as the most unusual one does, times what it takes for each window to pass in this
figure when it is left out (at least 1), times what it takes for nine in ten of them to pass in all figures at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch

import numpy as np
from numpy.typing import NDArray

from sunaug.fidelity.memorisation import copies
from sunaug.fidelity.policy import Policy
from sunaug.fidelity.reference import Looked, Reference

__all__ = ["allowance", "limits_of", "rooms"]

_GEOMETRY = ("limb_radius *", "limb_offset *", "limb_width *", "limb_ellipticity *")
_ONE_BY_ONE = ("memorisation", "claims")
"""Families without a part in the allowance for many figures at once: what they are about (copies, disobedience) is not
to be let pass."""

_OVERLAPS = ("precision", "recall", "coverage")
"""Measures without a part in it, either: kinds of frames that are missing, or that no real month has, are not to be let
pass."""

_PARTS = 6
_FEWEST = 5
"""Real windows that a limit needs."""


def rooms(windows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median and room above it of figures (windows, k) of which less is better; no room if fewer than 5 have one.

    The room reaches to the largest window, and as much further as it takes for each window to lie within what the
    others give.
    """
    middle, room = np.full((2, windows.shape[1]), np.nan)
    for column, values in enumerate(windows.T):
        values = values[np.isfinite(values)]
        if len(values) < _FEWEST:
            continue
        needed = 1.0
        for left_out in range(len(values)):
            others = np.delete(values, left_out)
            centre, reach = np.median(others), others.max() - np.median(others)
            if reach > 0:
                needed = max(needed, float((values[left_out] - centre) / reach))
        middle[column] = np.median(values)
        room[column] = needed * (values.max() - middle[column])
    return middle, room


def allowance(windows: NDArray[np.float64], confidence: float) -> float:
    """Times the room that it takes for a share of the windows (windows, k) to pass in all figures when left out."""
    worst = []
    for left_out in range(len(windows)):
        middle, room = rooms(np.delete(windows, left_out, axis=0))
        excess = (windows[left_out] - middle) / np.where(room > 0, room, np.nan)
        worst.append(np.nanmax(excess) if np.isfinite(excess).any() else 0.0)
    return float(max(1.0, np.quantile(worst, confidence))) if worst else 1.0


def _range(name: str) -> tuple[float, float]:
    """The smallest and the largest value that a figure can have, as far as it is bounded."""
    bounded = ("precision", "recall", "coverage", "copies", "authenticity", "membership")
    measure = name.split(" ")[0]
    if measure in bounded:
        return 0.0, 1.0
    # Less than nothing obeyed is no claim: a real frame's label that cannot be read sets no limit.
    return (0.0 if measure in ("obeys", "density") else -np.inf), np.inf


def _copy_shares(validation: Looked, names: Sequence[str]) -> NDArray[np.float64]:
    """Share of copies among the validation frames, in six parts that follow each other in time: (6, names)."""
    parts = np.array_split(np.arange(len(validation)), _PARTS)
    kinds = {"copies pixels": validation.pixels.distance, "copies features": validation.features.distance}
    return np.array([[copies(kinds[name][rows], kinds[name]) for name in names] for rows in parts])


def limits_of(
    names: Sequence[str],
    families: Sequence[str],
    gating: NDArray[np.bool_],
    signs: NDArray[np.float64],
    windows: NDArray[np.float64],
    reference: Reference,
    policy: Policy,
) -> NDArray[np.float64]:
    """The limits of all figures, of which less is better.

    Parameters
    ----------
    names, families : sequence of str, length k
    gating : ndarray of bool, shape (k,)
        Which of them a set is refused for.
    signs : ndarray, shape (k,)
        -1 for figures that were turned round, since more of them is better.
    windows : ndarray, shape (n, k)
        What real windows have, turned round likewise.
    reference : Reference
    policy : Policy

    Returns
    -------
    ndarray of float64, shape (k,)
        NaN where real frames set none.
    """
    middle, room = rooms(windows)
    copied = np.array([name.startswith("copies ") for name in names])
    if copied.any():
        # What counts as a copy is set by the validation frames: their own months tell how it scatters.
        shares = _copy_shares(reference.validation, [name for name in names if name.startswith("copies ")])
        middle[copied], room[copied] = rooms(shares)
    one_by_one = np.isin(families, _ONE_BY_ONE) | np.array([name.split(" ")[0] in _OVERLAPS for name in names])
    together = allowance(windows[:, gating & ~one_by_one], policy.confidence)
    limits = middle + np.where(one_by_one, 1.0, together) * room
    on_limb = [any(fnmatch(name, pattern) for pattern in _GEOMETRY) for name in names]
    limits = np.where(on_limb, np.maximum(limits, policy.geometry_pixels / reference.disk_radius), limits)
    # A limit that no set could miss is none: the largest that a figure can be, turned round where less is worse.
    ranges = np.array([_range(name) for name in names])
    largest = np.where(signs < 0, -ranges[:, 0], ranges[:, 1])
    return np.where(limits >= largest, np.nan, limits)
