"""Adversarial losses, gradient penalties, path length and orthogonal regularisation.

Each loss takes the discriminator's scores of real and fake images, paired sample by sample under the same condition,
and gives a scalar to minimise. A discriminator with several heads gives several scores per image; a loss is the mean
over all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sunaug.networks.processes import mean_over_processes
from sunaug.training.sharding import whole

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class AdversarialLoss:
    """A pair of losses: `discriminator(real, fake)` and `generator(real, fake)`, scores of shape (batch, ...).

    `relativistic`: only differences of scores count, so that none of them has a zero.
    """

    discriminator: Loss
    generator: Loss
    relativistic: bool = False


def _batch_mean(scores: Tensor) -> Tensor:
    """Mean over the samples of all processes, differentiable; shape (1, ...)."""
    return mean_over_processes(scores.mean(dim=0, keepdim=True))


def _non_saturating_d(real: Tensor, fake: Tensor) -> Tensor:
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def _non_saturating_g(real: Tensor, fake: Tensor) -> Tensor:
    return F.softplus(-fake).mean()


def _hinge_d(real: Tensor, fake: Tensor) -> Tensor:
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def _hinge_g(real: Tensor, fake: Tensor) -> Tensor:
    return -fake.mean()


def _paired_d(real: Tensor, fake: Tensor) -> Tensor:
    return F.softplus(fake - real).mean()


def _paired_g(real: Tensor, fake: Tensor) -> Tensor:
    return F.softplus(real - fake).mean()


def _average_d(real: Tensor, fake: Tensor) -> Tensor:
    mean_real, mean_fake = _batch_mean(real), _batch_mean(fake)
    return (F.softplus(-(real - mean_fake)).mean() + F.softplus(fake - mean_real).mean()) / 2


def _average_g(real: Tensor, fake: Tensor) -> Tensor:
    return _average_d(fake, real)


LOSSES: dict[str, AdversarialLoss] = {
    # Goodfellow et al. 2014, section 3, as used by StyleGAN2.
    "non_saturating": AdversarialLoss(_non_saturating_d, _non_saturating_g),
    # Lim & Ye 2017, equations 10 and 11, as used by BigGAN and Projected GAN.
    "hinge": AdversarialLoss(_hinge_d, _hinge_g),
    # Jolicoeur-Martineau 2018, equation 4; Huang et al. 2024 ("R3GAN"), equation 2.
    "relativistic_paired": AdversarialLoss(_paired_d, _paired_g, relativistic=True),
    # Jolicoeur-Martineau 2018, equation 5, with the mean of its two terms.
    "relativistic_average": AdversarialLoss(_average_d, _average_g, relativistic=True),
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


def latent_reciprocity(w: Tensor, again: Tensor) -> Tensor:
    """Mean square of w - E(G(w)) (Pidhorskyi et al. 2020, equation 10, divided by the width of w).

    Parameters
    ----------
    w, again : Tensor, shape (batch, latent_width)
        A latent, and what the encoder reads off the image that the generator makes of it.
    """
    return (w - again).square().mean()


def path_lengths(images: Tensor, w: Tensor, noise: Tensor) -> Tensor:
    """Lengths |J_w^T y| of the generator's Jacobian at each sample (Karras et al. 2020, equation 4).

    Parameters
    ----------
    images : Tensor, shape (batch, channel, y, x)
        Made from `w`, with the graph kept.
    w : Tensor, shape (batch, n_styles, w_dim)
    noise : Tensor, like `images`
        Standard normal: the random direction y in image space.

    Returns
    -------
    Tensor, shape (batch,)
        Root of the mean over the layers, independent of the image's size.
    """
    projected = (images * noise).sum() / math.sqrt(images.shape[-1] * images.shape[-2])
    (gradient,) = torch.autograd.grad(projected, w, create_graph=True)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()


def orthogonality(network: nn.Module, left_out: nn.Module | None = None) -> Tensor:
    """How far the filters of a network are from being orthogonal (Brock et al. 2019, equation 3, without its beta).

    For each layer the squared Frobenius norm of W^T W * (1 - I), where each column of W is a filter: products of
    different filters count, their lengths do not. W is the weight as it is trained, before spectral norm divides it,
    and with the factor of an equalised learning rate.

    Parameters
    ----------
    network : torch.nn.Module
    left_out : torch.nn.Module, optional
        Part of it that does not count: the embedding of conditions has fewer inputs than outputs, and no weights but
        zero would be orthogonal.

    Returns
    -------
    Tensor, a scalar
        Summed over the layers.
    """
    skipped = set() if left_out is None else set(left_out.modules())
    first = next(network.parameters())
    total = torch.zeros((), dtype=first.dtype, device=first.device)
    for module in network.modules():
        if module in skipped:
            continue
        gain = getattr(module, "weight_gain", getattr(module, "gain", 1.0))
        for weight in module.parameters(recurse=False):
            if weight.dim() > 1:
                filters = whole(weight).flatten(1) * gain
                total = total + (filters @ filters.T).fill_diagonal_(0).square().sum()
    return total
