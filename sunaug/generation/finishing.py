"""Fitting the finish of a bundle: its samples beside the real frames that it was trained on."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sunaug.bundle import Bundle
from sunaug.finish import MeanPower, SpectralFinish
from sunaug.generation.request import Request
from sunaug.generation.sampler import Sampler
from sunaug.measures.limb import Geometry
from sunaug.networks.patches import in_tiles
from sunaug.threads import one_thread

__all__ = ["fit_finish"]

SMALLEST = 16
"""Pixels of the smallest images with a finish: below, the disk has no spectrum to speak of."""

SAMPLES, _PIXELS = 1024, 2**24
_BATCH = 64
_SEED = 0x5EED


@one_thread()
def fit_finish(bundle: Bundle, frames: Tensor, samples: int = SAMPLES) -> SpectralFinish | None:
    """Fit what gives the samples of a bundle the mean power spectrum of real frames.

    The samples are made under conditions drawn as plain requests draw them, from those of the training frames.

    Parameters
    ----------
    bundle : Bundle
        A finish that it has already is not looked at.
    frames : Tensor, shape (n, channel, y, x)
        Scaled intensities of the frames that it was trained on.
    samples : int
        Samples that are made; fewer of large images.

    Returns
    -------
    SpectralFinish or None
        None for images that are made in tiles, which never are in one piece, for very small ones, and without frames.
    """
    size = bundle.info.network.size
    if in_tiles(bundle.generator) or size < SMALLEST or not len(frames):
        return None
    geometry = Geometry(size, bundle.info.disk_radius)
    count = max(min(samples, _PIXELS // size**2), 1)
    sampler = Sampler(replace(bundle, finish=None), Request(n=count, seed=_SEED))
    power = MeanPower(geometry)
    for made in sampler.batches(0, count, _BATCH):
        power.add(bundle.info.scaling.scale(torch.from_numpy(made["intensity"])))
    real = MeanPower.of(geometry, (part.cpu() for part in frames.split(_BATCH)))
    return SpectralFinish.between(real, power, geometry)
