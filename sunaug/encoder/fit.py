"""Fitting the encoder on the train months, without labels.

The convolutions learn by VICReg (Bardes et al. 2022, arXiv 2105.04906): two views of a frame, turned, shifted and
exposed differently, shall be described alike, while descriptions of different frames keep their variance. No frame is
pushed away from another, and a batch holds one frame of each of its spans of two days, since neighbouring hours look
alike. Views are never blurred nor made noisy, since that is what a check has to notice: even the interpolation of a
turned frame would teach the network to overlook blur, so frames are turned and shifted in the Fourier domain, which
keeps the power spectrum.

An affine map comes after it, in closed form: directions in which views of one frame differ as much as frames do are
left out, and all others are brought to about unit variance.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from sunaug.encoder.network import DIMS, WIDTHS, SolarEncoder, resized, texture_features, texture_size

SPAN = np.timedelta64(2, "D")
"""Frames of one such span are never in one batch."""

LEAST_SPANS = 12
LEAST_FRAMES = 100
STEPS = 400

ANGLE = math.radians(15)
SHIFT = 1 / 32
"""Of the frame's width: two pixels of 64."""

GAIN = 0.1
OFFSET = 0.03

_BATCH = 64
_RATE = 2e-3
_DECAY = 1e-4
_EXPANDED = 256
_SIMILARITY, _VARIANCE, _COVARIANCE = 25.0, 25.0, 1.0
_VIEWED = 640
_NUISANCE = 5.0
_TEXTURE_RIDGE = 0.01
_MOMENT_RIDGE = 4.0
_LEAST_DEVIATION = 1e-3


def _shear(frames: Tensor, slope: Tensor, shift: Tensor, dim: int) -> Tensor:
    """Move every line along `dim` by `shift` and `slope` times its distance from the middle, in pixels, unblurred."""
    if dim == -2:
        frames = frames.transpose(-1, -2)
    lines, width = frames.shape[-2:]
    distance = torch.arange(lines, device=frames.device) - (lines - 1) / 2
    moved = slope[:, None] * distance + shift[:, None]
    angle = -2 * math.pi * moved[..., None] * torch.fft.rfftfreq(width, device=frames.device)
    turned = torch.fft.rfft(frames) * torch.polar(torch.ones_like(angle), angle)[:, None]
    sheared = torch.fft.irfft(turned, n=width)
    return sheared.transpose(-1, -2) if dim == -2 else sheared


def moved(frames: Tensor, angle: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Turn and shift frames without blurring them.

    A rotation is three shears (Unser et al. 1995, IEEE Transactions on Image Processing 4, 1371), each a shift of
    lines, and a line is shifted by the phases of its Fourier transform. What leaves the frame comes in on the other
    side.

    Parameters
    ----------
    frames : Tensor, shape (n, channel, y, x)
    angle : Tensor, shape (n,)
        Radians.
    down, right : Tensor, shape (n,)
        Pixels.
    """
    slope, none = -torch.tan(angle / 2), torch.zeros_like(angle)
    frames = _shear(frames, slope, none, -1)
    frames = _shear(frames, angle.sin(), down, -2)
    return _shear(frames, slope, right, -1)


def views(frames: Tensor, random: torch.Generator) -> Tensor:
    """Scaled frames as another pointing and exposure would have given them.

    Turned by up to 15 degrees, shifted by up to 1/32 of the width, with a gain of up to 10 % on what is above the
    lowest value (the exposure of counts) and an offset of up to 0.03 (that of their logarithm, and the dark level of
    counts).
    """
    angle, down, right, gain, offset = (2 * torch.rand(len(frames), 5, generator=random) - 1).T
    reach = SHIFT * frames.shape[-1]
    seen = moved(frames, ANGLE * angle, reach * down, reach * right) + 1
    gain, offset = ((GAIN * gain).exp(), OFFSET * offset)
    return (seen * gain[:, None, None, None] - 1 + offset[:, None, None, None]).clamp(-1, 1)


def vicreg(first: Tensor, second: Tensor) -> Tensor:
    """Loss of two sets of vectors (n, dims), row by row of the same frames (Bardes et al. 2022, eq. 1 to 6)."""
    loss = _SIMILARITY * F.mse_loss(first, second)
    for vectors in (first, second):
        centred = vectors - vectors.mean(dim=0)
        deviation = (centred.square().sum(dim=0) / (len(centred) - 1) + 1e-4).sqrt()
        covariance = centred.T @ centred / (len(centred) - 1)
        off_diagonal = covariance.square().sum() - covariance.diagonal().square().sum()
        # Half of it for each set, as the authors' code has it.
        loss = loss + _VARIANCE / 2 * F.relu(1 - deviation).mean() + _COVARIANCE * off_diagonal / vectors.shape[1]
    return loss


def _train(
    encoder: SolarEncoder,
    small: Tensor,
    spans: list[Tensor],
    steps: int,
    random: torch.Generator,
    report: Callable[[int], None] | None,
) -> None:
    """Train the convolutions; the expander's first weights come from PyTorch's own generator."""
    described = 2 * sum(WIDTHS)
    expander = nn.Sequential(
        nn.BatchNorm1d(described),
        nn.Linear(described, _EXPANDED),
        nn.BatchNorm1d(_EXPANDED),
        nn.ReLU(),
        nn.Linear(_EXPANDED, _EXPANDED),
    )
    optimizer = torch.optim.AdamW([*encoder.parameters(), *expander.parameters()], _RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, steps)
    for step in range(steps):
        chosen = torch.randperm(len(spans), generator=random)[:_BATCH].tolist()
        rows = [int(spans[one][torch.randint(len(spans[one]), (), generator=random)]) for one in chosen]
        first, second = (expander(encoder.moments(views(small[rows], random))) for _ in range(2))
        loss = vicreg(first, second)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if report:
            report(step + 1)


def _whitening(described: Tensor, change: Tensor, ridge: float, dims: int) -> Tensor:
    """Matrix (k, dims) that makes C + 5 V + ridge the identity, and keeps the directions with the largest share of C.

    Parameters
    ----------
    described : Tensor, shape (n, k)
        Of frames, float64, with mean zero; C is the covariance of its columns, each brought to unit variance.
    change : Tensor, shape (m, k)
        What a view of a frame changes in it; V is its second moment, in the same units.
    ridge : float
        Variance, where one of the k has 1, of directions that are brought to half of unit variance and no further.
    dims : int
    """
    deviation = described.std(dim=0).clamp_min(_LEAST_DEVIATION)
    frames, views_of_one = described / deviation, change / deviation
    covariance = frames.T @ frames / len(frames)
    nuisance = views_of_one.T @ views_of_one / len(views_of_one)
    whole = covariance + _NUISANCE * nuisance + ridge * torch.eye(len(covariance), dtype=torch.float64)
    variance, axes = torch.linalg.eigh(whole)
    unit = axes * variance.rsqrt()
    share = torch.linalg.eigh(unit.T @ covariance @ unit)
    return (unit @ share.eigenvectors.flip(1)[:, :dims]) / deviation[:, None]


def _project(encoder: SolarEncoder, images: Tensor, random: torch.Generator) -> None:
    """Set the affine map: that of linear discriminant analysis, with the views of a frame as its class.

    Texture and moments have one each: the many moments would leave no room to the texture, which tells damage best.
    """
    with torch.inference_mode():
        described = torch.cat([encoder.describe(part) for part in images.split(_BATCH)]).double()
        chosen = torch.randperm(len(images), generator=random)[:_VIEWED]
        changes = []
        for rows in chosen.split(_BATCH):
            seen = encoder.seen(images[rows])
            changes.append(encoder.describe(views(seen, random)).double() - described[rows])
    centre, change = described.mean(dim=0), torch.cat(changes)
    described = described - centre
    first = texture_features(encoder.image_channels)
    textures = encoder.texture_dims
    maps = (
        _whitening(described[:, :first], change[:, :first], _TEXTURE_RIDGE, textures),
        _whitening(described[:, first:], change[:, first:], _MOMENT_RIDGE, encoder.dims - textures),
    )
    encoder.centre.copy_(centre)
    encoder.projection.copy_(torch.block_diag(*maps))


def fit_encoder(
    images: Tensor,
    times: ArrayLike,
    *,
    steps: int = STEPS,
    seed: int = 0,
    report: Callable[[int], None] | None = None,
) -> SolarEncoder | None:
    """Fit an encoder on real frames.

    Parameters
    ----------
    images : Tensor, shape (n, channel, y, x)
        Scaled intensities of the train months, on the CPU; clipped to [-1, 1] here, NaN taken as -1.
    times : array_like of datetime64, shape (n,)
    steps : int
        Batches of up to 64 frames that the convolutions learn from; with 0 they stay as they were drawn.
    seed : int
        The same one gives the same bits on the same machine.
    report : callable, optional
        Called with the number of steps done.

    Returns
    -------
    SolarEncoder or None
        None where there are fewer than 100 frames, or they are of fewer than 12 spans of two days.
    """
    when = np.asarray(times, "datetime64[ns]")
    if len(when) < LEAST_FRAMES:
        return None
    span = (when - when.min()) // SPAN
    spans = [torch.from_numpy(np.flatnonzero(span == one)) for one in np.unique(span)]
    if len(spans) < LEAST_SPANS:
        return None
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = SolarEncoder(images.shape[1], texture_size(min(images.shape[-2:])), DIMS)
        small = torch.cat([resized(encoder.seen(part), encoder.network_size) for part in images.split(_BATCH)])
        encoder.mean.copy_(small.mean(dim=(0, 2, 3)))
        encoder.gain.copy_(1 / small.std(dim=(0, 2, 3)).clamp_min(_LEAST_DEVIATION))
        if steps:
            _train(encoder, small, spans, steps, random, report)
    encoder.eval().requires_grad_(False)
    _project(encoder, images, random)
    return encoder
