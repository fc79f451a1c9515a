"""Samples made ahead of the training that takes them, without end or new ones in every epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from forecasting_adapters.generated import GeneratedFrames
from forecasting_adapters.leakage import check_evaluation
from forecasting_adapters.loading import taken_ahead
from forecasting_adapters.samples import Sample, SampleForm, Transform
from forecasting_adapters.sampling import world
from forecasting_adapters.synthetic import generated_frames, open_source
from sunaug.bundle import BUNDLED, Bundle
from sunaug.errors import UsageError
from sunaug.generation import Request
from sunaug.scaling import IntensityScaling

__all__ = ["SyntheticStream"]

_JUDGED = 1024


class SyntheticStream(IterableDataset[Sample]):
    """Samples of a bundle in the order of their numbers, made in blocks ahead of the training.

    With `DataLoader(stream, num_workers=2)` the worker processes make blocks in turn; without workers a thread does,
    which is the way to generate on a GPU while the forecaster trains. An epoch of `n` samples begins where the one
    before ended (`set_epoch`), so that no sample is seen twice.

    Parameters
    ----------
    bundle : Bundle, str or pathlib.Path
        As for `SyntheticSolarDataset`.
    n : int, optional
        Samples in an epoch; without end if left out.
    label, threshold, scaling, channels, transform, size, device, policy, allow_ungated, evaluation, allow_leakage, \
**request
        As for `SyntheticSolarDataset`.
    block : int
        Samples made at a time.
    ahead : int
        Blocks that the thread makes ahead.
    num_replicas, rank : int, optional
        Number of processes that train together, and which of them this is; by default as `torch.distributed` says.

    Attributes
    ----------
    training_ranges, bundle_hash, leakage
        As those of `SyntheticSolarDataset`.

    Raises
    ------
    UsageError
        If `bundle` is none, or an option has an unknown value.
    GateRefused
        If the gate has not passed the samples, unless `allow_ungated`.
    LeakageError
        If the generator was trained on any time of `evaluation`, unless `allow_leakage`.
    """

    def __init__(
        self,
        bundle: str | Path | Bundle = BUNDLED,
        n: int | None = None,
        *,
        label: str = "forecast",
        threshold: str | float = "M1.0",
        scaling: IntensityScaling | str | None = None,
        channels: Sequence[str] | None = None,
        transform: Transform | None = None,
        size: int | None = None,
        device: str | torch.device = "cpu",
        policy: str | Path = "default",
        allow_ungated: bool = False,
        evaluation: Any = (),
        allow_leakage: bool = False,
        block: int = 32,
        ahead: int = 4,
        num_replicas: int | None = None,
        rank: int | None = None,
        **request: Any,
    ) -> None:
        if block < 1 or ahead < 1:
            raise UsageError(f"{ahead} blocks of {block} samples: give one or more of each.")
        found = open_source(bundle)
        if not isinstance(found, Bundle):
            raise UsageError(f"{bundle}: is no bundle, and cannot make samples; read it with SyntheticSolarDataset.")
        self.leakage = check_evaluation(
            found.info.training_ranges, evaluation, source=f"SYNTHETIC/{found.info.name}", allow_leakage=allow_leakage
        )
        asked = Request(n=n if n is not None else _JUDGED, **request)
        self.source: GeneratedFrames = generated_frames(
            found, asked, label, device=device, policy=policy, allow_ungated=allow_ungated
        )
        self.form = SampleForm(
            self.source,
            label=label,
            threshold=threshold,
            scaling=scaling,
            channels=channels,
            size=size,
            transform=transform,
        )
        self.num_replicas, self.rank = world(num_replicas, rank)
        self.n, self.block, self.ahead, self.epoch = n, block, ahead, 0
        self.training_ranges = tuple((start, end) for start, end in found.info.training_ranges)
        self.bundle_hash = found.hash

    def set_epoch(self, epoch: int) -> None:
        """Serve the samples of another epoch from the next iteration on."""
        if self.n is None:
            raise UsageError("a stream without end has no epochs; give n=, the samples of one.")
        self.epoch = epoch

    def __iter__(self) -> Iterator[Sample]:
        worker = get_worker_info()
        if worker is None:
            made = (self._samples(block) for block in self._blocks(self.rank, self.num_replicas))
            return (sample for samples in taken_ahead(made, self.ahead) for sample in samples)
        shard, shards = self.rank * worker.num_workers + worker.id, self.num_replicas * worker.num_workers
        return (sample for block in self._blocks(shard, shards) for sample in self._samples(block))

    def _blocks(self, shard: int, shards: int) -> Iterator[NDArray[np.int64]]:
        """Numbers of the samples of every block that falls to this process."""
        first = self.epoch * (self.n or 0)
        for place in count(shard * self.block, shards * self.block):
            stop = place + self.block if self.n is None else min(place + self.block, self.n)
            if stop <= place:
                return
            yield np.arange(first + place, first + stop)

    def _samples(self, numbers: NDArray[np.int64]) -> list[Sample]:
        images, fluxes = self.form.read(self.source, numbers)
        ids = [f"SYNTHETIC/{self.source.name}/{number:06d}" for number in numbers.tolist()]
        return self.form.samples(images, *fluxes, ids, True)
