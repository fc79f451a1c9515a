"""The network that reads fluxes off a frame."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

READ_SIZE = 64
"""Larger frames are averaged down to this size, so that a critic takes minutes and not hours on a CPU."""

WIDTHS = (16, 32, 64, 64)
FEATURES = 32


class FluxRegressor(nn.Module):
    """A small convolutional network from scaled frames to encoded log fluxes.

    Pooling takes the mean and the maximum of each map: the flux of a flare comes from one place, the background from
    everywhere.

    Parameters
    ----------
    image_channels, labels : int
    """

    def __init__(self, image_channels: int, labels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList()
        before = image_channels
        for number, width in enumerate(WIDTHS):
            kernel = 5 if number == 0 else 3
            self.convs.append(nn.Conv2d(before, width, kernel, padding=kernel // 2))
            before = width
        self.features = nn.Linear(2 * before, FEATURES)
        self.head = nn.Linear(FEATURES, labels)

    def embed(self, scaled: Tensor) -> Tensor:
        """Features (n, 32) of scaled frames (n, channel, y, x)."""
        x = scaled.contiguous(memory_format=torch.channels_last)
        if x.shape[-1] > READ_SIZE:
            x = F.avg_pool2d(x, x.shape[-1] // READ_SIZE)
        for number, conv in enumerate(self.convs):
            x = F.relu(conv(x))
            if number < len(self.convs) - 1 and x.shape[-1] > 4:
                x = F.max_pool2d(x, 2)
        pooled = torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)
        return torch.tanh(self.features(pooled))

    def forward(self, scaled: Tensor) -> Tensor:
        """Encoded log fluxes (n, labels), see `sunaug.networks.conditions.encode_flux`."""
        return self.head(self.embed(scaled))
