"""What the networks are told of a frame: its fluxes as numbers, as GOES classes, or both.

One flat vector holds the condition. Its first columns are log10 fluxes; one-hot GOES classes follow. The linear layer
that embeds the vector is then a class embedding over the one-hot part: row i of its weight is the vector of class i.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sunaug.goes_classes import class_letters

QUIET_FLUX = 1e-8
"""Flux (W m-2) that stands for "no flare listed": A1.0, below every listed flare."""

CLASSES = ("", "B", "C", "M", "X")
"""Classes of the class embedding: no flare listed (or below B1.0), then the GOES letters."""


def encode_flux(flux: ArrayLike) -> NDArray[np.float32]:
    """Condition value of a flux: log10(flux) + 6, so that C1 = 0, M1 = 1, X1 = 2; anything below A1.0, and 0, is -2."""
    return np.asarray(np.log10(np.maximum(np.asarray(flux, np.float64), QUIET_FLUX)) + 6, dtype=np.float32)


def encode_class(flux: ArrayLike) -> NDArray[np.float32]:
    """One-hot GOES class of fluxes (n,): shape (n, 5), in the order of `CLASSES`."""
    letters = class_letters(flux)
    letters = np.where(letters == "A", "", letters)
    return np.asarray(letters[:, None] == np.asarray(CLASSES), dtype=np.float32)


def encode_condition(
    fluxes: ArrayLike, labels: Sequence[str], conditions: Sequence[str], class_conditions: Sequence[str]
) -> NDArray[np.float32]:
    """The condition vectors of frames.

    Parameters
    ----------
    fluxes : array_like, shape (n, len(labels))
        W m-2, one column per label.
    labels : sequence of str
        Names of the columns.
    conditions, class_conditions : sequence of str
        Labels that enter as log10 flux, and those that enter as GOES class.

    Returns
    -------
    ndarray of float32, shape (n, len(conditions) + 5 len(class_conditions))
    """
    table = np.atleast_2d(np.asarray(fluxes, np.float64))
    parts = [encode_flux(table[:, [labels.index(name)]]) for name in conditions]
    parts += [encode_class(table[:, labels.index(name)]) for name in class_conditions]
    return np.concatenate(parts, axis=1) if parts else np.empty((len(table), 0), np.float32)
