"""The spectral finish: samples get the mean power spectrum of the real frames that the generator was trained on.

Networks that upsample leave too much or too little power at the highest spatial frequencies and at the corners of the
frequency plane (Durall, Keuper & Keuper 2020, arXiv:2003.01826), where an eye does not look and a texture measure does.
What is the same in all samples can be taken out of them after the generator: one linear filter per channel, with the
root of the ratio of the two mean power spectra as its gain. It does not know the sample, moves nothing (its phase is
zero) and leaves the low frequencies alone, so that what is on the Sun stays as it was generated.

The disk has another spectrum than the whole frame with its limb, so that it has a filter of its own; the two are
blended where the disk ends.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from sunaug.measures.limb import Geometry
from sunaug.measures.regions import centre_distance

__all__ = ["MeanPower", "SpectralFinish", "disk_window"]

_WINDOW = (0.85, 0.98)
_BLEND = (0.815, 0.945)
"""Radii between which the window of the disk's spectrum, and the disk's share of the result, fall from 1 to 0."""

_RAMP = (0.1, 0.2)
"""Shares of the Nyquist frequency below which nothing is changed, and above which all is."""

_STRONGEST = 4.0
"""A bundle that needs more than this at some frequency has other troubles than its texture."""


def disk_window(geometry: Geometry, inner: float, outer: float) -> Tensor:
    """1 up to `inner` radii of the photosphere, 0 from `outer` on, a cosine between; shape (y, x), float32."""
    fall = np.clip((centre_distance(geometry) - inner) / (outer - inner), 0, 1)
    return torch.from_numpy((0.5 + 0.5 * np.cos(np.pi * fall)).astype(np.float32))


class MeanPower:
    """Mean power spectra of images, of the disk and of the whole frame, over any number of batches.

    Parameters
    ----------
    geometry : Geometry

    Attributes
    ----------
    count : int
    """

    def __init__(self, geometry: Geometry) -> None:
        self.count = 0
        self._windows = torch.stack([disk_window(geometry, *_WINDOW), torch.ones(geometry.size, geometry.size)])
        self._sum: Tensor | None = None

    def add(self, images: Tensor) -> MeanPower:
        """Take in scaled images (n, channel, y, x)."""
        windows = self._windows[:, None, None]
        mean = (images * windows).sum(dim=(-2, -1), keepdim=True) / windows.sum(dim=(-2, -1), keepdim=True)
        power = torch.fft.rfft2((images - mean) * windows).abs().double().square().sum(dim=1)
        self._sum = power if self._sum is None else self._sum + power
        self.count += len(images)
        return self

    @classmethod
    def of(cls, geometry: Geometry, batches: Iterable[Tensor]) -> MeanPower:
        """Of batches of images."""
        power = cls(geometry)
        for images in batches:
            power.add(images)
        return power

    @property
    def mean(self) -> Tensor:
        """Of the disk, then of the frame: float64, shape (2, channel, y, x // 2 + 1), frequencies as `rfft2` has them.

        Raises
        ------
        ValueError
            If there was no image.
        """
        if self._sum is None:
            raise ValueError("no image has been taken in")
        return self._sum / self.count


class SpectralFinish(nn.Module):
    """The filters of a bundle.

    Parameters
    ----------
    gains : Tensor, shape (2, channel, y, x // 2 + 1)
        Of the disk and of the frame, by spatial frequency as `torch.fft.rfft2` has them; float32.
    geometry : Geometry
    """

    gains: Tensor
    disk: Tensor

    def __init__(self, gains: Tensor, geometry: Geometry) -> None:
        super().__init__()
        self.register_buffer("gains", gains)
        self.register_buffer("disk", disk_window(geometry, *_BLEND))

    @classmethod
    def between(cls, real: MeanPower, samples: MeanPower, geometry: Geometry) -> SpectralFinish:
        """The finish that gives samples the mean power of real frames."""
        tiniest = torch.finfo(torch.float32).tiny
        logarithm = (real.mean.clamp_min(tiniest) / samples.mean.clamp_min(tiniest)).log() / 2
        limit = float(np.log(_STRONGEST))
        rows = torch.fft.fftfreq(geometry.size, dtype=torch.float64)
        columns = torch.fft.rfftfreq(geometry.size, dtype=torch.float64)
        share = 2 * torch.hypot(rows[:, None], columns)
        weight = ((share - _RAMP[0]) / (_RAMP[1] - _RAMP[0])).clamp(0, 1)
        return cls((weight * logarithm.clamp(-limit, limit)).exp().float(), geometry)

    def forward(self, images: Tensor) -> Tensor:
        """Scaled images (n, channel, y, x), finished."""
        spectrum = torch.fft.rfft2(images.float())
        disk, frame = (torch.fft.irfft2(spectrum * gains, s=images.shape[-2:]) for gains in self.gains)
        return torch.lerp(frame, disk, self.disk)
