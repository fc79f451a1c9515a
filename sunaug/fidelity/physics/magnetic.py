"""Magnetograms: how much flux there is, and whether the polarities balance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sunaug.fidelity.physics.columns import Table
from sunaug.fidelity.physics.planes import Plane
from sunaug.measures.regions import centre_distance

__all__ = ["DISK_RADII", "magnetic"]

DISK_RADII = 0.95
"""Radii within which flux is summed up: next to the limb the noise is largest and the field seen from the side."""

_BROWSE_ZERO = 127.5


def magnetic(planes: Sequence[Plane]) -> Table:
    """Magnetic flux of each channel CH that is a magnetogram (a Dopplergram is none).

    - ``unsigned_flux CH``: mean of |B| within 0.95 radii;
    - ``flux_balance CH``: sum of B over the sum of |B| there, from -1 to 1. The field is free of divergence, so that
      over the disk the polarities nearly cancel (Scherrer et al. 1977, Sol. Phys. 54, 353: a mean field below 1 gauss);
      NaN without any flux.

    Parameters
    ----------
    planes : sequence of Plane
        Of a browse cube, where 127.5 counts are no field, in shares of the displayed range.

    Notes
    -----
    B is taken as it is seen, along the line of sight or as that component, and per pixel of the image: not corrected
    for foreshortening. The noise of a pixel counts as unsigned flux.
    """
    table: Table = {}
    for plane in planes:
        if not plane.channel.signed or plane.channel.unit != "gauss":
            continue
        disk = centre_distance(plane.geometry) <= DISK_RADII
        field = plane.intensity[:, disk].astype(np.float64)
        if plane.browse:
            field = (field - _BROWSE_ZERO) / _BROWSE_ZERO
        there = np.ones_like(field, bool) if plane.there is None else plane.there[:, disk]
        net, unsigned = (np.where(there, one, 0).sum(axis=1) for one in (field, np.abs(field)))
        pixels = there.sum(axis=1)
        unit = "share of the displayed range" if plane.browse else "gauss"
        mean = unsigned / np.where(pixels > 0, pixels, np.nan)
        table[f"unsigned_flux {plane.name}"] = plane.scalar(mean, unit, "magnetic")
        balance = net / np.where(unsigned > 0, unsigned, np.nan)
        table[f"flux_balance {plane.name}"] = plane.scalar(balance, "1", "magnetic")
    return table
