from argparse import Namespace
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest

from forecasting_adapters.exports import export, open_export
from forecasting_adapters.exports.flarebench import EXPOSURE_TIMES
from sunaug.errors import SunaugError, UsageError
from tests.peers import peer
from tests.rare_cubes import generated_cube, make_rare_cube

# As its ml/src/experiments/utils/main/config.py has them for fold 3.
PERIODS = {
    "train": [("2011-12-01", "2012-05-31"), ("2012-06-01", "2020-05-31")],
    "val": [("2011-06-01", "2011-11-30"), ("2020-06-01", "2020-11-30")],
    "test": [("2020-12-01", "2022-11-30")],
}
SYNTHETIC_MONTHS = ("2031-02-01", "2031-09-30")
# Another order than theirs.
CHANNELS = tuple(reversed(EXPOSURE_TIMES))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flarebench")
    return export(make_rare_cube(folder / "rare.zarr", channels=CHANNELS), "flarebench", folder / "out", n=4)


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    folder = peer("DeepSWM", "ml/src/data/main/dataset.py").parents[3]
    monkeypatch.syspath_prepend(str(folder))
    import src.data.main.dataset

    return src.data.main.dataset


def arguments(folder: Path) -> Namespace:
    return Namespace(
        fold=3,
        cache_root=str(folder / "cache"),
        features_path=str(folder / "features"),
        dataset={"force_recalc_stats": True, "force_recalc_indices": True},
    )


def test_a_file_for_each_hour_of_a_history(exported: Path) -> None:
    names = sorted(one.name for one in exported.glob("*.h5"))
    assert len(names) == 4 * 4
    assert names[:5] == [f"20310201_{hour:02d}0000.h5" for hour in (3, 4, 5, 6, 15)]
    with h5py.File(exported / names[3]) as now, h5py.File(exported / names[0]) as before:
        assert now["X"].shape == (10, 256, 256)
        assert now["X"].dtype == np.float32
        assert (now["y"][()], now["timestamp"][()]) == (b"O", b"20310201_060000")
        assert before["timestamp"][()] == b"20310201_030000"
        np.testing.assert_array_equal(now["X"][:], before["X"][:])
        assert not now["X"][9].any()
        assert "SYNTHETIC" in now.attrs


def test_intensities_come_back_in_the_order_of_the_cube(exported: Path) -> None:
    back = open_export(exported)["intensity"]
    assert back["channel"].values.tolist() == list(CHANNELS)
    with h5py.File(exported / "20310201_180000.h5") as file:
        for place, (name, seconds) in enumerate(EXPOSURE_TIMES.items()):
            np.testing.assert_allclose(back.sel(channel=name)[1].values, file["X"][place] / seconds, rtol=1e-6)


def test_their_own_loader_reads_it(exported: Path, theirs: ModuleType, tmp_path: Path) -> None:
    frames = theirs.SolarFlareDatasetWithFeatures(
        str(exported), [*PERIODS["train"], SYNTHETIC_MONTHS], split="train", args=arguments(tmp_path)
    )
    # One history for each sample: hours of different samples do not follow each other.
    assert len(frames) == 4
    assert frames.labels == [1] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    history, features, label = frames[3]
    assert (tuple(history.shape), str(history.dtype)) == ((4, 10, 256, 256), "torch.float32")
    assert tuple(features.shape) == (672, 128)
    assert label.tolist() == [0, 0, 1, 0]
    stored = open_export(exported)["intensity"]
    frame_means = stored.sel(channel="aia193").mean(("y", "x")).values * EXPOSURE_TIMES["aia193"]
    assert frames.means[3] == pytest.approx(frame_means.mean(), rel=1e-4)
    expected = (frame_means[3] - frame_means.mean()) / frame_means.std()
    assert float(history[:, 3].mean()) == pytest.approx(expected, abs=0.01)
    assert abs(float(history.mean())) < 2


def test_no_synthetic_file_falls_into_a_published_period(exported: Path, theirs: ModuleType, tmp_path: Path) -> None:
    train = theirs.SolarFlareDatasetWithFeatures(
        str(exported), PERIODS["train"], split="train", args=arguments(tmp_path)
    )
    assert len(train) == 0
    for split in ("val", "test"):
        frames = theirs.SolarFlareDatasetWithFeatures(
            str(exported), PERIODS[split], split=split, args=arguments(tmp_path)
        )
        assert len(frames) == 0


def test_a_cube_that_lacks_channels_is_refused(tmp_path: Path) -> None:
    names = [one for one in CHANNELS if one not in ("aia1600", "aia4500")]
    with pytest.raises(UsageError, match=r"rare: lacks aia1600, aia4500 and HMI, .* absent=zero"):
        export(make_rare_cube(tmp_path / "rare.zarr", channels=tuple(names)), "flarebench", tmp_path / "out")


def test_their_own_loader_drops_a_cube_that_lacks_channels(theirs: ModuleType, tmp_path: Path) -> None:
    out = export(generated_cube(), "flarebench", tmp_path / "out", allow_ungated=True, absent="zero", n=1)
    frames = theirs.SolarFlareDatasetWithFeatures(str(out), [SYNTHETIC_MONTHS], split="train", args=arguments(tmp_path))
    assert len(frames.data_indices) == 4
    assert len(frames) == 0


def test_wrong_options_and_damaged_files_are_told(exported: Path, tmp_path: Path) -> None:
    cube = exported.parent / "rare.zarr"
    with pytest.raises(UsageError, match="history_hours=7: give 0 to 6"):
        export(cube, "flarebench", tmp_path / "a", history_hours=7)
    with pytest.raises(UsageError, match="absent=noise: choose refuse or zero"):
        export(cube, "flarebench", tmp_path / "b", absent="noise")
    out = export(cube, "flarebench", tmp_path / "c", n=1, history_hours=0)
    (path,) = out.glob("*.h5")
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(SunaugError, match=r"20310201_060000\.h5: missing, or not one of FlareBench's files"):
        open_export(out)["intensity"][0].load()
