from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from forecasting_adapters import LeakageError, MixedSolarDataset, SolarDataset, SyntheticSolarDataset, balanced_sampler
from sunaug.cube import open_cube
from sunaug.errors import UsageError
from tests.loader_cubes import SIZE, TRAINED_ON, make_synthetic


def test_the_mixture_keeps_every_real_sample_and_adds_the_ratio(observed: Path, synthetic: Path) -> None:
    real, rare = SolarDataset(observed, "train"), SyntheticSolarDataset(synthetic)
    mixed = MixedSolarDataset(real, rare, 0.5)
    ids = [sample["sample_id"] for sample in mixed]
    assert ids[:6] == [sample["sample_id"] for sample in real]
    assert len(ids) == len(set(ids)) == len(mixed) == 9
    assert mixed[-1]["sample_id"] == ids[-1]
    assert mixed.class_counts() == {
        "real": {"negative": 4, "positive": 2},
        "synthetic": {"negative": 0, "positive": 3},
    }
    assert len(MixedSolarDataset(real, rare, 0)) == 6
    with pytest.raises(IndexError):
        mixed[9]


def test_the_seed_decides_which_synthetic_samples(observed: Path, synthetic: Path) -> None:
    real, rare = SolarDataset(observed, "train"), SyntheticSolarDataset(synthetic)
    ids = [[sample["sample_id"] for sample in MixedSolarDataset(real, rare, 1, seed=seed)] for seed in (4, 4, 5)]
    assert ids[0] == ids[1] != ids[2]


def test_too_few_synthetic_samples(observed: Path, synthetic: Path) -> None:
    with pytest.raises(UsageError, match=r"SYNTHETIC/rare: holds 20 samples.*needs 30.*sunaug generate --n 30"):
        MixedSolarDataset(SolarDataset(observed, "train"), SyntheticSolarDataset(synthetic), 5)
    for ratio in (-1, float("nan")):
        with pytest.raises(UsageError, match="ratio"):
            MixedSolarDataset(SolarDataset(observed, "train"), SyntheticSolarDataset(synthetic), ratio)


def test_another_real_dataset_through_a_mapping(synthetic: Path) -> None:
    tensors = TensorDataset(torch.zeros(4, 2, SIZE, SIZE), torch.tensor([0, 1, 0, 0]))
    rare = SyntheticSolarDataset(synthetic)
    mixed = MixedSolarDataset(tensors, rare, 1, to_sample=lambda item: {"image": item[0], "label": int(item[1])})
    (batch,) = DataLoader(mixed, batch_size=8)
    assert batch["label"].tolist() == mixed.labels.tolist() == [0, 1, 0, 0, 1, 1, 1, 1]
    assert batch["forecast_flux"].isnan().tolist() == [True] * 4 + [False] * 4
    assert batch["sample_id"][0] == "real/000000"
    assert mixed.class_counts()["real"] == {"negative": 3, "positive": 1}
    with pytest.raises(UsageError, match="to_sample="):
        MixedSolarDataset(tensors, rare, 1)


def test_sets_in_each_others_place_are_said_to_be_swapped(observed: Path, synthetic: Path) -> None:
    real, rare = SolarDataset(observed, "train"), SyntheticSolarDataset(synthetic)
    tensors = TensorDataset(torch.zeros(4, 2, SIZE, SIZE), torch.tensor([0, 1, 0, 0]))
    for first, second, said in (
        (rare, real, "the first is the real set, the second the synthetic one; they are swapped"),
        (rare, tensors, "they are swapped"),
        (rare, rare, "both are synthetic"),
        (real, real, "a SyntheticSolarDataset, and not a SolarDataset"),
        (real, str(synthetic), "a SyntheticSolarDataset, and not a str"),
    ):
        with pytest.raises(UsageError, match=said):
            MixedSolarDataset(first, second, 0.5)


def test_samples_that_do_not_fit_together(observed: Path, synthetic: Path, tmp_path: Path) -> None:
    real = SolarDataset(observed, "train")
    for options, what in (
        ({"threshold": "X1"}, "threshold"),
        ({"scaling": "asinh"}, "scaling"),
        ({"label": "nowcast"}, "label"),
        ({"channels": ["aia94", "aia171"]}, "channels"),
    ):
        with pytest.raises(UsageError, match=f"differ in {what}"):
            MixedSolarDataset(real, SyntheticSolarDataset(synthetic, **options), 1)
    small = SyntheticSolarDataset(make_synthetic(tmp_path / "small.zarr", size=4))
    with pytest.raises(UsageError, match=r"\(2, 8, 8\) and synthetic ones \(2, 4, 4\)"):
        MixedSolarDataset(real, small, 1)
    named = SolarDataset(observed, "train", transform=lambda sample: sample | {"region": 11429})
    with pytest.raises(UsageError, match="do not both hold region"):
        MixedSolarDataset(named, SyntheticSolarDataset(synthetic), 1)


def test_the_guard_knows_the_months_held_out(observed: Path, tmp_path: Path) -> None:
    real = SolarDataset(observed, "train")
    seen = SyntheticSolarDataset(
        make_synthetic(tmp_path / "seen.zarr", training_ranges=[*TRAINED_ON, ["2012-10-09", "2012-11-01"]])
    )
    with pytest.raises(
        LeakageError, match=r"SYNTHETIC/seen: .*2012-10-09T00:00:00 to 2012-11-01T00:00:00 \(3 of"
    ) as raised:
        MixedSolarDataset(real, seen, 1)
    assert raised.value.ranges == [("2012-10-09T00:00:00", "2012-11-01T00:00:00")]
    assert len(MixedSolarDataset(real, seen, 0)) == 6
    mixed = MixedSolarDataset(real, seen, 1, allow_leakage=True)
    assert mixed.leakage is not None
    assert "2012-10-09" in mixed.provenance()["leakage"]
    # Evaluated on August only, the generator has seen nothing of it.
    assert MixedSolarDataset(real, seen, 1, evaluation=[SolarDataset(observed, "validation")]).leakage is None


def test_the_guard_takes_datasets_and_times(observed: Path, synthetic: Path) -> None:
    real, rare = SolarDataset(observed), SyntheticSolarDataset(synthetic)
    march = SolarDataset(open_cube(observed).sel(time="2012-03"))
    tensors = TensorDataset(torch.zeros(4, 2, SIZE, SIZE), torch.tensor([0, 1, 0, 0]))
    for evaluation in (march, [march], march.times, [np.array(["2012-09-01"], "datetime64[D]"), march.times]):
        with pytest.raises(LeakageError, match="2012-01-01T00:00:00 to 2012-08-01T00:00:00"):
            MixedSolarDataset(real, rare, 1, evaluation=evaluation)
        with pytest.raises(LeakageError):
            MixedSolarDataset(tensors, rare, 1, evaluation=evaluation)


def test_a_generator_that_does_not_say_what_it_saw_is_refused(observed: Path, tmp_path: Path) -> None:
    unknown = SyntheticSolarDataset(make_synthetic(tmp_path / "unknown.zarr", training_ranges=[]))
    with pytest.raises(LeakageError, match="does not say"):
        MixedSolarDataset(SolarDataset(observed, "train"), unknown, 1)


def test_balanced_sampler_draws_the_classes_equally_often_and_by_seed() -> None:
    labels = np.array([0] * 95 + [1] * 5)
    drawn = list(balanced_sampler(labels, 4000, seed=1))
    assert len(drawn) == 4000
    assert labels[drawn].mean() == pytest.approx(0.5, abs=0.05)
    assert drawn == list(balanced_sampler(labels, 4000, seed=1))
    assert len(balanced_sampler(labels)) == 100
    with pytest.raises(UsageError, match="no labels"):
        balanced_sampler([])
