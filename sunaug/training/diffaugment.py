"""DiffAugment (Zhao et al. 2020): differentiable augmentation of everything that the discriminator sees.

The same random policies are applied to real and fake images, in the discriminator's and in the generator's step, so
that the discriminator cannot memorise a few real frames while the generator's target stays the unaugmented
distribution. With a probability below one, which `AdaptiveProbability` may steer, each policy is left out for some of
the images: the adaptive augmentation of StyleGAN2-ADA (Karras et al. 2020b).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

TRANSLATION_RATIO = 1 / 8
CUTOUT_RATIO = 1 / 2
BRIGHTNESS = 0.5
CONTRAST = (0.5, 1.5)
ROTATION_DEGREES = 10.0


def _integers(uniform: Tensor, low: int, high: int, device: torch.device) -> Tensor:
    """Integers from low to high inclusive from uniform numbers in [0, 1)."""
    return (low + (uniform * (high - low + 1)).long().clamp_max(high - low)).to(device)


def translate(images: Tensor, uniform: Tensor) -> Tensor:
    """Shift each image by up to 1/8 of its size in both directions; zeros come in from outside."""
    batch, _, height, width = images.shape
    reach_y, reach_x = round(height * TRANSLATION_RATIO), round(width * TRANSLATION_RATIO)
    shift_y = _integers(uniform[:, 0], -reach_y, reach_y, images.device)
    shift_x = _integers(uniform[:, 1], -reach_x, reach_x, images.device)
    padded = F.pad(images, (reach_x, reach_x, reach_y, reach_y)).permute(0, 2, 3, 1)
    rows = torch.arange(height, device=images.device) + reach_y + shift_y[:, None]
    columns = torch.arange(width, device=images.device) + reach_x + shift_x[:, None]
    sample = torch.arange(batch, device=images.device)
    return padded[sample[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cutout(images: Tensor, uniform: Tensor) -> Tensor:
    """Set a square of half the image's size, placed anywhere (also partly outside), to zero."""
    _, _, height, width = images.shape
    size_y, size_x = round(height * CUTOUT_RATIO), round(width * CUTOUT_RATIO)
    centre_y = _integers(uniform[:, 0], 0, height, images.device)
    centre_x = _integers(uniform[:, 1], 0, width, images.device)
    rows = torch.arange(height, device=images.device) - (centre_y - size_y // 2)[:, None]
    columns = torch.arange(width, device=images.device) - (centre_x - size_x // 2)[:, None]
    inside = ((rows >= 0) & (rows < size_y))[:, :, None] & ((columns >= 0) & (columns < size_x))[:, None, :]
    return images * (~inside)[:, None].to(images.dtype)


def brighten(images: Tensor, uniform: Tensor) -> Tensor:
    """Add a number from -0.5 to 0.5 to each image: on log intensities, a change of exposure."""
    return images + BRIGHTNESS * (2 * _column(uniform[:, 0], images) - 1)


def stretch(images: Tensor, uniform: Tensor) -> Tensor:
    """Stretch each image about its mean by a factor from 0.5 to 1.5."""
    low, high = CONTRAST
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (images - mean) * (low + (high - low) * _column(uniform[:, 0], images))


def rotate(images: Tensor, uniform: Tensor) -> Tensor:
    """Turn each image by up to 10 degrees about its centre, interpolated; the border is repeated outwards."""
    angle = math.radians(ROTATION_DEGREES) * (2 * uniform[:, 0] - 1)
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    matrix = torch.stack([torch.stack([cosine, -sine, zero], 1), torch.stack([sine, cosine, zero], 1)], dim=1)
    grid = F.affine_grid(matrix.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def flip(images: Tensor, uniform: Tensor) -> Tensor:
    """Mirror each image along x and along y, each with probability one half."""
    return mirror(images, uniform < 0.5)


def mirror(images: Tensor, chosen: Tensor) -> Tensor:
    """Mirror images (batch, channel, y, x) along x and along y where `chosen` (batch, 2) says so."""
    for column, dim in enumerate((-1, -2)):
        where = chosen[:, column].to(images.device)[:, None, None, None]
        images = torch.where(where, images.flip(dim), images)
    return images


def _column(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like)[:, None, None, None]


POLICIES: dict[str, tuple[int, Callable[[Tensor, Tensor], Tensor]]] = {
    "flip": (2, flip),
    "rotation": (1, rotate),
    "translation": (2, translate),
    "brightness": (1, brighten),
    "contrast": (1, stretch),
    "cutout": (2, cutout),
}
"""Name to the uniform numbers that one image takes, and the augmentation."""


def augment_numbers(policies: Sequence[str]) -> int:
    """Uniform numbers that one image takes: those of its policies, and one for each that decides whether it is used."""
    return sum(POLICIES[name][0] + 1 for name in policies)


def diff_augment(images: Tensor, policies: Sequence[str], uniform: Tensor, probability: float = 1.0) -> Tensor:
    """Apply `policies` in order.

    Parameters
    ----------
    images : Tensor, shape (batch, channel, y, x)
        In scaled units, where zero is the middle of the range.
    policies : sequence of str
        Names in `POLICIES`.
    uniform : Tensor, shape (batch, augment_numbers(policies))
        Random numbers in [0, 1), on the CPU: every device sees the same augmentation.
    probability : float
        Probability of each policy for each image.
    """
    first = 0
    for name in policies:
        count, policy = POLICIES[name]
        augmented = policy(images, uniform[:, first : first + count])
        if probability < 1:
            used = (uniform[:, first + count] < probability).to(images.device)[:, None, None, None]
            augmented = torch.where(used, augmented, images)
        images = augmented
        first += count + 1
    return images


class AdaptiveProbability:
    """Steers the probability of augmentation by how much the discriminator overfits (Karras et al. 2020b, section 3.1).

    The sign r_t = E[sign D(real)] says it: 0 without overfitting, 1 when every real frame is known. Where r_t is above
    the target the probability rises, else it falls, at a speed that takes it from 0 to 1 in `span` images.

    Parameters
    ----------
    target : float
        0.6 in the paper.
    span : float
        Images for the whole way from 0 to 1; 500,000 in the paper.
    """

    def __init__(self, target: float = 0.6, span: float = 500_000.0) -> None:
        self.target, self.span = target, span
        self.probability = 0.0
        self.overfitting = 0.0

    def update(self, sign: float, images: int) -> None:
        """Take in the mean sign of one batch of `images` images."""
        # The sign of one batch is noise; a running mean over some sixteen of them is what the paper averages.
        self.overfitting += (sign - self.overfitting) / 16
        step = images / self.span
        self.probability = min(max(self.probability + (step if self.overfitting > self.target else -step), 0.0), 1.0)

    def state_dict(self) -> dict[str, float]:
        """Probability and running mean of the sign."""
        return {"probability": self.probability, "overfitting": self.overfitting}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Take back what `state_dict` gave."""
        self.probability, self.overfitting = state["probability"], state["overfitting"]
