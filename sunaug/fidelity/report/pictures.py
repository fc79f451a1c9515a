"""Frames as pictures within a page: PNG files as data URIs, one for each channel, in sunpy's colours."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from PIL import Image

from sunaug.flares import format_goes_class
from sunaug.lexicon import channel
from sunaug.pictures import frame_picture

__all__ = ["Picture", "Shown", "show_all"]

_WIDEST = 192
"""Pixels: larger frames are averaged down, so that a page of frames of 1,024 pixels can still be sent by mail."""


@dataclass(frozen=True)
class Picture:
    """One channel of a frame."""

    channel: str
    source: str
    alt: str


@dataclass(frozen=True)
class Shown:
    """A frame with what is written under it."""

    title: str
    kind: str
    pictures: tuple[Picture, ...]
    detail: str = ""


def _show(cube: xr.Dataset, row: int, detail: str) -> Shown:
    real = "time" in cube.dims
    frame = cube.isel({"time" if real else "sample": row})
    if real:
        title = f"{str(np.datetime_as_string(frame['time'].values, 'm')).replace('T', ' ')} UT"
    else:
        title = f"SYNTHETIC sample {int(frame['sample'].values)}"
    flux = float(frame["forecast_flux"].values) if "forecast_flux" in frame else float("nan")
    kind = "" if np.isnan(flux) else "quiet" if flux == 0 else format_goes_class(flux)
    names = [str(name) for name in cube["channel"].values]
    scale = str(cube.attrs["intensity_scale"])
    intensity = np.asarray(frame["intensity"].values, np.float32)
    pictures = []
    for name, plane in zip(names, intensity, strict=True):
        alt = f"{title}, {channel(name).label}" + (f", forecast {kind}" if kind else "")
        pictures.append(Picture(channel(name).label, _source(plane, name, scale), alt))
    return Shown(title, kind, tuple(pictures), detail)


def show_all(
    cube: xr.Dataset, rows: Sequence[int] | NDArray[np.integer], details: Sequence[str] | None = None
) -> list[Shown]:
    """Draw some frames of a cube.

    Parameters
    ----------
    cube : xarray.Dataset
        Observed or synthetic.
    rows : sequence of int
        Positions on its frame axis.
    details : sequence of str, optional
        Shown under the title of each.
    """
    texts = details or [""] * len(rows)
    return [_show(cube, int(row), text) for row, text in zip(rows, texts, strict=True)]


def _source(plane: NDArray[np.float32], name: str, scale: str) -> str:
    width = min(plane.shape[-1], _WIDEST)
    picture = frame_picture(plane[None], [name], intensity_scale=scale, width=width)
    file = io.BytesIO()
    _with_palette(picture).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _with_palette(picture: Image.Image) -> Image.Image:
    """The same picture with a palette, a third of the size; a colour table has no more than 256 colours."""
    pixels = np.asarray(picture)
    colours, places = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    if len(colours) > 256:
        return picture
    found = Image.fromarray(places.reshape(pixels.shape[:2]).astype(np.uint8), mode="P")
    found.putpalette(colours.astype(np.uint8).tobytes())
    return found
