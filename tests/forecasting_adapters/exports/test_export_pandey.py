from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from forecasting_adapters import LeakageError
from forecasting_adapters.exports import export, open_export
from forecasting_adapters.exports.pandey import clean_folds
from sunaug.cube import open_cube
from sunaug.errors import UsageError
from tests.peers import load_module, peer, torchvision
from tests.rare_cubes import TRAINED_ON, generated_cube, make_rare_cube


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pandey")
    return export(make_rare_cube(folder / "rare.zarr", scale="browse"), "pandey", folder / "out")


def test_only_folds_that_do_not_judge_by_days_the_generator_has_seen(exported: Path, tmp_path: Path) -> None:
    assert clean_folds(TRAINED_ON) == [4]
    assert clean_folds([["2012-03-31T22:00", "2012-04-01T00:00"]]) == [2, 3, 4]
    assert clean_folds([["2019-01-01", "2022-01-01"]]) == [1, 2, 3, 4]
    assert clean_folds([]) == []
    assert sorted(one.name for one in exported.glob("*.csv")) == ["Fold4_train.csv"]
    cube = open_cube(exported.parent / "rare.zarr")
    cube.attrs["training_ranges"] = [["2012-01-01", "2013-01-01"]]
    with pytest.raises(LeakageError, match="every fold validates on") as refused:
        export(cube, "pandey", tmp_path / "a")
    assert refused.value.ranges == [("2012-01-01", "2013-01-01")]
    export(cube, "pandey", tmp_path / "b", folds="all")
    assert len(list((tmp_path / "b").glob("Fold*_train.csv"))) == 4
    with pytest.raises(UsageError, match="folds=some"):
        export(cube, "pandey", tmp_path / "c", folds="some")


def test_rows_and_pictures(exported: Path) -> None:
    rows = pd.read_csv(exported / "Fold4_train.csv")
    assert list(rows) == ["label", "goes_class"]
    assert rows["goes_class"].tolist() == [0, 0, 0, 1, 1, 1]
    assert rows["label"][0] == "2031/02/01/SYNTHETIC.m2031.02.01_00.00.00.jpg"
    assert all((exported / channel / one).is_file() for channel in ("aia171", "aia131") for one in rows["label"])
    # Where their labeling.py looks for the month, there is none: it would keep these rows in training.
    months = {f"{month:02d}" for month in range(1, 13)}
    assert not months & set(rows["label"].str[21:23])


def test_frames_come_back_as_a_jpeg_holds_them(exported: Path) -> None:
    cube = open_export(exported)
    assert cube["channel"].values.tolist() == ["aia171", "aia131"]
    assert cube.sizes["x"] == 512
    assert cube.attrs["solar_radius_pixels"] == pytest.approx(206)
    mean = cube["intensity"].mean(("y", "x")).values
    before = open_cube(exported.parent / "rare.zarr")["intensity"]
    ratio = (mean - mean[0]) / (before.mean(("y", "x")).values - before[0].mean(("y", "x")).values + 1e-9)
    assert np.all((ratio[1:] > 0.7) & (ratio[1:] < 1.3))


@pytest.mark.parametrize("repository", ["fulldisk-spatial-analytics", "fulldiskAttention"])
def test_their_own_loader_reads_it(exported: Path, repository: str) -> None:
    path = peer(repository, "modeling/dataloader.py")
    transforms = torchvision().transforms
    theirs = load_module(path)
    theirs.torch = torch  # fulldiskAttention uses it without importing it
    to_tensor = transforms.Compose([transforms.Resize(256), transforms.ToTensor()])
    csv, root = exported / "Fold4_train.csv", exported / "aia131"
    every = theirs.MyJP2Dataset(csv_file=csv, root_dir=root, transform=to_tensor)
    quiet = theirs.NFDataset(csv_file=csv, root_dir=root, transform=to_tensor)
    flaring = theirs.FLDataset(csv_file=csv, root_dir=root, transform=to_tensor)
    assert (len(every), len(quiet), len(flaring)) == (6, 3, 3)
    image, label = every[5]
    assert image.shape == (1, 256, 256)
    assert (str(image.dtype), int(label)) == ("torch.float32", 1)
    assert int(quiet[2][1]) == 0
    stored = open_export(exported)["intensity"].sel(channel="aia131")[5].values
    assert float(image.mean()) == pytest.approx(stored.mean() / 255, abs=0.01)
    # The spot of the north-east: above and left of the middle.
    half = image[0].numpy()
    assert half[64:112, 80:110].mean() > half[144:192, 80:110].mean() + 0.1


def test_their_own_loader_reads_what_the_bundled_generator_makes(tmp_path: Path) -> None:
    path = peer("fulldisk-spatial-analytics", "modeling/dataloader.py")
    transforms = torchvision().transforms
    export(generated_cube(), "pandey", tmp_path / "out", allow_ungated=True)
    frames = load_module(path).FLDataset(
        tmp_path / "out" / "Fold4_train.csv", tmp_path / "out" / "aia171", transforms.ToTensor()
    )
    assert len(frames) == 4
    means = [float(frames[place][0].mean()) for place in range(4)]
    assert all(0.02 < mean < 0.98 for mean in means)
