"""Plain pictures in a folder for each class, with a manifest: what any image library reads.

``train/<class>/SYNTHETIC_000123.png`` is what torchvision's ``ImageFolder`` reads. One channel makes a grey picture,
three a coloured one; any other number of channels, a tree of grey pictures for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from forecasting_adapters.exports.contract import Ecosystem, Frame, Plan
from forecasting_adapters.exports.files import put_once
from forecasting_adapters.exports.labels import at_least, check_forecasts
from forecasting_adapters.exports.lazy import lazy_cube
from forecasting_adapters.exports.pictures import (
    Levels,
    Picture,
    default_levels,
    png_bytes,
    put_levels,
    read_levels,
    read_picture,
)
from sunaug.errors import UsageError
from sunaug.goes_classes import class_letters, format_goes_class
from sunaug.lexicon import CHANNELS

__all__ = ["ECOSYSTEM"]

_TOGETHER = (1, 3)
"""Numbers of channels that one PNG holds."""


def _classes(flux: NDArray[np.float64], classes: str) -> list[str]:
    """The folder of each frame."""
    if classes == "letters":
        return [str(letter) or "quiet" for letter in class_letters(flux)]
    return ["positive" if one else "negative" for one in at_least(flux, classes)]


def _trees(channels: Sequence[str]) -> list[str]:
    """The folders that hold a ``train`` each, within the export."""
    return ["."] if len(channels) in _TOGETHER else list(channels)


def _pictures(levels: Picture) -> list[Picture]:
    """The pictures of one frame, one for each tree."""
    if len(levels) == 3:
        return [np.moveaxis(levels, 0, -1)]
    return list(levels)


def _names(numbers: Sequence[int], flux: NDArray[np.float64], classes: str) -> list[str]:
    folders = _classes(flux, classes)
    return [f"train/{one}/SYNTHETIC_{number:06d}.png" for one, number in zip(folders, numbers, strict=True)]


def _write(plan: Plan, frames: Iterator[Frame], out: Path, done: Callable[[int], None]) -> None:
    check_forecasts(plan)
    bits = plan.options["bits"]
    if bits not in (8, 16):
        raise UsageError(f"option bits={bits}: pictures have 8 or 16 bits.")
    names = _names(plan.numbers.tolist(), plan.forecast_flux, plan.options["classes"])
    levels = default_levels(plan.channels, plan.intensity_scale, bits)
    put_levels(out, levels)
    for place, frame in enumerate(frames):
        pictures = _pictures(levels.encode(frame.image))
        for tree, picture in zip(_trees(plan.channels), pictures, strict=True):
            put_once(out / tree / names[place], partial(png_bytes, picture))
        done(place + 1)
    put_once(out / "manifest.csv", lambda: _manifest(plan, names).to_csv(index=False, lineterminator="\n").encode())


def _manifest(plan: Plan, names: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "file": names,
            "number": plan.numbers,
            "time": plan.times,
            "forecast_flux": plan.forecast_flux,
            "nowcast_flux": plan.nowcast_flux,
            "forecast_class": [format_goes_class(flux) for flux in plan.forecast_flux],
            "class": _classes(plan.forecast_flux, plan.options["classes"]),
        }
    )


def _read(out: Path, note: Mapping[str, Any]) -> xr.Dataset:
    samples, channels = note["samples"], note["images"]["channels"]
    names = _names(samples["number"], np.array(samples["forecast_flux"], np.float64), note["options"]["classes"])
    files = [[out / tree / name for tree in _trees(channels)] for name in names]
    return lazy_cube(partial(_load_frame, files=files, levels=read_levels(out)), note)


def _load_frame(place: int, files: list[list[Path]], levels: Levels) -> NDArray[np.float32]:
    pictures = [read_picture(one) for one in files[place]]
    if pictures[0].ndim == 3:
        return levels.decode(np.moveaxis(pictures[0], -1, 0))
    return levels.decode(np.stack(pictures))


ECOSYSTEM = Ecosystem(
    name="folder",
    title="image folder for any library (torchvision ImageFolder)",
    wants=(
        "PNGs of any size, north up, train/<class>/SYNTHETIC_000123.png, and manifest.csv. Classes are negative and "
        "positive from M1.0 (classes=M5.0 or any other, or classes=letters: quiet, A to X). One or three channels make "
        "one picture, other numbers a tree each. bits=16 keeps more of DN/s, for readers of 16 bits (ImageFolder is "
        "none); levels.json says what levels mean."
    ),
    channels={name: name for name in CHANNELS},
    write=_write,
    read=_read,
    options={"classes": "M1.0", "bits": 8},
)
