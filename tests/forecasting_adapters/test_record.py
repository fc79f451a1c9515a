import csv
import json
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from forecasting_adapters import MixedSampler, MixedSolarDataset, SolarDataset, SyntheticSolarDataset, TrainingRecord
from forecasting_adapters.record import COLUMNS
from sunaug.errors import UsageError


@pytest.fixture
def mixed(observed: Path, synthetic: Path) -> MixedSolarDataset:
    """Six real samples, two of them positive, and twenty synthetic ones."""
    return MixedSolarDataset(SolarDataset(observed, "train"), SyntheticSolarDataset(synthetic))


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_epoch_is_a_line_of_what_the_training_saw(mixed: MixedSolarDataset, tmp_path: Path) -> None:
    sampler = MixedSampler(mixed, ratio=[0, 0.5, 2])
    loader = DataLoader(mixed, batch_size=4, sampler=sampler)
    record = TrainingRecord(tmp_path / "run" / "seen.csv", mixed.provenance())
    for epoch in range(3):
        sampler.set_epoch(epoch)
        assert sum(len(batch["label"]) for batch in record.watch(loader, epoch)) == len(sampler)
    found = lines(tmp_path / "run" / "seen.csv")
    numbers = COLUMNS[:7]
    assert [[float(line[name]) for name in numbers] for line in found] == [
        [0, 6, 4, 2, 0, 0, 0],
        [1, 9, 4, 2, 0, 3, 0.5],
        [2, 18, 4, 2, 0, 12, 2],
    ]
    assert {(line["synthetic"], line["bundle_hash"], line["gate"]) for line in found} == {("rare", "abc", "passed")}
    kept = json.loads((tmp_path / "run" / "seen.json").read_text())
    assert kept["training_ranges"] == [["2012-01-01T00:00:00", "2012-08-01T00:00:00"]]


def test_an_epoch_that_is_left_counts_what_came_before(mixed: MixedSolarDataset, tmp_path: Path) -> None:
    record = TrainingRecord(tmp_path / "seen.csv")
    for number, _ in enumerate(record.watch(DataLoader(mixed, batch_size=2), 0)):
        if number == 1:
            break
    assert lines(tmp_path / "seen.csv")[0]["samples"] == "4"


def test_a_training_that_goes_on_keeps_its_earlier_epochs(mixed: MixedSolarDataset, tmp_path: Path) -> None:
    loader = DataLoader(mixed, batch_size=26)
    for epochs in ((0, 1, 2), (1, 2)):
        record = TrainingRecord(tmp_path / "seen.csv")
        for epoch in epochs:
            list(record.watch(loader, epoch))
    assert [line["epoch"] for line in lines(tmp_path / "seen.csv")] == ["0", "1", "2"]


def test_only_synthetic_samples_have_no_ratio(tmp_path: Path) -> None:
    record = TrainingRecord(tmp_path / "seen.csv")
    record.count({"label": torch.tensor([1, 0]), "synthetic": torch.tensor([True, True])})
    assert record.write(0) == record.write(0) | {
        "samples": 2,
        "real_negative": 0,
        "synthetic_negative": 1,
        "synthetic_positive": 1,
        "ratio": "",
    }


def test_tensorboard(mixed: MixedSolarDataset, tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="no tensorboard")
    record = TrainingRecord(tmp_path / "seen.csv", mixed.provenance(), tensorboard=tmp_path / "board")
    list(record.watch(DataLoader(mixed, batch_size=26), 3))
    board = events.EventAccumulator(str(tmp_path / "board")).Reload()
    (ratio,) = board.Scalars("seen/ratio")
    assert (ratio.step, ratio.value) == (3, pytest.approx(20 / 6, abs=1e-5))
    assert board.Scalars("seen/synthetic_positive")[0].value == 20
    assert b"bundle_hash" in board.Tensors("seen/provenance/text_summary")[0].tensor_proto.string_val[0]


def test_batches_that_do_not_say_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="without label and synthetic"):
        TrainingRecord(tmp_path / "seen.csv").count({"image": torch.zeros(1)})
