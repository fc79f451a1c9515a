"""Pictures and JSON lists of the INAF-OACT flare forecaster (Riggi et al. 2025).

Checked with ``ImgDataset`` and ``ImgStackDataset`` of inaf-oact-ai/solar-flare-forecaster
(``sfforecaster/dataset.py``): ``{"data": [{filepath or filepaths, label, id, flare_type, flare_id}]}``, with the labels
and numbers of its ``macros/make_hmi_image_metadata_binary.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from forecasting_adapters.exports.contract import Ecosystem, Frame, Plan
from forecasting_adapters.exports.files import put_once
from forecasting_adapters.exports.labels import check_forecasts, flare_types
from forecasting_adapters.exports.pictures import default_levels, png_bytes, read_pictures, write_pictures
from sunaug.errors import UsageError
from sunaug.lexicon import CHANNELS

__all__ = ["ECOSYSTEM"]

FLARE_IDS = {"NONE": 0, "C": 1, "M": 2, "X": 3}
_SCHEMES = {
    "M": {"M": ("M+", 1), "X": ("M+", 1)},
    "C": {"C": ("C+", 1), "M": ("C+", 1), "X": ("C+", 1)},
    "all": {name: (name, number) for name, number in FLARE_IDS.items()},
}
"""Label and id of each flare type, by the option ``classes``; what is not named is NONE, 0."""


def _picture_path(number: int, time: np.datetime64, channel: str) -> str:
    return f"{channel}/SYNTHETIC_{number:06d}.png"


def _labels(plan: Plan) -> list[dict[str, Any]]:
    """What the list says of each frame beside its files."""
    classes = plan.options["classes"]
    if classes not in _SCHEMES:
        raise UsageError(f"option classes={classes}: choose one of {', '.join(_SCHEMES)}.")
    types = flare_types(plan.forecast_flux, none="NONE")
    found = []
    for number, time, flare_type in zip(plan.numbers.tolist(), plan.times, types, strict=True):
        label, class_id = _SCHEMES[classes].get(flare_type, ("NONE", 0))
        found.append(
            {
                "sname": f"SYNTHETIC_{number:06d}",
                "label": label,
                "id": class_id,
                "ar": "SYNTHETIC",
                "timestamp": str(pd.Timestamp(time)),
                "flare_type": flare_type,
                "flare_id": FLARE_IDS[flare_type],
            }
        )
    return found


def _write(plan: Plan, frames: Iterator[Frame], out: Path, done: Callable[[int], None]) -> None:
    check_forecasts(plan)
    labels = _labels(plan)
    levels = default_levels(plan.channels, plan.intensity_scale)
    write_pictures(frames, out, plan.channels, levels, _picture_path, png_bytes, done)
    root = f"{str(plan.options['root']).rstrip('/')}/" if plan.options["root"] else ""
    files = [
        {name: f"{root}{_picture_path(number, time, name)}" for name in plan.channels}
        for number, time in zip(plan.numbers.tolist(), plan.times, strict=True)
    ]
    for name in plan.channels:
        _put_list(out / f"train_{name}.json", [{"filepath": one[name]} for one in files], labels)
    if len(plan.channels) > 1:
        _put_list(out / "train_stack.json", [{"filepaths": list(one.values())} for one in files], labels)


def _put_list(path: Path, files: list[dict[str, Any]], labels: list[dict[str, Any]]) -> None:
    rows = [where | what for where, what in zip(files, labels, strict=True)]
    put_once(path, partial(_json_bytes, {"data": rows}))


def _json_bytes(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1).encode()


def _read(out: Path, note: Mapping[str, Any]) -> xr.Dataset:
    return read_pictures(out, note, _picture_path)


ECOSYSTEM = Ecosystem(
    name="inaf",
    title="INAF-OACT solar-flare-forecaster (ImgDataset, ImgStackDataset)",
    wants=(
        "Grey PNGs of any size and JSON lists: train_aia171.json and so on for ImgDataset, train_stack.json with all "
        "channels for ImgStackDataset; none for validation. Labels are M+ or NONE (classes=C: C+ or NONE; classes=all: "
        "NONE, C, M, X). Paths are relative to the export unless root=FOLDER stands before them. Theirs are "
        "magnetograms of active regions, ours whole disks in EUV."
    ),
    channels={name: name for name in CHANNELS},
    write=_write,
    read=_read,
    options={"classes": "M", "root": ""},
)
