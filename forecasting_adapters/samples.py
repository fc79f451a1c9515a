"""What a training gets: dict samples, the same for real and synthetic frames.

A sample goes through PyTorch's default collate:

- ``image``: float32 tensor (C, H, W), intensities scaled to about [-1, 1]; a pixel without data has -1, the lowest;
- ``label``: int64 tensor (), 1 where the flux of the chosen label reaches the threshold;
- ``forecast_flux``, ``nowcast_flux``: float32 tensors (), W m-2, 0 = no flare listed, NaN = unknown;
- ``sample_id``: str, ``sdo2012/2012-03-07T00:00:00`` or ``SYNTHETIC/rare/000123``;
- ``synthetic``: bool tensor ().

`SampleForm` says how frames become samples, `FrameSource` where frames come from, `FrameDataset` joins the two.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.nn.functional import avg_pool2d
from torch.utils.data import Dataset

from forecasting_adapters.reading import Take
from sunaug.errors import UsageError
from sunaug.flares import parse_goes_class
from sunaug.lexicon import channel_names
from sunaug.scaling import IntensityScaling, default_scaling

__all__ = ["Fluxes", "FrameDataset", "FrameSource", "Sample", "SampleForm", "Transform", "count_labels"]

Sample = dict[str, Any]
Transform = Callable[[Sample], Sample]
Fluxes = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Forecast and nowcast flux of frames, each (n,), W m-2."""

LABELS = ("forecast", "nowcast")
# A cache may take this share of the machine's memory: the training and its workers need the rest.
_CACHE_SHARE = 0.5
_BLOCK_BYTES = 16 * 2**20
_BLOCK_FRAMES = 32


class FrameSource(Protocol):
    """Frames in a fixed order, of which any can be read.

    Attributes
    ----------
    name : str
        What samples are called after.
    where : str
        What messages name.
    attrs : dict
        Attributes of the cube.
    channels : list of str
        Lexicon names.
    size : int
        Width and height in pixels.
    axis : ndarray, shape (n,)
        Time, or number of the sample, of each frame.
    """

    name: str
    where: str
    attrs: dict[str, Any]
    channels: list[str]
    size: int
    axis: NDArray[Any]

    @property
    def forecast_flux(self) -> NDArray[np.float64]:
        """W m-2, shape (n,)."""

    @property
    def nowcast_flux(self) -> NDArray[np.float64]:
        """W m-2, shape (n,)."""

    def read(self, places: NDArray[np.int64], take: Take) -> Fluxes:
        """Hand the frames of some places (k,) on the axis to `take`, and give their fluxes (k,)."""


class SampleForm:
    """How frames of a source become samples.

    Parameters
    ----------
    source : FrameSource
    label : {"forecast", "nowcast"}
    threshold : str or float
        GOES class, or flux in W m-2, from which on a sample is positive.
    scaling : IntensityScaling or {"log", "asinh", "linear"}, optional
        By default that of `sunaug.scaling.default_scaling`.
    channels : sequence of str, optional
        Channels in the order wanted; by default all.
    size : int, optional
        Width and height of the images: the frames' own, or a whole fraction of it, to which intensities are averaged.
    transform : callable, optional
        Applied to each sample, dict to dict.

    Raises
    ------
    UsageError
        If an option has an unknown value, or the source does not have what is asked for.
    """

    def __init__(
        self,
        source: FrameSource,
        *,
        label: str,
        threshold: str | float,
        scaling: IntensityScaling | str | None,
        channels: Sequence[str] | None,
        size: int | None,
        transform: Transform | None,
    ) -> None:
        if label not in LABELS:
            raise UsageError(f"unknown label {label!r}: choose one of {', '.join(LABELS)}.")
        self.label = label
        self.threshold = parse_goes_class(threshold) if isinstance(threshold, str) else float(threshold)
        self.transform = transform
        self.channels = channel_names(channels) if channels is not None else source.channels
        if not self.channels or not set(self.channels) <= set(source.channels):
            raise UsageError(
                f"{source.where}: has the channels {', '.join(source.channels)}, not "
                f"{', '.join(self.channels) or 'none'}; choose among them."
            )
        rows = [source.channels.index(name) for name in self.channels]
        self._rows = None if rows == list(range(len(source.channels))) else rows
        self.size = source.size if size is None else size
        if not 0 < self.size <= source.size or source.size % self.size:
            raise UsageError(
                f"{source.where}: frames of {source.size} pixels cannot become {self.size}; give a size that divides "
                f"{source.size}, or make the cube at the size that you need."
            )
        self._factor = source.size // self.size
        self.scaling = (
            scaling
            if isinstance(scaling, IntensityScaling)
            else default_scaling(self.channels, source.attrs["intensity_scale"], scaling)
        )
        if len(self.scaling.low) != len(self.channels):
            raise UsageError(
                f"the scaling has {len(self.scaling.low)} channels, the images have {len(self.channels)}; give one "
                "lower and one upper limit for each."
            )

    def empty(self, count: int) -> torch.Tensor:
        """Room for `count` images (count, C, H, W)."""
        # By NumPy, which asks for huge pages: thousands of small ones cost more than what is written on them.
        return torch.from_numpy(np.empty((count, len(self.channels), self.size, self.size), np.float32))

    def read(self, source: FrameSource, places: NDArray[np.int64]) -> tuple[torch.Tensor, Fluxes]:
        """Scaled images (n, C, H, W) and fluxes (n,) of some places of a source."""
        images = self.empty(len(places))
        room = images.numpy()
        return images, source.read(places, lambda place, frame: self.write(frame, room[place]))

    def write(self, frame: NDArray[np.float32], image: NDArray[np.float32]) -> None:
        """Write the scaled image (C, H, W) of a frame (all channels, y, x)."""
        if self._rows is not None:
            frame = frame[self._rows]
        if self._factor > 1:
            frame = avg_pool2d(torch.from_numpy(frame), self._factor).numpy()
        if self.scaling.kind == "linear":
            # The same line as the scaling's in half the passes over the pixels, one channel after the other.
            for plane, low, high, out in zip(frame, self.scaling.low, self.scaling.high, image, strict=True):
                np.multiply(plane, np.float32(2 / (high - low)), out=out)
                np.subtract(out, np.float32(2 * low / (high - low) + 1), out=out)
                np.fmax(out, np.float32(-1), out=out)
        else:
            # Only pixels without data are less, and negative fields beyond the range of a magnetogram.
            np.fmax(self.scaling.scale(frame), np.float32(-1), out=image)

    def labels(self, forecast_flux: NDArray[np.float64], nowcast_flux: NDArray[np.float64]) -> NDArray[np.int64]:
        """Labels (n,) of frames with these fluxes (n,)."""
        flux = forecast_flux if self.label == "forecast" else nowcast_flux
        # As in `sunaug.flares.class_letters`: half an ulp must not decide on which side of M1.0 an M1.0 flare falls.
        return (flux * (1 + 1e-6) >= self.threshold).astype(np.int64)

    def samples(
        self,
        images: torch.Tensor,
        forecast_flux: NDArray[np.float64],
        nowcast_flux: NDArray[np.float64],
        sample_ids: Sequence[str],
        synthetic: bool,
    ) -> list[Sample]:
        """Scaled images (n, C, H, W) and what belongs to them as n samples."""
        columns = (
            images.unbind(),
            torch.from_numpy(self.labels(forecast_flux, nowcast_flux)).unbind(),
            torch.from_numpy(forecast_flux.astype(np.float32)).unbind(),
            torch.from_numpy(nowcast_flux.astype(np.float32)).unbind(),
            sample_ids,
            torch.full((len(images),), synthetic).unbind(),
        )
        names = ("image", "label", "forecast_flux", "nowcast_flux", "sample_id", "synthetic")
        made = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        return [self.transform(sample) for sample in made] if self.transform else made


class FrameDataset(Dataset[Sample], ABC):
    """Frames of a source as dict samples.

    A batch is read at once (`__getitems__`, which PyTorch's loaders call). Samples that are asked for one by one and in
    order are read ahead in blocks, the last of which is kept.

    Parameters
    ----------
    source : FrameSource
    form : SampleForm
    cache : bool
        Read everything now and keep the images.
    """

    synthetic = False

    def __init__(self, source: FrameSource, form: SampleForm, *, cache: bool) -> None:
        self.source, self.form = source, form
        self.name: str = source.name
        self.attrs: dict[str, Any] = dict(source.attrs)
        self.label, self.threshold, self.scaling = form.label, form.threshold, form.scaling
        self.channels, self.size = form.channels, form.size
        self._last = -2
        self._block: tuple[int, torch.Tensor, Fluxes] | None = None
        self._cache = self._read_all() if cache else None

    def __len__(self) -> int:
        return len(self.source.axis)

    @property
    def forecast_flux(self) -> NDArray[np.float64]:
        """W m-2, shape (n,)."""
        return self.source.forecast_flux

    @property
    def nowcast_flux(self) -> NDArray[np.float64]:
        """W m-2, shape (n,)."""
        return self.source.nowcast_flux

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """1 where the flux of the label reaches the threshold, shape (n,)."""
        return self.form.labels(self.forecast_flux, self.nowcast_flux)

    def class_counts(self) -> dict[str, int]:
        """Number of samples of each label: ``negative`` and ``positive``."""
        return count_labels(self.labels)

    def __getitem__(self, index: int) -> Sample:
        place = self._places([index])
        if self._cache is not None:
            # A copy, so that a transform in place does not write into the cache.
            return self._samples(place, self._cache[place].clone(), *self._fluxes(place))[0]
        start = int(place[0])
        in_order, self._last = start == self._last + 1, start
        if self._block is None or not 0 <= start - self._block[0] < len(self._block[1]):
            if not in_order:
                return self._read(place)[0]
            block = np.arange(start, min(start + self._ahead, len(self)))
            self._block = start, *self.form.read(self.source, block)
        first, images, (forecast_flux, nowcast_flux) = self._block
        slot = slice(start - first, start - first + 1)
        return self._samples(place, images[slot].clone(), forecast_flux[slot], nowcast_flux[slot])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """The samples of a batch, read together."""
        places = self._places(indices)
        if self._cache is not None:
            return self._samples(places, self._cache[places], *self._fluxes(places))
        return self._read(places)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_block": None}

    @abstractmethod
    def _sample_id(self, place: int) -> str:
        """Name of a sample, for people and logs."""

    @property
    def _ahead(self) -> int:
        frame = 4 * len(self.source.channels) * self.source.size**2
        return int(np.clip(_BLOCK_BYTES // frame, 1, _BLOCK_FRAMES))

    def _places(self, indices: Sequence[int]) -> NDArray[np.int64]:
        places = np.asarray(indices, np.int64)
        n = len(self)
        if ((places < -n) | (places >= n)).any():
            raise IndexError(f"sample {places[(places < -n) | (places >= n)][0]} of {n}")
        return np.where(places < 0, places + n, places)

    def _fluxes(self, places: NDArray[np.int64]) -> Fluxes:
        return self.forecast_flux[places], self.nowcast_flux[places]

    def _read(self, places: NDArray[np.int64]) -> list[Sample]:
        images, fluxes = self.form.read(self.source, places)
        return self._samples(places, images, *fluxes)

    def _samples(
        self,
        places: NDArray[np.int64],
        images: torch.Tensor,
        forecast_flux: NDArray[np.float64],
        nowcast_flux: NDArray[np.float64],
    ) -> list[Sample]:
        ids = [self._sample_id(place) for place in places.tolist()]
        return self.form.samples(images, forecast_flux, nowcast_flux, ids, self.synthetic)

    def _read_all(self) -> torch.Tensor:
        needed = 4 * len(self) * len(self.channels) * self.size**2
        if needed > (allowed := _CACHE_SHARE * _machine_memory()):
            raise UsageError(
                f"{self.source.where}: {len(self)} frames need {needed / 2**30:.1f} GiB of memory, more than the "
                f"{allowed / 2**30:.1f} GiB that a cache may take here; use cache=False."
            )
        images = self.form.empty(len(self))
        for start in range(0, len(self), self._ahead):
            block = np.arange(start, min(start + self._ahead, len(self)))
            images[start : start + len(block)], _ = self.form.read(self.source, block)
        return images


def count_labels(labels: ArrayLike) -> dict[str, int]:
    """Number of ``negative`` (0) and ``positive`` labels."""
    values = np.asarray(labels)
    return {"negative": int((values == 0).sum()), "positive": int((values != 0).sum())}


def _machine_memory() -> float:
    """Bytes of memory that the machine has; infinite where it does not tell."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return float("inf")
