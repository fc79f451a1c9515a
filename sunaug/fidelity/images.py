"""Frames as feature networks see them: 8-bit RGB images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sunaug.scaling import default_scaling, missing_values

__all__ = ["display_images", "image_batches", "image_names"]

BATCH = 64
"""Frames in memory at a time."""


def display_images(
    intensity: NDArray[np.floating], channels: Sequence[str], intensity_scale: str
) -> dict[str, NDArray[np.uint8]]:
    """Turn frames into the 8-bit RGB images that pytorch-fid would read from PNG files.

    Intensities are scaled by `sunaug.scaling.default_scaling`, clipped to its range and rounded to 8 bits. Three
    channels make one RGB image; any other number makes one image per channel, repeated to three.

    Parameters
    ----------
    intensity : ndarray, shape (n, channel, y, x)
        In the cube's units; NaN becomes the lowest value, in magnetograms no field.
    channels : sequence of str
        Lexicon names.
    intensity_scale : str
        The cube's attribute.

    Returns
    -------
    dict of str to ndarray of uint8, shape (n, 3, y, x)
        By channel name; a single one, named by its three channels joined with ``+``, where there are three.
    """
    scaled = default_scaling(channels, intensity_scale).scale(np.asarray(intensity, np.float32))
    share = (np.where(np.isnan(scaled), missing_values(channels)[:, None, None], scaled) + 1) / 2
    counts = np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
    if len(channels) == 3:
        return {image_names(channels)[0]: counts}
    return {name: np.repeat(counts[:, [index]], 3, axis=1) for index, name in enumerate(channels)}


def image_names(channels: Sequence[str]) -> list[str]:
    """Names of the images that `display_images` makes of frames with these channels."""
    return ["+".join(channels)] if len(channels) == 3 else list(channels)


def image_batches(cube: xr.Dataset, numbers: NDArray[np.integer]) -> Iterator[dict[str, NDArray[np.uint8]]]:
    """The images of some frames of a cube, `BATCH` frames at a time.

    Parameters
    ----------
    cube : xarray.Dataset
        Observed or synthetic, as `sunaug.open_cube` gives it.
    numbers : ndarray of int, shape (n,)
        Positions of the frames on the cube's frame axis.

    Yields
    ------
    dict of str to ndarray of uint8, shape (up to BATCH, 3, y, x)
        See `display_images`.
    """
    frame_dim = "time" if "time" in cube.dims else "sample"
    channels = [str(name) for name in cube["channel"].values]
    for start in range(0, len(numbers), BATCH):
        intensity = cube["intensity"].isel({frame_dim: numbers[start : start + BATCH]}).values
        yield display_images(intensity, channels, cube.attrs["intensity_scale"])
