import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from forecasting_adapters import (
    LeakageError,
    MixedSolarDataset,
    SolarDataset,
    SyntheticSolarDataset,
    balanced_sampler,
    dataset,
)
from sunaug.cube import FrameStatus, create_cube, open_cube, write_frames
from sunaug.errors import SunaugError, UsageError
from sunaug.scaling import IntensityScaling

SIZE = 8
CHANNELS = ("aia171", "aia94")
TRAINED_ON = [["2012-01-01T00:00:00", "2012-08-01T00:00:00"]]


def make_observed(path: Path, times: np.ndarray, **changes: np.ndarray) -> Path:
    """A cube of browse counts that differ from frame to frame; every fifth frame precedes an M5 flare."""
    create_cube(path, channels=CHANNELS, size=SIZE, disk_radius=3.5, intensity_scale="browse", times=times)
    n = len(times)
    frames = {
        "intensity": np.random.default_rng(1).uniform(0, 255, (n, 2, SIZE, SIZE)).astype(np.float32),
        "forecast_flux": np.where(np.arange(n) % 5 == 0, 5e-5, 2e-6),
        "nowcast_flux": np.full(n, 3e-7),
        "frame_status": np.full(n, FrameStatus.COMPLETE, np.int8),
    }
    write_frames(path, 0, frames | changes)
    return path


def make_synthetic(path: Path, n: int = 20, size: int = SIZE, **attrs: object) -> Path:
    create_cube(
        path,
        channels=CHANNELS,
        size=size,
        disk_radius=3.5,
        intensity_scale="browse",
        n_samples=n,
        attrs={"training_ranges": TRAINED_ON, "bundle_hash": "abc", "gate": {"verdict": "passed"}} | attrs,
    )
    frames = {
        "intensity": np.random.default_rng(2).uniform(0, 255, (n, 2, size, size)).astype(np.float32),
        "forecast_flux": np.full(n, 2e-5),
        "nowcast_flux": np.full(n, 1e-6),
        "frame_status": np.full(n, FrameStatus.COMPLETE, np.int8),
        "seed": np.zeros(n, np.int64),
        "draw": np.arange(n),
    }
    write_frames(path, 0, frames)
    return path


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames a day apart in each of March, August and October 2012."""
    starts = np.array(["2012-03-05", "2012-08-05", "2012-10-05"], "datetime64[ns]")
    times = (starts[:, None] + np.arange(6) * np.timedelta64(1, "D")).reshape(-1)
    return make_observed(tmp_path_factory.mktemp("cubes") / "sdo2012.zarr", times)


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_synthetic(tmp_path_factory.mktemp("cubes") / "rare.zarr")


def test_a_sample_is_what_the_cube_holds(observed: Path) -> None:
    frames = SolarDataset(observed)
    sample = frames[5]
    assert set(sample) == {"image", "label", "forecast_flux", "nowcast_flux", "sample_id", "synthetic"}
    stored = open_cube(observed)["intensity"].values[5]
    np.testing.assert_allclose(sample["image"].numpy(), stored / 127.5 - 1, atol=1e-6)
    assert sample["image"].dtype == torch.float32
    assert sample["label"].dtype == torch.int64
    assert sample["forecast_flux"].dtype == torch.float32
    assert sample["synthetic"].dtype == torch.bool
    assert sample["label"] == 1
    assert float(sample["forecast_flux"]) == pytest.approx(5e-5)
    assert sample["sample_id"] == "sdo2012/2012-03-10T00:00:00"
    assert not sample["synthetic"]


def test_splits_and_the_times_held_out(observed: Path) -> None:
    train, validation = SolarDataset(observed, "train"), SolarDataset(observed, "validation")
    assert (len(train), len(validation)) == (6, 6)
    assert train.held_out_times.astype("datetime64[M]").astype(str).tolist() == ["2012-08"] * 6 + ["2012-10"] * 6
    assert len(validation.held_out_times) == 0
    assert validation[0]["sample_id"] == "sdo2012/2012-08-05T00:00:00"
    assert train.class_counts() == {"negative": 4, "positive": 2}


def test_label_and_threshold(observed: Path) -> None:
    assert SolarDataset(observed, threshold="X1").class_counts()["positive"] == 0
    assert SolarDataset(observed, threshold=2e-6).class_counts()["negative"] == 0
    assert SolarDataset(observed, label="nowcast", threshold="B3.0").class_counts()["negative"] == 0
    assert SolarDataset(observed, label="nowcast").class_counts()["positive"] == 0


def test_an_m1_flare_is_one_however_its_flux_was_rounded(tmp_path: Path) -> None:
    times = np.array(["2012-03-05", "2012-03-06", "2012-03-07"], "datetime64[ns]")
    fluxes = np.array([np.nextafter(1e-5, 0), 1e-5, 9.9e-6])
    assert SolarDataset(make_observed(tmp_path / "a.zarr", times, forecast_flux=fluxes)).labels.tolist() == [1, 1, 0]


def test_channels_in_the_order_asked_for_and_scaling(observed: Path) -> None:
    both, one = SolarDataset(observed)[3], SolarDataset(observed, channels=["94 Å"])[3]
    assert torch.equal(one["image"], both["image"][1:])
    turned = SolarDataset(observed, channels=["aia94", "aia171"], cache=True)[3]
    assert torch.equal(turned["image"], both["image"].flip(0))
    scaling = IntensityScaling(kind="linear", low=(0.0, 0.0), high=(510.0, 510.0))
    half = SolarDataset(observed, scaling=scaling)[3]
    torch.testing.assert_close(half["image"], (both["image"] + 1) / 2 - 1)
    assert SolarDataset(observed, scaling="asinh").scaling.kind == "asinh"


def test_frames_that_are_incomplete_or_unlabelled_are_left_out(tmp_path: Path) -> None:
    times = np.datetime64("2012-03-05", "ns") + np.arange(5) * np.timedelta64(2, "h")
    flux = np.array([1e-6, np.nan, 0.0, 1e-6, 5e-5])
    status = np.array([1, 1, 1, FrameStatus.PARTIAL, FrameStatus.REJECTED], np.int8)
    cube = make_observed(tmp_path / "a.zarr", times, forecast_flux=flux, frame_status=status)
    frames = SolarDataset(cube)
    np.testing.assert_array_equal(frames.times, times[[0, 2]])
    np.testing.assert_array_equal(frames[1]["image"], SolarDataset(cube, cache=True)[1]["image"])
    assert len(SolarDataset(cube, label="nowcast")) == 3


def test_no_frame_left_says_so(tmp_path: Path) -> None:
    times = np.array(["2012-03-05"], "datetime64[ns]")
    with pytest.raises(SunaugError, match=r"a.zarr: none of 1 frames .* --flares"):
        SolarDataset(make_observed(tmp_path / "a.zarr", times, forecast_flux=np.array([np.nan])))


@pytest.mark.parametrize("cache", [False, True])
def test_pixels_without_data_have_the_lowest_value(tmp_path: Path, cache: bool) -> None:
    times = np.array(["2012-03-05", "2012-03-06"], "datetime64[ns]")
    intensity = np.full((2, 2, SIZE, SIZE), 100, np.float32)
    intensity[1, 0, 2, 3] = np.nan
    frames = SolarDataset(make_observed(tmp_path / "a.zarr", times, intensity=intensity), cache=cache)
    assert frames[1]["image"][0, 2, 3] == -1
    assert torch.isfinite(frames[1]["image"]).all()


def test_the_cache_holds_what_is_read_and_cannot_be_written_through(observed: Path) -> None:
    lazy, cached = SolarDataset(observed, "validation"), SolarDataset(observed, "validation", cache=True)
    for one, other in zip(lazy, cached, strict=True):
        assert torch.equal(one["image"], other["image"])
    cached[0]["image"].zero_()
    assert torch.equal(lazy[0]["image"], cached[0]["image"])


def test_a_cache_larger_than_the_memory_is_refused(observed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "_machine_memory", lambda: 1000.0)
    with pytest.raises(UsageError, match="use cache=False"):
        SolarDataset(observed, cache=True)


def test_an_opened_cube_is_taken_as_it_is(observed: Path) -> None:
    cube = open_cube(observed)
    march = SolarDataset(cube.sel(time="2012-03"))
    assert len(march) == 6
    changed = cube.assign(intensity=cube["intensity"] * 0)
    for cache in (False, True):
        assert (SolarDataset(changed, cache=cache)[7]["image"] == -1).all()
    october = SolarDataset(cube.sel(time="2012-10"), cache=True)
    assert torch.equal(october[2]["image"], SolarDataset(observed)[14]["image"])


def test_transform_is_applied(observed: Path) -> None:
    frames = SolarDataset(observed, transform=lambda sample: sample | {"image": sample["image"].flip(-1)})
    assert torch.equal(frames[0]["image"], SolarDataset(observed)[0]["image"].flip(-1))


def test_pickling_leaves_the_open_store_behind(observed: Path) -> None:
    frames = SolarDataset(observed)
    before = frames[2]["image"]
    copy = pickle.loads(pickle.dumps(frames))
    assert copy._opened is None
    assert torch.equal(copy[2]["image"], before)


def test_worker_processes_and_the_default_collate(observed: Path, synthetic: Path) -> None:
    real = SolarDataset(observed, "train")
    real[0]  # the store is open here before the workers start
    mixed = MixedSolarDataset(real, SyntheticSolarDataset(synthetic), 1.0)
    expected = [mixed[index] for index in range(len(mixed))]
    (batch,) = DataLoader(mixed, batch_size=12, num_workers=1)
    assert torch.equal(batch["image"], torch.stack([sample["image"] for sample in expected]))
    assert batch["label"].tolist() == mixed.labels.tolist()
    assert batch["sample_id"] == [sample["sample_id"] for sample in expected]
    assert batch["synthetic"].tolist() == [False] * 6 + [True] * 6


def test_synthetic_samples_say_so(synthetic: Path) -> None:
    frames = SyntheticSolarDataset(synthetic, cache=True)
    sample = frames[13]
    assert sample["sample_id"] == "SYNTHETIC/rare/000013"
    assert sample["synthetic"]
    assert sample["label"] == 1
    assert frames.training_ranges == (("2012-01-01T00:00:00", "2012-08-01T00:00:00"),)
    assert frames.bundle_hash == "abc"


def test_sources_that_cannot_be_read(observed: Path, synthetic: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is an observed cube; open it with SolarDataset"):
        SyntheticSolarDataset(observed)
    with pytest.raises(UsageError, match="is a synthetic cube; open it with SyntheticSolarDataset"):
        SolarDataset(synthetic)
    with pytest.raises(UsageError, match="Hugging Face"):
        SyntheticSolarDataset("someone/rare-suns")
    (tmp_path / "bundle.json").write_text("{}")
    with pytest.raises(UsageError, match=r"generator bundle.*sunaug generate"):
        SyntheticSolarDataset(tmp_path)
    with pytest.raises(UsageError, match="no such cube"):
        SolarDataset(tmp_path / "missing.zarr")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "hindcast"}, "unknown label 'hindcast'"),
        ({"threshold": "Q1"}, "not a GOES class"),
        ({"channels": ["aia193"]}, "has the channels aia171, aia94, not aia193"),
        ({"channels": []}, "not none"),
        ({"scaling": IntensityScaling(low=(1.0,), high=(2.0,))}, "scaling has 1 channels, the images have 2"),
        ({"split": "holdout"}, "unknown split"),
    ],
)
def test_wrong_options_are_refused(observed: Path, options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SolarDataset(observed, **options)


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
        LeakageError, match=r"SYNTHETIC/seen: .*2012-10-09T00:00:00 to 2012-11-01T00:00:00 \(2 of"
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
