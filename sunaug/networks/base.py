"""What all generators have in common, so that sampling, steering, training and bundles need to know none of them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from sunaug.networks.config import NetworkConfig
from sunaug.networks.growing import Growing

__all__ = ["BaseGenerator", "start_from"]


class BaseGenerator(nn.Module, ABC):
    """A generator in two halves: from a latent z to an intermediate latent w, and from w to the image.

    Several layers take a w; directions are steered along by adding to the w of some of them (GANSpace, Härkönen et al.
    2020, section 2.2).

    Attributes
    ----------
    config : NetworkConfig
    mapping : torch.nn.Module
        From z (batch, z_dim) and condition (batch, condition_width), or None, to w (batch, latent_width).
    style_resolutions : list of int
        Resolution of each layer that takes a w of its own, from coarse to fine.
    noise_shapes : list of tuple of int
        (y, x) of each noise input in the order of use; empty for a generator without.
    quiet_when_new : str
        Names (a regular expression) of weights that begin at zero in the layers which `start_from` adds.
    checkpoint_from : int or None
        While training, blocks of this resolution and above keep no activations and are computed again in the backward
        pass: less memory for a third more time in these blocks. None keeps all.
    """

    mapping: nn.Module
    quiet_when_new: ClassVar[str] = r"(?!)"

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.style_resolutions: list[int] = []
        self.noise_shapes: list[tuple[int, int]] = []
        self.checkpoint_from: int | None = None

    @property
    def n_styles(self) -> int:
        """Number of layers that take a w of their own."""
        return len(self.style_resolutions)

    @property
    def noise_size(self) -> int:
        """Numbers that one sample's noise takes in all."""
        return sum(height * width for height, width in self.noise_shapes)

    def noise_planes(self, noise: Tensor | None) -> list[Tensor | None]:
        """The noise (batch, noise_size) of each input apart, (batch, 1, y, x); None for each where there is none."""
        if noise is None:
            return [None] * len(self.noise_shapes)
        parts = noise.split([height * width for height, width in self.noise_shapes], dim=1)
        return [part.reshape(-1, 1, *shape) for part, shape in zip(parts, self.noise_shapes, strict=True)]

    @abstractmethod
    def synthesize(self, w: Tensor, noise: Tensor | None = None) -> Tensor:
        """Images from intermediate latents.

        Parameters
        ----------
        w : Tensor, shape (batch, latent_width) or (batch, n_styles, latent_width)
            One w for all layers or one for each.
        noise : Tensor, shape (batch, noise_size), optional
            Standard normal numbers; None leaves the noise out.

        Returns
        -------
        Tensor, shape (batch, image_channels, size, size)
            In scaled units, about [-1, 1]; not clipped.
        """

    def styles(self, w: Tensor) -> Tensor:
        """A w for each layer (batch, n_styles, latent_width), from one for all or from those."""
        return w[:, None].expand(-1, self.n_styles, -1) if w.dim() == 2 else w

    def activation_map(self) -> Tensor | None:
        """The linear map from w to the activations whose principal components are directions (GANSpace, section 2).

        Returns
        -------
        Tensor, shape (n_activations, latent_width), or None
            None where the components are of w itself, as in style-based generators.
        """
        return None

    def settle(self, condition: Tensor, seed: int = 0) -> None:
        """Store what replaces the statistics of a batch where an image must not depend on its batch.

        To be called in evaluation mode, before an averaged generator is looked at. Nothing is to be done for a
        generator without such statistics. The same weights, conditions and seed give the same bits.

        Parameters
        ----------
        condition : Tensor, shape (n, condition_width)
            Conditions as they are drawn in training, some hundred or more.
        seed : int
            Of the latents.
        """

    def mean_w(self, condition: Tensor | None, draws: int = 1024, seed: int = 0) -> Tensor:
        """Mean intermediate latent of each condition, the centre that truncation pulls towards.

        One mean for all conditions would pull a rare sample towards the quiet Sun that most frames show.

        Parameters
        ----------
        condition : Tensor, shape (batch, condition_width), or None
        draws : int
            Latents that the mean is taken over, the same ones for every condition.
        seed : int

        Returns
        -------
        Tensor, shape (batch, latent_width); (1, latent_width) without a condition
        """
        device = next(self.parameters()).device
        z = torch.randn(draws, self.config.z_dim, generator=torch.Generator().manual_seed(seed)).to(device)
        rows = [None] if condition is None else [row.expand(draws, -1) for row in condition]
        return torch.stack([self.mapping(z, row).mean(dim=0) for row in rows])

    def truncate(self, w: Tensor, condition: Tensor | None, psi: float) -> Tensor:
        """Pull w (batch, latent_width) towards the mean of its own condition (Karras et al. 2019, appendix B).

        At `psi` 1 nothing changes; at 0 every sample is its condition's mean.
        """
        centre = self.mean_w(condition)
        return centre + psi * (w - centre)

    def forward(
        self,
        z: Tensor,
        condition: Tensor | None,
        noise: Tensor | None = None,
        z_mix: Tensor | None = None,
        crossover: Tensor | None = None,
    ) -> Tensor:
        """Images from latents, with style mixing where asked for: `mixed`, then `synthesize`."""
        return self.synthesize(self.mixed(z, condition, z_mix, crossover), noise)

    def mixed(
        self, z: Tensor, condition: Tensor | None, z_mix: Tensor | None = None, crossover: Tensor | None = None
    ) -> Tensor:
        """Intermediate latents, one for all layers or, with style mixing, one for each.

        Parameters
        ----------
        z : Tensor, shape (batch, z_dim)
        condition : Tensor, shape (batch, condition_width), or None
        z_mix : Tensor, shape (batch, z_dim), optional
            Second latents, whose w the layers from `crossover` on take (Karras et al. 2019, section 3.1).
        crossover : Tensor of int, shape (batch,), optional
            First layer of the second w; n_styles for no mixing.
        """
        w = self.mapping(z, condition)
        if z_mix is None or crossover is None:
            return w
        second = self.mapping(z_mix, condition)
        layer = torch.arange(self.n_styles, device=z.device)
        return torch.where((layer < crossover[:, None])[:, :, None], w[:, None], second[:, None])

    def taken_from(self, smaller: BaseGenerator) -> Mapping[str, Tensor]:
        """The weights of a smaller generator as `start_from` takes them over."""
        return smaller.state_dict()


def start_from(generator: BaseGenerator, smaller: BaseGenerator) -> None:
    """Give a generator the layers of one that was trained at a lower or the same resolution (progressive start).

    The layers at new resolutions add nothing to the image at first, so that training starts from the smaller one's
    images, enlarged.

    Raises
    ------
    ValueError
        If the shared layers have other shapes, or new ones would not be silent at first.
    """
    ours, theirs = generator.state_dict(), generator.taken_from(smaller)
    odd = [name for name, value in theirs.items() if name not in ours or ours[name].shape != value.shape]
    if odd:
        raise ValueError(f"{len(odd)} of its layers have other shapes or places here, {odd[0]} among them")
    new = set(ours) - set(theirs)
    quiet = {name: torch.zeros_like(ours[name]) for name in new if re.fullmatch(generator.quiet_when_new, name)}
    if new and not quiet and not isinstance(generator, Growing):
        raise ValueError("this architecture cannot grow; start it from a bundle of the same size")
    generator.load_state_dict({**ours, **theirs, **quiet})
