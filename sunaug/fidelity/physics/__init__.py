"""What a solar physicist would measure on a frame, on synthetic frames and on real ones.

Every frame gives one row of a table (`tabulate`, `tables`), every measure a column: a number, a histogram or a curve,
in the cube's own units. Two sets of frames are compared column by column (`distance`): for numbers by the Wasserstein-1
distance of their distributions, which notices a wrong mean, and a spread that has collapsed too. Classes, resamples and
blocks of days are rows of the same table (`take`, or weights).

Nothing here has an absolute threshold. A limb in EUV stands 1 to 2 % outside the photosphere, and a small cube blurs
it: real frames against other real frames say what is.

One file per family of measures: `intensity`, `saturation`, `spectrum` (with `edges`), `limb`, `profile`, `channels`,
`regions`, `magnetic`; `energy` needs the X-ray flux of the frames and stands apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from sunaug.errors import UsageError
from sunaug.fidelity.physics.channels import channels as _channels
from sunaug.fidelity.physics.columns import FAMILIES, Column, Table, count, distance, distances, join, take, typical
from sunaug.fidelity.physics.edges import straight_edges as _straight_edges
from sunaug.fidelity.physics.energy import EnergyBudget
from sunaug.fidelity.physics.intensity import intensity as _intensity
from sunaug.fidelity.physics.limb import limb as _limb
from sunaug.fidelity.physics.magnetic import magnetic as _magnetic
from sunaug.fidelity.physics.planes import planes
from sunaug.fidelity.physics.profile import profile as _profile
from sunaug.fidelity.physics.regions import regions as _regions
from sunaug.fidelity.physics.saturation import saturation as _saturation
from sunaug.fidelity.physics.spectrum import spectrum as _spectrum
from sunaug.measures.limb import Geometry, fit_limb

__all__ = [
    "FAMILIES",
    "Column",
    "EnergyBudget",
    "Geometry",
    "Table",
    "count",
    "distance",
    "distances",
    "fit_limb",
    "join",
    "tables",
    "tabulate",
    "take",
    "typical",
]

_MEASURES = (_intensity, _saturation, _spectrum, _straight_edges, _limb, _profile, _channels, _regions, _magnetic)
_FRAMES_AT_ONCE = 32


def tabulate(
    intensity: NDArray[np.floating], channels: Sequence[str], intensity_scale: str, geometry: Geometry
) -> Table:
    """Measure one batch of frames.

    Parameters
    ----------
    intensity : ndarray, shape (n, channel, y, x)
        In the cube's units; NaN is missing.
    channels : sequence of str
        Lexicon names.
    intensity_scale : {"physical", "browse"}
        The cube's attribute.
    geometry : Geometry

    Returns
    -------
    dict of str to Column
        By the measure's name and the channel's, in the order of `FAMILIES`; which they are is said by the families'
        files. Measures that the channels do not give are left out: a magnetogram has no limb.

    Raises
    ------
    UsageError
        If the frames do not fit the channels and the geometry, the scale is unknown, or there is no frame.
    """
    intensity = np.asarray(intensity)
    if intensity.ndim == 4 and not len(intensity):
        raise UsageError("physical checks need at least one frame.")
    parts = []
    # Few at a time: the copies that the measures make stay small, and in the processor's cache.
    for start in range(0, max(len(intensity), 1), _FRAMES_AT_ONCE):
        prepared = planes(intensity[start : start + _FRAMES_AT_ONCE], channels, intensity_scale, geometry)
        part: Table = {}
        for family in _MEASURES:
            part |= family(prepared)
        parts.append(part)
    return join(parts)


def tables(
    batches: Iterable[NDArray[np.floating]],
    channels: Sequence[str],
    intensity_scale: str,
    geometry: Geometry,
    *,
    report: Callable[[int], None] | None = None,
) -> Table:
    """Measure frames batch by batch; one batch is in memory at a time, and the table, some 10 kB per frame.

    Parameters
    ----------
    batches : iterable of ndarray, shape (n, channel, y, x)
        In the cube's units; NaN is missing.
    channels, intensity_scale, geometry
        As in `tabulate`.
    report : callable, optional
        Called with the number of frames done so far.

    Raises
    ------
    UsageError
        As in `tabulate`.
    """
    parts: list[Table] = []
    done = 0
    for batch in batches:
        if not len(batch):
            continue
        parts.append(tabulate(batch, channels, intensity_scale, geometry))
        done += len(batch)
        if report:
            report(done)
    if not parts:
        raise UsageError("physical checks need at least one frame.")
    return join(parts)
