"""Fitting the critic on the train months."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sunaug.critic.network import READ_SIZE, FluxRegressor
from sunaug.critic.readings import FAR_SHARE, Critic, Witness, nearest
from sunaug.networks.conditions import encode_flux

FOLDS = 3
BLOCK = np.timedelta64(10, "D")
PURGE = np.timedelta64(1, "D")
"""Frames this close to a block that is held out are not trained on: they share its flares and its active regions."""

EPOCHS = 12
MIN_STEPS = 60
_BATCH = 32
_RATE = 2e-3
_DECAY = 0.05
_SHIFT = 1 / 16
_NOISE = 0.05


def held_out(times: NDArray[np.datetime64], fold: int) -> NDArray[np.bool_]:
    """Frames of every third block of ten days, beginning with block `fold`."""
    block = (times - times.min()) // BLOCK
    return np.asarray(block % FOLDS == fold)


def near(times: NDArray[np.datetime64], chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Frames within a day of one that is chosen."""
    if not chosen.any():
        return np.zeros(len(times), bool)
    moments = np.sort(times[chosen])
    after = np.searchsorted(moments, times)
    gaps = [np.abs(times - moments[np.clip(after + step, 0, len(moments) - 1)]) for step in (-1, 0)]
    return np.asarray(np.minimum(*gaps) <= PURGE)


def _varied(images: Tensor, random: torch.Generator) -> Tensor:
    """Frames mirrored, shifted, and with noise: none of this changes what they show."""
    for dim in (2, 3):
        flip = torch.rand(len(images), 1, 1, 1, generator=random) < 0.5
        images = torch.where(flip, images.flip(dim), images)
    most = max(1, round(_SHIFT * images.shape[-1]))
    down, right = (int(torch.randint(-most, most + 1, (), generator=random)) for _ in range(2))
    images = torch.roll(images, (down, right), dims=(2, 3))
    # Fine structure is where a generator is weakest: the fluxes are not to be read off it.
    strength = _NOISE * torch.rand(len(images), 1, 1, 1, generator=random)
    noise = torch.randn(images.shape, generator=random)
    return images + strength * noise


def _train(images: Tensor, target: Tensor, weights: Tensor, epochs: int, seed: int) -> FluxRegressor:
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FluxRegressor(images.shape[1], target.shape[1])
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.no_grad():
        network.head.bias.copy_((weights[:, None] * target).sum(dim=0) / weights.sum())
    optimizer = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=_DECAY)
    steps = max(epochs * len(images) // _BATCH, MIN_STEPS)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, steps)
    for _ in range(steps):
        rows = torch.multinomial(weights, _BATCH, replacement=True, generator=random)
        loss = F.smooth_l1_loss(network(_varied(images[rows], random)), target[rows], beta=0.3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval().requires_grad_(False)


def _features(network: FluxRegressor, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return torch.cat([network.embed(part) for part in images.split(64)])


def fit_critic(
    images: Tensor,
    fluxes: NDArray[np.float64],
    times: ArrayLike,
    labels: Sequence[str],
    weights: Tensor,
    *,
    epochs: int = EPOCHS,
    seed: int = 0,
    report: Callable[[int], None] | None = None,
) -> Critic | None:
    """Train three networks on real frames, each without every third block of ten days.

    Parameters
    ----------
    images : Tensor, shape (n, channel, y, x)
        Scaled intensities of the train months.
    fluxes : ndarray of float64, shape (n, n_labels)
        W m-2.
    times : array_like of datetime64, shape (n,)
    labels : sequence of str
        Names of the columns of `fluxes`.
    weights : Tensor, shape (n,)
        Sampling weights, so that rare classes are seen more often than they occur.
    epochs : int
        Times that each network sees as many frames as there are.
    seed : int
    report : callable, optional
        Called with the number of networks that are trained.

    Returns
    -------
    Critic or None
        None where there is nothing to read (no labels), or all frames are of less than three blocks of ten days.
    """
    when = np.asarray(times, "datetime64[ns]")
    if not labels or not len(when) or len(np.unique((when - when.min()) // BLOCK % FOLDS)) < FOLDS:
        return None
    if images.shape[-1] > READ_SIZE:
        images = torch.cat([F.avg_pool2d(part, images.shape[-1] // READ_SIZE) for part in images.split(64)])
    target = torch.from_numpy(encode_flux(fluxes))
    reading = np.empty(fluxes.shape, np.float64)
    witnesses = []
    for fold in range(FOLDS):
        out = held_out(when, fold)
        kept = torch.from_numpy(np.flatnonzero(~near(when, out)))
        unseen = torch.from_numpy(np.flatnonzero(out))
        if not len(kept):
            return None
        network = _train(images[kept], target[kept], weights[kept], epochs, seed * FOLDS + fold)
        features = _features(network, images)
        centred = features[kept] - features[kept].mean(dim=0)
        variance, axes = torch.linalg.eigh(centred.T.double() @ centred.double() / len(centred))
        # Directions in which real frames hardly differ are not blown up to the size of the others.
        whitening = (axes * (variance + 0.01 * variance.max()).rsqrt()).float()
        bank = features[kept] @ whitening
        far = float(torch.quantile(nearest(features[unseen] @ whitening, bank).double(), 1 - FAR_SHARE))
        witnesses.append(Witness(network, whitening, bank, max(far, 1e-6)))
        with torch.inference_mode():
            reading[out] = 10 ** (network.head(features[unseen]).double().numpy() - 6)
        if report:
            report(fold + 1)
    order = np.argsort(when, kind="stable")
    return Critic(tuple(labels), tuple(witnesses), fluxes[order], reading[order])
