"""Real frames that samples are compared with: what was trained on, and what was not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sunaug.errors import SunaugError
from sunaug.fidelity.claims import Classifier
from sunaug.fidelity.instruments import CONTENT, Instruments
from sunaug.fidelity.measured import Measured
from sunaug.fidelity.memorisation import Nearest, PixelSpace, nearest_rows
from sunaug.fidelity.physics import EnergyBudget
from sunaug.measures.frame import HOT_CHANNELS

__all__ = ["STRATA", "Looked", "Reference", "matching", "strata"]

STRATA = ("quiet to B", "C", "M and X")
"""Kinds of frames, by their forecast: like is compared with like."""

_BORDERS = (1e-6, 1e-5)
_SLACK = 1 - 1e-9
_MINOR = 0.02
"""Kinds that are less than this share of the samples have no say in the mix."""


def strata(flux: NDArray[np.float64]) -> NDArray[np.int64]:
    """Kind of each frame by its forecast flux (W m-2), a number into `STRATA`; -1 where it is not known."""
    kinds = np.digitize(flux, [border * _SLACK for border in _BORDERS])
    return np.where(np.isnan(flux), -1, kinds).astype(np.int64)


@dataclass(frozen=True)
class Mix:
    """How many frames of each kind a set has that is comparable with the samples.

    Attributes
    ----------
    counts : ndarray of int64, shape (3,)
        By kind, see `STRATA`; the sum is the number of frames of every set that is compared.
    """

    counts: NDArray[np.int64]

    @property
    def n(self) -> int:
        """Frames of a set."""
        return int(self.counts.sum())

    def draw(self, flux: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.int64]:
        """Rows of a random set of this mix."""
        kinds = strata(flux)
        return np.sort(
            np.concatenate(
                [random.permutation(np.flatnonzero(kinds == kind))[:count] for kind, count in enumerate(self.counts)]
            )
        )

    def windows(self, flux: NDArray[np.float64], number: int) -> list[NDArray[np.int64]]:
        """Rows of `number` sets of frames that follow each other in time, as `flux` does, from first to last."""
        kinds = strata(flux)
        found = []
        for place in np.linspace(0, 1, number):
            parts = []
            for kind, count in enumerate(self.counts):
                rows = np.flatnonzero(kinds == kind)
                start = round(place * (len(rows) - count))
                parts.append(rows[start : start + count])
            found.append(np.sort(np.concatenate(parts)))
        return found


def matching(
    samples: NDArray[np.float64], sides: Sequence[NDArray[np.float64]], *, windows: int = 6, most: int | None = None
) -> Mix:
    """The largest sets with the samples' mix of kinds that every side has.

    Parameters
    ----------
    samples : ndarray of float64, shape (n,)
        Forecast fluxes of the samples, W m-2; where none is known, the mix of the first side is taken.
    sides : sequence of ndarray of float64
        Of the real sides: validation, then train, which has to have `windows` such sets.
    windows : int
    most : int, optional
        Most frames in a set.
    """
    known = strata(samples) if (strata(samples) >= 0).any() else strata(sides[0])
    shares = np.array([(known == kind).sum() for kind in range(len(STRATA))]) / max((known >= 0).sum(), 1)
    shares = np.where(shares < _MINOR, 0, shares)
    shares = shares / shares.sum()
    there = [np.array([(strata(side) == kind).sum() for kind in range(len(STRATA))]) for side in sides]
    there[1] = there[1] // windows
    n = len(samples) if most is None else min(len(samples), most)
    for side in there:
        n = min([n, *(int(count / share) for count, share in zip(side, shares, strict=True) if share)])
    return Mix(np.floor(shares * n + 1e-9).astype(np.int64))


@dataclass(frozen=True)
class Looked:
    """Frames with what is known of them beside the training frames.

    Attributes
    ----------
    measured : Measured
        With the energy budget among its physics, ``rare`` (the classifier's log odds) among its readings, and
        coordinates in the pixel space in place of thumbnails.
    pixels, features : Nearest
        The nearest training frame to each, of other days for frames of the reference.
    of_reference : bool
        Frames of the reference are never compared with those of their own days; whatever is judged by it is.
    """

    measured: Measured
    pixels: Nearest
    features: Nearest
    of_reference: bool = False

    def take(self, rows: NDArray[np.integer]) -> Looked:
        """The frames with these numbers."""
        return Looked(
            self.measured.take(rows),
            Nearest(self.pixels.distance[rows], self.pixels.row[rows]),
            Nearest(self.features.distance[rows], self.features.row[rows]),
            self.of_reference,
        )

    def __len__(self) -> int:
        return len(self.measured)


@dataclass(frozen=True)
class Reference:
    """What samples are held against.

    Attributes
    ----------
    train, validation : Looked
        Real frames whose forecast is known, in order of time.
    space : PixelSpace
    budget : EnergyBudget or None
        None where there is no hot channel.
    classifier : Classifier or None
        None where the train months hold too few frames of class M.
    near : str
        Label of the features that neighbours are looked for in.
    disk_radius : float
        Pixels.
    """

    train: Looked
    validation: Looked
    space: PixelSpace = field(repr=False)
    budget: EnergyBudget | None = field(repr=False)
    classifier: Classifier | None = field(repr=False)
    near: str
    disk_radius: float

    @classmethod
    def of(
        cls,
        train: Measured,
        validation: Measured,
        instruments: Instruments,
        report: Callable[[int], None] | None = None,
    ) -> Reference:
        """The reference of two sides that were measured with the same instruments.

        Readings of the train frames are those of the network that has not seen the frame.

        Raises
        ------
        SunaugError
            If a side has no frame with a known forecast.
        """
        train, validation = (_in_order(side) for side in (train, validation))
        if not len(train) or not len(validation):
            raise SunaugError(
                "the reference has no frame with a known forecast in its train or its validation months; ingest it "
                "with --flares."
            )
        assert train.times is not None
        near = CONTENT if CONTENT in train.features else next(iter(train.features))
        hot = any(f"total {name}" in train.physics for name in HOT_CHANNELS)
        budget = None
        if hot and np.isfinite(train.fluxes["nowcast_flux"]).any():
            budget = EnergyBudget.fit(train.physics, train.fluxes["nowcast_flux"])
        classifier = Classifier.fit(train.features[near], train.forecast_flux, train.times)
        space = PixelSpace.fit(train.thumbnails)
        unseen = _unseen_readings(train, instruments)
        bank = space.project(train.thumbnails)
        sides = []
        for side, readings in ((train, unseen), (validation, validation.readings)):
            everywhere = space.project(side.thumbnails, everywhere=True)
            told = replace(side, readings=readings, thumbnails=everywhere[:, _UPRIGHT])
            told = _told(told, budget, classifier, near, own=side is train)
            sides.append(
                Looked(
                    told,
                    nearest_rows(everywhere, bank, side.times, train.times),
                    nearest_rows(side.features[near], train.features[near], side.times, train.times),
                    of_reference=True,
                )
            )
        return cls(sides[0], sides[1], space, budget, classifier, near, instruments.geometry.disk_radius)

    def look(self, samples: Measured) -> Looked:
        """Samples beside the training frames, each of which they may be a copy of."""
        everywhere = self.space.project(samples.thumbnails, everywhere=True)
        train = self.train.measured
        told = replace(samples, thumbnails=everywhere[:, _UPRIGHT])
        return Looked(
            _told(told, self.budget, self.classifier, self.near, own=False),
            nearest_rows(everywhere, train.thumbnails),
            nearest_rows(samples.features[self.near], train.features[self.near]),
        )


_UPRIGHT = 12
"""The position among those of `PixelSpace.project` that is neither turned nor mirrored."""


def _in_order(side: Measured) -> Measured:
    assert side.times is not None
    rows = np.argsort(side.times, kind="stable")
    return side.take(rows[np.isfinite(side.forecast_flux[rows])])


def _unseen_readings(train: Measured, instruments: Instruments) -> dict[str, NDArray[np.float64]]:
    """What the networks that have not seen the train frames read off them, the same in every column."""
    reader = instruments.reader
    if reader is None:
        return {}
    if len(reader.real_reading) != len(train):
        raise SunaugError(
            f"the regressor was fitted on {len(reader.real_reading):,} frames and there are {len(train):,}: it is not "
            "of this cube."
        )
    apart = np.log10(reader.real_reading)[:, None, :]
    return {
        name: np.repeat(apart[:, :, column], len(reader.witnesses), axis=1) for column, name in enumerate(reader.labels)
    }


def _told(
    side: Measured, budget: EnergyBudget | None, classifier: Classifier | None, near: str, *, own: bool
) -> Measured:
    table, readings = dict(side.physics), dict(side.readings)
    if budget is not None:
        table |= budget.residual(table, side.fluxes["nowcast_flux"])
    if classifier is not None:
        readings["rare"] = classifier.says(side.features[near], side.times if own else None)
    return replace(side, physics=table, readings=readings)
