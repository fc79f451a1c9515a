from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecasting_adapters.exports import export, open_export
from sunaug.cube import open_cube
from sunaug.errors import UsageError
from tests.peers import torchvision
from tests.rare_cubes import FLUXES, generated_cube, make_rare_cube

THREE = ("aia171", "aia131", "aia94")


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_rare_cube(tmp_path_factory.mktemp("folder") / "rare.zarr", channels=THREE)


def test_the_manifest_says_what_each_picture_is(cube: Path, tmp_path: Path) -> None:
    out = export(cube, "folder", tmp_path / "out")
    rows = pd.read_csv(out / "manifest.csv", parse_dates=["time"])
    assert rows["number"].tolist() == list(range(6))
    np.testing.assert_array_equal(rows["forecast_flux"], FLUXES)
    assert rows["forecast_class"].tolist() == ["quiet", "B4.0", "C9.9", "M1.0", "M3.0", "X13.0"]
    assert rows["class"].tolist() == ["negative"] * 3 + ["positive"] * 3
    assert rows["file"][5] == "train/positive/SYNTHETIC_000005.png"
    assert all((out / name).is_file() for name in rows["file"])
    assert (rows["time"] == open_export(out)["time"].values).all()


@pytest.mark.parametrize(("bits", "levels"), [(8, 255), (16, 65535)])
def test_intensities_come_back_within_half_a_level(cube: Path, tmp_path: Path, bits: int, levels: int) -> None:
    out = export(cube, "folder", tmp_path / "out", bits=bits)
    dex = np.log10(open_export(out)["intensity"].values / open_cube(cube)["intensity"].values)
    widest = np.log10(340 / 0.1)
    assert np.abs(dex).max() < 0.51 * widest / levels + 1e-6


def test_other_classes(cube: Path, tmp_path: Path) -> None:
    letters = export(cube, "folder", tmp_path / "letters", classes="letters")
    assert sorted(one.name for one in (letters / "train").iterdir()) == ["B", "C", "M", "X", "quiet"]
    x_class = export(cube, "folder", tmp_path / "x", classes="X10")
    assert [one.name for one in (x_class / "train" / "positive").iterdir()] == ["SYNTHETIC_000005.png"]
    open_export(letters)["intensity"][3].load()
    with pytest.raises(UsageError, match="not a GOES class"):
        export(cube, "folder", tmp_path / "a", classes="strong")
    with pytest.raises(UsageError, match="bits=12"):
        export(cube, "folder", tmp_path / "b", bits=12)


def test_image_folder_reads_three_channels_as_colours(cube: Path, tmp_path: Path) -> None:
    datasets, transforms = torchvision().datasets, torchvision().transforms
    out = export(cube, "folder", tmp_path / "out")
    frames = datasets.ImageFolder(str(out / "train"), transforms.ToTensor())
    assert frames.classes == ["negative", "positive"]
    assert frames.targets == [0, 0, 0, 1, 1, 1]
    image, label = frames[4]
    assert (tuple(image.shape), str(image.dtype), label) == ((3, 32, 32), "torch.float32", 1)
    stored = open_cube(cube)["intensity"].values[4][:, ::-1]
    low, high = (np.array(one)[:, None, None] for one in ((5, 0.7, 0.1), (8600, 1900, 340)))
    expected = np.log10(stored / low) / np.log10(high / low)
    assert np.abs(image.numpy() - expected).max() < 0.51 / 255


def test_two_channels_are_two_trees(tmp_path: Path) -> None:
    datasets = torchvision().datasets
    path = make_rare_cube(tmp_path / "two.zarr", channels=("aia171", "aia94"), scale="browse")
    out = export(path, "folder", tmp_path / "out")
    for channel in ("aia171", "aia94"):
        assert len(datasets.ImageFolder(str(out / channel / "train"))) == 6
    difference = open_export(out)["intensity"].values - open_cube(path)["intensity"].values
    assert np.abs(difference).max() <= 0.5


def test_image_folder_reads_what_the_bundled_generator_makes(tmp_path: Path) -> None:
    datasets, transforms = torchvision().datasets, torchvision().transforms
    samples = generated_cube()
    out = export(samples, "folder", tmp_path / "out", allow_ungated=True)
    (tmp_path / "out" / "train" / "negative").mkdir()
    frames = datasets.ImageFolder(str(out / "train"), transforms.ToTensor(), allow_empty=True)
    means = np.array([frames[place][0].mean((1, 2)).numpy() for place in range(4)])
    expected = np.clip(samples["intensity"].values, 0, 255).mean((2, 3)) / 255
    np.testing.assert_allclose(means, expected, atol=0.5 / 255)
