"""GANSpace (Härkönen et al. 2020, section 2): principal components, no labels needed.

For style-based generators they are those of W (section 2.1). W has only a hundred or so dimensions, so the exact
covariance of a million w and one eigendecomposition take the place of incremental PCA. For BigGAN they are those of
the first activations, transferred to the latent by linear regression (section 2.2, equation 4). These activations are
linear in w, so that their covariance and the regression follow from the covariance of w. Which of the two it is, the
generator says (`BaseGenerator.activation_map`).

What the conditions explain is removed first, the means of the classes among it: their offsets would
take the leading components, and the components are to change what a condition leaves open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sunaug.bundle import Bundle
from sunaug.networks.conditions import CLASSES, encode_class

N_COMPONENTS = 32
N_CLASS_COMPONENTS = 10
N_LATENTS = 1_000_000
_BATCH = 8_192
_RANK = 1e-10


@dataclass(frozen=True)
class Components:
    """Principal components as directions in W.

    Attributes
    ----------
    components : Tensor, shape (n_components, w_dim)
        Unit vectors in order of falling variance; the largest entry of each is positive.
    stddev : Tensor, shape (n_components,)
        Length of the step along each that changes its coordinate by one; for components of w itself, the standard
        deviation of w along it.
    explained : Tensor, shape (n_components,)
        Share of the variance.
    condition_share : float
        Share of the variance that the conditions explain, removed before.
    coefficients : Tensor, shape (n_terms, w_dim)
        Of the regression of w on the terms of the conditions.
    readers : Tensor, shape (n_components, w_dim)
        Products with what that regression leaves of w are the coordinates.
    """

    components: Tensor
    stddev: Tensor
    explained: Tensor
    condition_share: float
    coefficients: Tensor
    readers: Tensor

    def coordinates(self, w: Tensor, terms: Tensor) -> Tensor:
        """Coordinates of w (n, w_dim) along the components, in standard deviations, after the regression on terms."""
        return (w.double() - terms.double() @ self.coefficients) @ self.readers.T


class Moments:
    """Sums over latents that the covariance after a regression is made of; any number of latents in flat memory.

    Parameters
    ----------
    n_terms, w_dim : int
    """

    def __init__(self, n_terms: int, w_dim: int) -> None:
        self.count = 0
        self._terms = torch.zeros(n_terms, n_terms, dtype=torch.float64)
        self._mixed = torch.zeros(n_terms, w_dim, dtype=torch.float64)
        self._latents = torch.zeros(w_dim, w_dim, dtype=torch.float64)

    def add(self, w: Tensor, terms: Tensor) -> None:
        """Take in latents (n, w_dim) and the terms of their conditions (n, n_terms); the first term is constant."""
        latents, rows = w.double(), terms.double()
        self.count += len(latents)
        self._terms += rows.T @ rows
        self._mixed += rows.T @ latents
        self._latents += latents.T @ latents

    def components(self, n_components: int = N_COMPONENTS, activation_map: Tensor | None = None) -> Components:
        """The components of what the regression on the terms leaves of w, or of activations that are linear in it.

        Parameters
        ----------
        n_components : int
            As many at most; there are no more than dimensions that vary.
        activation_map : Tensor, shape (n_activations, w_dim), optional
            See `BaseGenerator.activation_map`.
        """
        # Terms can be collinear (all frames of one class), hence the pseudo-inverse.
        coefficients = torch.linalg.pinv(self._terms, rtol=_RANK, hermitian=True) @ self._mixed
        residual = (self._latents - self._mixed.T @ coefficients) / max(self.count - 1, 1)
        residual = (residual + residual.T) / 2
        mean = self._mixed[0] / self.count
        total = (self._latents - self.count * torch.outer(mean, mean)) / max(self.count - 1, 1)
        # With activations A w, the covariance A C A^T has the eigenvalues of R C R, where R is the root of A^T A: no
        # larger a matrix than C, however many activations there are.
        metric = torch.eye(len(mean), dtype=torch.float64)
        if activation_map is not None:
            metric = activation_map.double().T @ activation_map.double()
        root = _root(metric)
        variance, vectors = torch.linalg.eigh(root @ residual @ root)
        order = torch.arange(len(variance) - 1, -1, -1)[:n_components]
        # What the conditions explain whole (an embedding of them that is a part of w) has no components.
        order = order[variance[order] > _RANK * variance[-1]]
        kept = variance[order]
        readers = vectors.T[order] @ root / kept.sqrt()[:, None]
        # Equation 4: the regression of w on coordinates of unit variance is their covariance.
        steps = readers @ residual
        length = steps.norm(dim=1)
        largest = steps.gather(1, steps.abs().argmax(dim=1, keepdim=True)).sign()
        return Components(
            components=largest * steps / length[:, None],
            stddev=length,
            explained=kept / variance.clamp_min(0).sum(),
            condition_share=float(1 - (metric * residual).sum() / (metric * total).sum()),
            coefficients=coefficients,
            readers=largest * readers,
        )


def _root(metric: Tensor) -> Tensor:
    """Symmetric square root of a positive semi-definite matrix."""
    values, vectors = torch.linalg.eigh(metric)
    return vectors * values.clamp_min(0).sqrt() @ vectors.T


def condition_terms(bundle: Bundle) -> Tensor:
    """Terms of the conditions of the training frames, for regression on them.

    Returns
    -------
    Tensor, shape (n, n_terms)
        A constant, the log fluxes, their squares and products, and the GOES classes one-hot; float64.
    """
    fluxes = bundle.reference["fluxes"].numpy()
    condition = torch.from_numpy(bundle.info.network.encode(fluxes)).double()
    pairs = [condition[:, i] * condition[:, j] for i in range(condition.shape[1]) for j in range(i, condition.shape[1])]
    classes = [torch.from_numpy(encode_class(flux)).double() for flux in fluxes.T]
    constant = torch.ones(len(condition), 1, dtype=torch.float64)
    return torch.cat([constant, condition, *[pair[:, None] for pair in pairs], *classes], dim=1)


def draw_latents(
    bundle: Bundle, n: int, seed: int, rows: Tensor | None = None, batch: int = _BATCH
) -> Iterator[tuple[Tensor, Tensor]]:
    """Draw `n` w under conditions of the training frames (all, or some rows of them), a batch at a time.

    Yields
    ------
    w : Tensor, shape (m, w_dim)
    row : Tensor of int, shape (m,)
        Rows of the bundle's reference that the conditions are of.
    """
    random = torch.Generator().manual_seed(seed)
    fluxes = bundle.reference["fluxes"]
    choice = torch.arange(len(fluxes)) if rows is None else rows
    condition = torch.from_numpy(bundle.info.network.encode(fluxes.numpy()))
    for start in range(0, n, batch):
        count = min(batch, n - start)
        row = choice[torch.randint(len(choice), (count,), generator=random)]
        z = torch.randn(count, bundle.info.network.z_dim, generator=random)
        with torch.inference_mode():
            w = bundle.generator.mapping(z, condition[row])
        yield w, row


def fit_components(bundle: Bundle, seed: int, n: int = N_LATENTS) -> tuple[Components, dict[str, Components]]:
    """Components under the conditions of all training frames, and of each class alone.

    Returns
    -------
    Components
    dict of str to Components
        By letter of the GOES class of the forecast (of the first label where there is none); classes of which the
        bundle has seen no frame are left out.
    """
    terms = condition_terms(bundle)
    labels = bundle.info.network.labels
    column = labels.index("forecast_flux") if "forecast_flux" in labels else 0
    letter = torch.from_numpy(encode_class(bundle.reference["fluxes"].numpy()[:, column])).argmax(dim=1)
    together = Moments(terms.shape[1], bundle.info.network.latent_width)
    apart: dict[int, Moments] = {}
    for w, row in draw_latents(bundle, n, seed):
        together.add(w, terms[row])
        for number in letter[row].unique().tolist():
            chosen = letter[row] == number
            moments = apart.setdefault(number, Moments(terms.shape[1], bundle.info.network.latent_width))
            moments.add(w[chosen], terms[row[chosen]])
    features = bundle.generator.activation_map()
    by_class = {
        CLASSES[number] or "none": moments.components(N_CLASS_COMPONENTS, features)
        for number, moments in sorted(apart.items())
        if moments.count > bundle.info.network.latent_width
    }
    return together.components(activation_map=features), by_class
