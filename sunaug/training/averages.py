"""Averages of the generator's weights over the training: the networks that make the images.

Two kinds. A half-life in images, the memory of the last few thousand. And a power function of time (Karras et al.
2024, "Analyzing and Improving the Training Dynamics of Diffusion Models", section 3.1), whose memory is a fixed share
of the whole run: with exponent gamma, the weight of step t in the average at T goes as (t / T)^gamma.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from sunaug.training.sharding import whole

HALF_LIFE = "half_life"
_START_SHARE = 0.05


def power_name(width: float) -> str:
    """Name of the power-function average of a relative width."""
    return f"power_{width:g}"


def power_exponent(width: float) -> float:
    """Exponent gamma of a power-function average whose profile has this standard deviation, in shares of the run.

    Solves width^2 = (gamma + 1) / ((gamma + 2)^2 (gamma + 3)) (Karras et al. 2024, equation 126): 0.10 gives 6.94.
    """
    coefficients = [1.0, 7.0, 16.0 - width**-2, 12.0 - width**-2]
    return float(np.roots(coefficients).real.max())


def half_life_decay(batch: int, images: int, half_life: float) -> float:
    """Weight that the average keeps at a step of `batch` images, after which `images` have been shown.

    The memory is never longer than a twentieth of the run so far: the untrained network would stay in it for long.
    """
    return float(0.5 ** (batch / min(half_life, max(images * _START_SHARE, 1.0))))


def power_decay(batch: int, images: int, width: float) -> float:
    """As `half_life_decay`, for a power function: (1 - batch / images)^(gamma + 1) (Karras et al. 2024, equation 3)."""
    return float((1 - min(batch / images, 1.0)) ** (power_exponent(width) + 1))


class Averages:
    """The averaged copies of a generator, by name: ``half_life`` and ``power_0.05``, ``power_0.1``.

    Parameters
    ----------
    generator : torch.nn.Module
        Copied as it is now.
    half_life : float
        Images.
    widths : sequence of float
        Relative widths of the power functions.
    """

    def __init__(self, generator: nn.Module, half_life: float, widths: tuple[float, ...]) -> None:
        self.half_life, self.widths = half_life, widths
        names = (HALF_LIFE, *map(power_name, widths))
        self.networks: dict[str, Any] = {name: copy.deepcopy(generator).eval().requires_grad_(False) for name in names}

    def update(self, generator: nn.Module, batch: int, images: int) -> None:
        """Take in the weights after a step of `batch` images, `images` in all."""
        decays = (
            half_life_decay(batch, images, self.half_life),
            *(power_decay(batch, images, width) for width in self.widths),
        )
        current = [whole(parameter.detach()) for parameter in generator.parameters()]
        with torch.no_grad():
            for network, decay in zip(self.networks.values(), decays, strict=True):
                torch._foreach_lerp_(list(network.parameters()), current, 1 - decay)
                # Statistics and singular vectors are of the network as it is now: a mean of them would be of none.
                for own, buffer in zip(network.buffers(), generator.buffers(), strict=True):
                    own.copy_(buffer)

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """Weights of every copy."""
        return {name: network.state_dict() for name, network in self.networks.items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Take back what `state_dict` gave."""
        for name, network in self.networks.items():
            network.load_state_dict(state[name])
