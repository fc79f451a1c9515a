"""What a training will take, before it is started: parameters, memory and time.

The trainer itself makes its steps, with tensors that have a shape and no content (PyTorch's fake tensors). So the
estimate follows whatever the trainer does, costs seconds at any resolution, and counts what formulas for the networks
would only approximate: the second derivatives of the penalties, checkpointing, parts of a batch, bfloat16. Of what an
operation needs only while it runs, the copies that convolutions make are counted, which are large in the second
derivatives. The memory that the libraries take is not in it.
"""

from __future__ import annotations

import copy
import itertools
import math
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from sunaug.networks import Discriminator, Generator, NetworkConfig, biggan, stylealae
from sunaug.networks.bands import Bands
from sunaug.networks.projected import ProjectedDiscriminator
from sunaug.training.batches import Batches
from sunaug.training.draws import Draws
from sunaug.training.frames import TrainingFrames
from sunaug.training.patches import PatchDiscriminator
from sunaug.training.recipe import Recipe
from sunaug.training.strategies import InBands
from sunaug.training.trainer import Trainer
from sunaug.training.views import ViewDiscriminator

__all__ = [
    "Estimate",
    "Layer",
    "Rate",
    "StepCost",
    "StepCounter",
    "estimate",
    "layer_table",
    "measure_rate",
]

MEASURE_SECONDS = 8.0
"""Time that the timed steps may take, as foreseen."""

_KERNEL_ARGUMENT = {torch.ops.aten.convolution: 1, torch.ops.aten.convolution_backward: 2}
_SMALLEST_SIZE = 8
_SMALLEST_BATCH = 4
_PEAK_SHARE = 0.3
"""Share of a large matrix product's speed that a training step reaches; decides only what is timed."""


class Layer(NamedTuple):
    """A row of a network's table: `width` is the number of channels, None where it is not a matter of one number."""

    name: str
    width: int | None
    parameters: int


class StepCost(NamedTuple):
    """What one step takes: floating-point operations, and bytes that it has alive at once at most."""

    flops: int
    peak: int


class StepCounter(TorchDispatchMode):
    """Counts operations and memory of what runs inside it, on real tensors and on fake ones.

    Attributes
    ----------
    flops : int
        Of convolutions and matrix products, forward and backward, two for a multiply-add.
    alive, peak : int
        Bytes of the tensors that were made inside: now, and at most so far. Tensors that share memory count once. The
        peak has the copies that convolutions make for a moment.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.alive = self.peak = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flops += int(formula(*args, **kwargs, out_val=out))
        before = {one.untyped_storage()._cdata for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)}
        for one in tree_leaves(out):
            if isinstance(one, Tensor):
                self._count(one.untyped_storage(), before)
        self.peak = max(self.peak, self.alive + _copied(func, args))
        return out

    def _count(self, storage: Any, before: set[int]) -> None:
        key = storage._cdata
        # A view of a weight, or a weight that an optimiser changed in place, is nothing new.
        if key in self._sizes or key in before:
            return
        self._sizes[key] = storage.nbytes()
        self.alive += self._sizes[key]
        weakref.finalize(storage, self._free, key)

    def _free(self, key: int) -> None:
        self.alive -= self._sizes.pop(key, 0)


def _copied(func: Any, args: Any) -> int:
    """Bytes that a convolution has alive only while it runs: its kernel in blocks, and what is not channels-last.

    In second derivatives the kernel is as large as the images: the gradient with respect to a kernel is a convolution
    of two of them.
    """
    if func._overloadpacket not in _KERNEL_ARGUMENT:
        return 0
    kernel = args[_KERNEL_ARGUMENT[func._overloadpacket]]
    planes = [one for one in args[:3] if isinstance(one, Tensor) and one.dim() == 4]
    odd = [one for one in planes if not one.is_contiguous(memory_format=torch.channels_last)]
    return sum(one.numel() * one.element_size() for one in (kernel, *odd))


@dataclass(frozen=True)
class Estimate:
    """What each process of a training takes. Memory is in bytes.

    Attributes
    ----------
    layers : dict of str to list of Layer
        Tables of the generator and of each discriminator.
    weights, averages, moments : int
        Of all networks, frozen ones included; of the averaged generators; of the optimisers.
    gradients, activations : int
        What a step makes: at its peak, gradients and activations.
    frames : int
        Frames kept in memory.
    flops : float
        Floating-point operations per image, of all processes, averaged over steps with and without penalties.
    """

    layers: dict[str, list[Layer]]
    weights: int
    averages: int
    moments: int
    gradients: int
    activations: int
    frames: int
    flops: float

    @property
    def total(self) -> int:
        """All memory of a process, bytes."""
        return self.weights + self.averages + self.moments + self.gradients + self.activations + self.frames


class Rate(NamedTuple):
    """A measured speed: FLOP per second of training steps with `batch` images of `size` pixels."""

    flops_per_second: float
    batch: int
    size: int


@dataclass(frozen=True)
class _OneOf:
    """Stands for a Fabric: the first of `world_size` processes, where nothing is sent."""

    world_size: int
    precision: str
    device: torch.device
    global_rank: int = 0

    def autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "32-true":
            return nullcontext()
        return torch.autocast("cpu", dtype=torch.bfloat16)


class _UnsentBands(Bands):
    """Bands whose messages take memory and are not sent."""

    def _all_gather(self, bands: list[Tensor], own: Tensor) -> None:
        """What would be received is there without content."""

    def _all_reduce(self, total: Tensor) -> None:
        """So is the sum."""


class _DryBands(InBands):
    """The strategy with these."""

    @property
    def bands(self) -> Bands:
        return _UnsentBands(self.rank, self.processes)


class _DryBatches(Batches):
    """What is shown, without the frames' fluxes."""

    def conditions(self, draws: Draws) -> Tensor:
        return torch.zeros(len(draws.noise_seeds), self.generator.config.condition_width)


class _DryTrainer(Trainer):
    """The trainer without what needs numbers: other processes, values of losses."""

    def _average_gradients(self, network: nn.Module) -> None:
        if self.fabric.world_size > 1:
            # The message is as long as all gradients and counts; it is not sent.
            torch.cat([one.grad.flatten() for one in network.parameters() if one.grad is not None])

    def _over_processes(self, found: Any) -> dict[str, Tensor]:
        return {name: torch.tensor(0.0) for name in found}


def _width(head: Any) -> int:
    return int(head.score.in_channels)


def _parameters(*modules: Any) -> int:
    return sum(one.numel() for module in modules for one in module.parameters())


def _bytes(*modules: nn.Module) -> int:
    tensors = itertools.chain.from_iterable((*module.parameters(), *module.buffers()) for module in modules)
    return sum(one.numel() * one.element_size() for one in tensors)


def _frozen(network: nn.Module) -> list[nn.Module]:
    """Networks that a discriminator uses and does not train."""
    return list(network._frozen) if isinstance(network, ProjectedDiscriminator) else []


def layer_table(network: nn.Module) -> list[Layer]:
    """Layers of a network with their widths and parameters.

    Parameters
    ----------
    network : torch.nn.Module
        A generator or discriminator of `sunaug.networks`, a PatchDiscriminator, ViewDiscriminator or
        ProjectedDiscriminator. Layers with a resolution are named by it, ``64x64``.

    Returns
    -------
    list of Layer
        In the order in which an image is made or judged. The parameters add up to all that are in the network, and for
        the projected discriminator to those of its frozen parts as well.
    """
    if isinstance(network, stylealae.Generator | stylealae.Discriminator):
        return [Layer(name, width, _parameters(*modules)) for name, width, modules in network.layers()]
    if isinstance(network, Generator):
        config, convs, to_image = network.config, network.convs, network.to_image
        rows = [Layer("mapping", config.w_dim, _parameters(network.mapping))]
        first = network.const.numel() + _parameters(convs[0], to_image[0])
        rows.append(Layer("4x4", config.width(4), first))
        for block, size in enumerate(config.resolutions[1:]):
            count = _parameters(convs[2 * block + 1], convs[2 * block + 2], to_image[block + 1])
            rows.append(Layer(f"{size}x{size}", config.width(size), count))
        return rows
    if isinstance(network, Discriminator):
        config = network.config
        counts = [_parameters(block) for block in network.blocks]
        counts[0] += _parameters(network.from_image)
        counts.append(_parameters(network) - sum(counts))
        return [Layer(f"{a}x{a}", config.width(a), b) for a, b in zip(config.resolutions[::-1], counts, strict=True)]
    if isinstance(network, ViewDiscriminator):
        return layer_table(network.network)
    if isinstance(network, PatchDiscriminator):
        towers = {"patch": network.near, "whole": network.whole}
        return [row._replace(name=f"{name} {row.name}") for name, one in towers.items() for row in layer_table(one)]
    if isinstance(network, ProjectedDiscriminator):
        mixing = sum(one.numel() for one in network.buffers() if one.dim() == 4)
        rows = [Layer("frozen EfficientNet-Lite0", None, _parameters(*_frozen(network)))]
        rows.append(Layer("frozen mixing of its maps", None, mixing))
        for scale, head in enumerate(network.heads):
            size = network.input_size // 2 ** (scale + 2)
            rows.append(Layer(f"head on {size}x{size}", _width(head), _parameters(head)))
        return rows
    if isinstance(network, biggan.Generator | biggan.Discriminator):
        return [Layer(*row) for row in network.layer_rows()]
    raise TypeError(f"{type(network).__name__} is none of sunaug's networks")


def _cycle(recipe: Recipe) -> list[tuple[bool, bool]]:
    """For each step of a lazy cycle, whether it has the gradient penalty and the path length."""
    penalty = recipe.penalty_interval if recipe.r1_gamma or recipe.r1_gamma_end else 0
    path = recipe.path_length_interval if recipe.path_length_weight else 0
    steps = math.lcm(penalty or 1, path or 1)
    return [(bool(penalty) and step % penalty == 0, bool(path) and step % path == 0) for step in range(steps)]


def _blank_frames(config: NetworkConfig) -> TrainingFrames:
    """One frame of zeros: what a step costs does not depend on how many there are."""
    images = torch.zeros(1, config.image_channels, config.size, config.size)
    return TrainingFrames(images, np.full((1, len(config.labels)), 1e-6), torch.ones(1, dtype=torch.float64), [])


def _dry_trainer(config: NetworkConfig, recipe: Recipe, devices: int, in_bands: bool) -> tuple[Trainer, FakeTensorMode]:
    """A trainer whose tensors are fake, and the mode in which it makes its steps."""
    # A band between two others has the most rows: its own, and a margin on either side.
    strategy = _DryBands(recipe, min(1, devices - 2), devices) if in_bands and devices > 1 else None
    fabric: Any = _OneOf(devices, recipe.precision, torch.device("cpu"))
    # Compiled code is what it is only on a device; the plain networks do the same.
    plain = recipe.model_copy(update={"compile": False})
    real = _DryTrainer(_blank_frames(config), config, plain, fabric, strategy=strategy)
    real.batches = _DryBatches(real.frames, plain, real.generator, fabric)
    mode = FakeTensorMode()
    with FakeCopyMode(mode):
        trainer = copy.deepcopy(real)
    for optimizer in (trainer.optimizer, *(critic.optimizer for critic in trainer.critics.values())):
        # Adam runs when the activations are gone; its two moments per parameter are known without it.
        vars(optimizer)["step"] = lambda: None
    return trainer, mode


def _dry_costs(trainer: Trainer, mode: FakeTensorMode, cycle: list[tuple[bool, bool]]) -> dict[Any, StepCost]:
    """Cost of each kind of step of the lazy cycle."""
    costs = {}
    for kind in dict.fromkeys(cycle):
        trainer.images, trainer.steps = 0, cycle.index(kind)
        # Gradients of the step before are alive when a step begins, and would not be counted as its own.
        for network in (trainer.generator, *(critic.network for critic in trainer.critics.values())):
            network.zero_grad(set_to_none=True)
        with mode, StepCounter() as counter:
            trainer.step()
        costs[kind] = StepCost(counter.flops, counter.peak)
    return costs


def estimate(
    config: NetworkConfig, recipe: Recipe, *, n_frames: int = 0, devices: int = 1, in_bands: bool = False
) -> Estimate:
    """Estimate what each process of a training takes.

    Of networks that grow, what they take when they have grown: the resolutions before take less.

    Parameters
    ----------
    config : NetworkConfig
        See `sunaug.training.shape.network_config`.
    recipe : Recipe
    n_frames : int
        Frames of the train months that are kept in memory.
    devices : int
        Processes that share each batch, or each image.
    in_bands : bool
        They share each image, see `sunaug.networks.bands`.

    Raises
    ------
    UsageError
        If the batch cannot be split over them.
    """
    # From the second part on, each is like the one before, in operations and in memory.
    parts = min(recipe.accumulate, 2)
    batch = recipe.batch // recipe.accumulate * parts
    shown = recipe.model_copy(update={"batch": batch, "accumulate": parts, "growth_images": 0})
    trainer, mode = _dry_trainer(config, shown, devices, in_bands)
    cycle = _cycle(recipe)
    costs = _dry_costs(trainer, mode, cycle)
    critics = {f"{name} discriminator": critic.network for name, critic in trainer.critics.items()}
    networks: dict[str, Any] = {"generator": trainer.generator, **critics}
    optimizers = [trainer.optimizer, *(critic.optimizer for critic in trainer.critics.values())]
    averages = filter(None, (trainer.averages, trainer.encoder_averages))
    trained = [one for optimizer in optimizers for group in optimizer.param_groups for one in group["params"]]
    gradients = sum(one.numel() * one.element_size() for one in trained)
    peak = max(cost.peak for cost in costs.values())
    return Estimate(
        layers={name: layer_table(network) for name, network in networks.items()},
        weights=_bytes(*networks.values(), *itertools.chain.from_iterable(map(_frozen, networks.values()))),
        averages=_bytes(*itertools.chain.from_iterable(one.networks.values() for one in averages)),
        moments=2 * gradients,
        gradients=gradients,
        activations=max(peak - gradients, 0),
        frames=n_frames * config.image_channels * config.size**2 * 4,
        flops=sum(costs[kind].flops for kind in cycle) / len(cycle) * devices / batch,
    )


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _seconds(run: Callable[[], Any], device: torch.device) -> float:
    _synchronize(device)
    started = time.perf_counter()
    run()
    _synchronize(device)
    return time.perf_counter() - started


def _matrix_speed(fabric: Fabric) -> float:
    """FLOP per second of a large matrix product."""
    side = 1024
    matrix = torch.ones(side, side, device=fabric.device)
    with fabric.autocast():
        _seconds(lambda: matrix @ matrix, fabric.device)
        return 2 * side**3 / _seconds(lambda: matrix @ matrix, fabric.device)


def _candidates(config: NetworkConfig, batch: int) -> Iterator[tuple[int, int, float]]:
    """Sizes and batches to time, from the training's own to small ones, with their share of its operations.

    Fewer images come first, then smaller ones.
    """

    def work(limit: int) -> float:
        return sum(size**2 * config.width(size) ** 2 for size in config.resolutions if size <= limit)

    limit, whole = config.size, batch
    full = work(limit)
    yield limit, batch, 1.0
    while batch % 2 == 0 and batch // 2 >= _SMALLEST_BATCH:
        batch //= 2
        yield limit, batch, batch / whole
    while limit // 2 >= _SMALLEST_SIZE:
        limit //= 2
        yield limit, batch, batch / whole * work(limit) / full


def measure_rate(config: NetworkConfig, recipe: Recipe, fabric: Fabric, flops: float, *, devices: int = 1) -> Rate:
    """Measure how fast this machine makes training steps.

    Each kind of step of the lazy cycle is timed, with the recipe's own size and batch where that takes no longer than
    some seconds, else with fewer images, else with smaller ones: the layers at lower resolutions have the same widths.

    Parameters
    ----------
    config, recipe
        As for `estimate`.
    fabric : lightning_fabric.Fabric
        One process on the device to measure.
    flops : float
        Floating-point operations per image, from `estimate`.
    devices : int
        Processes that the training will share each batch over.

    Raises
    ------
    torch.OutOfMemoryError
        If the device has no memory even for the smallest.
    """
    cycle = _cycle(recipe)
    share = recipe.batch // devices // recipe.accumulate
    # Once to warm up, when the moments are made and the kernels chosen, and once by the clock.
    longest = MEASURE_SECONDS * _PEAK_SHARE * _matrix_speed(fabric) / (2 * len(set(cycle)) * share * flops)
    candidates = list(_candidates(config, share))
    affordable = [one for one in candidates if one[2] <= longest] or candidates[-1:]
    for size, batch, _ in affordable:
        smaller = config.model_copy(update={"size": size})
        # One part, and not compiled, which would take longer than all that is timed.
        # Nor discriminators at lower resolutions, which have no room in the smallest images.
        plain = {"accumulate": 1, "compile": False, "growth_images": 0, "discriminator_scales": 1}
        shown = recipe.model_copy(update={"batch": batch, **plain})
        try:
            return _timed(Trainer(_blank_frames(smaller), smaller, shown, fabric), cycle)
        except torch.OutOfMemoryError:
            if (size, batch) == affordable[-1][:2]:
                raise
    raise AssertionError("no candidate")


def _timed(trainer: Trainer, cycle: list[tuple[bool, bool]]) -> Rate:
    seconds: dict[tuple[bool, bool], float] = {}
    flops: dict[tuple[bool, bool], int] = {}
    device = trainer.fabric.device
    for kind in dict.fromkeys(cycle):
        trainer.steps = cycle.index(kind)
        with StepCounter() as counter:
            seconds[kind] = _seconds(trainer.step, device)
        flops[kind] = counter.flops
    # Where already that took too long, the time of unprepared steps has to do.
    if sum(seconds.values()) < MEASURE_SECONDS:
        for kind in seconds:
            trainer.steps = cycle.index(kind)
            seconds[kind] = _seconds(trainer.step, device)
    speed = sum(flops[kind] for kind in cycle) / sum(seconds[kind] for kind in cycle)
    return Rate(speed, trainer.recipe.batch, trainer.config.size)
