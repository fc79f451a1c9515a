"""Checks of single samples: which of them lie beyond what any real frame shows?"""

from __future__ import annotations

from fnmatch import fnmatch

import numpy as np
from numpy.typing import NDArray

from sunaug.fidelity.reference import Looked, Reference

__all__ = ["SAMPLE_COLUMNS", "check_samples"]

SAMPLE_COLUMNS = (
    "limb_radius *",
    "limb_offset *",
    "limb_width *",
    "limb_ellipticity *",
    "checkerboard *",
    "straight_edges*",
)
"""Measures in which a single sample has to lie where real frames do."""

_WITHOUT_MARGIN = ("straight_edges*",)
"""Of these, measures that a sample is rejected for as soon as it has more than any real frame: with no natural spread
that would carry unseen frames beyond the thousands that were seen, a margin would let cuts pass."""


def check_samples(samples: Looked, reference: Reference) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Samples to reject: further from all real frames, or nearer to one, than unseen frames are, or out of range.

    Parameters
    ----------
    samples : Looked
        See `Reference.look`.
    reference : Reference

    Returns
    -------
    rejected : ndarray of bool, shape (n,)
    why : dict of str to int
        How many, by reason; one sample can have several.
    """
    train, validation = reference.train, reference.validation
    real = np.concatenate([train.features.distance, validation.features.distance])
    reasons = {
        "far from all real frames": samples.features.distance > real[np.isfinite(real)].max(),
        "copy of a training frame": samples.pixels.distance < validation.pixels.distance.min() / 2,
    }
    for name, column in samples.measured.physics.items():
        if column.kind != "scalar" or not any(fnmatch(name, pattern) for pattern in SAMPLE_COLUMNS):
            continue
        if name not in train.measured.physics:
            continue
        known = np.concatenate([side.measured.physics[name].values for side in (train, validation)])
        known = known[np.isfinite(known)]
        if len(known):
            # Beyond the outermost real frame by as much as the outermost 1 % reach beyond the others.
            low, high = np.quantile(known, [0.01, 0.99])
            least, most = 2 * known.min() - low, 2 * known.max() - high
            if any(fnmatch(name, pattern) for pattern in _WITHOUT_MARGIN):
                most = known.max()
            reasons[name] = (column.values < least) | (column.values > most)
    rejected = np.logical_or.reduce(list(reasons.values()))
    return np.asarray(rejected), {reason: int(hit.sum()) for reason, hit in reasons.items() if hit.any()}
