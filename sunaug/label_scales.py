"""In which X-ray scale a cube's labels are, and what to say where they are in two.

Operational X-ray flux of GOES 8-15, and the classes of flares by it, is 0.7 of the true flux that GOES 16 and later and
NOAA's reprocessed files give. An M1.0 of 2012 would be listed as M1.4 now.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sunaug.catalogues import FlareCatalogue
from sunaug.xrs import OPERATIONAL_FACTOR, XrsSeries

__all__ = ["joined_scale", "label_scales", "scale_notes"]

_CHANGING = "operational until December 2019, true since"
_SINGLE = ("operational", "true", "unknown")
_CHANGE = (np.datetime64("2019-12-01", "ns"), np.datetime64("2020-01-01", "ns"))
"""GOES-16 became SWPC's primary satellite within this month."""
_REACH = np.timedelta64(24, "h")


def label_scales(
    times: NDArray[np.datetime64], catalogue: FlareCatalogue | None, series: XrsSeries | None = None
) -> dict[str, str]:
    """The scale of each label that the tables give for frames at `times`.

    Parameters
    ----------
    times : ndarray of datetime64, shape (n,)
    catalogue : FlareCatalogue, optional
    series : XrsSeries, optional
        What ``nowcast_flux`` comes from in place of the catalogue.

    Returns
    -------
    dict of str to str
        By label: ``operational``, ``true``, ``unknown``, or a text that tells two scales apart. A label without a table
        is not in it.
    """
    scales = {}
    if catalogue is not None:
        scales["forecast_flux"] = scales["nowcast_flux"] = _of_classes(times, catalogue)
    if series is not None:
        scales["nowcast_flux"] = series.scaling
    return scales


def _of_classes(times: NDArray[np.datetime64], catalogue: FlareCatalogue) -> str:
    if catalogue.scaling != "listed" or not len(times):
        return catalogue.scaling if catalogue.scaling != "listed" else "unknown"
    times = times.astype("datetime64[ns]")
    if times.max() + _REACH < _CHANGE[0]:
        return "operational"
    return "true" if times.min() - _REACH >= _CHANGE[1] else _CHANGING


def joined_scale(one: str, other: str) -> str:
    """The scale of a label of which some frames are in one and some in another."""
    if one == other:
        return one
    if "unknown" in (one, other):
        return "unknown"
    return _CHANGING if _CHANGING in (one, other) else "operational in part and true in part"


def scale_notes(scales: Mapping[str, str]) -> list[str]:
    """What a user of the labels has to know of their scales, in sentences without a full stop."""
    unknown = [name for name, scale in scales.items() if scale == "unknown"]
    notes = []
    if unknown:
        notes.append(
            f"the X-ray scale of {' and '.join(unknown)} is unknown: the table does not say whether it holds "
            f"operational flux (of GOES 8-15, {OPERATIONAL_FACTOR} of true flux) or true flux; a CSV says it in a "
            "first line '# scaling operational' or '# scaling true'"
        )
    notes += [
        f"{name} is in two X-ray scales ({scale}; operational flux is {OPERATIONAL_FACTOR} of true flux), so one class "
        "is not one flux"
        for name, scale in scales.items()
        if scale not in _SINGLE
    ]
    known = {name: scale for name, scale in scales.items() if scale in ("operational", "true")}
    if len(set(known.values())) > 1:
        both = " and ".join(f"{name} is {scale}" for name, scale in known.items())
        notes.append(
            f"the labels are in two X-ray scales: {both} flux; operational flux is {OPERATIONAL_FACTOR} of true flux"
        )
    return notes
