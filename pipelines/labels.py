"""Labels that were unknown when a frame came, filled in once the tables of flares cover its windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from sunaug.catalogues import read_catalogue
from sunaug.cube import open_cube, set_attributes
from sunaug.cube.lock import only_writer
from sunaug.cube.store import open_arrays, writable
from sunaug.flares import forecast_flux, nowcast_flux
from sunaug.storage import location
from sunaug.xrs import read_xrs

__all__ = ["LabelUpdate", "update_labels"]


@dataclass(frozen=True)
class LabelUpdate:
    """What became of each label, by its name.

    Attributes
    ----------
    filled, unknown : dict of str to int
        Frames whose label is known now, and those of which it still is not.
    differ : dict of str to int
        Frames whose known label the tables now tell otherwise. It is left: models were trained on it.
    """

    filled: dict[str, int]
    unknown: dict[str, int]
    differ: dict[str, int]


def update_labels(cube: str | Path, flares: str | Path, xrs: Sequence[str | Path] = ()) -> LabelUpdate:
    """Fill in the labels of a cube that are unknown and that the tables know.

    A label that is known stays as it is. Stopped at any moment, the cube holds some labels more than before, all of
    them right, and the same call fills in the rest.

    Parameters
    ----------
    cube : str or pathlib.Path
        An observed cube.
    flares : str or pathlib.Path
        Flare catalogue.
    xrs : sequence of str or pathlib.Path
        GOES X-ray flux for ``nowcast_flux``; without it the catalogue serves.

    Raises
    ------
    UsageError, SunaugError
        If there is no such cube or table, one is not readable, or another run is writing the cube.
    """
    catalogue = read_catalogue(flares)
    series = read_xrs(list(xrs)) if xrs else None
    record = catalogue if series is None else series
    with only_writer(location(cube)) as lease:
        opened = open_cube(cube)
        times = opened["time"].values
        told = {"forecast_flux": forecast_flux(times, catalogue), "nowcast_flux": nowcast_flux(times, record)}
        group = open_arrays(cube, lease=lease)
        filled, unknown, differ = {}, {}, {}
        for name, values in told.items():
            array = writable(group, name)
            held = np.asarray(opened[name].values, np.float64)
            new = np.isnan(held) & np.isfinite(values)
            _write(array, np.where(new, values, held), new)
            filled[name] = int(new.sum())
            unknown[name] = int((np.isnan(held) & ~new).sum())
            both = np.isfinite(held) & np.isfinite(values)
            differ[name] = int((~np.isclose(held[both], values[both], rtol=1e-5, atol=0)).sum())
        sources = {"forecast_flux": catalogue.provenance, "nowcast_flux": record.provenance}
        if opened.attrs.get("label_sources") != sources:
            set_attributes(cube, {"label_sources": sources, "catalogue_repairs": catalogue.repairs}, lease)
    return LabelUpdate(filled, unknown, differ)


def _write(array: zarr.Array, values: NDArray[np.float64], changed: NDArray[np.bool_]) -> None:
    """Write the stretch that holds all changes."""
    rows = np.flatnonzero(changed)
    if len(rows):
        array[rows[0] : rows[-1] + 1] = values[rows[0] : rows[-1] + 1]
