"""NVIDIA's StyleGAN2-ADA-PyTorch (Karras et al. 2020, arXiv 2006.06676), driven from outside.

    git clone https://github.com/NVlabs/stylegan2-ada-pytorch $SUNAUG_PEERS/stylegan2-ada-pytorch

Its code is not free software, so none of it stands here: its networks, its loss and its augmentation pipe are imported
from the clone and run as they are, and this module does what its training loop does around them. That loop itself
needs CUDA and a data set in a zip file of 8-bit images. What had to be met to run on a processor and with today's
PyTorch:

- `grid_sample` has no second derivative in PyTorch, and the peer's own remedy knows the versions 1.7 to 1.9 only; R1
  through its geometric augmentation needs it. `differentiable_grid_sample` takes its place.
- Adam does not take betas of mixed int and float any more; here they are floats.
- Its compiled operators need CUDA; on a processor it uses its own reference ones, by itself.
- Its replacement for `conv2d` knows the same old versions only; it stays switched off, as it would by itself, but
  without a warning for each convolution.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

AUGMENTATIONS = {
    "blit": ("xflip", "rotate90", "xint"),
    "geometry": ("scale", "rotate", "aniso", "xfrac"),
    "colour": ("brightness", "contrast", "lumaflip", "hue", "saturation"),
}
"""The three groups of its pipe that its default, which it calls ``bgc``, switches on."""

_SAMPLING = {"mode": "bilinear", "padding_mode": "zeros", "align_corners": False}


class _GridSample(torch.autograd.Function):
    """Bilinear sampling: linear in the image, so its gradient is the adjoint and the adjoint's is sampling again."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = images.shape
        return F.grid_sample(images, grid, **_SAMPLING)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Adjoint.apply(gradient, ctx.saved_tensors[0], ctx.shape), None


class _Adjoint(torch.autograd.Function):
    """What `_GridSample` does, transposed: each pixel of the gradient is spread over the four it was read from."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        # The image matters for the gradient of the grid alone, which the mask leaves out.
        image = gradient.new_empty(shape)
        spread, _ = torch.ops.aten.grid_sampler_2d_backward(gradient, image, grid, 0, 0, False, [True, False])
        return spread

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _GridSample.apply(gradient, ctx.saved_tensors[0]), None, None


def differentiable_grid_sample(images: Tensor, grid: Tensor) -> Tensor:
    """`torch.nn.functional.grid_sample`, bilinear and zero outside, with derivatives of any order in `images`.

    There are none in `grid`, which the augmentation draws at random.
    """
    return _GridSample.apply(images, grid)


def folder() -> Path:
    """Where the clone lies."""
    return Path(os.environ.get("SUNAUG_PEERS", "/tmp/peers")) / "stylegan2-ada-pytorch"


@cache
def peer() -> SimpleNamespace:
    """Import the clone's modules and mend them in memory.

    Raises
    ------
    FileNotFoundError
        If there is no clone.
    """
    if not (folder() / "training" / "networks.py").is_file():
        raise FileNotFoundError(
            f"{folder()}: no clone of StyleGAN2-ADA-PyTorch; clone https://github.com/NVlabs/stylegan2-ada-pytorch "
            "there, or set SUNAUG_PEERS to the folder that holds it."
        )
    # At the end: its packages are called `training`, `metrics` and `torch_utils`, and must not hide anybody else's.
    sys.path.append(str(folder()))
    from torch_utils import training_stats
    from torch_utils.ops import grid_sample_gradfix
    from training.augment import AugmentPipe
    from training.loss import StyleGAN2Loss
    from training.networks import Discriminator, Generator

    grid_sample_gradfix.grid_sample = differentiable_grid_sample
    return SimpleNamespace(
        Generator=Generator,
        Discriminator=Discriminator,
        Loss=StyleGAN2Loss,
        AugmentPipe=AugmentPipe,
        Collector=training_stats.Collector,
    )


@dataclass(frozen=True)
class PeerSettings:
    """What is trained, and how; the defaults are those of the peer's ``--cfg=auto`` where nothing else is said.

    Attributes
    ----------
    size, image_channels : int
        Of the images; its colour augmentation takes one channel or three.
    classes : int
        Length of the one-hot labels; 0 for none.
    base_width, max_width, z_dim, w_dim, mapping_layers : int
        As in `sunaug.networks.StyleGAN2Config`; the discriminator embeds labels by a mapping network of 8 layers.
    batch : int
    lazy : bool
        Path length every 4th step and R1 every 16th, or both at each step.
    augment : tuple of str
        Groups of `AUGMENTATIONS`; empty for no augmentation.
    ada_target : float or None
        What the mean sign of the scores of real images is steered to; None keeps `augment_p`.
    ada_kimg : float
        Thousands of images in which the augmentation's probability may rise by one.
    rate : float
        Of both Adams, before lazy regularisation shortens it; 0.002 is its own from 1024 pixels up.
    r1_gamma : float or None
        None for its heuristic, 0.0002 size^2 / batch.
    mirror : bool
        Show each real image flipped east-west with probability one half: its ``--mirror``, which is off by default.
    fp16_resolutions : int
        Highest resolutions in half precision, clamped at 256; its own choice on CUDA is 4.
    """

    size: int
    image_channels: int
    classes: int
    base_width: int
    max_width: int
    z_dim: int
    w_dim: int
    mapping_layers: int
    batch: int
    lazy: bool = True
    augment: tuple[str, ...] = tuple(AUGMENTATIONS)
    augment_p: float = 0.0
    ada_target: float | None = 0.6
    ada_kimg: float = 500.0
    rate: float = 0.0025
    r1_gamma: float | None = None
    path_length_weight: float = 2.0
    style_mixing: float = 0.9
    mirror: bool = False
    fp16_resolutions: int = 0

    @property
    def gamma(self) -> float:
        """Weight of R1."""
        return 0.0002 * self.size**2 / self.batch if self.r1_gamma is None else self.r1_gamma

    def generator(self) -> torch.nn.Module:
        """Its generator with these widths, with random weights."""
        return peer().Generator(
            z_dim=self.z_dim,
            w_dim=self.w_dim,
            mapping_kwargs={"num_layers": self.mapping_layers},
            synthesis_kwargs=self._widths,
            **self._images,
        )

    def discriminator(self) -> torch.nn.Module:
        """Its discriminator with these widths, with random weights."""
        epilogue = {"mbstd_group_size": min(self.batch, 4)}
        return peer().Discriminator(epilogue_kwargs=epilogue, **self._widths, **self._images)

    @property
    def _images(self) -> dict[str, int]:
        return {"c_dim": self.classes, "img_resolution": self.size, "img_channels": self.image_channels}

    @property
    def _widths(self) -> dict[str, Any]:
        return {
            "channel_base": self.base_width,
            "channel_max": self.max_width,
            "num_fp16_res": self.fp16_resolutions,
            "conv_clamp": 256 if self.fp16_resolutions else None,
        }


@dataclass
class _Phase:
    """One kind of update: the peer's name of it, whose weights it changes, and how often."""

    name: str
    network: torch.nn.Module
    optimizer: torch.optim.Optimizer
    interval: int


class PeerTrainer:
    """Trains the peer's networks step by step, as its own loop does.

    Parameters
    ----------
    images : Tensor, shape (n, channel, y, x)
        Scaled to [-1, 1], in memory on `device`.
    labels : Tensor of int, shape (n,)
        Class of each image; not read where `settings.classes` is 0.
    settings : PeerSettings
    device : str or torch.device
    seed : int
        Of torch's global random numbers, which the peer's code draws from.

    Attributes
    ----------
    average : torch.nn.Module
        The generator whose weights are averaged over the training.
    images_shown, steps : int
    """

    def __init__(
        self, images: Tensor, labels: Tensor, settings: PeerSettings, device: str | torch.device = "cpu", seed: int = 0
    ) -> None:
        torch.manual_seed(seed)
        self.settings, self.device = settings, torch.device(device)
        self.images, self.labels = images, labels.to(self.device)
        self._order = self._shuffled(torch.Generator().manual_seed(seed))
        self.generator = settings.generator().to(self.device).train().requires_grad_(False)
        self.discriminator = settings.discriminator().to(self.device).train().requires_grad_(False)
        self.average = settings.generator().to(self.device).eval().requires_grad_(False)
        self.average.load_state_dict(self.generator.state_dict())
        self.augmentation: torch.nn.Module | None = None
        self._signs: Any = None
        if settings.augment:
            switched = {name: 1 for group in settings.augment for name in AUGMENTATIONS[group]}
            self.augmentation = peer().AugmentPipe(**switched).to(self.device).train().requires_grad_(False)
            self.augmentation.p.fill_(settings.augment_p)
            if settings.ada_target is not None:
                self._signs = peer().Collector(regex="Loss/signs/real")
        self._loss = peer().Loss(
            device=self.device,
            G_mapping=self.generator.mapping,
            G_synthesis=self.generator.synthesis,
            D=self.discriminator,
            augment_pipe=self.augmentation,
            style_mixing_prob=settings.style_mixing,
            r1_gamma=settings.gamma,
            pl_weight=settings.path_length_weight,
        )
        self._phases = [*self._phases_of("G", self.generator, 4), *self._phases_of("D", self.discriminator, 16)]
        self.images_shown = self.steps = 0

    def _phases_of(self, letter: str, network: torch.nn.Module, interval: int) -> list[_Phase]:
        """One update of loss and penalty, or, with lazy regularisation, one of each with one optimiser.

        With so many more updates, the optimiser's rate and memory are shortened (Karras et al. 2020, arXiv 1912.04958,
        appendix B).
        """
        share = interval / (interval + 1) if self.settings.lazy else 1.0
        betas = (0.0, 0.99**share)
        optimizer = torch.optim.Adam(network.parameters(), self.settings.rate * share, betas, eps=1e-8)
        if not self.settings.lazy:
            return [_Phase(f"{letter}both", network, optimizer, 1)]
        return [_Phase(f"{letter}main", network, optimizer, 1), _Phase(f"{letter}reg", network, optimizer, interval)]

    def _shuffled(self, random: torch.Generator) -> Iterator[int]:
        """Numbers of the images, each once in every pass, in a new order each time."""
        while True:
            yield from torch.randperm(len(self.images), generator=random).tolist()

    def _one_hot(self, chosen: Tensor) -> Tensor:
        if not self.settings.classes:
            return torch.zeros(len(chosen), 0, device=self.device)
        return F.one_hot(self.labels[chosen], self.settings.classes).float()

    def step(self) -> None:
        """One batch: the updates of generator and discriminator that are due, the average, the augmentation."""
        batch = self.settings.batch
        chosen = torch.tensor([next(self._order) for _ in range(batch)]).to(self.device)
        real, real_labels = self.images[chosen], self._one_hot(chosen)
        if self.settings.mirror:
            flipped = torch.rand(batch, 1, 1, 1, device=self.device) < 0.5
            real = torch.where(flipped, real.flip(-1), real)
        for phase in self._phases:
            if self.steps % phase.interval:
                continue
            latents = torch.randn(batch, self.settings.z_dim, device=self.device)
            # Fakes take the labels of images drawn at random, so their classes are as frequent as the data's.
            labels = self._one_hot(torch.randint(len(self.images), (batch,), device=self.device))
            phase.optimizer.zero_grad(set_to_none=True)
            phase.network.requires_grad_(True)
            self._loss.accumulate_gradients(
                phase=phase.name,
                real_img=real,
                real_c=real_labels,
                gen_z=latents,
                gen_c=labels,
                sync=True,
                gain=phase.interval,
            )
            phase.network.requires_grad_(False)
            for parameter in phase.network.parameters():
                if parameter.grad is not None:
                    torch.nan_to_num_(parameter.grad, nan=0.0, posinf=1e5, neginf=-1e5)
            phase.optimizer.step()
        self._update_average()
        self.images_shown += batch
        self.steps += 1
        if self._signs is not None and self.steps % 4 == 0:
            self._adapt()

    @torch.no_grad()
    def _update_average(self) -> None:
        """Half-life of 10,000 images at a batch of 32, but at most a twentieth of the images shown."""
        half_life = min(self.settings.batch * 10_000 / 32, self.images_shown * 0.05)
        keep = 0.5 ** (self.settings.batch / max(half_life, 1e-8))
        for averaged, now in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            averaged.lerp_(now, 1 - keep)
        for averaged, now in zip(self.average.buffers(), self.generator.buffers(), strict=True):
            averaged.copy_(now)

    def _adapt(self) -> None:
        """Raise the augmentation's probability where the discriminator is too sure of real images, else lower it."""
        assert self.augmentation is not None
        assert self.settings.ada_target is not None
        self._signs.update()
        too_sure = self._signs["Loss/signs/real"] - self.settings.ada_target
        change = 4 * self.settings.batch / (self.settings.ada_kimg * 1000)
        self.augmentation.p.add_(change if too_sure > 0 else -change if too_sure < 0 else 0.0).clamp_(min=0)

    @property
    def augment_p(self) -> float:
        """Probability of each augmentation by now."""
        return 0.0 if self.augmentation is None else float(self.augmentation.p)

    def state(self) -> dict[str, Any]:
        """What a sample can be made from, for `torch.save`."""
        return {
            "settings": asdict(self.settings),
            "average": self.average.state_dict(),
            "images": self.images_shown,
            "steps": self.steps,
            "augment_p": self.augment_p,
        }


@torch.inference_mode()
def sample(settings: PeerSettings, average: dict[str, Tensor], labels: Tensor, seed: int, group: int = 32) -> Tensor:
    """Scaled images (n, channel, y, x) of an averaged generator under classes (n,), without truncation."""
    generator = settings.generator().eval()
    generator.load_state_dict(average)
    torch.manual_seed(seed)  # its noise inputs come from the global random numbers
    one_hot = F.one_hot(labels, settings.classes).float() if settings.classes else torch.zeros(len(labels), 0)
    latents = torch.randn(len(labels), settings.z_dim)
    parts = [generator(z, c) for z, c in zip(latents.split(group), one_hot.split(group), strict=True)]
    return torch.cat(parts)
