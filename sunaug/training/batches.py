"""What the discriminators of a training are shown: real frames, and fakes under their conditions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from lightning_fabric import Fabric
from torch import Tensor

from sunaug.networks import BaseGenerator, PatchGenerator
from sunaug.networks.growing import Growing, Stage, fade_in
from sunaug.networks.windows import Window
from sunaug.training.channels import hide_channels, shown_channels
from sunaug.training.diffaugment import diff_augment, mirror
from sunaug.training.draws import Draws
from sunaug.training.frames import TrainingFrames
from sunaug.training.patches import fake_view, patch_window, real_views
from sunaug.training.recipe import Recipe

__all__ = ["Batches", "Shown"]

_FRAMES_ON_DEVICE = 8 * 2**30
"""Bytes of frames that are kept on the device."""


@dataclass(frozen=True)
class Shown:
    """What the discriminators are shown of a part of a batch, augmented; `fake` with its graph where it is kept.

    `channels` (batch, channel) says which are shown, None where that is all of them.
    """

    real: Tensor
    fake: Tensor
    condition: Tensor
    channels: Tensor | None


class Batches:
    """Makes what is shown, from the random numbers of a step.

    Parameters
    ----------
    frames : TrainingFrames
    recipe : Recipe
    generator : BaseGenerator
        On the fabric's device.
    fabric : lightning_fabric.Fabric

    Attributes
    ----------
    generate : callable
        The generator's `forward`, compiled where the recipe says so.
    """

    def __init__(self, frames: TrainingFrames, recipe: Recipe, generator: BaseGenerator, fabric: Fabric) -> None:
        self.frames, self.recipe, self.generator, self.fabric = frames, recipe, generator, fabric
        # Large sets stay where they are, and each batch travels: the device has better use for the memory.
        fits = frames.images.numel() * frames.images.element_size() <= _FRAMES_ON_DEVICE
        self._bank = frames.images.to(fabric.device) if fits else frames.images
        self.generate = torch.compile(generator) if recipe.compile else generator

    @property
    def stage(self) -> Stage | None:
        """How far the networks have grown, of an architecture that grows."""
        return self.generator.stage if isinstance(self.generator, Growing) else None

    def at_stage(self, frames: Tensor) -> Tensor:
        """Real frames (n, channel, y, x) with the detail that the generator can make at its stage."""
        return frames if self.stage is None else fade_in(frames, self.stage)

    def show(self, draws: Draws, probability: float, *, keep: bool) -> Shown:
        """Draw real frames and make fakes under their conditions, both augmented.

        Parameters
        ----------
        draws : Draws
        probability : float
            Of each augmentation for each image.
        keep : bool
            Keep the fakes' graph.
        """
        augment = self.recipe.augment
        condition = self.conditions(draws)
        real, channels = self._real(draws), self._channels(draws)
        with torch.set_grad_enabled(keep):
            with self.fabric.autocast():
                fake = self._fake(draws, condition)
            fake = diff_augment(hide_channels(fake.float(), channels), augment, draws.augment_fake, probability)
        real = diff_augment(hide_channels(real, channels), augment, draws.augment_real, probability)
        return Shown(real, fake, condition, channels)

    def conditions(self, draws: Draws) -> Tensor:
        """Condition vectors (batch, condition_width); noise on the log fluxes, not on the classes."""
        config = self.generator.config
        condition = torch.from_numpy(config.encode(self.frames.fluxes[draws.frames.numpy()]))
        continuous = len(config.conditions)
        condition[:, :continuous] += self.recipe.condition_jitter * draws.jitter[:, :continuous]
        return condition.to(self.fabric.device)

    def noise(self, draws: Draws, stream: int = 0) -> Tensor | None:
        """The generator's noise for whole images, None for a recipe without."""
        if not self.recipe.noise:
            return None
        return draws.normal(self.generator.noise_size, self.fabric.device, stream)

    def images(self, styles: Tensor, draws: Draws) -> Tensor:
        """Images (batch, image_channels, y, x) of latents, or patches of them where the training is on patches."""
        if self.recipe.patch is None:
            return self.generator.synthesize(styles, self.noise(draws))
        return self._view(styles, draws)[:, : self.generator.config.image_channels]

    def _channels(self, draws: Draws) -> Tensor | None:
        """Channels that are shown of each pair; None for all of them."""
        if not self.recipe.partial:
            return None
        observed = self.frames.observed
        frames = torch.ones(draws.channels.shape, dtype=torch.bool) if observed is None else observed[draws.frames]
        return shown_channels(frames, draws.channels, self.recipe.channel_dropout).to(self.fabric.device)

    def _real(self, draws: Draws) -> Tensor:
        """Real frames, or views of them where the training is on patches."""
        device, mirrored = self.fabric.device, draws.mirror if self.recipe.mirror else None
        if self.recipe.patch is not None:
            return real_views(self._bank, draws.frames, mirrored, self._window(draws), device)
        real = self.at_stage(self._bank[draws.frames.to(self._bank.device)].to(device))
        return real if mirrored is None else mirror(real, mirrored)

    def _fake(self, draws: Draws, condition: Tensor) -> Tensor:
        """Generated images of two latents each, or views of them."""
        recipe, device = self.recipe, self.fabric.device
        mixing = draws.mix < recipe.style_mixing
        crossover = torch.where(mixing, draws.crossover, self.generator.n_styles).to(device)
        z, z_mix = draws.z.to(device), draws.z_mix.to(device)
        if recipe.patch is None:
            fake: Tensor = self.generate(z, condition, self.noise(draws), z_mix, crossover)
            return fake
        return self._view(self.generator.mixed(z, condition, z_mix, crossover), draws)

    def _view(self, w: Tensor, draws: Draws) -> Tensor:
        assert isinstance(self.generator, PatchGenerator)
        normal = partial(draws.normal, device=self.fabric.device) if self.recipe.noise else None
        return fake_view(self.generator, w, self._window(draws), normal)

    def _window(self, draws: Draws) -> Window:
        """Where the patch of this step lies."""
        assert self.recipe.patch is not None
        assert isinstance(self.generator, PatchGenerator)
        size, pixel = self.generator.config.size, self.generator.pixel
        return patch_window(*draws.key, size=size, patch=self.recipe.patch, pixel=pixel)
