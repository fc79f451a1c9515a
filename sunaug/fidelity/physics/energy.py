"""The energy budget: do frames of a strong flare emit as much in the hot channels as the real ones?

GOES measures the X-rays of plasma of 10 MK and more; 131 Å (Fe XXI) and 94 Å (Fe XVIII) see the same plasma (O'Dwyer et
al. 2010, A&A 521, A21). So a frame's emission in these channels goes with its X-ray flux, and a frame made for a flux
has to lie on that relation.

Two kinds of emission are looked at: the frame's total, which is what GOES sees, and its brightest pixels. In a browse
cube the display stretch makes little of the few pixels of a flare, and the total says more about the quiet Sun: on
January to July 2012 at 128 pixels Spearman's correlation with the flux of the hour before is 0.46 (94 Å) and 0.42
(131 Å) for the total, 0.85 and 0.65 for the peak.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression

from sunaug.errors import SunaugError, UsageError
from sunaug.fidelity.physics.columns import Column, Table, count
from sunaug.measures.frame import HOT_CHANNELS

__all__ = ["EnergyBudget", "Relation"]

KINDS = {"total": "energy_budget", "peak": "energy_budget_peak"}
"""Columns of the table that stand for the emission, and what their residuals are called."""

STEP = 0.25
"""Width of a bin of flux, dex."""

FEWEST = 10
"""Frames that a bin needs; one with fewer is joined with the next stronger one."""

_FAINTEST = 1e-6


@dataclass(frozen=True)
class Relation:
    """Emission of a channel that goes with an X-ray flux: straight lines between knots, level outside of them.

    Attributes
    ----------
    log_flux : ndarray of float64, shape (knots,)
        log10 of the flux in W m-2, growing.
    log_emission : ndarray of float64, shape (knots,)
        log10 of the frame's mean or peak intensity, never falling.
    """

    log_flux: NDArray[np.float64]
    log_emission: NDArray[np.float64]

    def __call__(self, flux: ArrayLike) -> NDArray[np.float64]:
        """Expected log10 emission at fluxes in W m-2; unknown and zero flux count as the weakest knot."""
        flux = np.asarray(flux, np.float64)
        known = np.isfinite(flux) & (flux > 0)
        log_flux = np.where(known, np.log10(np.where(known, flux, 1)), self.log_flux[0])
        return np.interp(log_flux, self.log_flux, self.log_emission)


@dataclass(frozen=True)
class EnergyBudget:
    """How the emission in 131 Å and 94 Å goes with the X-ray flux on real frames; made by `fit`.

    Attributes
    ----------
    relations : mapping of str to Relation
        By the column of the table that it is for, ``total aia94`` or ``peak aia94``.
    """

    relations: Mapping[str, Relation]

    @classmethod
    def fit(cls, table: Table, nowcast_flux: ArrayLike) -> EnergyBudget:
        """Learn the relation from real frames.

        The frames are put into bins of 0.25 dex of flux, a bin of fewer than 10 frames together with the next stronger
        one (what is left at the strong end with the one before). The medians of flux and of log10 emission in a bin are
        a knot; knots that fall are levelled by isotonic regression, weighted by their frames (Barlow et al. 1972,
        Statistical Inference under Order Restrictions). Frames of unknown or zero flux are in the weakest bin.

        Parameters
        ----------
        table : dict of str to Column
            Of real frames of the train months, with ``total`` and ``peak`` of ``aia131``, ``aia94``, or both.
        nowcast_flux : array_like, shape (n,)
            W m-2; NaN is unknown, 0 no flare listed.

        Raises
        ------
        UsageError
            If the table has no hot channel, or the fluxes do not fit the frames.
        SunaugError
            If no frame has a known flux.
        """
        flux = _fluxes(table, nowcast_flux)
        columns = [f"{kind} {name}" for kind in KINDS for name in HOT_CHANNELS if f"{kind} {name}" in table]
        if not columns:
            raise UsageError(
                f"an energy budget needs a hot channel, and the table has none of {', '.join(HOT_CHANNELS)}."
            )
        return cls({name: _relation(_logarithm(table[name]), flux) for name in columns})

    def residual(self, table: Table, nowcast_flux: ArrayLike) -> Table:
        """What a frame emits beyond what is expected at its flux: log10 of the emission less that of the relation.

        Parameters
        ----------
        table : dict of str to Column
            Of the frames in question, in the units of those that were fitted.
        nowcast_flux : array_like, shape (n,)
            W m-2, observed or asked for.

        Returns
        -------
        dict of str to Column
            ``energy_budget CH`` for the total, ``energy_budget_peak CH`` for the peak; scalars in dex, as of the
            intensity in a physical cube, of the display counts in a browse cube.

        Raises
        ------
        UsageError
            If the fluxes do not fit the frames, or the table lacks a fitted column.
        """
        flux = _fluxes(table, nowcast_flux)
        columns: Table = {}
        for name, relation in self.relations.items():
            if name not in table:
                raise UsageError(f"the energy budget was fitted with {name}, and the table has no such column.")
            residual = (_logarithm(table[name]) - relation(flux)).astype(np.float32)
            kind, channel = name.split(" ")
            columns[f"{KINDS[kind]} {channel}"] = Column(residual, "scalar", "dex", family="energy")
        return columns


def _fluxes(table: Table, nowcast_flux: ArrayLike) -> NDArray[np.float64]:
    flux = np.asarray(nowcast_flux, np.float64)
    if flux.shape != (count(table),):
        raise UsageError(f"fluxes of shape {flux.shape} for {count(table)} frames: give one for each frame.")
    return flux


def _logarithm(level: Column) -> NDArray[np.float64]:
    values = level.values.astype(np.float64)
    return values if level.unit == "dex" else np.log10(np.maximum(values, _FAINTEST))


def _relation(log_emission: NDArray[np.float64], flux: NDArray[np.float64]) -> Relation:
    measured = np.isfinite(log_emission)
    known = measured & np.isfinite(flux) & (flux > 0)
    if not known.any():
        raise SunaugError(
            "an energy budget needs frames with a known X-ray flux; ingest the cube with --xrs or --flares."
        )
    log_flux = np.where(known, np.log10(np.where(known, flux, 1)), -np.inf)
    weakest = float(log_flux[known].min())
    log_flux, log_emission = np.maximum(log_flux[measured], weakest), log_emission[measured]
    bins = np.floor((log_flux - weakest) / STEP).astype(int)
    groups: list[NDArray[np.intp]] = []
    waiting: list[NDArray[np.intp]] = []
    for number in np.unique(bins):
        waiting.append(np.flatnonzero(bins == number))
        if sum(map(len, waiting)) >= FEWEST:
            groups.append(np.concatenate(waiting))
            waiting = []
    if waiting:
        groups.append(np.concatenate([*groups[-1:], *waiting]))
        del groups[-2:-1]
    knots = np.array([np.median(log_flux[rows]) for rows in groups])
    level = isotonic_regression(
        [np.median(log_emission[rows]) for rows in groups], weights=[float(len(rows)) for rows in groups]
    )
    return Relation(knots, np.asarray(level.x, np.float64))
