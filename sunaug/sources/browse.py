"""SDO browse images: 8-bit JPEGs, display counts and not DN/s.

Two kinds, told apart by their names:

- ``YYYYMMDD_HHMM.jpg``: three channels in one RGB image (171, 131 and 94 Å unless other channels are named), without
  caption or colour table, cut out of the middle of a 512 x 512 browse image.
- ``YYYYMMDD_HHMMSS_SDO_AIA_193_512.jpg`` and ``YYYYMMDD_HHMMSS_1024_0193.jpg``: one channel in sunpy's colour table,
  with a caption bottom left.

The files carry no pointing. Their field is 2457.6 arcsec per full width, centred on the Sun, north up. Limb fits on the
RGB images of twenty days from January to October 2012 put the 131 Å limb at 1.0154 to 1.0175 of the radius that this
plate scale predicts, constant through the year (so the scale is right to 0.1 %, and the EUV limb stands 1.6 % outside
the photosphere), and the centre within 1.3 pixels (6 arcsec) of the image's middle.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from upath import UPath

from sunaug.errors import UsageError
from sunaug.lexicon import CHANNELS, channel
from sunaug.sources import DiskGeometry, FileReference, Observation
from sunaug.sources.plausibility import plausible
from sunaug.sources.rejected import RejectedFile
from sunaug.sources.times import parse_time

SUFFIXES = (".jpg", ".jpeg")
INTENSITY_SCALE = "browse"

RGB_CHANNELS = ("aia171", "aia131", "aia94")
RGB_PLATE_SCALE = 4.8
"""arcsec per pixel of the RGB images: 2457.6 / 512, kept when they were cut to 472 x 472."""
_CUT_SIZE, _WHOLE_SIZE = 472, 512
FIELD_ARCSEC = 2457.6
"""Width of a whole browse image, 4096 detector pixels of 0.6 arcsec, whatever its size in pixels."""

SATURATION_COUNT = 255.0
_CAPTION_HEIGHT, _CAPTION_WIDTH = 0.04, 0.6

_ORIENTATION = 0x0112
_GRID, _BRIGHT, _LEAST_PIXELS = 128, 40, 300
_GREY_RANGE, _OTHER_COLOURS, _SAME_COLOURS = 10.0, 8.0, 4.0
"""Of 8-bit colours, medians over bright pixels. On 60 images of each of five kinds, red, green and blue lie 54 and more
apart in RGB images; single-channel ones are within 2.2 of a colour of their own table, and 14 and more from others."""

_RGB_NAME = re.compile(r"^(\d{8})_(\d{4})$")
_SINGLE_NAMES = (
    re.compile(r"^(?P<date>\d{8})_(?P<clock>\d{6})_SDO_(?P<channel>AIA_\d+)_(?P<size>\d+)$", re.IGNORECASE),
    re.compile(r"^(?P<date>\d{8})_(?P<clock>\d{6})_(?P<size>\d+)_(?P<channel>\d{4})$"),
)


def _moment(date: str, clock: str) -> np.datetime64:
    clock = clock.ljust(6, "0")
    text = f"{date[:4]}-{date[4:6]}-{date[6:]}T{clock[:2]}:{clock[2:4]}:{clock[4:]}"
    try:
        time = parse_time(text)
    except RejectedFile as error:
        raise RejectedFile(f"the time in the file name, {error.reason}") from error
    if time is None:
        raise RejectedFile(f"the file name holds no time ({text}).")
    return time


def refer(path: Path | UPath, channels: tuple[str, ...] | None = None) -> list[FileReference | RejectedFile]:
    """Time and channels of a browse image from its name.

    Parameters
    ----------
    path : pathlib.Path
    channels : tuple of str, optional
        What red, green and blue of an RGB image hold, where that is not 171, 131 and 94 Å.

    Raises
    ------
    RejectedFile
        If the name is of neither kind, or its time is not within the life of SDO.
    """
    if match := _RGB_NAME.match(path.stem):
        names = channels if channels and len(channels) == 3 else RGB_CHANNELS
        return [FileReference(path, "browse", _moment(*match.groups()), names)]
    for pattern in _SINGLE_NAMES:
        if match := pattern.match(path.stem):
            time = _moment(match["date"], match["clock"])
            try:
                return [FileReference(path, "browse", time, (channel(match["channel"]).name,))]
            except UsageError as error:
                raise RejectedFile(str(error), time) from error
    raise RejectedFile(
        "the file name tells neither time nor channel; expected YYYYMMDD_HHMM.jpg (three channels as RGB), "
        "YYYYMMDD_HHMMSS_SDO_AIA_193_512.jpg or YYYYMMDD_HHMMSS_1024_0193.jpg."
    )


@lru_cache(maxsize=4096)
def _angular_radius(noon: np.datetime64) -> float:
    from sunpy.coordinates import sun

    return float(sun.angular_radius(str(noon)).to_value("arcsec"))


def angular_radius(time: np.datetime64) -> float:
    """Angular radius of the Sun in arcsec, seen from the Earth at noon of the day.

    It changes by 0.03 % a day at most and SDO's orbit by as little, a tenth of a pixel on these images.
    """
    return _angular_radius((time.astype("datetime64[D]") + np.timedelta64(12, "h")).astype("datetime64[m]"))


@lru_cache(maxsize=16)
def _table(colormap: str) -> NDArray[np.float32]:
    """The colours of a colour table by level, shape (256, 3)."""
    import matplotlib
    import sunpy.visualization.colormaps  # noqa: F401  (registers the tables)

    return matplotlib.colormaps[colormap](np.arange(256), bytes=True)[:, :3].astype(np.float32)


@lru_cache(maxsize=16)
def _levels(colormap: str) -> NDArray[np.uint8]:
    """Level of the nearest colour in the colour table for 64 steps of red, green and blue, shape (64, 64, 64)."""
    from scipy.spatial import cKDTree

    steps = np.arange(64, dtype=np.float32) * 4 + 1.5
    colours = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1)
    return cKDTree(_table(colormap)).query(colours)[1].astype(np.uint8)


def _decode(path: Path | UPath) -> NDArray[np.uint8]:
    """The pixels of a colour JPEG, shape (y, x, 3)."""
    if path.stat().st_size == 0:
        raise RejectedFile("an empty file; download it again.")
    try:
        with path.open("rb") as file, Image.open(file) as picture:
            kind, mode, turned = picture.format, picture.mode, picture.getexif().get(_ORIENTATION, 1) != 1
            pixels = np.asarray(picture)
    except UnidentifiedImageError as error:
        with path.open("rb") as file:
            start = re.sub(r"[^\x20-\x7e]+", " ", file.read(15).decode("latin-1")).strip()
        raise RejectedFile(f'not a JPEG image (starts with "{start}"); download it again.') from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk or the network; errors of damaged content have no number
        raise RejectedFile(f"damaged JPEG ({error}); download it again.") from error
    if kind not in ("JPEG", "MPO"):
        raise RejectedFile(f"a picture of the kind {kind}, and its name says JPEG.")
    if mode == "L":
        raise RejectedFile("a grey picture; whether its values are the levels of the display cannot be told.")
    if mode != "RGB":
        raise RejectedFile(f"a picture of the kind {mode}; browse images are RGB.")
    if turned:
        raise RejectedFile("a picture that its EXIF turns; browse images are stored upright.")
    return pixels


def _check_colours(pixels: NDArray[np.uint8], names: tuple[str, ...]) -> None:
    """Raise `RejectedFile` where the colours are not those of the kind of picture that the name tells."""
    step = max(1, len(pixels) // _GRID)
    pixels = pixels[::step, ::step]
    bright = pixels[pixels.max(axis=2) > _BRIGHT]
    if len(bright) < _LEAST_PIXELS:
        return  # a dark frame shows no colour
    sample = bright[:: len(bright) // _LEAST_PIXELS].astype(np.float32)
    if np.median(np.ptp(sample, axis=1)) < _GREY_RANGE:
        raise RejectedFile("a grey picture; whether its values are the levels of the display cannot be told.")

    def distance(name: str) -> float:
        """Median over the pixels of the distance to the nearest colour in the channel's table."""
        table = _table(CHANNELS[name].colormap)
        squares = (sample**2).sum(axis=1)[:, None] + (table**2).sum(axis=1) - 2 * sample @ table.T
        return float(np.median(np.sqrt(np.maximum(squares.min(axis=1), 0))))

    if len(names) == 1 and distance(names[0]) > _OTHER_COLOURS:
        raise RejectedFile(f"its colours are not those of the colour table of {CHANNELS[names[0]].label}.")
    if len(names) == 3:
        alike = [name for name in CHANNELS if name.startswith("aia") and distance(name) < _SAME_COLOURS]
        if alike:
            label = CHANNELS[alike[0]].label
            raise RejectedFile(f"a picture in the colour table of {label}, and its name says three channels as RGB.")


def _field(width: int, height: int, reference: FileReference) -> float:
    """Width of the picture in arcsec, as its kind and size have it."""
    if width != height:
        raise RejectedFile(f"wrong shape: {width} x {height} pixels; browse images are square.")
    if len(reference.channels) == 3:
        for side in (_CUT_SIZE, _WHOLE_SIZE):
            if width % side == 0:
                return RGB_PLATE_SCALE * side
        sizes = f"multiples of {_CUT_SIZE} (cut) and {_WHOLE_SIZE} pixels (whole)"
        raise RejectedFile(f"{width} x {height} pixels: the plate scale is known of {sizes} alone.")
    named = next(match["size"] for pattern in _SINGLE_NAMES if (match := pattern.match(reference.path.stem)))
    if int(named) != width:
        raise RejectedFile(f"the picture is {width} pixels wide, and its name says {named}.")
    return FIELD_ARCSEC


def read(reference: FileReference) -> list[Observation]:
    """The channels of a browse image as display counts 0 to 255; the caption's pixels are NaN.

    Raises
    ------
    RejectedFile
        If the file is no image, is damaged, of another kind or size than its name tells, or too small to hold the disk,
        or its limb is not where the plate scale puts it.
    """
    pixels = _decode(reference.path)[::-1]  # JPEG rows run from the north down
    height, width = pixels.shape[:2]
    scale = _field(width, height, reference) / width
    _check_colours(pixels, reference.channels)
    if len(reference.channels) == 3:
        planes = [pixels[..., plane].astype(np.float32) for plane in range(3)]
    else:
        coarse = pixels >> 2
        levels = _levels(CHANNELS[reference.channels[0]].colormap)
        plane = levels[coarse[..., 0], coarse[..., 1], coarse[..., 2]].astype(np.float32)
        plane[: round(_CAPTION_HEIGHT * height), : round(_CAPTION_WIDTH * width)] = np.nan
        planes = [plane]
    radius = angular_radius(reference.time)
    geometry = DiskGeometry(((width - 1) / 2, (height - 1) / 2), np.eye(2) * (radius / scale))
    return [
        plausible(
            Observation(
                channel=name,
                time=reference.time,
                image=plane,
                geometry=geometry,
                unit="counts",
                saturation_level=SATURATION_COUNT,
                sun_radius=radius,
            )
        )
        for name, plane in zip(reference.channels, planes, strict=True)
    ]
