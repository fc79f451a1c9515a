"""GANSpace (Härkönen et al. 2020, section 2.1): principal components of W, no labels needed.

W has only a hundred or so dimensions, so the exact covariance of many w and one eigendecomposition take the place of
incremental PCA. What the conditions explain is removed first: their offsets would take the leading components, and the
components are to change what a condition leaves open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sunaug.bundle import Bundle

N_COMPONENTS = 32
N_LATENTS = 100_000
_BATCH = 4_096


@dataclass(frozen=True)
class Components:
    """Principal components of W.

    Attributes
    ----------
    components : Tensor, shape (n_components, w_dim)
        Unit vectors in order of falling variance; the largest entry of each is positive.
    stddev : Tensor, shape (n_components,)
        Standard deviation of w along each.
    explained : Tensor, shape (n_components,)
        Share of the variance.
    condition_share : float
        Share of the variance of W that the conditions explain, removed before.
    """

    components: Tensor
    stddev: Tensor
    explained: Tensor
    condition_share: float


def condition_terms(condition: Tensor) -> Tensor:
    """Constant, linear and quadratic terms of encoded conditions (n, k), for regression on them."""
    pairs = [condition[:, i] * condition[:, j] for i in range(condition.shape[1]) for j in range(i, condition.shape[1])]
    return torch.stack([torch.ones(len(condition), dtype=condition.dtype), *condition.T, *pairs], dim=1)


def draw_latents(bundle: Bundle, n: int, seed: int, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Draw `n` w under conditions of the training frames (all, or some rows of them).

    Returns
    -------
    w : Tensor, shape (n, w_dim)
    condition : Tensor, shape (n, n_conditions)
        Encoded.
    """
    random = torch.Generator().manual_seed(seed)
    fluxes = bundle.reference["fluxes"] if rows is None else bundle.reference["fluxes"][rows]
    row = torch.randint(len(fluxes), (n,), generator=random)
    condition = torch.from_numpy(bundle.info.network.encode(fluxes.numpy()))[row]
    z = torch.randn(n, bundle.info.network.z_dim, generator=random)
    with torch.inference_mode():
        parts = [bundle.generator.mapping(a, b) for a, b in zip(z.split(_BATCH), condition.split(_BATCH), strict=True)]
    return torch.cat(parts), condition


def fit_components(w: Tensor, condition: Tensor, n_components: int = N_COMPONENTS) -> Components:
    """PCA of w (n, w_dim) after a quadratic regression on the encoded conditions (n, k)."""
    latents, terms = w.double(), condition_terms(condition.double())
    centred = latents - latents.mean(dim=0)
    # The conditions repeat, so the terms can be collinear (all frames of one class): lstsq's gelsd copes with that.
    fitted = terms @ torch.linalg.lstsq(terms, centred, driver="gelsd").solution
    residual = centred - fitted
    variance, vectors = torch.linalg.eigh(residual.T @ residual / (len(residual) - 1))
    order = torch.arange(len(variance) - 1, -1, -1)[:n_components]
    components = vectors.T[order]
    largest = components.gather(1, components.abs().argmax(dim=1, keepdim=True))
    kept = variance[order].clamp_min(0)
    return Components(
        components=components * largest.sign(),
        stddev=kept.sqrt(),
        explained=kept / variance.sum(),
        condition_share=float(1 - residual.square().sum() / centred.square().sum()),
    )


def principal_coordinates(w: Tensor, condition: Tensor, fit: Components) -> Tensor:
    """Coordinates of w (n, w_dim) along the components, in standard deviations, after the regression on conditions."""
    terms, latents = condition_terms(condition.double()), w.double()
    residual = latents - terms @ torch.linalg.lstsq(terms, latents, driver="gelsd").solution
    return (residual @ fit.components.T) / fit.stddev.clamp_min(np.finfo(np.float64).tiny)
