"""One training step, top to bottom: the heart of the training.

A step shows real frames and fakes under the same conditions to one or several discriminators, updates them, then
updates the generator with the same fakes; where the architecture has an encoder, that and the generator then learn to
undo each other. The batch is split over processes and, where memory is short, over parts; every sample has random
numbers of its own (`sunaug.training.draws`) and gradients are averaged over all parts, so that neither changes what a
step does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch import Tensor, nn

from sunaug.errors import UsageError
from sunaug.networks import (
    BaseGenerator,
    NetworkConfig,
    make_generator,
    start_from,
)
from sunaug.networks.growing import Growing
from sunaug.networks.processes import mean_over_processes
from sunaug.networks.projected import ProjectedDiscriminator
from sunaug.training.averages import Averages
from sunaug.training.batches import Batches, Shown
from sunaug.training.diffaugment import AdaptiveProbability, augment_numbers
from sunaug.training.draws import Draws, draw_step
from sunaug.training.frames import TrainingFrames
from sunaug.training.gradients import average_gradients
from sunaug.training.growth import Growth
from sunaug.training.losses import (
    LOSSES,
    AdversarialLoss,
    gradient_penalty,
    latent_reciprocity,
    orthogonality,
    path_lengths,
)
from sunaug.training.recipe import Recipe
from sunaug.training.schedules import penalty_weight, ramp, rate_factor
from sunaug.training.sharding import gathered, load_gathered
from sunaug.training.strategies import Strategy
from sunaug.training.views import ViewDiscriminator, penalty_share, pixel_discriminators
from sunaug.training.zero import ZeroAdam, backward

__all__ = ["Trainer"]

STDDEV_GROUP = 4
_PATH_STREAM = 1
_RECIPROCITY_STREAM = 2
_STANDING_SAMPLES = 512


@dataclass(frozen=True)
class Critic:
    """A discriminator with what trains it; `fast_score` is its `score`, compiled where the recipe says so."""

    network: Any
    fast_score: Callable[..., Tensor]
    optimizer: torch.optim.Optimizer | ZeroAdam
    loss: AdversarialLoss
    rate: float
    weight: float
    penalty: float
    """Share of the gradient penalty's weight; 0 for none."""


class Trainer:
    """Networks, optimisers and counters of a training, and the step that moves them.

    Parameters
    ----------
    frames : TrainingFrames
    config : NetworkConfig
    recipe : Recipe
    fabric : lightning_fabric.Fabric
        Launched. It says where things are and how many processes there are.
    start : BaseGenerator, optional
        A generator of a smaller or equal size to start from.
    strategy : Strategy, optional
        How the processes share the work; by default each has its share of each batch.

    Attributes
    ----------
    generator : BaseGenerator
    critics : dict of str to Critic
        ``pixel`` and its smaller scales (`sunaug.training.views`), ``projected``, or both.
    batches : Batches
        Makes what the discriminators are shown.
    averages : Averages
    encoder_averages : Averages or None
        Of the encoder, where the architecture has one.
    images, steps, attempt : int
        Images shown, steps made, and roll-backs so far.
    augment_probability : AdaptiveProbability
    path_length : float
        Running mean of the path lengths.

    Raises
    ------
    UsageError
        If the batch cannot be split over the processes, or `start` does not fit.
    """

    def __init__(
        self,
        frames: TrainingFrames,
        config: NetworkConfig,
        recipe: Recipe,
        fabric: Fabric,
        *,
        start: BaseGenerator | None = None,
        strategy: Strategy | None = None,
    ) -> None:
        self.frames, self.config, self.recipe, self.fabric = frames, config, recipe, fabric
        self.strategy = strategy or Strategy(recipe, fabric.global_rank, fabric.world_size)
        own, shares = self.strategy.share
        share, rest = divmod(recipe.batch, shares * recipe.accumulate)
        if rest or share % math.gcd(recipe.batch, STDDEV_GROUP):
            raise UsageError(
                f"batch: {recipe.batch} images cannot be split over {shares} processes and "
                f"{recipe.accumulate} parts with groups of {math.gcd(recipe.batch, STDDEV_GROUP)} whole."
            )
        mine = share * recipe.accumulate
        self._samples = slice(own * mine, (own + 1) * mine)
        self._parts = [slice(first, first + share) for first in range(0, mine, share)]

        # The weights are drawn on the CPU, so that every device and process starts from the same ones.
        torch.manual_seed(recipe.seed)
        self.generator = make_generator(config)
        if start is not None:
            try:
                start_from(self.generator, start)
            except ValueError as error:
                raise UsageError(f"start: {recipe.start} cannot be started from: {error}.") from None
        self._growth: Growth | None = None
        if isinstance(self.generator, Growing):
            self._growth = Growth(recipe, config.size, None if start is None else start.config.size)
        self.generator.to(fabric.device)
        self.generator.checkpoint_from = recipe.checkpoint_from
        # The averages stay whole on each process: the first one alone draws and measures their samples.
        self.averages = Averages(self.generator, recipe.ema_half_life, recipe.ema_power)
        self.strategy.place(self.generator)
        self.optimizer = self._optimizer(self.generator, recipe.generator_rate)
        self.batches = Batches(frames, recipe, self.generator, fabric)
        self.critics: dict[str, Critic] = {}
        self.encoder_averages: Averages | None = None
        if recipe.discriminator in ("pixel", "both"):
            for name, pixel in pixel_discriminators(config, recipe).items():
                pixel.to(fabric.device)
                pixel.checkpoint_from = recipe.checkpoint_from
                if (encoder := getattr(pixel, "encoder", None)) is not None:
                    self.encoder_averages = Averages(encoder, recipe.ema_half_life, recipe.ema_power)
                penalty = penalty_share(pixel)
                self.critics[name] = self._critic(pixel, recipe.loss, recipe.discriminator_rate, 1.0, penalty=penalty)
        if recipe.discriminator in ("projected", "both"):
            projected = ProjectedDiscriminator(config, seed=recipe.seed).to(fabric.device)
            weight = recipe.projected_weight if recipe.discriminator == "both" else 1.0
            self.critics["projected"] = self._critic(
                projected, recipe.projected_loss, recipe.projected_rate, weight, penalty=0.0
            )
        self.augment_probability = AdaptiveProbability(recipe.ada_target, recipe.ada_span)
        self.path_length = 0.0
        self.images = self.steps = self.attempt = 0

    def _critic(self, network: nn.Module, loss: str, rate: float, weight: float, *, penalty: float) -> Critic:
        self.strategy.place(network)
        # Penalties need second derivatives, which compiled graphs do not have: those steps use the plain networks.
        score: Any = network.score
        fast = torch.compile(score) if self.recipe.compile else score
        return Critic(network, fast, self._optimizer(network, rate), LOSSES[loss], rate, weight, penalty)

    def _optimizer(self, network: nn.Module, rate: float) -> torch.optim.Optimizer | ZeroAdam:
        return self.strategy.optimizer(network, rate, passes=len(self._parts))

    @property
    def progress(self) -> float:
        """Share of the training that is done."""
        return self.images / self.recipe.images

    @property
    def condition_weight(self) -> float:
        """Weight of the conditioning in the discriminators."""
        return ramp(self.progress, *self.recipe.condition_ramp)

    @property
    def probability(self) -> float:
        """Probability of each augmentation for each image."""
        return self.augment_probability.probability if self.recipe.ada else self.recipe.augment_probability

    def step(self) -> dict[str, Tensor]:
        """Make one step.

        Returns
        -------
        dict of str to Tensor
            Scalars, averaged over the batch of all processes: ``loss_g``, and for each discriminator ``loss_d``,
            ``score_gap`` (mean score of real minus fake) with its name before a dot; ``r1``, ``path_length`` and
            ``orthogonality`` at the steps that have them; ``reciprocity`` where there is an encoder.
        """
        recipe = self.recipe
        self._set_rates()
        if self._growth:
            self._growth.apply(self._networks(), self.images)
        draws = draw_step(
            recipe.seed,
            self.attempt,
            self.steps,
            batch=recipe.batch,
            weights=self.frames.weights,
            z_dim=self.config.z_dim,
            condition_width=self.config.condition_width,
            n_styles=self.generator.n_styles,
            n_augment=augment_numbers(recipe.augment),
            n_channels=self.config.image_channels if recipe.partial else 0,
        ).part(self._samples)
        figures = self._discriminators_and_generator(draws)
        if recipe.path_length_weight and self.steps % recipe.path_length_interval == 0:
            length = figures["path_length"].item()
            self.path_length += (length - self.path_length) * (recipe.path_length_decay if self.path_length else 1.0)
        if recipe.ada:
            self.augment_probability.update(figures.pop("sign").item(), recipe.batch)
        self.images += recipe.batch
        self.steps += 1
        self.averages.update(self.generator, recipe.batch, self.images)
        if self.encoder_averages:
            self.encoder_averages.update(self.critics["pixel"].network.encoder, recipe.batch, self.images)
        return figures

    def _networks(self) -> Iterator[nn.Module]:
        yield self.generator
        yield from (critic.network for critic in self.critics.values())
        for averages in (self.averages, self.encoder_averages):
            yield from averages.networks.values() if averages else ()

    def settle(self) -> None:
        """Make the averaged generator that the recipe names ready to be looked at, see `BaseGenerator.settle`."""
        random = torch.Generator().manual_seed(self.recipe.seed)
        rows = torch.multinomial(self.frames.weights, _STANDING_SAMPLES, replacement=True, generator=random)
        condition = torch.from_numpy(self.config.encode(self.frames.fluxes[rows.numpy()]))
        self.averages.networks[self.recipe.ema].settle(condition.to(self.fabric.device))

    def _set_rates(self) -> None:
        factor = rate_factor(self.progress, self.recipe.rate_decay) * 0.5**self.attempt
        delay = min((self.images + self.recipe.batch) / max(self.recipe.generator_delay, 1), 1.0)
        self.optimizer.param_groups[0]["lr"] = self.recipe.generator_rate * factor * delay
        for critic in self.critics.values():
            critic.optimizer.param_groups[0]["lr"] = critic.rate * factor

    def _discriminators_and_generator(self, draws: Draws) -> dict[str, Tensor]:
        recipe, parts = self.recipe, self._parts
        found: dict[str, list[Tensor]] = {}

        # The discriminators. With one part the fakes' graph is kept for the generator's turn; with several, each part's
        # fakes are made a second time there, or the graphs of all parts would be in memory at once.
        keep = len(parts) == 1
        gamma = penalty_weight(self.progress, recipe)
        penalise = gamma > 0 and self.steps % recipe.penalty_interval == 0
        for critic in self.critics.values():
            critic.network.requires_grad_(True)
            critic.optimizer.zero_grad(set_to_none=True)
        shown, real_scores, fake_scores, fake_views = None, {}, {}, {}
        for part in parts:
            shown = self.batches.show(draws.part(part), self.probability, keep=keep)
            for name, critic in self.critics.items():
                fake = critic.network.project(shown.fake)
                pair = self._update_critic(name, critic, shown, fake, gamma if penalise else 0.0, found)
                real_scores[name, part.start], fake_scores[name, part.start] = pair
                fake_views[name] = fake
        for critic in self.critics.values():
            self._average_gradients(critic.network)
            critic.optimizer.step()
            critic.network.requires_grad_(False)
        if recipe.ada:
            first = next(iter(self.critics))
            real, fake = (
                torch.cat([scores[first, part.start] for part in parts]) for scores in (real_scores, fake_scores)
            )
            found["sign"] = [self._mean_sign(real, fake, relativistic=self.critics[first].loss.relativistic)]

        # The generator. The real scores are those from before the discriminator's step: they are constants here, and
        # computing them again would cost a whole forward pass for a shift of one update.
        self.optimizer.zero_grad(set_to_none=True)
        for part in parts:
            if not keep:
                shown = self.batches.show(draws.part(part), self.probability, keep=True)
                fake_views = {name: critic.network.project(shown.fake) for name, critic in self.critics.items()}
            assert shown is not None
            loss = torch.zeros((), device=self.fabric.device)
            for name, critic in self.critics.items():
                with self.fabric.autocast():
                    scores = critic.fast_score(fake_views[name], *self._told(critic, shown)).float()
                loss = loss + critic.weight * critic.loss.generator(real_scores[name, part.start], scores)
            found.setdefault("loss_g", []).append(loss.detach())
            if recipe.path_length_weight and self.steps % recipe.path_length_interval == 0:
                loss = loss + self._path_penalty(draws.part(part), found)
            if recipe.orthogonal_weight:
                penalty = orthogonality(self.generator, left_out=self.generator.mapping)
                found.setdefault("orthogonality", []).append(penalty.detach())
                loss = loss + recipe.orthogonal_weight * penalty
            backward(loss / len(parts), self.optimizer)
        self._average_gradients(self.generator)
        self.optimizer.step()
        if self.encoder_averages and recipe.reciprocity_weight:
            self._latent_reciprocity(draws, found)
        return self._over_processes(found)

    def _latent_reciprocity(self, draws: Draws, found: dict[str, list[Tensor]]) -> None:
        """Update the encoder and the synthesis so that E(G(w)) is w (Pidhorskyi et al. 2020, algorithm 1, step III).

        The mapping network and the discriminator of latents take no part: they get no gradient, so that their
        optimisers leave them as they are.
        """
        critic, device = self.critics["pixel"], self.fabric.device
        for optimizer in (self.optimizer, critic.optimizer):
            optimizer.zero_grad(set_to_none=True)
        critic.network.encoder.requires_grad_(True)
        for part in map(draws.part, self._parts):
            noise = self.batches.noise(part, _RECIPROCITY_STREAM)
            with self.fabric.autocast():
                with torch.no_grad():
                    w = self.generator.mapping(part.z_mix.to(device), self.batches.conditions(part))
                images = self.generator.synthesize(w, noise)
                loss = latent_reciprocity(w.float(), critic.network.encode(images).float())
            found.setdefault("reciprocity", []).append(loss.detach())
            (self.recipe.reciprocity_weight * loss / len(self._parts)).backward()
        for network, optimizer in ((self.generator, self.optimizer), (critic.network, critic.optimizer)):
            self._average_gradients(network)
            optimizer.step()
        critic.network.requires_grad_(False)

    def _told(self, critic: Critic, shown: Shown) -> tuple[Any, ...]:
        """What a discriminator is told beside the image."""
        told = shown.condition, self.condition_weight
        return (*told, shown.channels) if isinstance(critic.network, ViewDiscriminator) else told

    def _update_critic(
        self, name: str, critic: Critic, shown: Shown, fake: Any, gamma: float, found: dict[str, list[Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """Add a discriminator's gradients of one part; returns the real and the fake scores.

        The penalty (lazy regularisation, Karras et al. 2020, section 3.1) is on the gradient with respect to what the
        discriminator sees, after the augmentation.
        """
        penalised = gamma * critic.penalty > 0
        real, seen_fake = critic.network.project(shown.real), _detached(fake)
        if penalised:
            real = real.detach().requires_grad_(True)
            seen_fake.requires_grad_(self.recipe.r2)
        score = critic.network.score if penalised else critic.fast_score
        with self.fabric.autocast():
            told = self._told(critic, shown)
            scores_real, scores_fake = score(real, *told).float(), score(seen_fake, *told).float()
        loss = critic.loss.discriminator(scores_real, scores_fake)
        found.setdefault(f"{name}.loss_d", []).append(loss.detach())
        found.setdefault(f"{name}.score_gap", []).append((scores_real.mean() - scores_fake.mean()).detach())
        if penalised:
            penalty = critic.penalty * gradient_penalty(scores_real, real)
            found.setdefault("r1", []).append(penalty.detach())
            if self.recipe.r2:
                penalty = penalty + critic.penalty * gradient_penalty(scores_fake, seen_fake)
            loss = loss + gamma / 2 * self.recipe.penalty_interval * penalty
        backward(loss / len(self._parts), critic.optimizer)
        return scores_real.detach(), scores_fake.detach()

    def _mean_sign(self, real: Tensor, fake: Tensor, *, relativistic: bool) -> Tensor:
        """Mean sign of the real scores, which ADA follows.

        A relativistic discriminator has no zero of its own: the middle of the two mean scores takes its place.
        """
        if not relativistic:
            return real.sign().mean()
        zero = mean_over_processes((real.mean() + fake.mean()) / 2)
        return (real - zero).sign().mean()

    def _path_penalty(self, draws: Draws, found: dict[str, list[Tensor]]) -> Tensor:
        """Path length regularisation (Karras et al. 2020, equation 4), on every second sample."""
        half, device = draws.part(slice(None, None, 2)), self.fabric.device
        w = self.generator.mapping(half.z.to(device), self.batches.conditions(half))
        styles = w[:, None].repeat(1, self.generator.n_styles, 1)
        images = self.batches.images(styles, half)
        direction = half.normal(images[0].numel(), device, stream=_PATH_STREAM).reshape(images.shape)
        lengths = path_lengths(images, styles, direction)
        found.setdefault("path_length", []).append(lengths.mean().detach())
        # The first lengths are only measured: from a mean of zero, the penalty would pull all paths to nothing.
        target = self.path_length or lengths.detach()
        weight = self.recipe.path_length_weight * self.recipe.path_length_interval
        return weight * (lengths - target).square().mean()

    def _average_gradients(self, network: nn.Module) -> None:
        average_gradients(network, self.fabric.world_size)

    def _over_processes(self, found: Mapping[str, list[Tensor]]) -> dict[str, Tensor]:
        values = torch.stack([torch.stack(parts).mean() for parts in found.values()])
        if self.fabric.world_size > 1:
            dist.all_reduce(values)
            values /= self.fabric.world_size
        return dict(zip(found, values, strict=True))

    def _parts_of_state(self) -> Iterator[tuple[str, Any]]:
        yield from (("generator", self.generator), ("optimizer", self.optimizer), ("averages", self.averages))
        if self.encoder_averages:
            yield "encoder_averages", self.encoder_averages
        yield "augment_probability", self.augment_probability
        for name, critic in self.critics.items():
            yield from ((f"{name}.network", critic.network), (f"{name}.optimizer", critic.optimizer))

    def state_dict(self) -> dict[str, Any]:
        """Everything that a step depends on: tensors and plain values."""
        return {
            **{name: gathered(part.state_dict()) for name, part in self._parts_of_state()},
            "images": self.images,
            "steps": self.steps,
            "attempt": self.attempt,
            "path_length": self.path_length,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        for name, part in self._parts_of_state():
            load_gathered(part, state[name])
        self.images, self.steps = state["images"], state["steps"]
        self.attempt, self.path_length = state["attempt"], state["path_length"]


def _detached(view: Any) -> Any:
    return [one.detach() for one in view] if isinstance(view, list) else view.detach()
