import csv
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from forecasting_adapters import LeakageError, MixedSampler
from sunaug.errors import GateRefused, UsageError
from tests.loader_cubes import CHANNELS, SIZE, make_synthetic

if importlib.util.find_spec("lightning") is None:
    pytest.skip("the data module needs the extra lightning", allow_module_level=True)

from forecasting_adapters.lightning import LightningModule, RecordCallback, SolarDataModule, Trainer


class Forecaster(LightningModule):
    """One layer; keeps the names of what it was validated and tested on."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(len(CHANNELS) * SIZE**2, 1)
        self.judged_on: dict[str, set[str]] = {"validation": set(), "test": set()}

    def training_step(self, batch: dict[str, Any], number: int) -> torch.Tensor:
        logits = self.layer(batch["image"].flatten(1)).squeeze(1)
        return binary_cross_entropy_with_logits(logits, batch["label"].float())

    def validation_step(self, batch: dict[str, Any], number: int) -> None:
        self.judged_on["validation"] |= set(batch["sample_id"])

    def test_step(self, batch: dict[str, Any], number: int) -> None:
        self.judged_on["test"] |= set(batch["sample_id"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def trainer(folder: Path, **options: Any) -> Trainer:
    return Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )


def test_synthetic_samples_are_in_training_alone(observed: Path, synthetic: Path, tmp_path: Path) -> None:
    data = SolarDataModule(observed, synthetic, ratio=[0, 1.5], batch_size=4, seed=2)
    forecaster = Forecaster()
    seen = tmp_path / "seen.csv"
    fitting = trainer(tmp_path, max_epochs=2, callbacks=[RecordCallback(seen)], reload_dataloaders_every_n_epochs=1)
    fitting.fit(forecaster, data)
    fitting.test(forecaster, data, verbose=False)
    with seen.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["real_negative"], line["real_positive"], line["synthetic_positive"]) for line in lines] == [
        ("4", "2", "0"),
        ("4", "2", "9"),
    ]
    assert {line["bundle_hash"] for line in lines} == {"abc"}
    months = {split: {name.partition("/")[2][:7] for name in names} for split, names in forecaster.judged_on.items()}
    assert months == {"validation": {"2012-08"}, "test": {"2012-10"}}
    assert data.provenance()["mixture"]["ratio"] == [0, 1.5]


def test_a_schedule_that_lightning_would_cut_short(observed: Path, synthetic: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="reload_dataloaders_every_n_epochs=1"):
        trainer(tmp_path, max_epochs=1).fit(Forecaster(), SolarDataModule(observed, synthetic, ratio=[0, 1.5]))
    data = SolarDataModule(observed, synthetic, ratio=[0, 0.5], replace=True)
    seen = tmp_path / "seen.csv"
    trainer(tmp_path, max_epochs=2, callbacks=[RecordCallback(seen)]).fit(Forecaster(), data)
    with seen.open(newline="") as file:
        assert [line["samples"] for line in csv.DictReader(file)] == ["6", "6"]


def test_real_frames_only(observed: Path, tmp_path: Path) -> None:
    data = SolarDataModule(observed, frames={"channels": ["aia94"], "size": 4})
    data.setup()
    (batch,) = data.train_dataloader()
    assert batch["image"].shape == (6, 1, 4, 4)
    assert data.provenance() == {}
    assert [len(dataset) for dataset in (data.train, data.validation, data.test)] == [6, 6, 6]


def test_the_guard_knows_validation_and_test_of_the_cube(observed: Path, synthetic: Path, tmp_path: Path) -> None:
    for month in ("08", "10"):
        ranges = [[f"2012-{month}-01", f"2012-{month}-31"]]
        cube = make_synthetic(tmp_path / f"{month}.zarr", training_ranges=ranges)
        with pytest.raises(LeakageError, match=f"2012-{month}-01T00:00:00"):
            SolarDataModule(observed, cube, ratio=1).setup("fit")
        data = SolarDataModule(observed, cube, ratio=1, allow_leakage=True)
        data.setup("fit")
        assert data.provenance()["leakage_allowed"]
    with pytest.raises(LeakageError, match="SDO-FM"):
        SolarDataModule(observed, synthetic, ratio=1, evaluation="sdofm").setup("fit")


def test_a_cube_that_the_gate_has_not_passed(observed: Path, tmp_path: Path) -> None:
    cube = make_synthetic(tmp_path / "rare.zarr", gate={"verdict": "refused"})
    with pytest.raises(GateRefused):
        SolarDataModule(observed, cube, ratio=1).setup("fit")
    SolarDataModule(observed, cube, ratio=1, source_options={"allow_ungated": True}).setup("fit")


def test_half_of_what_a_mixture_needs(observed: Path, synthetic: Path) -> None:
    for options in ({"synthetic": synthetic}, {"ratio": 0.5}, {"fill": 3}):
        with pytest.raises(UsageError, match="give synthetic= and, as ratio= or fill="):
            SolarDataModule(observed, **options)


def test_lightning_leaves_the_sampler_alone_in_several_processes(observed: Path, synthetic: Path) -> None:
    data = SolarDataModule(observed, synthetic, fill={1: 10})
    data.setup("fit")
    sampler = data.train_dataloader().sampler
    assert isinstance(sampler, MixedSampler)
    # What Lightning looks for before it would put its own in place.
    assert isinstance(sampler, torch.utils.data.DistributedSampler)
    assert len(sampler) == 14
