import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from forecasting_adapters import MixedSolarDataset, SolarDataset, SyntheticSolarDataset, samples
from sunaug.cube import FrameStatus, open_cube
from sunaug.errors import SunaugError, UsageError
from sunaug.scaling import IntensityScaling
from tests.loader_cubes import SIZE, make_observed


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
    monkeypatch.setattr(samples, "_machine_memory", lambda: 1000.0)
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
    assert copy.source._reader is None
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
    with pytest.raises(UsageError, match=r"missing.zarr: no such synthetic cube.*sunaug generate"):
        SyntheticSolarDataset(tmp_path / "missing.zarr")
    with pytest.raises(UsageError, match="is made already; n, seed can be asked of a bundle only"):
        SyntheticSolarDataset(synthetic, n=4, seed=3)
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


def test_images_are_averaged_to_a_smaller_size_before_they_are_scaled(tmp_path: Path) -> None:
    times = np.array(["2012-03-05"], "datetime64[ns]")
    cube = make_observed(tmp_path / "a.zarr", times)
    stored = open_cube(cube)["intensity"].values[0]
    mean = stored.reshape(2, 4, 2, 4, 2).mean((2, 4))
    for kind in ("linear", "asinh"):
        frames = SolarDataset(cube, size=4, scaling=kind)
        np.testing.assert_allclose(frames[0]["image"], frames.scaling.scale(mean), atol=1e-5)
    for size in (3, 16, 0):
        with pytest.raises(UsageError, match=f"frames of 8 pixels cannot become {size}"):
            SolarDataset(cube, size=size)


@pytest.mark.parametrize("kind", ["linear", "log", "asinh"])
def test_every_scaling_gives_what_it_says(observed: Path, kind: str) -> None:
    frames = SolarDataset(observed, scaling=kind)
    stored = open_cube(observed)["intensity"].values[4]
    np.testing.assert_allclose(frames[4]["image"], frames.scaling.scale(stored), atol=1e-6)


def test_a_batch_is_the_samples_one_by_one(observed: Path) -> None:
    for cache in (False, True):
        frames = SolarDataset(observed, cache=cache)
        order = [11, 3, 3, 17, -1, 0]
        for one, index in zip(frames.__getitems__(order), order, strict=True):
            alone = frames[index]
            assert one["sample_id"] == alone["sample_id"]
            assert torch.equal(one["image"], alone["image"])
        with pytest.raises(IndexError, match="sample 18 of 18"):
            frames.__getitems__([0, 18])


def test_frames_in_order_are_read_ahead_and_kept(observed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = SolarDataset(observed)
    expected = [SolarDataset(observed)[index]["image"] for index in range(len(frames))]
    reads: list[int] = []
    read = frames.source.read
    monkeypatch.setattr(frames.source, "read", lambda places, take: (reads.append(len(places)), read(places, take))[1])
    for one, image in zip(frames, expected, strict=True):
        assert torch.equal(one["image"], image)
        one["image"].zero_()
    assert torch.equal(frames[4]["image"], expected[4])
    assert reads == [1, 17]
