"""An export as a synthetic cube again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from forecasting_adapters.exports.note import ORIGIN, check_files, read_note
from forecasting_adapters.exports.registry import ecosystem
from sunaug.cube import SCHEMA_VERSION, FrameStatus
from sunaug.cube.schema import FRAME_VARIABLES, SYNTHETIC_VARIABLES, frame_coordinates, wcs_keywords
from sunaug.errors import SunaugError

__all__ = ["open_export"]


def open_export(path: str | Path, *, verify: bool = False) -> xr.Dataset:
    """Open what `export` wrote as a synthetic cube, for `SyntheticSolarDataset` and the guard.

    Images come from the files; times, fluxes and the origin of each sample from the note.

    Parameters
    ----------
    path : str or pathlib.Path
        The folder of an export.
    verify : bool
        Compare the contents of all files with the note, which reads them once; their sizes are always compared.

    Returns
    -------
    xarray.Dataset
        As `sunaug.open_cube` opens a synthetic cube, with ``time`` (sample) besides; images are those of the layout: in
        its units, size and disk radius, as exactly as its files hold them.

    Raises
    ------
    SunaugError
        If the note is missing or was changed, or a file is missing or another one.
    """
    folder = Path(path)
    note = read_note(folder)
    check_files(folder, note, contents=verify)
    found = ecosystem(note["layout"]).read(folder, note)
    samples, images = note["samples"], note["images"]
    times = np.array(samples["time"], dtype="datetime64[ns]")
    intensity = found["intensity"]
    expected = (len(times), len(images["channels"]), images["size"], images["size"])
    if intensity.shape != expected or not np.array_equal(found["time"].values, times):
        raise SunaugError(f"{path}: its files do not hold the {len(times)} frames of its note; export the cube again.")
    arcsec = frame_coordinates(images["size"], images["disk_radius"])
    cube = found[["intensity"]].assign(_per_sample(samples))
    cube = cube.assign_coords(
        sample=np.array(samples["number"], dtype=np.int64),
        channel=images["channels"],
        y=arcsec,
        x=arcsec,
        direction=np.array(list(samples.get("steering", {})), dtype="<U64"),
        time=("sample", times),
    ).assign_attrs(_attributes(note))
    cube.encoding["source"] = str(path)
    return cube


def _per_sample(samples: dict[str, Any]) -> dict[str, Any]:
    schema = FRAME_VARIABLES | SYNTHETIC_VARIABLES
    count = len(samples["number"])
    found: dict[str, Any] = {
        "frame_status": ("sample", np.full(count, FrameStatus.COMPLETE, np.int8), schema["frame_status"].attrs)
    }
    for name, values in samples.items():
        if name == "steering":
            steps = np.array(list(values.values()), dtype=np.float32).reshape(len(values), count).T
            found[name] = (("sample", "direction"), steps, schema[name].attrs)
        elif name in schema:
            # None, as JSON has NaN, becomes NaN in a float.
            found[name] = ("sample", np.array(values, dtype=schema[name].dtype), schema[name].attrs)
    return found


def _attributes(note: dict[str, Any]) -> dict[str, Any]:
    images = note["images"]
    return {
        "Conventions": "CF-1.11",
        "title": "SYNTHETIC frames of the Sun",
        "schema_version": SCHEMA_VERSION,
        "sunaug_version": note["sunaug_version"],
        "synthetic": True,
        "SYNTHETIC": note["SYNTHETIC"],
        "intensity_scale": images["intensity_scale"],
        "solar_radius_pixels": images["disk_radius"],
        "wcs": wcs_keywords(images["size"], images["disk_radius"]),
        "export": {name: note[name] for name in ("layout", "options", "cube", "steps", "warnings", "sha256")},
        **{name: note[name] for name in ORIGIN if name in note},
    }
