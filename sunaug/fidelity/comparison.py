"""All figures that one set of frames gets when it is held against real ones."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from sunaug.fidelity.claims import claims
from sunaug.fidelity.coverage import NEIGHBOURS, overlap
from sunaug.fidelity.frechet import FeatureStatistics, frechet_distance
from sunaug.fidelity.kernel import kernel_distance
from sunaug.fidelity.memorisation import Nearest, authenticity, copies, membership, nearest_rows
from sunaug.fidelity.physics import distance
from sunaug.fidelity.reference import Looked, Reference

__all__ = ["HIGHER_IS_BETTER", "Figure", "compare_sets"]

HIGHER_IS_BETTER = ("precision", "recall", "density", "coverage", "authenticity", "obeys", "spread")
"""First words of the measures where less than real frames have is worse; of all others more is."""


@dataclass(frozen=True)
class Figure:
    """A measured figure.

    Attributes
    ----------
    value : float
        NaN where the frames do not give it.
    family : str
        ``distribution``, ``physics``, ``memorisation`` or ``claims``.
    unit : str
    """

    value: float
    family: str
    unit: str = ""


def compare_sets(samples: Looked, real: Looked, reference: Reference) -> dict[str, Figure]:
    """Every figure of a set of frames, by name: the measure, then what it was measured on or with.

    Parameters
    ----------
    samples : Looked
        Samples, or real frames of other days in their place.
    real : Looked
        As many real frames, of the validation months.
    reference : Reference

    Returns
    -------
    dict of str to Figure
        ``frechet``, ``kid``, ``precision``, ``recall``, ``density``, ``coverage`` and ``spread`` (median distance of a
        frame to the nearest other one of its set: that of real frames two hours apart, so that less means repetition)
        for each feature network; the distance of every physical measure
        (`sunaug.fidelity.physics`); ``copies pixels``, ``copies features``, ``authenticity`` and ``membership``
        (`sunaug.fidelity.memorisation`); and what is read off the frames (`sunaug.fidelity.claims`). A measure that
        the real frames lack is NaN; a feature network that the samples lack is left out.
    """
    found: dict[str, Figure] = {}
    for label in real.measured.features:
        if label in samples.measured.features:
            found |= {
                f"{measure} {label}": Figure(value, "distribution")
                for measure, value in _distribution(samples, real, label).items()
            }
    for name, column in samples.measured.physics.items():
        theirs = real.measured.physics.get(name)
        found[name] = Figure(nan if theirs is None else distance(column, theirs), "physics", column.unit)
    found |= {name: Figure(value, "memorisation") for name, value in _memorisation(samples, reference).items()}
    read = claims(samples.measured.readings, samples.measured.fluxes, real.measured.readings)
    units = {"reading nowcast_flux": "dex", "reading forecast_flux": "dex", "reading class": "log odds"}
    found |= {name: Figure(value, "claims", units.get(name, "")) for name, value in read.items()}
    return found


def _distribution(samples: Looked, real: Looked, label: str) -> dict[str, float]:
    ours, theirs = samples.measured.features[label], real.measured.features[label]
    figures = {
        "frechet": frechet_distance(FeatureStatistics.of(ours), FeatureStatistics.of(theirs)),
        "kid": kernel_distance(ours, theirs, subsets=0).value,
        "spread": float(np.median(_own_neighbours(ours))),
    }
    if min(len(ours), len(theirs)) > NEIGHBOURS:
        both = overlap(theirs, ours, real_times=real.measured.times, synthetic_times=samples.measured.times)
        figures |= {name: getattr(both, name) for name in ("precision", "recall", "density", "coverage")}
    return figures


def _own_neighbours(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Distance of each vector to the nearest other one."""
    values = vectors.astype(np.float64) - vectors.mean(axis=0)
    lengths = np.square(values).sum(axis=1)
    squares = lengths[:, None] + lengths - 2 * values @ values.T
    np.fill_diagonal(squares, np.inf)
    return np.asarray(np.sqrt(np.maximum(squares.min(axis=1), 0)))


def _memorisation(samples: Looked, reference: Reference) -> dict[str, float]:
    train, unseen = reference.train, reference.validation
    near = samples.measured.features[reference.near]
    when = samples.measured.times if samples.of_reference else None
    to_sample: list[Nearest] = [
        nearest_rows(side.measured.features[reference.near], near, side.measured.times, when)
        for side in (train, unseen)
    ]
    members, others = (one.distance[np.isfinite(one.distance)] for one in to_sample)
    figures = {
        "copies pixels": copies(samples.pixels.distance, unseen.pixels.distance),
        "copies features": copies(samples.features.distance, unseen.features.distance),
        "authenticity": authenticity(samples.features, train.features.distance),
    }
    if len(members) and len(others):
        figures["membership"] = membership(members, others)
    return figures
