"""Which direction in W makes a flare, and how far to go along it.

The direction comes from the generator's own pictures: hot emission is measured on them and regressed on the GANSpace
components. What merely brightens the whole disk is taken out of it. How far to go is measured, too: the step at which
rare samples have the hot emission of the real rare frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sunaug.bundle import Bundle
from sunaug.flares import parse_goes_class
from sunaug.latent.activity import hot_emission, mean_intensity
from sunaug.latent.ganspace import N_LATENTS, Components, draw_latents, fit_components, principal_coordinates

__all__ = ["FLARE", "fit_directions"]

FLARE = "flare"
N_PICTURES = 2_048
_RIDGE = 1e-2
_BATCH = 32
RARE_CLASS = "M1.0"
_CALIBRATION_STEPS = torch.arange(0, 3.1, 0.5)
_CALIBRATION_PICTURES = 256


def _pictures(bundle: Bundle, w: Tensor, seed: int) -> Tensor:
    """Scaled images of w, with the same noise for every one, so that only w differs."""
    noise = torch.randn(1, bundle.generator.noise_size, generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        return torch.cat([bundle.generator.synthesize(part, noise.expand(len(part), -1)) for part in w.split(_BATCH)])


def _regress(coordinates: Tensor, values: Tensor) -> Tensor:
    """Ridge regression of centred values (n,) on coordinates (n, k) of unit variance; the slopes (k,)."""
    values = values.double() - values.double().mean()
    gram = coordinates.T @ coordinates / len(values)
    ridge = _RIDGE * torch.eye(len(gram), dtype=gram.dtype)
    return torch.linalg.solve(gram + ridge, coordinates.T @ values / len(values))


def _residual(values: Tensor, condition: Tensor) -> Tensor:
    """What a linear regression on the conditions leaves of values (n,)."""
    terms = torch.cat([torch.ones(len(condition), 1), condition], dim=1).double()
    values = values.double()[:, None]
    return (values - terms @ torch.linalg.lstsq(terms, values, driver="gelsd").solution)[:, 0]


def calibrate_steps(bundle: Bundle, flare: Tensor, seed: int) -> tuple[float, Tensor]:
    """Steps along the flare direction at which rare samples are as hot as real rare frames.

    Rare is a forecast flux of M1.0 or more (the first condition where the bundle has no forecast). The answer lies
    between 0 and 3 standard deviations: never away from the flare, and not so far that samples leave what the network
    has learned.

    Returns
    -------
    steps : float
    curve : Tensor, shape (7,)
        Mean hot emission of rare samples at 0, 0.5, ... 3 standard deviations.
    """
    names = bundle.info.network.labels
    column = bundle.reference["fluxes"][:, names.index("forecast_flux") if "forecast_flux" in names else 0]
    rows = torch.nonzero(column >= parse_goes_class(RARE_CLASS) * (1 - 1e-9))[:, 0]
    if not len(rows):
        return 0.0, torch.full_like(_CALIBRATION_STEPS, torch.nan)
    w, _ = draw_latents(bundle, _CALIBRATION_PICTURES, seed + 1, rows)
    channels, radius = bundle.info.channels, bundle.info.disk_radius
    curve = torch.stack(
        [
            hot_emission(_pictures(bundle, w + step * flare, seed), channels, radius).mean()
            for step in _CALIBRATION_STEPS
        ]
    )
    target = bundle.reference["hot_emission"][rows].mean()
    above = torch.nonzero(curve >= target)[:, 0]
    if not len(above):
        return float(_CALIBRATION_STEPS[-1]), curve
    if above[0] == 0:
        return 0.0, curve
    low, high = above[0] - 1, above[0]
    share = (target - curve[low]) / (curve[high] - curve[low])
    return float(_CALIBRATION_STEPS[low] + share * (_CALIBRATION_STEPS[high] - _CALIBRATION_STEPS[low])), curve


def fit_directions(bundle: Bundle, seed: int = 0) -> dict[str, Tensor]:
    """Fit the GANSpace components and the flare direction of a bundle.

    Parameters
    ----------
    bundle : Bundle
    seed : int
        Of the latents.

    Returns
    -------
    dict of str to Tensor
        ``components`` (k, w_dim), ``stddev`` (k,), ``explained`` (k,), ``condition_share`` (1,); ``flare`` (w_dim,), a
        step of one standard deviation; ``flare_correlation`` (1,), between hot emission and the coordinate along it at
        a given condition; ``flare_calibration`` (1,), see `calibrate_steps`; ``hot_emission_steps`` and
        ``hot_emission_curve``, the mean hot emission of rare samples at each step tried.
    """
    w, condition = draw_latents(bundle, N_LATENTS, seed)
    fit: Components = fit_components(w, condition)
    coordinates = principal_coordinates(w, condition, fit)[:N_PICTURES]
    channels, radius = bundle.info.channels, bundle.info.disk_radius
    images = _pictures(bundle, w[:N_PICTURES], seed)
    hot = _residual(hot_emission(images, channels, radius), condition[:N_PICTURES])
    brightness = _residual(mean_intensity(images, channels, radius), condition[:N_PICTURES])

    slopes, overall = _regress(coordinates, hot), _regress(coordinates, brightness)
    unit = overall / overall.norm().clamp_min(1e-12)
    slopes = slopes - (slopes @ unit) * unit
    weights = slopes / slopes.norm().clamp_min(1e-12)
    along = coordinates @ weights
    correlation = torch.corrcoef(torch.stack([along, hot]))[0, 1]
    flare = (weights * fit.stddev) @ fit.components
    calibration, curve = calibrate_steps(bundle, flare.float(), seed)
    return {
        "components": fit.components,
        "stddev": fit.stddev,
        "explained": fit.explained,
        "condition_share": torch.tensor([fit.condition_share]),
        FLARE: flare,
        "flare_correlation": correlation.reshape(1),
        "flare_calibration": torch.tensor([calibration]),
        "hot_emission_steps": _CALIBRATION_STEPS,
        "hot_emission_curve": curve,
    }
