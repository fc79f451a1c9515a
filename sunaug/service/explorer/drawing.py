"""Frames as PNG for the page: sunpy's colour tables, differences, and `SYNTHETIC` in every picture."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from sunaug.bundle import BundleInfo
from sunaug.errors import UsageError
from sunaug.lexicon import channel, channel_names
from sunaug.pictures import SYNTHETIC, frame_picture
from sunaug.scaling import default_scaling
from sunaug.service.explorer.scenes import Difference, Picture

__all__ = ["chosen_channels", "draw", "draw_difference"]

DIFFERENCE_LIMIT = 0.25
_DIFFERENCES = LinearSegmentedColormap.from_list("difference", ["#8fc7ff", "#2f6fb0", "#0b0e13", "#b8661a", "#ffd08a"])
"""Blue where the Sun is darker than the other one, amber where it is brighter, dark where they are alike."""

_PNG_EFFORT = 1
_INK, _MARGIN = (255, 255, 255), 6


def chosen_channels(info: BundleInfo, names: Sequence[str] | None) -> list[int]:
    """Places of the channels that are to be drawn, in the order asked for.

    Raises
    ------
    UsageError
        If the bundle lacks one, or one is named twice.
    """
    wanted = channel_names(names) if names is not None else info.channels
    missing = [name for name in wanted if name not in info.channels]
    if missing:
        raise UsageError(f"{info.name} has no channel {', '.join(missing)}; it has {', '.join(info.channels)}.")
    return [info.channels.index(name) for name in wanted]


def draw(frame: NDArray[np.float32], info: BundleInfo, places: Sequence[int], width: int) -> list[Picture]:
    """Pictures of some channels of a frame (channel, y, x), north up."""
    pictures = []
    for place in places:
        name = info.channels[place]
        tile = frame_picture(frame[[place]], [name], intensity_scale=info.intensity_scale, width=width)
        pictures.append(_encoded(tile, name))
    return pictures


def draw_difference(
    frame: NDArray[np.float32], other: NDArray[np.float32], info: BundleInfo, places: Sequence[int], width: int
) -> Difference:
    """Where a frame is brighter or darker than another, on the scale that its pictures are drawn with.

    Raises
    ------
    UsageError
        If the frames have different shapes.
    """
    if frame.shape != other.shape:
        raise UsageError("only Suns of the same size and channels can be subtracted: choose the same bundle for both.")
    pictures = []
    for place in places:
        name = info.channels[place]
        scaling = default_scaling([name], info.intensity_scale)
        now, before = (scaling.scale(one[[place]])[0] for one in (frame, other))
        share = (now - before) / 2  # scaled intensities span 2
        colours = _DIFFERENCES((share / DIFFERENCE_LIMIT + 1) / 2, bytes=True)[::-1, :, :3]
        zoom = max(width // colours.shape[1], 1)
        tile = Image.fromarray(np.ascontiguousarray(colours.repeat(zoom, axis=0).repeat(zoom, axis=1)))
        pictures.append(_encoded(tile, name))
    return Difference(limit=DIFFERENCE_LIMIT, pictures=pictures)


def _encoded(tile: Image.Image, name: str) -> Picture:
    """A picture that says what it is, in its pixels and in its text."""
    font = ImageFont.load_default(max(round(tile.width / 22), 9))
    ImageDraw.Draw(tile).text((_MARGIN, _MARGIN), SYNTHETIC, _INK, font, stroke_width=1, stroke_fill=(0, 0, 0))
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", f"{SYNTHETIC}: made by sunaug, not observed")
    buffer = io.BytesIO()
    tile.save(buffer, "PNG", compress_level=_PNG_EFFORT, pnginfo=text)
    return Picture(channel=name, label=channel(name).label, png=base64.b64encode(buffer.getvalue()).decode())
