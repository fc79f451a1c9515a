"""Pictures for people: contact sheets in sunpy's colour tables, north up, `SYNTHETIC` where it is due."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

import matplotlib
import numpy as np
import sunpy.visualization.colormaps  # noqa: F401  registers the colour tables with matplotlib
from matplotlib import font_manager
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sunaug.errors import SunaugError, UsageError
from sunaug.lexicon import channel, channel_names
from sunaug.scaling import default_scaling

__all__ = ["Panel", "compare_sheet", "contact_sheet", "frame_picture"]

Panel: TypeAlias = tuple[str, NDArray[np.floating]]
"""A title, and a frame of shape (channel, y, x)."""

SYNTHETIC = "SYNTHETIC"

_PAPER = (255, 255, 255)
_INK = (34, 34, 34)
_PALE_INK = (110, 110, 110)
_MISSING = (0.62, 0.62, 0.62, 1.0)
_SHEET_WIDTH = 2500
_TILE_RANGE = (96, 384)
_MARGIN, _GAP, _SEAM = 18, 12, 2
_BLOCK_GAP = 40


@cache
def _font(size: int, weight: str = "normal") -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib carries along on every platform."""
    properties = font_manager.FontProperties(family="DejaVu Sans", weight=weight)
    return ImageFont.truetype(font_manager.findfont(properties), size)


def frame_picture(
    frame: NDArray[np.floating], channels: Sequence[str], *, intensity_scale: str = "physical", width: int | None = None
) -> Image.Image:
    """Draw one frame, its channels side by side, each in its sunpy colour table.

    Parameters
    ----------
    frame : ndarray, shape (channel, y, x)
        Intensities in the cube's units; row 0 is the south, as in a cube. NaN is drawn in grey.
    channels : sequence of str
        Channel names, one per channel of `frame`.
    intensity_scale : str
        The cube's attribute. DN/s are stretched by a logarithm over the channel's clip range, magnetograms and display
        counts (0 to 255) linearly.
    width : int, optional
        Wished width of one channel in pixels. Frames are enlarged by whole factors only, so that pixels stay crisp, and
        made smaller by area averaging. By default one picture pixel per frame pixel.

    Returns
    -------
    PIL.Image.Image
        RGB, north up, channels from left to right with a narrow seam.

    Raises
    ------
    UsageError
        If the frame's shape does not go with the channels.
    """
    names = channel_names(channels)
    frame = np.asarray(frame, dtype=np.float32)
    if frame.ndim != 3 or len(frame) != len(names):
        raise UsageError(
            f"a frame of shape {frame.shape} does not go with the channels {', '.join(names)}: give (channel, y, x)."
        )
    tiles = []
    for name, plane in zip(names, frame, strict=True):
        share = (default_scaling([name], intensity_scale).scale(plane[None])[0] + 1) / 2
        colormap = matplotlib.colormaps[channel(name).colormap].with_extremes(bad=_MISSING)
        colours = colormap(np.ma.masked_invalid(np.clip(share, 0, 1)), bytes=True)[::-1, :, :3]
        tiles.append(_resized(Image.fromarray(np.ascontiguousarray(colours)), width))
    step = tiles[0].width + _SEAM
    picture = Image.new("RGB", (step * len(tiles) - _SEAM, tiles[0].height), _PAPER)
    for number, tile in enumerate(tiles):
        picture.paste(tile, (number * step, 0))
    return picture


def _resized(tile: Image.Image, width: int | None) -> Image.Image:
    if width is None or width == tile.width:
        return tile
    if width < tile.width:
        return tile.resize((width, max(round(tile.height * width / tile.width), 1)), Image.Resampling.BOX)
    zoom = width // tile.width
    return tile.resize((tile.width * zoom, tile.height * zoom), Image.Resampling.NEAREST)


def contact_sheet(
    path: str | Path,
    panels: Sequence[Panel],
    channels: Sequence[str],
    *,
    intensity_scale: str = "physical",
    columns: int = 6,
    heading: str | None = None,
    synthetic: bool | Sequence[bool] = False,
    banner: Callable[[int], Image.Image] | None = None,
) -> Path:
    """Write many frames into one PNG.

    Parameters
    ----------
    path : str or pathlib.Path
        File to write; an existing one is replaced.
    panels : sequence of (str, ndarray)
        Title and frame (channel, y, x) in the cube's units, row 0 in the south.
    channels : sequence of str
        Channel names; they stand side by side under the title and are named once at the foot.
    intensity_scale : str
        The cube's attribute, see `frame_picture`.
    columns : int
        Frames in a row.
    heading : str, optional
        A line over the sheet.
    synthetic : bool or sequence of bool
        Which panels are synthetic, one for all or one each: their titles then say `SYNTHETIC`.
    banner : callable, optional
        Draws a picture of the width (in pixels) that it is called with, to stand over the sheet.

    Returns
    -------
    pathlib.Path
        The file that was written.

    Raises
    ------
    UsageError
        If there is no panel, or a frame does not go with the channels.
    SunaugError
        If the file cannot be written.
    """
    block = _Block(_titled(panels, synthetic), heading, columns)
    return _write_sheet(path, [block], channels, intensity_scale, banner)


def compare_sheet(
    path: str | Path,
    real: Sequence[Panel],
    synthetic: Sequence[Panel],
    channels: Sequence[str],
    *,
    intensity_scale: str = "physical",
    columns: int = 2,
    headings: tuple[str, str] = ("Observed", SYNTHETIC),
) -> Path:
    """Write real frames beside synthetic ones into one PNG, a block and a heading for each side.

    Parameters
    ----------
    path : str or pathlib.Path
        File to write; an existing one is replaced.
    real, synthetic : sequence of (str, ndarray)
        Title and frame (channel, y, x) in the cube's units. The titles of the synthetic ones get the word `SYNTHETIC`
        where they lack it.
    channels, intensity_scale
        As for `contact_sheet`.
    columns : int
        Frames in a row, of each side.
    headings : tuple of str
        What stands over the real and over the synthetic side.

    Returns
    -------
    pathlib.Path
        The file that was written.

    Raises
    ------
    UsageError
        If a side is empty, or a frame does not go with the channels.
    SunaugError
        If the file cannot be written.
    """
    blocks = [
        _Block(_titled(real, False), headings[0], columns),
        _Block(_titled(synthetic, True), headings[1], columns),
    ]
    return _write_sheet(path, blocks, channels, intensity_scale)


@dataclass(frozen=True)
class _Block:
    """A grid of panels under a heading."""

    panels: list[Panel]
    heading: str | None
    columns: int

    @property
    def used_columns(self) -> int:
        return min(self.columns, len(self.panels))

    @property
    def rows(self) -> int:
        return -(-len(self.panels) // self.columns)


def _titled(panels: Sequence[Panel], synthetic: bool | Sequence[bool]) -> list[Panel]:
    flags = [synthetic] * len(panels) if isinstance(synthetic, bool) else list(synthetic)
    if not panels:
        raise UsageError("a contact sheet needs at least one frame.")
    if len(flags) != len(panels):
        raise UsageError(f"{len(panels)} frames and {len(flags)} marks of what is synthetic: give one mark per frame.")
    return [
        (f"{SYNTHETIC} {title}".rstrip() if flag and SYNTHETIC not in title else title, frame)
        for flag, (title, frame) in zip(flags, panels, strict=True)
    ]


def _tile_width(columns: int, n_channels: int) -> int:
    room = (_SHEET_WIDTH - 2 * _MARGIN - _GAP * (columns - 1)) // (columns * n_channels) - _SEAM
    return int(np.clip(room, *_TILE_RANGE))


def _fitted(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Cut `text` to `width` pixels, with an ellipsis where something was cut."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def _write_sheet(
    path: str | Path,
    blocks: Sequence[_Block],
    channels: Sequence[str],
    intensity_scale: str,
    banner: Callable[[int], Image.Image] | None = None,
) -> Path:
    path = Path(path)
    if min(block.columns for block in blocks) < 1:
        raise UsageError("a contact sheet needs at least one column.")
    names = channel_names(channels)
    width = _tile_width(sum(block.used_columns for block in blocks), len(names))
    pictures = [
        [frame_picture(frame, names, intensity_scale=intensity_scale, width=width) for _, frame in block.panels]
        for block in blocks
    ]
    panel_width = max(one.width for row in pictures for one in row)
    panel_height = max(one.height for row in pictures for one in row)

    title_font, small_font, heading_font = _font(13), _font(11), _font(17, "bold")
    title_height = 19
    heading_height = 32 if any(block.heading for block in blocks) else 0
    step_x, step_y = panel_width + _GAP, title_height + panel_height + _GAP
    widths = [block.used_columns * step_x - _GAP for block in blocks]
    rows = max(block.rows for block in blocks)
    foot_height = 26
    sheet = Image.new(
        "RGB",
        (
            2 * _MARGIN + sum(widths) + _BLOCK_GAP * (len(blocks) - 1),
            2 * _MARGIN + heading_height + rows * step_y - _GAP + foot_height,
        ),
        _PAPER,
    )
    draw = ImageDraw.Draw(sheet)

    left = _MARGIN
    for block, drawn, block_width in zip(blocks, pictures, widths, strict=True):
        if block.heading:
            draw.text((left, _MARGIN), _fitted(block.heading, heading_font, block_width), _INK, heading_font)
        for number, ((title, _), picture) in enumerate(zip(block.panels, drawn, strict=True)):
            row, column = divmod(number, block.columns)
            x, y = left + column * step_x, _MARGIN + heading_height + row * step_y
            draw.text((x, y), _fitted(title, title_font, panel_width), _INK, title_font)
            sheet.paste(picture, (x, y + title_height))
        left += block_width + _BLOCK_GAP

    order = ", ".join(channel(name).label for name in names)
    foot = f"Left to right: {order}" if len(names) > 1 else order
    stretch = "display counts 0 to 255" if intensity_scale == "browse" else "logarithmic"
    foot = _fitted(f"{foot}; {stretch}; north up", small_font, sheet.width - 2 * _MARGIN)
    draw.text((_MARGIN, sheet.height - _MARGIN), foot, _PALE_INK, small_font, anchor="lb")
    if banner is not None:
        top = banner(sheet.width)
        both = Image.new("RGB", (sheet.width, top.height + sheet.height), _PAPER)
        both.paste(top, (0, 0))
        both.paste(sheet, (0, top.height))
        sheet = both
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path, format="PNG", optimize=True)
    except OSError as error:
        raise SunaugError(f"{path}: the picture cannot be written ({error.strerror or error}).") from None
    return path
