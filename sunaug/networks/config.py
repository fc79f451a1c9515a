"""What every architecture is told of the images and conditions it is for."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from sunaug.networks.conditions import CLASSES, encode_condition

__all__ = ["NetworkConfig", "PowerOfTwo"]


def _power_of_two(size: int) -> int:
    if size & (size - 1):
        raise ValueError(f"size {size} is not a power of two")
    return size


PowerOfTwo = Annotated[int, AfterValidator(_power_of_two)]
"""A number of pixels that networks can have."""


class NetworkConfig(BaseModel):
    """Shape of a generator and its discriminator; stored in the bundle. Each architecture has its own.

    Attributes
    ----------
    architecture : str
        Name of the architecture, of the class and no field.
    batch_statistics : bool
        Of the class: whether, while training, an image depends on all of its batch, and layers keep statistics of what
        passes through them. What takes a batch apart, or a layer's pass twice, is then refused.
    size : int
        Width and height of the image, a power of two from 8 to 4096.
    image_channels : int
        Number of channels.
    conditions : tuple of str
        Labels whose log10 flux the networks are conditioned on, in order.
    class_conditions : tuple of str
        Labels whose GOES class they are conditioned on, by a class embedding. Both empty: an unconditional network.
    base_width, max_width : int
        A layer at resolution r has min(base_width / r, max_width) channels.
    z_dim : int
        Width of the latent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: ClassVar[str]
    batch_statistics: ClassVar[bool] = False

    size: PowerOfTwo = Field(64, ge=8, le=4096)
    image_channels: int = Field(1, ge=1)
    conditions: tuple[str, ...] = ("nowcast_flux", "forecast_flux")
    class_conditions: tuple[str, ...] = ()
    base_width: int = Field(2048, ge=8)
    max_width: int = Field(128, ge=4)
    z_dim: int = Field(128, ge=1)

    def width(self, resolution: int) -> int:
        """Channels of a layer at `resolution`."""
        return max(1, min(self.base_width // resolution, self.max_width))

    @property
    def latent_width(self) -> int:
        """Width of the intermediate latent w, see `sunaug.networks.base.BaseGenerator`."""
        raise NotImplementedError

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that a frame has to have, each once: the columns of a table of fluxes."""
        return tuple(dict.fromkeys((*self.conditions, *self.class_conditions)))

    @property
    def condition_width(self) -> int:
        """Length of a condition vector; 0 where the networks are unconditional."""
        return len(self.conditions) + len(CLASSES) * len(self.class_conditions)

    def encode(self, fluxes: ArrayLike) -> NDArray[np.float32]:
        """Condition vectors (n, condition_width) of fluxes (n, len(labels)) in W m-2."""
        return encode_condition(fluxes, self.labels, self.conditions, self.class_conditions)

    @property
    def resolutions(self) -> list[int]:
        """Resolutions from 4 up to the image's size."""
        return [2**power for power in range(2, int(math.log2(self.size)) + 1)]
