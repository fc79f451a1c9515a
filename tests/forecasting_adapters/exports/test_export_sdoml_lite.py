from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forecasting_adapters.exports import export, open_export
from forecasting_adapters.exports.sdoml_lite import LARGEST
from sunaug.calibrate.stretch import STRETCHES
from sunaug.cube import open_cube
from tests.peers import load_module, peer
from tests.rare_cubes import generated_cube, make_rare_cube


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lite")
    cube = make_rare_cube(folder / "rare.zarr", channels=("aia171", "aia94", "aia131"), size=64)
    return export(cube, "sdoml-lite", folder / "out", start="2031-02-01T22:00")


def test_tars_by_day_and_only_channels_whose_largest_value_is_known(exported: Path) -> None:
    assert sorted(one.name for one in exported.glob("*.tar")) == [
        "sdoml-lite-synthetic-2031-02-01.tar",
        "sdoml-lite-synthetic-2031-02-02.tar",
    ]
    assert open_export(exported)["channel"].values.tolist() == ["aia171", "aia131"]


def test_intensities_come_back(exported: Path) -> None:
    back = open_export(exported)["intensity"].values
    assert back.shape == (6, 2, 512, 512)
    before = open_cube(exported.parent / "rare.zarr")["intensity"].sel(channel=["aia171", "aia131"])
    # Scaled from a disk of 28 pixels to one of 203.33: the middle keeps its brightness.
    reach = round(16 * (976 / 4.8) / 28)
    middle = back[:, :, 256 - reach : 256 + reach, 256 - reach : 256 + reach].mean((2, 3))
    np.testing.assert_allclose(middle, before[:, :, 16:48, 16:48].mean(("y", "x")), rtol=0.02)


def test_their_own_loader_reads_it(exported: Path) -> None:
    theirs = load_module(peer("sdoml-lite", "dataset.py"))
    frames = theirs.SDOMLlite(str(exported), channels=["aia_0131", "aia_0171"])
    # It leaves out the last moment of a folder.
    assert len(frames) == 5
    assert frames.dates[:2] == [datetime(2031, 2, 1, 22), datetime(2031, 2, 1, 23)]
    image, date = frames[3]
    assert date == "2031-02-02T01:00:00"
    assert tuple(image.shape) == (2, 512, 512)
    assert str(image.dtype) == "torch.float32"
    stored = open_export(exported)["intensity"][3]
    for plane, channel in zip(image.numpy(), ("aia131", "aia171"), strict=True):
        expected = np.sqrt(4 * stored.sel(channel=channel).values[::-1] / LARGEST[channel])
        np.testing.assert_allclose(plane, expected, atol=1e-6)
        assert plane.min() >= 0
        assert plane.max() <= 1


def test_among_real_tars_it_comes_last(exported: Path, tmp_path: Path) -> None:
    theirs = load_module(peer("sdoml-lite", "dataset.py"))
    for one in exported.glob("*.tar"):
        (tmp_path / one.name).symlink_to(one)
    real = export(
        exported.parent / "rare.zarr", "sdoml-lite", tmp_path / "other", n=2, start="2030-09-30"
    )  # stands for real tars, which are numbered
    (tmp_path / "sdoml-lite-001.tar").symlink_to(next(real.glob("*.tar")))
    frames = theirs.SDOMLlite(str(tmp_path), channels=["aia_0171"])
    assert (frames.date_start, frames.date_end) == (datetime(2030, 9, 30), datetime(2031, 2, 2, 3))
    assert len(frames) == 2 + 5


@pytest.mark.realdata
def test_what_the_bundled_generator_makes_is_as_bright_as_the_sun(tmp_path: Path, real_data: Path) -> None:
    theirs = load_module(peer("sdoml-lite", "dataset.py"))
    out = export(generated_cube(), "sdoml-lite", tmp_path / "out", allow_ungated=True)
    frames = theirs.SDOMLlite(str(out), channels=["aia_0171", "aia_0131"])
    made = np.stack([frames[place][0].numpy()[:, 156:356, 156:356].mean((1, 2)) for place in range(len(frames))])
    real = np.stack([real_levels(path) for path in sorted((real_data / "sdo2012").rglob("*.jpg"))[::400]])
    ratio = made.mean(0) / real.mean(0)
    assert np.all((ratio > 0.6) & (ratio < 1.6))


def real_levels(path: Path) -> np.ndarray:
    """Mean level of a real browse image in 171 and 131 Å, over the middle half of the disk."""
    counts = np.asarray(Image.open(path), dtype=np.float32)[146:326, 146:326, :2]
    levels = [
        np.sqrt(4 * STRETCHES[name].intensity(counts[..., place]) / LARGEST[name])
        for place, name in enumerate(("aia171", "aia131"))
    ]
    return np.mean(levels, axis=(1, 2))
