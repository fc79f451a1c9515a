"""Training recipes: everything that decides what is trained, in one checked YAML file."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sunaug.errors import UsageError
from sunaug.training.diffaugment import POLICIES
from sunaug.training.losses import LOSSES

__all__ = ["Recipe", "load_recipe", "recipe_names"]


class Recipe(BaseModel):
    """How a generator is trained.

    Attributes
    ----------
    images : int
        Real images shown to the discriminator in all.
    batch : int
        Images per step.
    base_width, max_width, z_dim, w_dim, mapping_layers : int
        Shape of the networks, see `sunaug.networks.StyleGAN2Config`.
    conditions : tuple of {"nowcast_flux", "forecast_flux"}
        Labels of the cube that the networks are conditioned on.
    scaling : {"log", "asinh", "linear"}, optional
        Intensity scaling; by default log for DN/s and linear for browse counts, see `sunaug.scaling`.
    loss : str
        One of `sunaug.training.losses.LOSSES`.
    generator_rate, discriminator_rate : float
        Learning rates of the two Adam optimisers (TTUR; Heusel et al. 2017).
    betas : tuple of float
        Adam's moments.
    rate_decay : float
        Share of the training at its end over which both rates fall linearly to a tenth.
    r1_gamma, r1_gamma_end : float
        Weight of the gradient penalty on real images (gamma / 2 |grad D|^2) at the start and at the end. A strong one
        keeps the discriminator from winning before the generator makes disks; later it would hide detail from it.
    r1_decay : tuple of float
        Shares of the training between which gamma goes from the one to the other, by equal factors.
    r2 : bool
        Penalise the gradient on fakes too.
    penalty_interval : int
        Steps from one penalty to the next; its weight is multiplied by that number.
    augment : tuple of str
        DiffAugment policies, in order.
    mirror : bool
        Show real frames flipped north-south and east-west at random; refused for magnetograms.
    style_mixing : float
        Probability that a fake mixes two latents.
    ema_half_life : float
        Half-life of the averaged generator in images.
    condition_ramp : tuple of float
        Shares of the training where the discriminator's conditioning starts to come in and where it is full.
    class_balance : float
        Exponent a of the sampling weight n_class^-a over flare classes of the forecast; 0 samples frames evenly.
    condition_jitter : float
        Standard deviation of the noise (dex) that is added to the conditions, so that a handful of events does not
        become a handful of labels.
    checkpoint_images, sample_images : int
        Images between two checkpoints and between two sample sheets.
    seed : int
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = Field(60_000, ge=1)
    batch: int = Field(16, ge=2)
    base_width: int = Field(2048, ge=8)
    max_width: int = Field(128, ge=4)
    z_dim: int = Field(128, ge=1)
    w_dim: int = Field(128, ge=1)
    mapping_layers: int = Field(4, ge=1)
    conditions: tuple[Literal["nowcast_flux", "forecast_flux"], ...] = ("nowcast_flux", "forecast_flux")
    scaling: Literal["log", "asinh", "linear"] | None = None
    loss: str = "relativistic_paired"
    generator_rate: float = Field(2e-3, gt=0)
    discriminator_rate: float = Field(1.5e-3, gt=0)
    betas: tuple[float, float] = (0.0, 0.99)
    rate_decay: float = Field(0.3, ge=0, le=1)
    r1_gamma: float = Field(2.0, ge=0)
    r1_gamma_end: float = Field(2.0, ge=0)
    r1_decay: tuple[float, float] = (0.3, 0.6)
    r2: bool = False
    penalty_interval: int = Field(4, ge=1)
    augment: tuple[str, ...] = ("translation", "cutout")
    mirror: bool = True
    style_mixing: float = Field(0.5, ge=0, le=1)
    ema_half_life: float = Field(5_000, gt=0)
    condition_ramp: tuple[float, float] = (0.15, 0.35)
    class_balance: float = Field(0.5, ge=0, le=1)
    condition_jitter: float = Field(0.1, ge=0)
    checkpoint_images: int = Field(4_000, ge=1)
    sample_images: int = Field(4_000, ge=1)
    seed: int = 0

    @field_validator("loss")
    @classmethod
    def _known_loss(cls, loss: str) -> str:
        if loss not in LOSSES:
            raise ValueError(f"unknown loss {loss!r}: one of {', '.join(LOSSES)}")
        return loss

    @field_validator("augment")
    @classmethod
    def _known_policies(cls, augment: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(augment) - set(POLICIES):
            raise ValueError(f"unknown policy {unknown.pop()!r}: choose among {', '.join(POLICIES)}")
        return augment


def _presets() -> Any:
    return resources.files("sunaug.training") / "recipes"


def recipe_names() -> list[str]:
    """Names of the recipes that come with sunaug."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _presets().iterdir() if entry.name.endswith(".yaml"))


def load_recipe(source: str | Path, **overrides: Any) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    source : str or pathlib.Path
        Name of a preset (`recipe_names`) or path of a YAML file.
    **overrides
        Fields that replace the file's.

    Raises
    ------
    UsageError
        If there is no such recipe, or it does not pass its checks.
    """
    path = _presets() / f"{source}.yaml" if str(source) in recipe_names() else Path(source)
    try:
        content = yaml.safe_load(path.read_text()) or {}
        return Recipe(**{**content, **overrides})
    except FileNotFoundError:
        raise UsageError(f"{source}: no such recipe; give a YAML file or one of {', '.join(recipe_names())}.") from None
    except (yaml.YAMLError, TypeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{source}: not a recipe in YAML ({str(error).splitlines()[0]}).") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{source}: {where}: {first['msg']}.") from None
