"""Training recipes: everything that decides what is trained, in one checked YAML file."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sunaug.errors import UsageError
from sunaug.field_errors import field_error
from sunaug.networks import ARCHITECTURES, PatchGenerator
from sunaug.networks.config import PowerOfTwo
from sunaug.storage import local_or_url
from sunaug.training.averages import HALF_LIFE, power_name
from sunaug.training.diffaugment import POLICIES
from sunaug.training.losses import LOSSES

__all__ = ["Recipe", "load_recipe", "recipe_names"]

Label = Literal["nowcast_flux", "forecast_flux"]
Moment = Annotated[float, Field(ge=0, lt=1)]
# The widest power function is a constant, whose standard deviation is the root of 1 / 12.
Width = Annotated[float, Field(gt=0, lt=0.288)]


class Recipe(BaseModel):
    """How a generator is trained.

    Attributes
    ----------
    images : int
        Real images shown to the discriminator in all.
    batch : int
        Images per step, over all processes.
    accumulate : int
        Parts that a process splits its share of a batch into, one after the other: less memory, the same step.
    architecture : str
        One of `sunaug.networks.ARCHITECTURES`.
    base_width, max_width, z_dim, w_dim, mapping_layers : int
        Shape of the networks, see the architecture's configuration, `sunaug.networks.StyleGAN2Config` and others.
    blocks, embedding_dim, attention_resolution : str, int, int or None
        Further shape of BigGAN, see `sunaug.networks.BigGANConfig`.
    unshuffle : int
        The networks end at the image's size over this power of two, see `sunaug.networks.StyleGAN2Config`.
    patch : int, optional
        Pixels of the patches that large images are trained on, a power of two, with the whole image at as many pixels
        beside them, see `sunaug.training.patches`; whole images if left out.
    conditions, class_conditions : tuple of {"nowcast_flux", "forecast_flux"}
        Labels of the cube that the networks are conditioned on, as log10 flux and as GOES class.
    start : str, optional
        Bundle of a smaller or equal size whose layers the generator starts from.
    scaling : {"log", "asinh", "linear"}, optional
        Intensity scaling; by default log for DN/s and linear for browse counts, see `sunaug.scaling`.
    missing_channels : {"skip", "learn"}
        ``skip`` leaves out frames that lack channels; ``learn`` trains on them: fakes beside them are shown without the
        same channels, and the pixel discriminators are told which, see `sunaug.training.channels`.
    channel_dropout : float
        Probability that a channel is left out of what the discriminators are shown of a frame and of the fake beside
        it, so that any set of channels is judged; one is always left.
    channel_groups : tuple of tuple of int or str
        Channels, by name or number, that have layers of their own at the highest resolutions, see
        `sunaug.networks.StyleGAN2Config`.
    group_resolutions : int
        Number of these resolutions.
    discriminator : {"pixel", "projected", "both"}
        ``pixel``: StyleGAN2's, which sees the images. ``projected``: heads on the features of a frozen network
        (Projected GAN; Sauer et al. 2021); figures of a Fréchet distance in that network's features flatter it.
    discriminator_scales : int
        Discriminators on pixels: at full, half and quarter resolution, see `sunaug.training.views`.
    loss, projected_loss : str
        One of `sunaug.training.losses.LOSSES`, for the pixel and for the projected discriminator.
    projected_weight : float
        Weight of the projected discriminator in the generator's loss where both are used.
    generator_rate, discriminator_rate, projected_rate : float
        Learning rates of the Adam optimisers (TTUR; Heusel et al. 2017).
    betas : tuple of float
        Adam's moments.
    rate_decay : float
        Share of the training at its end over which the rates fall linearly to a tenth.
    generator_delay : int
        Images over which the generator's rate comes in linearly: with `start`, the time that a new discriminator takes
        to become a judge.
    r1_gamma, r1_gamma_end : float
        Weight of the gradient penalty on real images (gamma / 2 |grad D|^2) at the start and at the end. A strong one
        keeps the discriminator from winning before the generator makes disks; later it would hide detail from it. The
        projected discriminator has none (its paper uses none).
    r1_decay : tuple of float
        Shares of the training between which gamma goes from the one to the other, by equal factors.
    r2 : bool
        Penalise the gradient on fakes too.
    penalty_interval : int
        Steps from one penalty to the next; its weight is multiplied by that number.
    path_length_weight : float
        Weight of the path length regularisation of the generator; 0 for none.
    orthogonal_weight : float
        Weight beta of the orthogonal regularisation of the generator (1e-4 in the BigGAN paper), see
        `sunaug.training.losses.orthogonality`; 0 for none.
    path_length_interval, path_length_decay : int, float
        Steps from one to the next, and how fast the mean length follows.
    reciprocity_weight : float
        Of architectures with an encoder: weight of the third step, in which the encoder and the generator learn that
        E(G(w)) is w (Pidhorskyi et al. 2020, equation 8). Its loss is the mean square over the numbers of w.
    growth_images : int
        Of architectures that grow: images that each resolution below the whole one is trained for; 0 trains at the
        whole one from the start.
    growth_from : int
        Resolution that the growth begins at; with `start`, the size of that bundle.
    growth_fade : float
        Share of `growth_images` over which a new resolution comes in.
    augment : tuple of str
        DiffAugment policies in order, see `sunaug.training.diffaugment.POLICIES`.
    augment_probability : float
        Probability of each policy for each image; where `ada` is on, ADA sets it.
    ada : bool
        Adaptive augmentation (Karras et al. 2020b): the probability follows the discriminator's overfitting.
    ada_target, ada_span : float
        See `sunaug.training.diffaugment.AdaptiveProbability`.
    mirror : bool
        Show real frames flipped north-south and east-west at random; refused for magnetograms.
    style_mixing : float
        Probability that a fake mixes two latents.
    noise : bool
        Per-pixel noise inputs of the generator.
    ema_half_life : float
        Half-life of the averaged generator in images.
    ema_power : tuple of float
        Relative widths of further averages by power functions, see `sunaug.training.averages`.
    ema : str
        The average that is evaluated and packed: ``half_life``, ``power_0.05``, ``power_0.1``.
    condition_ramp : tuple of float
        Shares of the training where the discriminators' conditioning starts to come in and where it is full.
    class_balance : float
        Exponent a of the sampling weight n_class^-a over flare classes of the forecast; 0 samples frames evenly.
    condition_jitter : float
        Standard deviation of the noise (dex) that is added to the log fluxes, so that a handful of events does not
        become a handful of labels.
    checkpoint_images, sample_images, health_images : int
        Images between two checkpoints, two sample sheets, and two looks at the health of the training.
    evaluate_images, evaluate_samples : int
        Images between two Fréchet distances to the validation months (0: none), and samples that one takes.
    keep_checkpoints : int
        Checkpoints that are kept, the newest ones.
    collapse_below : float
        The training has collapsed where samples differ less than this share of how real frames differ.
    on_collapse : {"roll_back", "note"}
        Go back to the last good checkpoint, or only write it down.
    max_rollbacks : int
        Times that a run goes back before it gives up. Each halves the learning rates.
    precision : {"32-true", "bf16-mixed"}
        bfloat16 is faster on GPUs and slower on CPUs.
    compile : bool
        Compile the networks with torch.compile (steps without a penalty only: it has no second derivatives).
    checkpoint_from : int, optional
        Resolution from which on activations are computed again in the backward pass and not kept.
    offload : bool
        With the strategies that spread the networks over processes, ``fsdp`` and ``deepspeed``: keep what is spread in
        the main memory, and run Adam on the CPU, see `sunaug.training.spread`. The same step, to rounding.
    seed : int
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = Field(60_000, ge=1)
    batch: int = Field(16, ge=2)
    accumulate: int = Field(1, ge=1)
    architecture: str = "stylegan2"
    base_width: int = Field(2048, ge=8)
    max_width: int = Field(128, ge=4)
    z_dim: int = Field(128, ge=1)
    w_dim: int = Field(128, ge=1)
    mapping_layers: int = Field(4, ge=1)
    blocks: Literal["plain", "deep"] = "plain"
    embedding_dim: int = Field(64, ge=1)
    attention_resolution: PowerOfTwo | None = Field(32, ge=8, le=4096)
    unshuffle: int = Field(1, ge=1)
    patch: int | None = Field(None, ge=8)
    conditions: tuple[Label, ...] = ("nowcast_flux", "forecast_flux")
    class_conditions: tuple[Label, ...] = ()
    start: str | None = None
    scaling: Literal["log", "asinh", "linear"] | None = None
    missing_channels: Literal["skip", "learn"] = "skip"
    channel_dropout: float = Field(0.0, ge=0, lt=1)
    channel_groups: tuple[tuple[int | str, ...], ...] = ()
    group_resolutions: int = Field(1, ge=1)
    discriminator: Literal["pixel", "projected", "both"] = "pixel"
    discriminator_scales: int = Field(1, ge=1, le=3)
    loss: str = "relativistic_paired"
    projected_loss: str = "hinge"
    projected_weight: float = Field(1.0, gt=0)
    generator_rate: float = Field(2e-3, gt=0)
    discriminator_rate: float = Field(1.5e-3, gt=0)
    projected_rate: float = Field(2e-3, gt=0)
    betas: tuple[Moment, Moment] = (0.0, 0.99)
    rate_decay: float = Field(0.3, ge=0, le=1)
    generator_delay: int = Field(0, ge=0)
    r1_gamma: float = Field(2.0, ge=0)
    r1_gamma_end: float = Field(2.0, ge=0)
    r1_decay: tuple[float, float] = (0.3, 0.6)
    r2: bool = False
    penalty_interval: int = Field(4, ge=1)
    path_length_weight: float = Field(0.0, ge=0)
    path_length_interval: int = Field(4, ge=1)
    path_length_decay: float = Field(0.01, gt=0, le=1)
    orthogonal_weight: float = Field(0.0, ge=0)
    reciprocity_weight: float = Field(1.0, ge=0)
    growth_images: int = Field(0, ge=0)
    growth_from: int = Field(4, ge=4)
    growth_fade: float = Field(0.5, ge=0, le=1)
    augment: tuple[str, ...] = ("translation", "cutout")
    augment_probability: float = Field(1.0, ge=0, le=1)
    ada: bool = False
    ada_target: float = Field(0.6, ge=-1, le=1)
    ada_span: float = Field(500_000, gt=0)
    mirror: bool = True
    style_mixing: float = Field(0.5, ge=0, le=1)
    noise: bool = True
    ema_half_life: float = Field(5_000, gt=0)
    ema_power: tuple[Width, ...] = (0.05, 0.1)
    ema: str = HALF_LIFE
    condition_ramp: tuple[float, float] = (0.15, 0.35)
    class_balance: float = Field(0.5, ge=0, le=1)
    condition_jitter: float = Field(0.1, ge=0)
    checkpoint_images: int = Field(4_000, ge=1)
    sample_images: int = Field(4_000, ge=1)
    health_images: int = Field(2_000, ge=1)
    evaluate_images: int = Field(0, ge=0)
    evaluate_samples: int = Field(256, ge=2)
    keep_checkpoints: int = Field(2, ge=1)
    collapse_below: float = Field(0.1, ge=0)
    on_collapse: Literal["roll_back", "note"] = "roll_back"
    max_rollbacks: int = Field(3, ge=0)
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    compile: bool = False
    checkpoint_from: int | None = None
    offload: bool = False
    seed: int = Field(0, ge=0)

    @field_validator("architecture")
    @classmethod
    def _known_architecture(cls, architecture: str) -> str:
        if architecture not in ARCHITECTURES:
            raise ValueError(f"unknown architecture {architecture!r}: one of {', '.join(ARCHITECTURES)}")
        return architecture

    @field_validator("loss", "projected_loss")
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

    @field_validator("growth_from")
    @classmethod
    def _power_of_two(cls, resolution: int) -> int:
        if resolution & (resolution - 1):
            raise ValueError(f"{resolution} is not a power of two")
        return resolution

    @model_validator(mode="after")
    def _fits_the_architecture(self) -> Recipe:
        kind = ARCHITECTURES[self.architecture]
        if kind.encoder and self.discriminator == "projected":
            raise ValueError(f"discriminator: {self.architecture} learns by its own; choose pixel or both")
        if self.growth_images and not kind.grows:
            raise ValueError(f"growth_images: {self.architecture} does not grow; leave it at 0")
        if self.growth_images and self.compile:
            raise ValueError("compile: networks that grow change at every step; leave one of the two out")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.ema not in (known := (HALF_LIFE, *map(power_name, self.ema_power))):
            raise ValueError(f"ema: no average {self.ema!r}: one of {', '.join(known)}")
        if self.ada and not self.augment:
            raise ValueError("ada: it steers the augmentation, and `augment` is empty")
        if self.batch % self.accumulate:
            raise ValueError(f"accumulate: a batch of {self.batch} cannot be split into {self.accumulate} equal parts")
        averaging = [name for name in (self.loss, self.projected_loss) if name == "relativistic_average"]
        if averaging and self.accumulate > 1:
            raise ValueError("accumulate: relativistic_average needs the mean over the whole batch; leave it at 1")
        return self

    @model_validator(mode="after")
    def _whole_batches(self) -> Recipe:
        if not ARCHITECTURES[self.architecture].config.batch_statistics:
            return self
        if self.accumulate > 1:
            raise ValueError(f"accumulate: {self.architecture} needs the statistics of the whole batch; leave it at 1")
        if self.path_length_weight:
            raise ValueError(
                f"path_length_weight: an image of {self.architecture} depends on all of its batch while training, so "
                "that it has no path of its own; leave it at 0"
            )
        if self.checkpoint_from is not None:
            raise ValueError(
                f"checkpoint_from: layers of {self.architecture} keep statistics of what passes through them, which a "
                "second pass would change; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _large_images(self) -> Recipe:
        kind = ARCHITECTURES[self.architecture]
        if self.unshuffle != 1 and "unshuffle" not in kind.config.model_fields:
            raise ValueError(
                f"unshuffle: {self.architecture} has none; leave it out, or take `architecture: stylegan2`"
            )
        if self.patch is None:
            return self
        if not (isinstance(kind.generator, type) and issubclass(kind.generator, PatchGenerator)):
            raise ValueError(
                f"patch: layers of {self.architecture} see the whole image; leave it out, or take "
                "`architecture: stylegan2`"
            )
        if self.discriminator != "pixel":
            raise ValueError(f"patch: only `discriminator: pixel` sees patches, not {self.discriminator}")
        if self.compile:
            raise ValueError("patch: each place would be compiled anew; set `compile: false`")
        return self

    @model_validator(mode="after")
    def _views(self) -> Recipe:
        kind = ARCHITECTURES[self.architecture]
        if self.channel_groups and "channel_groups" not in kind.config.model_fields:
            raise ValueError(f"channel_groups: {self.architecture} has none; take `architecture: stylegan2`")
        if self.discriminator_scales > 1 and self.discriminator == "projected":
            raise ValueError("discriminator_scales: these are discriminators on pixels; choose pixel or both")
        asked = {
            "discriminator_scales": self.discriminator_scales > 1,
            "missing_channels": self.missing_channels == "learn",
            "channel_dropout": self.channel_dropout > 0,
        }
        # An encoder reads whole images, and patches are a view of their own.
        reason = f"{self.architecture} has an encoder" if kind.encoder else "patches" if self.patch else None
        if reason and any(asked.values()):
            name = next(name for name, one in asked.items() if one)
            raise ValueError(f"{name}: cannot be combined with {reason}; leave one of the two out")
        return self

    @property
    def partial(self) -> bool:
        """Whether the discriminators are shown images that lack channels."""
        return self.missing_channels == "learn" or self.channel_dropout > 0

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that a frame has to have."""
        return tuple(dict.fromkeys((*self.conditions, *self.class_conditions)))


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
    path = _presets() / f"{source}.yaml" if str(source) in recipe_names() else Path(local_or_url(source))
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        if not isinstance(content, dict):
            raise UsageError(
                f"{source}: not a recipe in YAML; its first level has to be names such as images and batch."
            )
        return Recipe(**{**content, **overrides})
    except FileNotFoundError:
        raise UsageError(f"{source}: no such recipe; give a YAML file or one of {', '.join(recipe_names())}.") from None
    except OSError as error:
        raise UsageError(f"{source}: cannot be read ({error.strerror or error}); give a YAML file.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{source}: not a recipe in YAML ({str(error).splitlines()[0]}).") from error
    except ValidationError as error:
        raise UsageError(f"{source}: {field_error(error)}.") from error
