"""Adversarial losses and gradient penalties.

Each loss takes the discriminator's scores of real and fake images, paired sample by sample under the same condition,
and gives a scalar to minimise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class AdversarialLoss:
    """A pair of losses: `discriminator(real, fake)` and `generator(real, fake)`, scores of shape (batch,)."""

    discriminator: Loss
    generator: Loss


def _non_saturating_d(real: Tensor, fake: Tensor) -> Tensor:
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def _non_saturating_g(real: Tensor, fake: Tensor) -> Tensor:
    return F.softplus(-fake).mean()


def _paired_d(real: Tensor, fake: Tensor) -> Tensor:
    return F.softplus(fake - real).mean()


def _paired_g(real: Tensor, fake: Tensor) -> Tensor:
    return F.softplus(real - fake).mean()


def _average_d(real: Tensor, fake: Tensor) -> Tensor:
    return (F.softplus(-(real - fake.mean())).mean() + F.softplus(fake - real.mean()).mean()) / 2


def _average_g(real: Tensor, fake: Tensor) -> Tensor:
    return _average_d(fake, real)


LOSSES: dict[str, AdversarialLoss] = {
    # Goodfellow et al. 2014, section 3, as used by StyleGAN2.
    "non_saturating": AdversarialLoss(_non_saturating_d, _non_saturating_g),
    # Jolicoeur-Martineau 2018, equation 4; Huang et al. 2024 ("R3GAN"), equation 2.
    "relativistic_paired": AdversarialLoss(_paired_d, _paired_g),
    # Jolicoeur-Martineau 2018, equation 5, with the mean of its two terms.
    "relativistic_average": AdversarialLoss(_average_d, _average_g),
}


def gradient_penalty(scores: Tensor, images: Tensor) -> Tensor:
    """Mean squared norm of the scores' gradient with respect to the images (Mescheder et al. 2018, equation 9).

    On real images this is R1 (without its factor gamma / 2), on fakes R2.

    Parameters
    ----------
    scores : Tensor, shape (batch,)
        Computed from `images` with the graph kept.
    images : Tensor, shape (batch, channel, y, x)
        With ``requires_grad``.
    """
    (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()
