"""Where a patch lies in an image, and which parts of the coarser layers it is made from.

A block of a generator doubles the resolution by bilinear interpolation between two convolutions of three pixels. So a
patch depends on a few pixels more than its own place at the resolution below, whatever the size of the image. Inside
the image a block is therefore given a margin, which is cut off again where its own borders have spoilt it; at the
image's edge there is nothing to cut off, because the whole image has its border there too.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["BlockWindows", "Window", "block_windows", "crop", "tiles"]


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels, half-open: rows from `top` up to `bottom`, columns from `left` up to `right`."""

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def square(cls, top: int, left: int, size: int) -> Window:
        """A square of `size` pixels."""
        return cls(top, top + size, left, left + size)

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.right - self.left

    def scaled(self, factor: int) -> Window:
        """The same place where each pixel is `factor` by `factor` pixels."""
        return Window(*(border * factor for border in (self.top, self.bottom, self.left, self.right)))

    def divided(self, factor: int) -> Window:
        """The same place where `factor` by `factor` pixels are one.

        Raises
        ------
        ValueError
            If a border falls inside such a pixel.
        """
        borders = (self.top, self.bottom, self.left, self.right)
        if any(border % factor for border in borders):
            raise ValueError(
                f"rows {self.top}:{self.bottom}, columns {self.left}:{self.right}: no multiples of {factor}"
            )
        return Window(*(border // factor for border in borders))

    def grown(self, margin: int, size: int) -> Window:
        """With a margin on all sides, as far as an image of `size` pixels goes."""
        top, left = max(self.top - margin, 0), max(self.left - margin, 0)
        return Window(top, min(self.bottom + margin, size), left, min(self.right + margin, size))


@dataclass(frozen=True)
class BlockWindows:
    """What a block works on to make a part of its resolution.

    Attributes
    ----------
    below : Window
        Of the resolution below: what it is given.
    doubled : Window
        `below` at the block's own resolution.
    middle : Window
        What its second convolution is given.
    made : Window
        What it makes.
    """

    below: Window
    doubled: Window
    middle: Window
    made: Window


def block_windows(window: Window, resolution: int, coarse: int) -> list[BlockWindows]:
    """Windows of the blocks from the resolution above `coarse` up to `resolution`, of which `window` is to be made.

    The second convolution needs a pixel more on each side. Interpolation makes row i of rows (i - 1) // 2 and
    (i + 1) // 2 below, and the first convolution needs one more still.
    """
    found: list[BlockWindows] = []
    while resolution > coarse:
        middle = window.grown(1, resolution)
        resolution //= 2
        source = Window((middle.top - 1) // 2, middle.bottom // 2 + 1, (middle.left - 1) // 2, middle.right // 2 + 1)
        below = source.grown(1, resolution)
        found.append(BlockWindows(below, below.scaled(2), middle, window))
        window = below
    return found[::-1]


def crop(x: Tensor, covered: Window, wanted: Window) -> Tensor:
    """The part `wanted` of x (..., y, x), which covers `covered`."""
    top, left = wanted.top - covered.top, wanted.left - covered.left
    return x[..., top : top + wanted.height, left : left + wanted.width]


def tiles(size: int, tile: int) -> list[Window]:
    """Squares of `tile` pixels that cover an image of `size`, row by row; both are powers of two."""
    tile = min(tile, size)
    return [Window.square(top, left, tile) for top in range(0, size, tile) for left in range(0, size, tile)]
