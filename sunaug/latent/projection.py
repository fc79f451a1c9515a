"""Projection of real frames: which intermediate latent w makes the image that is nearest to a frame.

By optimisation, as Karras et al. 2020 do it (section 5 and appendix D): from the mean w of the frame's condition, or
from what the bundle's encoder makes of it, with noise on w that fades, so that the search first looks far and then
near. Pixels without data do not count, so that a frame of some channels alone is projected like any other, and the
generator completes the rest.

Three things differ from the paper. The loss compares scaled intensities at several resolutions in place of LPIPS: its
features are of photographs, and would have to be downloaded. The generator's noise inputs are left out, not optimised:
they are as many numbers as the image has, and what they fit is not what the generator has learnt. And where each layer
has a w of its own, a Gaussian prior keeps these near to what the mapping network makes (as Wulff & Torralba 2020, arXiv
2009.06529, do, without their change of variables): otherwise they fit what is seen at the cost of what is not.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sunaug.bundle import Bundle
from sunaug.devices import torch_device
from sunaug.errors import UsageError
from sunaug.latent.ganspace import draw_latents
from sunaug.networks import BaseGenerator

__all__ = ["GROUP", "LAYERS", "Projection", "Projector", "counting_on", "pyramid_loss", "starting_w"]

GROUP = 8
"""Frames in one pass, always, for the reason that `sunaug.generation.sampler.GROUP` gives."""

LAYERS = ("one", "each")

_COARSEST = 8
_RATE, _NOISE = 0.1, 0.05
_WARM_UP, _NOISE_UNTIL, _COOL_DOWN_FROM = 0.05, 0.75, 0.75
_PRIOR = {"one": 0.0, "each": 0.003}
"""Weight of the prior beside the loss: the best of 0, 0.003, 0.01 and 0.1 for a withheld channel of real frames."""
_LATENTS, _FLOOR = 8192, 1e-5


@dataclass(frozen=True)
class Projection:
    """How frames are projected.

    Attributes
    ----------
    steps : int
        Steps of the optimisation.
    layers : {"one", "each"}
        One w for all layers (W), or one for each (W+): nearer to the frame, and further from what the generator makes,
        though a prior keeps them near.
    seed : int
        Of the noise on w; a frame's noise is that of its own number, whatever is projected beside it.

    Raises
    ------
    UsageError
        If a value makes no sense.
    """

    steps: int = 300
    layers: str = "one"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UsageError(f"--steps {self.steps}: give one step or more.")
        if self.layers not in LAYERS:
            raise UsageError(f"--layers {self.layers}: choose one (one w for all layers) or each (a w for each).")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"--seed {self.seed}: give a number from 0 to 2**63 - 1.")

    def described(self) -> dict[str, Any]:
        """As a cube keeps it."""
        return asdict(self)

    def rate(self, step: int) -> float:
        """Learning rate of a step: ramped up linearly, and down by half a cosine (Karras et al. 2020, appendix D)."""
        share = step / self.steps
        up = min((step + 1) / max(_WARM_UP * self.steps, 1), 1.0)
        down = max(share - _COOL_DOWN_FROM, 0.0) / (1 - _COOL_DOWN_FROM)
        return _RATE * up * (0.5 + 0.5 * math.cos(math.pi * down))

    def noise(self, step: int) -> float:
        """Standard deviation of the noise on w in spreads of w: 0.05 t^2, t falling from 1 to 0 (the same appendix)."""
        return _NOISE * max(1 - step / self.steps / _NOISE_UNTIL, 0.0) ** 2


def counting_on(report: Callable[[int], None], before: int) -> Callable[[int], None]:
    """A `report` for a part of the work, in front of which `before` steps were done."""
    return lambda steps: report(before + steps)


def starting_w(bundle: Bundle, frames: Tensor, fluxes: NDArray[np.float64]) -> Tensor:
    """Where the search for a frame's w begins: at the mean w of its condition, or where an encoder puts it.

    An encoder has never seen a frame with gaps, so that it is asked for whole ones alone.

    Parameters
    ----------
    bundle : Bundle
    frames : Tensor, shape (n, channel, y, x)
        Scaled; NaN where there are no data.
    fluxes : ndarray, shape (n, n_labels)
        W m-2; a label that is not known (NaN) takes the median of the frames that the bundle was trained on.

    Returns
    -------
    Tensor, shape (n, latent_width)
    """
    config = bundle.info.network
    condition = None
    if config.labels:
        usual = bundle.reference["fluxes"].median(dim=0).values.numpy()
        condition = torch.from_numpy(config.encode(np.where(np.isnan(fluxes), usual, fluxes)))
    whole = frames.isfinite().flatten(1).all(dim=1)
    with torch.inference_mode():
        start = bundle.generator.mean_w(condition).expand(len(frames), -1).clone()
        if bundle.image_encoder is not None and whole.any():
            start[whole] = bundle.image_encoder(frames[whole])
    return start


def pyramid_loss(images: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean squared difference of images at full resolution and at each half of it down to 8 pixels, summed.

    A coarse pixel is the mean over those of its pixels that count, and counts for as much as they do together.

    Parameters
    ----------
    images, target : Tensor, shape (n, channel, y, x)
    weight : Tensor, shape (n, channel, y, x)
        1 where a pixel counts, 0 where it does not; `target` is finite there, too.

    Returns
    -------
    Tensor, shape (n,)
    """
    difference = (images - target) * weight
    loss = images.new_zeros(len(images))
    while True:
        # The mean over a pixel's part that counts is difference / weight, hence the weighted mean of its square:
        squares = difference.square() / weight.clamp_min(torch.finfo(weight.dtype).tiny)
        loss = loss + squares.sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3))
        if difference.shape[-1] <= _COARSEST:
            return loss
        difference, weight = F.avg_pool2d(difference, 2), F.avg_pool2d(weight, 2)


class Projector:
    """Projects frames into the latent space of a bundle's generator, any architecture's.

    Parameters
    ----------
    bundle : Bundle
    settings : Projection
    device : str or torch.device
    """

    def __init__(self, bundle: Bundle, settings: Projection | None = None, device: str | torch.device = "cpu") -> None:
        self.bundle, self.settings, self.device = bundle, settings or Projection(), torch_device(device)
        w, _ = next(draw_latents(bundle, _LATENTS, 0, batch=_LATENTS))
        covariance = w.T.cov().double()
        variance = covariance.trace()
        self._mean, self._spread = w.mean(dim=0).to(self.device), float(variance.sqrt())
        floor = _FLOOR * variance / len(covariance) * torch.eye(len(covariance), dtype=torch.float64)
        self._precision = torch.linalg.inv(covariance + floor).float().to(self.device)
        # The bundle's own stays where it is.
        self._generator: BaseGenerator = copy.deepcopy(bundle.generator).to(self.device)

    def project(
        self,
        frames: Tensor,
        fluxes: NDArray[np.float64],
        numbers: Sequence[int],
        report: Callable[[int], None] = lambda steps: None,
    ) -> Tensor:
        """The w of frames.

        Parameters
        ----------
        frames : Tensor, shape (n, channel, y, x)
            Scaled; what is NaN does not count. Each frame has a pixel that counts.
        fluxes : ndarray, shape (n, n_labels)
            W m-2, NaN where not known.
        numbers : sequence of int, length n
            What a frame's noise is drawn by, from 0 to 2**64 - 1.
        report : callable, optional
            Called with the steps done so far, `GROUP` frames after another.

        Returns
        -------
        Tensor, shape (n, n_styles, latent_width)
            All layers have the same one unless the settings say ``each``.
        """
        found: list[Tensor] = []
        for first in range(0, len(frames), GROUP):
            chosen, before = slice(first, first + GROUP), len(found) * self.settings.steps
            given = frames[chosen], fluxes[chosen], numbers[chosen]
            found.append(self._group(*given, counting_on(report, before)))
        return torch.cat(found)

    def images(self, w: Tensor) -> Tensor:
        """Scaled images (n, channel, y, x) of w (n, n_styles, latent_width), without noise, on the CPU."""
        with torch.inference_mode():
            groups = [(_filled(part).to(self.device), len(part)) for part in w.split(GROUP)]
            made = [self._generator.synthesize(group)[:count].cpu() for group, count in groups]
        return torch.cat(made)

    def unlikeliness(self, w: Tensor) -> Tensor:
        """How far w (n, n_styles, latent_width) are from what the mapping network makes, which has 1 on average.

        Squared Mahalanobis distance from the mean of W, per layer and dimension; shape (n,).
        """
        offset = w - self._mean
        return ((offset @ self._precision) * offset).mean(dim=(1, 2))

    def _group(
        self, frames: Tensor, fluxes: NDArray[np.float64], numbers: Sequence[int], report: Callable[[int], None]
    ) -> Tensor:
        """Project up to `GROUP` frames; copies of the last one fill the group."""
        settings, count, prior = self.settings, len(frames), _PRIOR[self.settings.layers]
        start = starting_w(self.bundle, frames, fluxes)
        if settings.layers == "each":
            start = self._generator.styles(start)
        filled = _filled(frames).to(self.device)
        weight, target = filled.isfinite().to(filled), filled.nan_to_num()
        w = _filled(start).to(self.device).clone().requires_grad_(True)
        draws = [np.random.Generator(np.random.Philox(key=[settings.seed, number])) for number in numbers]
        optimizer = torch.optim.Adam([w])
        for step in range(settings.steps):
            optimizer.param_groups[0]["lr"] = settings.rate(step)
            normal = np.stack([draw.standard_normal(w.shape[1:], dtype=np.float32) for draw in draws])
            noise = settings.noise(step) * self._spread * _filled(torch.from_numpy(normal)).to(self.device)
            loss = pyramid_loss(self._generator.synthesize(w + noise), target, weight)
            if prior:
                loss = loss + prior * self.unlikeliness(self._generator.styles(w))
            # A frame's loss depends on its own w alone, and Adam moves each number by itself.
            (w.grad,) = torch.autograd.grad(loss.sum(), w)
            optimizer.step()
            report(step + 1)
        return self._generator.styles(w.detach()).cpu()[:count]


def _filled(rows: Tensor) -> Tensor:
    """`rows` with copies of the last one, `GROUP` in all."""
    return torch.cat([rows, rows[-1:].expand(GROUP - len(rows), *rows.shape[1:])])
