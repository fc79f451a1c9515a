"""Which direction in W makes a flare, and how far to go along it.

The direction comes from the generator's own pictures. Hot emission is measured on them, and the bundle's critic, which
has seen real frames only, reads their fluxes; both are regressed on the GANSpace components at a given condition. A
regression tells what happens around the mean; steps of three standard deviations leave it behind. So the direction is
turned, within the span of the components, until what is read rises from step to step all the way. What merely brightens
the whole disk is taken out of it throughout. It moves the finer layers only (layer-wise edits, GANSpace section 2.3):
those of the coarse ones move whole active regions, and what is read then falls in one frame and rises in another.

How far to go is measured with what is delivered: see `sunaug.generation.calibration`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sunaug.bundle import Bundle
from sunaug.latent.activity import hot_emission, mean_intensity
from sunaug.latent.ganspace import N_COMPONENTS, Components, condition_terms, draw_latents, fit_components
from sunaug.networks import BaseGenerator

__all__ = ["FLARE", "fit_directions", "pictures"]

FLARE = "flare"
N_PICTURES = 2_048
FINE_FROM = 1 / 4
"""The flare direction moves the layers from this share of the image's width up."""

_RIDGE = 1e-2
_TURNS, _TURN_LATENTS, _TURN_RATE = 150, 12, 0.05
_FARTHEST = 3.0
_MARGIN, _SOFTNESS = 0.3, 0.1
_BATCH = 32


def pictures(bundle: Bundle, w: Tensor, seed: int = 0) -> Tensor:
    """Scaled images of w (n, w_dim) or (n, n_styles, w_dim), with the same noise for all, so that only w differs."""
    noise = torch.randn(1, bundle.generator.noise_size, generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        return torch.cat([bundle.synthesize(part, noise.expand(len(part), -1)) for part in w.split(_BATCH)])


def _regress(coordinates: Tensor, values: Tensor) -> Tensor:
    """Ridge regression of centred values (n,) on coordinates (n, k) of unit variance; the slopes (k,)."""
    values = values.double() - values.double().mean()
    gram = coordinates.T @ coordinates / len(values)
    ridge = _RIDGE * torch.eye(len(gram), dtype=gram.dtype)
    return torch.linalg.solve(gram + ridge, coordinates.T @ values / len(values))


def _residual(values: Tensor, terms: Tensor) -> Tensor:
    """What a linear regression on the conditions' terms (n, k) leaves of values (n,), in units of its spread."""
    values = values.double()[:, None]
    left = (values - terms @ torch.linalg.lstsq(terms, values, driver="gelsd").solution)[:, 0]
    return left / left.std().clamp_min(1e-12)


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    return torch.corrcoef(torch.stack([first, second]))[0, 1].nan_to_num().reshape(1)


def _in_fine_layers(generator: BaseGenerator, vector: Tensor) -> Tensor:
    """A vector (w_dim,) in each layer that the flare direction moves, zero in the others; (n_styles, w_dim)."""
    finest = generator.style_resolutions[-1]
    moves = torch.tensor([width >= FINE_FROM * finest for width in generator.style_resolutions])
    return moves[:, None] * vector


def _turn(
    bundle: Bundle, fit: Components, weights: Tensor, overall: Tensor, spreads: dict[str, float], seed: int
) -> Tensor:
    """Turn a direction until each step along it makes frames hotter, and the critic read more.

    Parameters
    ----------
    weights : Tensor, shape (k,)
        Unit vector over the components, from the regression.
    overall : Tensor, shape (k,)
        Unit vector of mere overall brightness, which the direction stays orthogonal to.
    spreads : dict of str to float
        Spread between frames of what is seen, by name: the unit in which steps are to rise.

    Returns
    -------
    Tensor, shape (k,)
    """
    critic = bundle.critic
    assert critic is not None
    channels, radius = bundle.info.channels, bundle.info.disk_radius
    vectors = (fit.stddev[:, None] * fit.components).float()
    noise = torch.randn(1, bundle.generator.noise_size, generator=torch.Generator().manual_seed(seed))
    random = torch.Generator().manual_seed(seed)
    turned = weights.float().clone().requires_grad_(True)
    optimizer = torch.optim.Adam([turned], _TURN_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _TURNS)
    unit = overall.float()

    def direction() -> Tensor:
        free = turned - (turned @ unit) * unit
        return free / free.norm().clamp_min(1e-12)

    for w, _ in draw_latents(bundle, _TURNS * _TURN_LATENTS, seed + 2, batch=_TURN_LATENTS):
        below = torch.rand(len(w), generator=random) * (2 * _FARTHEST - 1) - _FARTHEST
        steps = torch.cat([below, below + 1])
        step = _in_fine_layers(bundle.generator, direction() @ vectors)
        shifted = w.clone().repeat(2, 1)[:, None] + steps[:, None, None] * step
        images = bundle.synthesize(shifted, noise.expand(len(shifted), -1))
        seen = [hot_emission(images, channels, radius) / spreads["hot_emission"]]
        seen += [column / spreads[name] for name, column in zip(critic.labels, critic.encoded(images).T, strict=True)]
        low, high = torch.stack(seen).split(len(w), dim=1)
        # Of each thing that is seen on its own: a large rise of one does not make up for another's fall.
        loss = torch.nn.functional.softplus((_MARGIN - (high - low)) / _SOFTNESS).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return direction().detach().double()


@dataclass(frozen=True)
class _Looks:
    """What is seen on pictures (n of them): hot emission, overall brightness, the critic's log fluxes by label."""

    hot: Tensor
    brightness: Tensor
    read: dict[str, Tensor]


def _look(bundle: Bundle, w: Tensor, seed: int) -> _Looks:
    channels, radius = bundle.info.channels, bundle.info.disk_radius
    hot, brightness, readings = [], [], []
    for part in w.split(256):
        images = pictures(bundle, part, seed)
        hot.append(hot_emission(images, channels, radius))
        brightness.append(mean_intensity(images, channels, radius))
        if bundle.critic is not None:
            readings.append(bundle.critic.read(images).flux)
    read: dict[str, Tensor] = {}
    if bundle.critic is not None:
        flux = torch.from_numpy(np.log10(np.concatenate(readings)))
        read = {name: flux[:, column] for column, name in enumerate(bundle.critic.labels)}
    return _Looks(torch.cat(hot), torch.cat(brightness), read)


def fit_directions(bundle: Bundle, seed: int = 0) -> dict[str, Tensor]:
    """Fit the GANSpace components and the flare direction of a bundle.

    Parameters
    ----------
    bundle : Bundle
        With a critic, its readings have a part in the direction; without one, hot emission decides alone.
    seed : int
        Of the latents.

    Returns
    -------
    dict of str to Tensor
        ``components`` (k, w_dim), ``stddev`` (k,), ``explained`` (k,), ``condition_share`` (1,), and ``components.M``,
        ``stddev.M``, ``explained.M`` of each class alone (``none`` for no flare).

        ``flare`` (n_styles, w_dim), a step of one standard deviation in each layer; ``flare_correlation`` (1,), between
        hot emission and the coordinate along it at a given condition, and ``flare_correlation.forecast_flux`` and the
        like for what the critic reads.
    """
    fit, by_class = fit_components(bundle, seed)
    w, row = next(draw_latents(bundle, N_PICTURES, seed, batch=N_PICTURES))
    terms = condition_terms(bundle)[row]
    coordinates = fit.coordinates(w, terms)
    looks = _look(bundle, w, seed)
    seen = {"hot_emission": _residual(looks.hot, terms)}
    seen |= {name: _residual(values, terms) for name, values in looks.read.items()}
    overall = _regress(coordinates, _residual(looks.brightness, terms))

    slopes = torch.stack([_regress(coordinates, values) for values in seen.values()]).mean(dim=0)
    unit = overall / overall.norm().clamp_min(1e-12)
    slopes = slopes - (slopes @ unit) * unit
    weights = slopes / slopes.norm().clamp_min(1e-12)
    if bundle.critic is not None:
        spreads = {name: max(float(one.std()), 1e-6) for name, one in {"hot_emission": looks.hot, **looks.read}.items()}
        weights = _turn(bundle, fit, weights, unit, spreads, seed)
    along = coordinates @ weights
    found = {
        **_stored(fit),
        "condition_share": torch.tensor([fit.condition_share]),
        FLARE: _in_fine_layers(bundle.generator, (weights * fit.stddev) @ fit.components),
        "flare_correlation": _correlation(along, seen["hot_emission"]),
        **{f"flare_correlation.{name}": _correlation(along, seen[name]) for name in looks.read},
    }
    for letter, one in by_class.items():
        found |= {f"{name}.{letter}": value for name, value in _stored(one).items()}
    return found


def _stored(fit: Components) -> dict[str, Tensor]:
    return {
        "components": fit.components[:N_COMPONENTS],
        "stddev": fit.stddev[:N_COMPONENTS],
        "explained": fit.explained[:N_COMPONENTS],
    }
