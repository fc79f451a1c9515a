"""Which samples an epoch is made of, and in what order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import distributed
from torch.utils.data import DistributedSampler, WeightedRandomSampler

from sunaug.errors import UsageError

__all__ = ["MixedSampler", "Mixture", "balanced_sampler", "world"]

Schedule = float | Sequence[float] | Callable[[int], float]
"""A ratio, one for each epoch (the last one stays), or a function of the epoch's number."""

_ORDER = 1
"""Keeps the order within an epoch apart from the choice of its samples, whatever the seed."""


class _Mixed(Protocol):
    """What `MixedSampler` needs of a `MixedSolarDataset`."""

    n_real: int

    def __len__(self) -> int: ...

    @property
    def labels(self) -> NDArray[np.int64]: ...


@dataclass(frozen=True)
class Mixture:
    """How many synthetic samples join the real ones.

    Attributes
    ----------
    ratio : float, sequence of float, callable or None
        Synthetic samples for each real one: 0.5 for half as many. A sequence gives the ratio of each epoch, the last
        one stays; a callable takes the number of the epoch, from 0.
    fill : int, mapping of int to int, or None
        In place of a ratio: as many as bring each class (label 0 and 1), or each class named, up to this number of
        samples.
    replace : bool
        Synthetic samples stand in for as many real ones of the most frequent class, so that an epoch stays as long as
        it is without them; otherwise they are added.

    Raises
    ------
    UsageError
        If both or neither of `ratio` and `fill` are given, or a number makes no sense.
    """

    ratio: Schedule | None = None
    fill: int | Mapping[int, int] | None = None
    replace: bool = False

    def __post_init__(self) -> None:
        if (self.ratio is None) == (self.fill is None):
            raise UsageError("give either a ratio of synthetic to real samples or fill=, the samples of each class.")
        if isinstance(self.ratio, Sequence) and not self.ratio:
            raise UsageError("an empty schedule says nothing; give a ratio for each epoch.")
        if not callable(self.ratio) and self.ratio is not None:
            for one in self.ratio if isinstance(self.ratio, Sequence) else [self.ratio]:
                _checked(one)
        if any(count < 0 for count in self._filled().values()):
            raise UsageError(f"classes cannot be filled up to {self.fill}; give a number above zero.")

    def ratio_of(self, epoch: int) -> float | None:
        """The ratio of an epoch; None where classes are filled."""
        if callable(self.ratio):
            return _checked(float(self.ratio(epoch)))
        if isinstance(self.ratio, Sequence):
            return float(self.ratio[min(epoch, len(self.ratio) - 1)])
        return None if self.ratio is None else float(self.ratio)

    @property
    def changes_length(self) -> bool:
        """Whether epochs can differ in their number of samples."""
        return not self.replace and (callable(self.ratio) or isinstance(self.ratio, Sequence))

    def described(self) -> dict[str, Any]:
        """What it says, ready for JSON."""
        ratio: Any = list(self.ratio) if isinstance(self.ratio, Sequence) else self.ratio
        if callable(ratio):
            ratio = f"function {getattr(ratio, '__qualname__', type(ratio).__name__)}"
        fill = {str(label): count for label, count in self._filled().items()} if self.fill is not None else None
        return {"ratio": ratio, "fill": fill, "replace": self.replace}

    def draw(
        self,
        n_real: int,
        n_synthetic: int,
        labels: Callable[[], tuple[NDArray[np.int64], NDArray[np.int64]]],
        *,
        seed: int,
        epoch: int = 0,
        source: str = "the synthetic dataset",
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Choose the samples of an epoch.

        Parameters
        ----------
        n_real, n_synthetic : int
        labels : callable
            Labels of the real and of the synthetic samples; asked only where classes matter.
        seed, epoch : int
            The same ones choose the same samples.
        source : str
            What messages name.

        Returns
        -------
        real, synthetic : ndarray of int64
            Numbers of the samples, ascending, none twice.

        Raises
        ------
        UsageError
            If there are too few synthetic samples, or too few real ones to be replaced.
        """
        random = np.random.default_rng([seed, epoch])
        ratio = self.ratio_of(epoch)
        if ratio is not None:
            wanted = round(ratio * n_real)
            if wanted > n_synthetic:
                raise UsageError(
                    f"{source}: holds {n_synthetic} samples, and a ratio of {ratio:g} to {n_real} real ones needs "
                    f"{wanted}; generate them with `sunaug generate --n {wanted}` or take a smaller ratio."
                )
            synthetic = random.permutation(n_synthetic)[:wanted]
        else:
            synthetic = self._filling(*labels(), random)
        real = np.arange(n_real)
        if self.replace and len(synthetic):
            real = np.setdiff1d(real, _majority(labels()[0], len(synthetic), random))
        return real, np.sort(synthetic)

    def _filled(self) -> dict[int, int]:
        if isinstance(self.fill, Mapping):
            return dict(self.fill)
        return {} if self.fill is None else {0: self.fill, 1: self.fill}

    def _filling(
        self, real: NDArray[np.int64], synthetic: NDArray[np.int64], random: np.random.Generator
    ) -> NDArray[np.int64]:
        chosen = [np.empty(0, np.int64)]
        for label, target in self._filled().items():
            missing = max(target - int((real == label).sum()), 0)
            pool = np.flatnonzero(synthetic == label)
            if missing > len(pool):
                raise UsageError(
                    f"class {label} has {int((real == label).sum())} real samples and {len(pool)} synthetic ones, too "
                    f"few to fill it up to {target}; generate more, or fill={{{label}: ...}} only what there is."
                )
            chosen.append(random.permutation(pool)[:missing])
        return np.concatenate(chosen)


class MixedSampler(DistributedSampler[Any]):
    """The order of a `MixedSolarDataset` in every epoch: other synthetic samples each time, in a ratio that may change.

    Like `torch.utils.data.DistributedSampler`, each process gets its own part of an epoch, and `set_epoch` starts the
    next one. It is stateful: with torchdata's `StatefulDataLoader` a training that was stopped within an epoch goes on
    with the samples that it has not seen.

    Parameters
    ----------
    dataset : MixedSolarDataset
        Made without ratio, so that it holds all synthetic samples.
    ratio, fill, replace
        As in `Mixture`.
    shuffle : bool
        Otherwise real samples come first.
    seed : int
        The same in all processes.
    num_replicas, rank : int, optional
        Number of processes, and which of them this is; by default as `torch.distributed` says.
    drop_last : bool
        Leave out the last samples of an epoch so that all processes get equally many; otherwise the first ones are
        repeated.

    Raises
    ------
    UsageError
        If the first epoch cannot be mixed, or `dataset` is no mixture.
    """

    def __init__(
        self,
        dataset: _Mixed,
        *,
        ratio: Schedule | None = None,
        fill: int | Mapping[int, int] | None = None,
        replace: bool = False,
        shuffle: bool = True,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
        drop_last: bool = False,
    ) -> None:
        if not hasattr(dataset, "n_real"):
            raise UsageError(f"MixedSampler takes a MixedSolarDataset, and not a {type(dataset).__name__}.")
        replicas, which = world(num_replicas, rank)
        super().__init__(dataset, replicas, which, shuffle=shuffle, seed=seed, drop_last=drop_last)  # type: ignore[arg-type]
        self.mixture = Mixture(ratio, fill, replace)
        self._mixed = dataset
        self._yielded = 0
        self._resume_at: int | None = None
        self._planned: tuple[int, NDArray[np.int64]] | None = None
        self.indices()

    def indices(self) -> NDArray[np.int64]:
        """Samples of the present epoch in all processes, in the order in which they are dealt out."""
        if self._planned is None or self._planned[0] != self.epoch:
            n_real, n = self._mixed.n_real, len(self._mixed)
            real, synthetic = self.mixture.draw(n_real, n - n_real, self._labels, seed=self.seed, epoch=self.epoch)
            chosen = np.concatenate([real, n_real + synthetic])
            if self.shuffle:
                chosen = np.random.default_rng([self.seed, self.epoch, _ORDER]).permutation(chosen)
            self._planned = self.epoch, chosen
        return self._planned[1]

    def __iter__(self) -> Iterator[int]:
        self._yielded, self._resume_at = self._resume_at or 0, None
        for index in self._own()[self._yielded :].tolist():
            # Counted before it is given: a state taken by then holds it as seen.
            self._yielded += 1
            yield index

    def __len__(self) -> int:
        return len(self._own())

    def set_epoch(self, epoch: int) -> None:
        """Mix and order the samples of another epoch from the next iteration on."""
        if epoch != self.epoch:
            self._resume_at = None
        super().set_epoch(epoch)

    def state_dict(self) -> dict[str, int]:
        """Where the sampler stands: epoch, seed and how many indices it gave to this process."""
        return {"epoch": self.epoch, "seed": self.seed, "yielded": self._yielded}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from a state with the next iteration.

        Raises
        ------
        UsageError
            If the state is that of a sampler with another seed.
        """
        if state["seed"] != self.seed:
            raise UsageError(f"the state is of seed {state['seed']}, this sampler has {self.seed}; give it the same.")
        self.epoch, self._resume_at = state["epoch"], state["yielded"]

    def provenance(self) -> dict[str, Any]:
        """What an epoch is mixed of, ready for JSON."""
        return {**self.mixture.described(), "seed": self.seed, "epoch": self.epoch}

    def _labels(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        labels, n_real = self._mixed.labels, self._mixed.n_real
        return labels[:n_real], labels[n_real:]

    def _own(self) -> NDArray[np.int64]:
        """This process's part of the epoch."""
        indices, processes = self.indices(), self.num_replicas
        odd = len(indices) % processes
        if odd and self.drop_last:
            indices = indices[:-odd]
        elif odd:
            indices = np.concatenate([indices, np.resize(indices, processes - odd)])
        return indices[self.rank :: processes]


def balanced_sampler(labels: ArrayLike, num_samples: int | None = None, seed: int = 0) -> WeightedRandomSampler:
    """Sampler that draws every class equally often, with replacement.

    Parameters
    ----------
    labels : array_like of int, shape (n,)
    num_samples : int, optional
        Draws in an epoch; by default n. Give all arms of a comparison the same number, so that they train equally
        long.
    seed : int

    Raises
    ------
    UsageError
        If `labels` is empty.
    """
    values = np.asarray(labels).reshape(-1)
    if not len(values):
        raise UsageError("no labels to balance; give the labels of a dataset that has samples.")
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return WeightedRandomSampler(
        (1 / counts)[inverse].tolist(),
        num_samples=len(values) if num_samples is None else num_samples,
        generator=torch.Generator().manual_seed(seed),
    )


def world(num_replicas: int | None, rank: int | None) -> tuple[int, int]:
    """Number of processes that train together and which of them this is; what is None as `torch.distributed` says.

    Raises
    ------
    UsageError
        If there is no such process.
    """
    together = distributed.is_available() and distributed.is_initialized()
    replicas = num_replicas if num_replicas is not None else distributed.get_world_size() if together else 1
    which = rank if rank is not None else distributed.get_rank() if together else 0
    if not 0 <= which < replicas:
        raise UsageError(f"process {which} of {replicas}: give a rank from 0 to {replicas - 1}.")
    return replicas, which


def _checked(ratio: float) -> float:
    if not np.isfinite(ratio) or ratio < 0:
        raise UsageError(f"a ratio of {ratio} cannot be mixed; give synthetic samples per real one, as 0.5.")
    return ratio


def _majority(labels: NDArray[np.int64], count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Samples of the most frequent class that give way."""
    values, counts = np.unique(labels, return_counts=True)
    pool = np.flatnonzero(labels == values[np.argmax(counts)])
    if count > len(pool):
        raise UsageError(
            f"{count} synthetic samples cannot replace {len(pool)} real ones of the most frequent class; take a "
            "smaller ratio, or add them (replace=False)."
        )
    return random.permutation(pool)[:count]
