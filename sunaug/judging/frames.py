"""The frames of an experiment, drawn for the page: real and synthetic ones on exactly the same way."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from PIL import Image

from sunaug.cube import refuse_reconstructions
from sunaug.errors import UsageError
from sunaug.judging.trials import Choice
from sunaug.lexicon import channel as lexicon_channel
from sunaug.pictures import frame_picture

__all__ = ["Frames"]

PANEL_WIDTH = 512
"""Smaller frames are enlarged by a whole factor up to this width, so that a browser has little to blur."""

THUMBNAIL_WIDTH = 128
_SEAM = 2
_KEPT = 4


class Frames:
    """Frames of a synthetic and an observed cube under one roof.

    Parameters
    ----------
    synthetic, real : xarray.Dataset
        As `sunaug.open_cube` gives them.
    channel : str, optional
        The one channel that is shown; by default all of the synthetic cube's.

    Raises
    ------
    UsageError
        If the cubes do not go together, or one lacks the channel.
    """

    def __init__(self, synthetic: xr.Dataset, real: xr.Dataset, channel: str | None = None) -> None:
        names = [str(name) for name in synthetic["channel"].values]
        self.channels: tuple[str, ...] = tuple(names) if channel is None else (lexicon_channel(channel).name,)
        self.intensity_scale = str(synthetic.attrs["intensity_scale"])
        self._cubes = {"sample": synthetic, "time": real}
        self._check()
        self._lock = Lock()
        self._read = lru_cache(maxsize=_KEPT)(self._read_frame)

    def _check(self) -> None:
        made, real = self._cubes["sample"], self._cubes["time"]
        names = [str(cube.encoding.get("source", "the cube")) for cube in (made, real)]
        refuse_reconstructions(made.attrs, names[0])
        for name, cube in zip(names, (made, real), strict=True):
            known = [str(one) for one in cube["channel"].values]
            missing = [one for one in self.channels if one not in known]
            if missing:
                raise UsageError(f"{name}: has no channel {', '.join(missing)}, only {', '.join(known)}.")
        pairs: dict[str, list[Any]] = {
            "frame sizes": [cube.sizes["y"] for cube in (made, real)],
            "disk radii": [round(float(cube.attrs["solar_radius_pixels"]), 3) for cube in (made, real)],
            "intensity scales": [cube.attrs["intensity_scale"] for cube in (made, real)],
        }
        for what, (one, other) in pairs.items():
            if one != other:
                raise UsageError(
                    f"{names[0]} and {names[1]} have different {what} ({one} against {other}), so a judge would tell "
                    "them apart by that; give the cube that the generator was trained for, or ingest it alike."
                )

    def _read_frame(self, key: int | str) -> NDArray[np.float32]:
        """Intensity (channel, y, x) of a sample, by its number, or of a real frame, by its time."""
        if isinstance(key, int):
            frame = self._cubes["sample"].sel(sample=key)
        else:
            frame = self._cubes["time"].sel(time=np.datetime64(key.removesuffix("Z")), method="nearest")
        return np.asarray(frame["intensity"].sel(channel=list(self.channels)).values, np.float32)

    def frame(self, key: int | str) -> NDArray[np.float32]:
        """Intensity of one frame in the cube's units.

        Parameters
        ----------
        key : int or str
            Number of a sample, or time of a real frame (ISO 8601, UTC).

        Returns
        -------
        ndarray of float32, shape (channel, y, x)
            The channels that are shown.
        """
        with self._lock:
            return self._read(key)

    def panel(self, key: int | str, number: int) -> bytes:
        """One channel of a frame as a PNG file, by its place in `channels`."""
        return _png(self._drawn(key, number, max(PANEL_WIDTH, int(self._cubes["time"].sizes["x"]))))

    def thumbnail(self, key: int | str) -> bytes:
        """A small picture of all shown channels of a frame, side by side, as a PNG file."""
        panels = [self._drawn(key, number, THUMBNAIL_WIDTH) for number in range(len(self.channels))]
        width, height = panels[0].size
        sheet = Image.new("RGB", ((width + _SEAM) * len(panels) - _SEAM, height))
        for number, one in enumerate(panels):
            sheet.paste(one, (number * (width + _SEAM), 0))
        return _png(sheet)

    def _drawn(self, key: int | str, number: int, width: int) -> Image.Image:
        return frame_picture(
            self.frame(key)[number : number + 1],
            [self.channels[number]],
            intensity_scale=self.intensity_scale,
            width=width,
        )

    def fingerprint(self, choice: Choice) -> str:
        """SHA-256 of everything that the judges will see: the chosen frames' times, numbers and intensities."""
        digest = hashlib.sha256(",".join(self.channels).encode())
        keys: Sequence[int | str] = (*choice.samples, *choice.times)
        for key in keys:
            digest.update(f"{key};".encode())
            digest.update(np.ascontiguousarray(self._read_frame(key)).tobytes())
        return digest.hexdigest()


def _png(picture: Image.Image) -> bytes:
    """The same encoding for every picture, and nothing in it but pixels."""
    plain = Image.new("RGB", picture.size)
    plain.paste(picture)
    buffer = io.BytesIO()
    plain.save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()
