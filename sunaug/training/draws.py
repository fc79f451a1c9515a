"""The random numbers of one training step.

They are a function of the run's seed, its attempt (raised by a roll-back) and the number of the step, and each sample
of a batch has numbers of its own. So a stopped run goes on to the same bits without a generator's state in its
checkpoint, and a batch that is split over processes or over accumulated parts sees the numbers of the whole one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Draws:
    """Random numbers for a batch, sample by sample; all but `noise` on the CPU.

    Attributes
    ----------
    key : tuple of int
        Seed, attempt and number of the step: what the numbers are a function of.
    frames : Tensor of int64, shape (batch,)
        Frames to show, by the sampling weights.
    mirror : Tensor of bool, shape (batch, 2)
        Flip along x, along y.
    jitter : Tensor, shape (batch, condition_width)
        Standard normal.
    z, z_mix : Tensor, shape (batch, z_dim)
        Standard normal.
    mix : Tensor, shape (batch,)
        Uniform; below the mixing probability the sample mixes two latents.
    crossover : Tensor of int64, shape (batch,)
        First layer of the second latent.
    augment_real, augment_fake : Tensor, shape (batch, n_augment)
        Uniform numbers for `diff_augment`.
    channels : Tensor, shape (batch, n_channels)
        Uniform; those that are low drop a channel.
    noise_seeds : list of int
        Seed of each sample's noise.
    """

    key: tuple[int, int, int]
    frames: Tensor
    mirror: Tensor
    jitter: Tensor
    z: Tensor
    z_mix: Tensor
    mix: Tensor
    crossover: Tensor
    augment_real: Tensor
    augment_fake: Tensor
    channels: Tensor
    noise_seeds: list[int]

    def part(self, samples: slice) -> Draws:
        """The numbers of some of the samples."""
        return replace(self, **{name: value[samples] for name, value in vars(self).items() if name != "key"})

    def normal(self, size: int, device: torch.device, stream: int = 0) -> Tensor:
        """Standard normal numbers (batch, size), made on the device.

        Noise is by far the most of what a step draws, so it is not sent from the CPU. `stream` 0 is the generator's
        noise, others are free for other uses.
        """
        numbers = torch.empty(len(self.noise_seeds), size, device=device)
        random = torch.Generator(device)
        for row, seed in zip(numbers, self.noise_seeds, strict=True):
            row.normal_(generator=random.manual_seed(seed + stream))
        return numbers


def draw_step(
    seed: int,
    attempt: int,
    step: int,
    *,
    batch: int,
    weights: Tensor,
    z_dim: int,
    condition_width: int,
    n_styles: int,
    n_augment: int,
    n_channels: int = 0,
) -> Draws:
    """Draw the numbers of a step.

    Parameters
    ----------
    seed, attempt, step : int
        What the numbers are a function of.
    batch : int
        Samples of the whole batch, over all processes.
    weights : Tensor, shape (n_frames,)
        Sampling weights of the frames.
    z_dim, condition_width, n_styles, n_augment, n_channels : int
        Widths, see `Draws`.
    """
    words = np.random.SeedSequence((seed, attempt, step)).generate_state(1 + batch, np.uint64) >> np.uint64(1)
    random = torch.Generator().manual_seed(int(words[0]))

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=random)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    return Draws(
        key=(seed, attempt, step),
        frames=torch.multinomial(weights, batch, replacement=True, generator=random),
        mirror=uniform(batch, 2) < 0.5,
        jitter=normal(batch, condition_width),
        z=normal(batch, z_dim),
        z_mix=normal(batch, z_dim),
        mix=uniform(batch),
        crossover=torch.randint(1, n_styles, (batch,), generator=random),
        augment_real=uniform(batch, n_augment),
        augment_fake=uniform(batch, n_augment),
        channels=uniform(batch, n_channels),  # the last, so that training without them draws what it always did
        noise_seeds=[int(word) for word in words[1:]],
    )
