"""How far rare samples are steered: measured on the samples that would be delivered.

The calibrated step along the flare direction is the one at which as large a share of the accepted rare samples is read
as rare as of real rare frames, by networks that have seen neither; the limit is the one up to which samples stay as
near to real frames as they are unsteered. Without a critic, or where it accepts none at
some step, rare samples are steered until their hot emission is that of the real rare frames.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sunaug.bundle import Bundle
from sunaug.generation.request import Request
from sunaug.generation.sampler import Sampler
from sunaug.latent import FLARE, fit_directions
from sunaug.latent.activity import hot_emission
from sunaug.threads import one_thread

__all__ = ["calibrate", "fit_steering"]

RARE_CLASS = "M1.0"
KEPT_SHARE = 0.9
"""Share of the unsteered samples' acceptance that has to be left at the limit."""

STEPS = torch.arange(0, 4.1, 0.5)
PICTURES = 512
_MOST = 3.0
"""Calibrated steps never go further: W is about normal, and beyond 3 standard deviations the network saw nothing."""

_CURVES = ("flare_hot_curve", "flare_reading_curve", "flare_share_curve", "flare_kept_curve")


def _crossing(curve: Tensor, target: float) -> float:
    """First step at which a curve over `STEPS` reaches `target`, between the steps; the last one if it never does."""
    above = torch.nonzero(curve >= target)[:, 0]
    if not len(above):
        return float(STEPS[-1])
    if above[0] == 0:
        return 0.0
    low, high = above[0] - 1, above[0]
    share = (target - curve[low]) / (curve[high] - curve[low])
    return float(STEPS[low] + share * (STEPS[high] - STEPS[low]))


@one_thread()
def calibrate(
    bundle: Bundle, directions: Mapping[str, Tensor], seed: int = 0, *, pictures: int = PICTURES
) -> dict[str, Tensor]:
    """Measure rare samples along the flare direction.

    Parameters
    ----------
    bundle : Bundle
        Its own directions, if it has any, have no part in this.
    directions : mapping of str to Tensor
        See `sunaug.latent.fit_directions`.
    seed : int
    pictures : int
        Samples made at each step, of the same latents.

    Returns
    -------
    dict of str to Tensor
        ``flare_calibration`` (1,), the steps of rare samples, and ``flare_limit`` (1,), those at which the critic still
        finds nine tenths as many samples near real frames as unsteered (NaN without a critic). ``steps`` and, at each
        of them, ``flare_hot_curve`` (mean hot emission), ``flare_reading_curve`` (median log10 flux),
        ``flare_share_curve`` (share read as rare; both of accepted samples) and ``flare_kept_curve`` are what the two
        were found from. Where the bundle has seen no rare frame, there are no curves, and rare samples are not steered.
    """
    found = {"steps": STEPS, **{name: torch.full_like(STEPS, torch.nan) for name in _CURVES}}
    info, critic = bundle.info, bundle.critic
    label = "forecast" if "forecast_flux" in info.network.labels else info.network.labels[0].removesuffix("_flux")
    request = Request(n=pictures, rare=True, min_class=RARE_CLASS, label=label, seed=seed, force=True)
    column = info.network.labels.index(request.label_name)
    strong = bundle.reference["fluxes"].numpy()[:, column] >= request.border * (1 - 1e-9)
    rows = np.flatnonzero(strong & np.isfinite(bundle.reference["hot_emission"].numpy()))
    if not len(rows):
        return found | {"flare_calibration": torch.zeros(1), "flare_limit": torch.tensor([math.nan])}

    opened = replace(bundle, directions=dict(directions))
    reads = critic is not None and request.label_name in critic.labels
    for place, step in enumerate(STEPS.tolist()):
        images, reading, accepted = Sampler(opened, replace(request, steer={FLARE: step})).once(0, pictures)
        scaled = torch.from_numpy(info.scaling.scale(images)).float()
        found["flare_hot_curve"][place] = hot_emission(scaled, info.channels, info.disk_radius).mean()
        if critic is not None and reading is not None:
            found["flare_kept_curve"][place] = float((reading.distance <= 1).mean())
            if reads and accepted.any():
                said = critic.read_apart(scaled[torch.from_numpy(accepted)])[
                    ..., critic.labels.index(request.label_name)
                ]
                found["flare_reading_curve"][place] = float(np.median(np.log10(said)))
                found["flare_share_curve"][place] = float((said >= request.border).mean())

    limit, target = math.nan, float(bundle.reference["hot_emission"][torch.from_numpy(rows)].mean())
    steps = _crossing(found["flare_hot_curve"], target)
    if critic is not None and reads and torch.isfinite(found["flare_share_curve"]).all():
        at = critic.labels.index(request.label_name)
        real = critic.real_reading[critic.real_flux[:, at] >= request.border, at]
        steps = _crossing(found["flare_share_curve"], float((real >= request.border).mean()))
        kept = found["flare_kept_curve"]
        inside = torch.cumprod((kept >= KEPT_SHARE * kept[0]).int(), dim=0).bool()
        limit = float(STEPS[inside][-1])
    steps = min(steps, _MOST, limit if math.isfinite(limit) else _MOST)
    return found | {"flare_calibration": torch.tensor([steps]), "flare_limit": torch.tensor([limit])}


@one_thread(blas=True)
def fit_steering(bundle: Bundle, seed: int = 0, *, pictures: int = PICTURES) -> dict[str, Tensor]:
    """The directions of a bundle (`sunaug.latent.fit_directions`) and how far to go along them (`calibrate`)."""
    directions = fit_directions(bundle, seed)
    return directions | calibrate(bundle, directions, seed, pictures=pictures)
