"""The network that turns frames into feature vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sunaug.networks.layers import kernels_last

DIMS = 96
TEXTURE_DIMS = 36
TEXTURE_SIZES = (128, 64, 32)
"""Sizes that texture is measured at. Averaging down removes a pattern of single pixels: the largest that fits."""

NETWORK_SIZE = 64
WIDTHS = (12, 24, 48, 64)
LEVELS = 3
_QUIET = 0.005
"""Differences of neighbours below this, half a display count of 8 bits, are rounding and not texture."""

_LEAST_SPREAD = 1e-3
_LEAK = 0.2
_BATCH = 64
_MULTIPLE = 8


def texture_size(size: int) -> int:
    """The size that an encoder fitted on frames of `size` pixels measures texture at, one of `TEXTURE_SIZES`."""
    return next((one for one in TEXTURE_SIZES if one <= size), TEXTURE_SIZES[-1])


def resized(frames: Tensor, size: int) -> Tensor:
    """Frames (n, channel, y, x) averaged down, or interpolated up, to (n, channel, size, size)."""
    if frames.shape[-2:] == (size, size):
        return frames
    if min(frames.shape[-2:]) >= size:
        return F.interpolate(frames, (size, size), mode="area")
    return F.interpolate(frames, (size, size), mode="bilinear", align_corners=False)


def texture_features(image_channels: int) -> int:
    """Length of what `texture` gives of a frame."""
    return 4 * LEVELS * image_channels


def texture(frames: Tensor) -> Tensor:
    """How rough frames are, at scales of one, two and four pixels.

    The energy of differences between neighbours, averaged over a few of them. Its logarithm is taken at every place
    before it is averaged: noise is seen where the Sun is smooth, and blur where it is not, while one bright region
    changes little.

    Parameters
    ----------
    frames : Tensor, shape (n, channel, y, x)
        Scaled intensities.

    Returns
    -------
    Tensor, shape (n, 12 * channel)
        Mean and standard deviation over the frame, of differences across the diagonals (which see a checkerboard) and
        along rows and columns, at each of the three scales.
    """
    found = []
    for level in range(LEVELS):
        step = 2**level
        if level:
            # At every place, and not every second: what one sees must not depend on where the frame begins.
            half = step // 2
            rows = frames[..., half:, :] + frames[..., :-half, :]
            frames = (rows[..., half:] + rows[..., :-half]) / 4
        right = frames[..., step:] - frames[..., :-step]
        down = frames[..., step:, :] - frames[..., :-step, :]
        diagonal = right[..., step:, :] - right[..., :-step, :]
        sides = right[..., :-step, :].square() + down[..., :-step].square()
        for energy in (diagonal.square(), sides):
            roughness = 0.5 * (F.avg_pool2d(energy, 4 * step, stride=2 * step) + _QUIET**2).log()
            variance, mean = torch.var_mean(roughness, dim=(2, 3), correction=0)
            found += [mean, variance.sqrt()]
    return torch.cat(found, dim=1)


class SolarEncoder(nn.Module):
    """Feature vectors of solar frames, learned from frames alone.

    What describes a frame is its texture, and the mean and the log of the standard deviation of every map of four
    convolutions: the early maps see fine structure, the late ones what there is on the Sun. An affine map, fitted to
    real frames (see `sunaug.encoder.fit`), gives every direction about the same variance, so that what hardly varies
    between real frames weighs most, and leaves out what turning, shifting and exposure change.

    Parameters
    ----------
    image_channels : int
    size : int
        Pixels that texture is measured at, see `texture_size`. Frames of other sizes are averaged down to it, or
        interpolated up; the convolutions see 64 pixels at most.
    dims : int
        Length of a feature vector.
    """

    mean: Tensor
    gain: Tensor
    centre: Tensor
    projection: Tensor

    def __init__(self, image_channels: int, size: int, dims: int = DIMS) -> None:
        super().__init__()
        self.image_channels, self.size, self.dims = image_channels, size, dims
        self.network_size = min(size, NETWORK_SIZE)
        self.register_buffer("mean", torch.zeros(image_channels))
        self.register_buffer("gain", torch.ones(image_channels))
        self.convs = nn.ModuleList()
        before = image_channels
        for number, width in enumerate(WIDTHS):
            kernel = 5 if number == 0 else 3
            self.convs.append(nn.Conv2d(before, width, kernel, padding=kernel // 2))
            before = width
        kernels_last(self)
        described = texture_features(image_channels) + 2 * sum(WIDTHS)
        self.register_buffer("centre", torch.zeros(described))
        self.register_buffer("projection", torch.eye(described, dims))

    @property
    def texture_dims(self) -> int:
        """How many of a feature vector's first numbers describe texture alone; the others come from the maps."""
        return min(TEXTURE_DIMS, texture_features(self.image_channels))

    def seen(self, scaled: Tensor) -> Tensor:
        """Frames (n, channel, size, size) as texture is measured on: clipped to [-1, 1], NaN is -1, resized."""
        return resized(scaled.nan_to_num(nan=-1.0).clamp(-1, 1), self.size)

    def moments(self, small: Tensor) -> Tensor:
        """Mean and log standard deviation (n, 296) of the maps of frames (n, channel, y, x) of `network_size`."""
        x = (small - self.mean[:, None, None]) * self.gain[:, None, None]
        x = x.contiguous(memory_format=torch.channels_last)
        found = []
        for number, conv in enumerate(self.convs):
            if number:
                # Averaged, and not strided: a frame that is shifted by a pixel gives the same moments.
                x = F.avg_pool2d(x, 2)
            x = F.leaky_relu(conv(x), _LEAK)
            variance, mean = torch.var_mean(x, dim=(2, 3), correction=0)
            found += [mean, 0.5 * (variance + _LEAST_SPREAD**2).log()]
        return torch.cat(found, dim=1)

    def describe(self, scaled: Tensor) -> Tensor:
        """Texture and moments of scaled frames (n, channel, y, x), before the affine map; differentiable."""
        seen = self.seen(scaled)
        return torch.cat([texture(seen), self.moments(resized(seen, self.network_size))], dim=1)

    def forward(self, scaled: Tensor) -> Tensor:
        """Feature vectors (n, dims) of scaled frames (n, channel, y, x); differentiable."""
        return (self.describe(scaled) - self.centre) @ self.projection

    def embed(self, scaled: Tensor) -> Tensor:
        """Feature vectors of scaled frames.

        Parameters
        ----------
        scaled : Tensor, shape (n, channel, y, x)
            Scaled intensities, as the generator makes them: clipped to [-1, 1] here, NaN taken as -1.

        Returns
        -------
        Tensor, shape (n, dims)
            float32, on the encoder's device, not normalised. The mean over the frames that it was fitted on is zero.
        """
        found = [self.centre.new_empty(0, self.dims)]
        with torch.inference_mode():
            for start in range(0, len(scaled), _BATCH):
                part = scaled[start : start + _BATCH]
                # Always rows of one number: products of matrices round differently with it.
                filled = torch.cat([part, part[-1:].expand(-len(part) % _MULTIPLE, -1, -1, -1)])
                found.append(self(filled.to(self.centre))[: len(part)])
        return torch.cat(found)

    def state(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Tensors and text to store."""
        tensors = {name: value.cpu().contiguous() for name, value in self.state_dict().items()}
        return tensors, {"size": str(self.size)}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], text: Mapping[str, Any]) -> SolarEncoder:
        """The encoder that `state` gave, in evaluation mode.

        Raises
        ------
        KeyError, ValueError, RuntimeError
            If something is missing or does not fit.
        """
        size = int(text["size"])
        if size not in TEXTURE_SIZES:
            raise ValueError(f"an encoder for {size} pixels, where there is one for {TEXTURE_SIZES} only")
        encoder = cls(len(tensors["mean"]), size, tensors["projection"].shape[-1])
        encoder.load_state_dict(tensors)
        return encoder.eval().requires_grad_(False)
