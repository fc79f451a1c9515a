"""Lightning's data module and callback (extra ``lightning``)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch.utils.data import DataLoader

from forecasting_adapters.dataset import SolarDataset
from forecasting_adapters.mixing import MixedSolarDataset
from forecasting_adapters.record import TrainingRecord
from forecasting_adapters.samples import Sample
from forecasting_adapters.sampling import MixedSampler, Schedule
from forecasting_adapters.synthetic import SyntheticSolarDataset
from sunaug.bundle import Bundle
from sunaug.errors import UsageError
from sunaug.torchvision_import import import_torchvision

with suppress(ImportError):
    # Lightning imports torchmetrics, and that torchvision where it is installed.
    import_torchvision()
try:
    from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
except ImportError:
    raise UsageError("Lightning is not installed: pip install 'sunaug[lightning]'.") from None

__all__ = ["RecordCallback", "SolarDataModule"]


class SolarDataModule(LightningDataModule):
    """Training, validation and test of a forecaster, as the splits of a cube say, synthetic samples in training alone.

    The guard knows the cube's validation and test months: a generator that has seen any of them is refused.

    Parameters
    ----------
    cube : str, pathlib.Path or xarray.Dataset
        An observed cube with the splits train, validation and test.
    synthetic : str, pathlib.Path, xarray.Dataset or Bundle, optional
        As the source of `SyntheticSolarDataset`; without it the training is on real frames only.
    ratio, fill, replace
        How the training is mixed, anew in each epoch, see `Mixture`.
    batch_size, num_workers : int
    seed : int
        Of mixture and order.
    frames : mapping, optional
        Options of both datasets: ``label``, ``threshold``, ``scaling``, ``channels``, ``size``, ``cache``.
    source_options : mapping, optional
        More options of `SyntheticSolarDataset`: ``n``, ``rare``, ``allow_ungated``, ...
    evaluation : optional
        More that the forecaster will be judged on, as for `MixedSolarDataset`: the name of a published split, times.
    allow_leakage : bool
        Mix in spite of the guard; `provenance` then says so.

    Attributes
    ----------
    train, validation, test : dataset
        After `setup`.

    Raises
    ------
    UsageError
        If a mixture is given without `synthetic`, or the other way round.

    Examples
    --------
    >>> data = SolarDataModule("sdo2012.zarr", "rare.zarr", ratio=[0, 0.1, 0.2])
    >>> trainer = Trainer(max_epochs=3, reload_dataloaders_every_n_epochs=1, callbacks=[RecordCallback("run/seen.csv")])
    >>> trainer.fit(model, data)
    """

    def __init__(
        self,
        cube: str | Path | xr.Dataset,
        synthetic: str | Path | xr.Dataset | Bundle | None = None,
        *,
        ratio: Schedule | None = None,
        fill: int | Mapping[int, int] | None = None,
        replace: bool = False,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
        frames: Mapping[str, Any] | None = None,
        source_options: Mapping[str, Any] | None = None,
        evaluation: Any = (),
        allow_leakage: bool = False,
    ) -> None:
        super().__init__()
        if (synthetic is None) != (ratio is None and fill is None):
            raise UsageError(
                "give synthetic= and, as ratio= or fill=, how much of it; or neither for real frames only."
            )
        self.cube, self.synthetic_source = cube, synthetic
        self.ratio, self.fill, self.replace = ratio, fill, replace
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.frames, self.source_options = dict(frames or {}), dict(source_options or {})
        self.evaluation = [evaluation] if isinstance(evaluation, str) else list(evaluation)
        self.allow_leakage = allow_leakage
        self.train: SolarDataset | MixedSolarDataset | None = None
        self.validation: SolarDataset | None = None
        self.test: SolarDataset | None = None

    def setup(self, stage: str | None = None) -> None:
        """Open the splits that a stage needs.

        Raises
        ------
        LeakageError
            If the generator has seen times of validation or test, unless `allow_leakage`.
        GateRefused
            If the gate has not passed the synthetic samples.
        """
        if stage in (None, "fit") and self.train is None:
            self.train = self._training()
        if stage in (None, "fit", "validate") and self.validation is None:
            self.validation = SolarDataset(self.cube, "validation", **self.frames)
        if stage in (None, "test") and self.test is None:
            self.test = SolarDataset(self.cube, "test", **self.frames)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Shuffled batches of real and synthetic samples, other synthetic ones in each epoch.

        Raises
        ------
        UsageError
            If epochs differ in length and the trainer would not notice.
        """
        assert self.train is not None
        if not isinstance(self.train, MixedSolarDataset):
            return self._loader(self.train, shuffle=True, generator=torch.Generator().manual_seed(self.seed))
        sampler = MixedSampler(self.train, ratio=self.ratio, fill=self.fill, replace=self.replace, seed=self.seed)
        if self.trainer is not None:
            every = self.trainer.reload_dataloaders_every_n_epochs  # type: ignore[attr-defined]
            if sampler.mixture.changes_length and every != 1:
                raise UsageError(
                    "with a schedule epochs differ in length, and Lightning counts batches once: give "
                    "Trainer(reload_dataloaders_every_n_epochs=1), or replace=True."
                )
            sampler.set_epoch(self.trainer.current_epoch)
        return self._loader(self.train, sampler=sampler)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Real frames of the validation months, in order."""
        return self._loader(self.validation)

    def test_dataloader(self) -> DataLoader[Sample]:
        """Real frames of the test months, in order."""
        return self._loader(self.test)

    def provenance(self) -> dict[str, Any]:
        """What a forecaster trained on this has seen, ready for JSON; empty without synthetic samples."""
        if not isinstance(self.train, MixedSolarDataset):
            return {}
        loader = self.train_dataloader()
        assert isinstance(loader.sampler, MixedSampler)
        return self.train.provenance() | {"mixture": loader.sampler.provenance()}

    def _training(self) -> SolarDataset | MixedSolarDataset:
        real = SolarDataset(self.cube, "train", **self.frames)
        if self.synthetic_source is None:
            return real
        synthetic = SyntheticSolarDataset(self.synthetic_source, **self.frames, **self.source_options)
        return MixedSolarDataset(
            real,
            synthetic,
            seed=self.seed,
            evaluation=[real.held_out_times, *self.evaluation],
            allow_leakage=self.allow_leakage,
        )

    def _loader(self, dataset: Any, **options: Any) -> DataLoader[Sample]:
        return DataLoader(dataset, batch_size=self.batch_size, num_workers=self.num_workers, **options)


class RecordCallback(Callback):
    """Writes down what a training saw, see `TrainingRecord`.

    Parameters
    ----------
    path : str or pathlib.Path
        CSV file.
    tensorboard : optional
        As of `TrainingRecord`.
    """

    def __init__(self, path: str | Path, *, tensorboard: Any = None) -> None:
        self.record = TrainingRecord(path, tensorboard=tensorboard)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the provenance from the data module."""
        module = getattr(trainer, "datamodule", None)
        if isinstance(module, SolarDataModule):
            self.record.provenance = module.provenance()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Mapping[str, Any], batch_idx: int
    ) -> None:
        """Count a batch."""
        self.record.count(batch)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the epoch down."""
        self.record.write(trainer.current_epoch)
