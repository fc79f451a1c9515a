"""Labels that were unknown when a frame came, filled in once the tables of flares cover its windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from sunaug.catalogues import FlareCatalogue, read_catalogue
from sunaug.cube import open_cube, set_attributes
from sunaug.cube.lock import only_writer
from sunaug.cube.store import open_arrays, writable
from sunaug.flares import forecast_flux, nowcast_flux
from sunaug.label_scales import joined_scale, label_scales, scale_notes
from sunaug.storage import location
from sunaug.xrs import XrsSeries, read_xrs

__all__ = ["LabelUpdate", "joined_attributes", "label_attributes", "label_notes", "update_labels"]


@dataclass(frozen=True)
class LabelUpdate:
    """What became of each label, by its name.

    Attributes
    ----------
    filled, unknown : dict of str to int
        Frames whose label is known now, and those of which it still is not.
    differ : dict of str to int
        Frames whose known label the tables now tell otherwise. It is left: models were trained on it.
    doubted : dict of str to int
        Frames whose label is known to the cube and unknown by the tables. It is left for the same reason.
    """

    filled: dict[str, int]
    unknown: dict[str, int]
    differ: dict[str, int]
    doubted: dict[str, int]


def label_attributes(
    times: NDArray[np.datetime64], catalogue: FlareCatalogue | None, series: XrsSeries | None
) -> dict[str, Any]:
    """What a cube with frames at `times` says of its labels: sources, scales, and repairs of the catalogue."""
    listed = catalogue.provenance if catalogue is not None else "none"
    return {
        "label_sources": {
            "forecast_flux": listed,
            "nowcast_flux": series.provenance if series is not None else listed,
        },
        "label_scales": label_scales(times, catalogue, series),
        "catalogue_repairs": catalogue.repairs if catalogue is not None else {},
    }


def joined_attributes(before: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What a cube says of its labels after frames with labels of their own were appended."""
    sources = dict(before.get("label_sources", {}))
    for label, source in new["label_sources"].items():
        earlier = _said_of(sources.get(label)).get("source")
        if isinstance(source, dict):
            other = {"earlier": earlier} if earlier and earlier != source["source"] else {}
            sources[label] = source | other
    scales = dict(before.get("label_scales", {}))
    scales |= {label: joined_scale(scales.get(label, scale), scale) for label, scale in new["label_scales"].items()}
    repairs = new["catalogue_repairs"] or before.get("catalogue_repairs", {})
    return {"label_sources": sources, "label_scales": scales, "catalogue_repairs": repairs}


def label_notes(attributes: Mapping[str, Any]) -> list[str]:
    """What a user has to know of a cube's labels, from its attributes: repairs, readings left out, scales."""
    notes = []
    sources = attributes.get("label_sources", {})
    name, reading = (_said_of(sources.get(label)) for label in ("forecast_flux", "nowcast_flux"))
    repairs = attributes.get("catalogue_repairs")
    if repairs:
        mended = "; ".join(f"{count:,} x {kind}" for kind, count in repairs.items())
        notes.append(f"{name.get('source', 'flare catalogue')}: {mended}")
    if "left_out" in reading:
        notes.append(f"{reading['source']}: readings left out: {reading['left_out']}")
    return notes + scale_notes(attributes.get("label_scales", {}))


def _said_of(source: object) -> dict[str, str]:
    return source if isinstance(source, dict) else {}


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
        filled, unknown, differ, doubted = {}, {}, {}, {}
        for name, values in told.items():
            array = writable(group, name)
            held = np.asarray(opened[name].values, np.float64)
            new = np.isnan(held) & np.isfinite(values)
            _write(array, np.where(new, values, held), new)
            filled[name] = int(new.sum())
            unknown[name] = int((np.isnan(held) & ~new).sum())
            both = np.isfinite(held) & np.isfinite(values)
            differ[name] = int((~np.isclose(held[both], values[both], rtol=1e-5, atol=0)).sum())
            doubted[name] = int((np.isfinite(held) & np.isnan(values)).sum())
        said = label_attributes(times, catalogue, series)
        if any(opened.attrs.get(name) != value for name, value in said.items()):
            set_attributes(cube, said, lease)
    return LabelUpdate(filled, unknown, differ, doubted)


def _write(array: zarr.Array, values: NDArray[np.float64], changed: NDArray[np.bool_]) -> None:
    """Write the stretch that holds all changes."""
    rows = np.flatnonzero(changed)
    if len(rows):
        array[rows[0] : rows[-1] + 1] = values[rows[0] : rows[-1] + 1]
