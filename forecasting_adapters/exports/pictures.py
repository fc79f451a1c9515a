"""Frames as pictures: display levels of 8 or 16 bits, north up, and the way back to intensities.

Each channel has its own range. What lies beyond its ends, and pixels without data, come back as the ends; in between a
value comes back within half a level of its scaling (JPEG adds its own loss).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError

from forecasting_adapters.exports.contract import Frame
from forecasting_adapters.exports.files import put_once
from forecasting_adapters.exports.lazy import lazy_cube
from sunaug.errors import SunaugError
from sunaug.scaling import IntensityScaling, default_scaling

__all__ = ["Levels", "PicturePath", "default_levels", "jpeg_bytes", "png_bytes", "read_pictures", "write_pictures"]

LEVELS_FILE = "levels.json"
"""In the root of an export of pictures: its `Levels`."""

JPEG_QUALITY = 95

Picture = NDArray[np.unsignedinteger[Any]]
"""Levels (y, x) or (y, x, channel), north first."""

PicturePath = Callable[[int, np.datetime64, str], str]
"""Path within the export, of the number and the time of a frame and the lexicon name of a channel."""


class Levels(BaseModel):
    """What the levels of pictures mean.

    Attributes
    ----------
    scalings : tuple of IntensityScaling
        One for each channel; -1 is level 0, 1 the highest.
    bits : int
        8 or 16.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scalings: tuple[IntensityScaling, ...]
    bits: int = 8

    def encode(self, image: NDArray[np.float32]) -> Picture:
        """Levels of a frame (channel, y, x), south first; north first after it. NaN is level 0."""
        scaled = np.concatenate([one.scale(plane[None]) for one, plane in zip(self.scalings, image, strict=True)])
        share = np.clip((np.nan_to_num(scaled, nan=-1.0) + 1) / 2, 0, 1)
        levels: Picture = np.rint(share * self._top).astype(np.uint8 if self.bits == 8 else np.uint16)
        return levels[:, ::-1]

    def decode(self, levels: Picture) -> NDArray[np.float32]:
        """Intensities of levels (channel, y, x), north first; south first after it."""
        scaled = levels[:, ::-1].astype(np.float32) / self._top * 2 - 1
        planes = [one.unscale(plane[None]) for one, plane in zip(self.scalings, scaled, strict=True)]
        return np.concatenate(planes).astype(np.float32)

    @property
    def _top(self) -> int:
        return int(2**self.bits - 1)


def default_levels(channels: Sequence[str], intensity_scale: str, bits: int = 8) -> Levels:
    """Display counts as they are, DN/s on a logarithm over each channel's clip range, magnetograms linear."""
    return Levels(scalings=tuple(default_scaling([one], intensity_scale) for one in channels), bits=bits)


def png_bytes(picture: Picture) -> bytes:
    """A PNG of one channel (y, x) or of three (y, x, 3), 8 or 16 bits."""
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(picture)))


def jpeg_bytes(picture: Picture) -> bytes:
    """A grey JPEG of levels (y, x), 8 bits, whose comment says that it is synthetic."""
    buffer = io.BytesIO()
    comment = b"SYNTHETIC: made by sunaug, not an observation"
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "JPEG", quality=JPEG_QUALITY, comment=comment)
    return buffer.getvalue()


def write_pictures(
    frames: Iterable[Frame],
    out: Path,
    channels: Sequence[str],
    levels: Levels,
    path: PicturePath,
    encode: Callable[[Picture], bytes],
    done: Callable[[int], None],
    *,
    copies: Sequence[PicturePath] = (),
) -> None:
    """Write each channel of each frame as a grey picture, and what the levels mean; pictures that are there stay.

    `copies` are further places that each picture is written to.
    """
    put_levels(out, levels)
    for count, frame in enumerate(frames, 1):
        for name, picture in zip(channels, levels.encode(frame.image), strict=True):
            for place in (path, *copies):
                put_once(out / place(frame.number, frame.time, name), partial(encode, picture))
        done(count)


def put_levels(out: Path, levels: Levels) -> None:
    """Write what the levels of an export's pictures mean."""
    put_once(out / LEVELS_FILE, lambda: levels.model_dump_json(indent=1).encode())


def read_levels(out: Path) -> Levels:
    """What the levels of an export's pictures mean.

    Raises
    ------
    SunaugError
        If its file is missing or damaged.
    """
    try:
        return Levels.model_validate_json((out / LEVELS_FILE).read_bytes())
    except (OSError, ValidationError):
        raise SunaugError(
            f"{out}: its {LEVELS_FILE} is missing or damaged, so that levels cannot be turned back into intensities; "
            "export the cube again."
        ) from None


def read_picture(path: Path) -> Picture:
    """Levels of a picture, (y, x) or (y, x, channel), north first.

    Raises
    ------
    SunaugError
        If it is missing or damaged.
    """
    try:
        if path.suffix == ".png":  # Pillow cuts 16-bit colours down to 8
            return np.asarray(imagecodecs.png_decode(path.read_bytes()))
        with Image.open(path) as picture:
            return np.asarray(picture)
    except (OSError, ValueError, RuntimeError) as error:
        raise SunaugError(f"{path}: missing, or not a whole picture ({error}); export the cube again.") from None


def read_pictures(out: Path, note: Mapping[str, Any], path: PicturePath) -> xr.Dataset:
    """The frames that `write_pictures` wrote, as a lazy synthetic cube in the units that they had."""
    samples, channels = note["samples"], note["images"]["channels"]
    times = np.array(samples["time"], dtype="datetime64[ns]")
    files = [
        [out / path(number, time, name) for name in channels]
        for number, time in zip(samples["number"], times, strict=True)
    ]
    return lazy_cube(partial(_load_planes, files=files, levels=read_levels(out)), note)


def _load_planes(place: int, files: list[list[Path]], levels: Levels) -> NDArray[np.float32]:
    return levels.decode(np.stack([read_picture(one) for one in files[place]]))
