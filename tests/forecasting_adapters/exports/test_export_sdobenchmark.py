import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from forecasting_adapters.exports import export, open_export
from sunaug.cube import open_cube
from sunaug.errors import UsageError
from tests.peers import load_module, peer
from tests.rare_cubes import FLUXES, generated_cube, make_rare_cube

CHANNELS = ("aia171", "aia131", "hmi_m")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdobenchmark")
    cube = make_rare_cube(folder / "rare.zarr", channels=CHANNELS, size=64)
    return export(cube, "sdobenchmark", folder / "out")


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Their generator from its own code. It needs three names of Keras 2 that open pictures; Pillow opens them here."""
    path = peer("SDOBenchmark", "notebooks/utils/keras_generator.py")
    keras, utils, data_utils = (ModuleType(f"keras{tail}") for tail in ("", ".utils", ".utils.data_utils"))
    preprocessing, image = (ModuleType(f"keras.preprocessing{tail}") for tail in ("", ".image"))
    data_utils.Sequence = object  # type: ignore[attr-defined]
    image.load_img = lambda file, grayscale: Image.open(file).convert("L")  # type: ignore[attr-defined]
    image.img_to_array = lambda one: np.asarray(one, dtype=np.float32)[..., None]  # type: ignore[attr-defined]
    keras.utils, utils.data_utils = utils, data_utils  # type: ignore[attr-defined]
    for module in (keras, utils, data_utils, preprocessing, image):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return load_module(path).SDOBenchmarkGenerator


def test_samples_are_listed_with_their_flux(exported: Path) -> None:
    rows = pd.read_csv(exported / "meta_data.csv", parse_dates=["start", "end"])
    assert list(rows) == ["id", "start", "end", "peak_flux"]
    np.testing.assert_allclose(rows["peak_flux"], np.maximum(FLUXES, 1e-9))
    assert (rows["end"] - rows["start"]).unique().tolist() == [pd.Timedelta(hours=12)]
    assert rows["id"][0] == "SYNTHETIC_2031_02_01_00_10_00_0"
    assert rows["start"][0] == pd.Timestamp("2031-02-01T00:10")
    names = sorted(one.name for one in (exported / "SYNTHETIC" / "2031_02_01_00_10_00_0").iterdir())
    assert names == [f"2031-02-01T120000__{name}.jpg" for name in ("131", "171", "magnetogram")]


def test_frames_come_back_within_the_loss_of_a_jpeg(exported: Path) -> None:
    back = open_export(exported)["intensity"].values
    before = open_cube(exported.parent / "rare.zarr")["intensity"]
    blocks = back.reshape(6, 3, 64, 4, 64, 4).mean((3, 5))
    dex = np.log10(blocks[:, :2] / before.values[:, :2])
    step = np.log10(3500 / 5) / 255
    assert np.abs(dex).mean() < 1.5 * step
    # Their magnetogram ends at 250 gauss.
    gauss = np.clip(before.values[:, 2], -250, 250)
    assert np.abs(back).max() <= 3500.1
    assert np.abs(back[:, 2]).max() <= 250.01
    assert np.corrcoef(blocks[:, 2].ravel(), gauss.ravel())[0, 1] > 0.9


def test_their_own_generator_reads_it(exported: Path, generator: Any) -> None:
    frames = generator(
        str(exported),
        batch_size=2,
        dim=(4, 256, 256, 3),
        channels=["131", "171", "magnetogram"],
        shuffle=False,
        augment=False,
        data_format="channels_first",
    )
    assert len(frames) == 3
    np.testing.assert_allclose(frames.data["peak_flux"], np.maximum(FLUXES, 1e-9))
    images = frames.loadImg(frames.data.index[4])
    assert images.shape == (4, 256, 256, 3)
    assert not images[:3].any()
    stored = open_export(exported)["intensity"][4]
    for place, (channel, low, high) in enumerate((("aia131", 0.7, 1900), ("aia171", 5, 3500))):
        share = np.log10(stored.sel(channel=channel).values[::-1] / low) / np.log10(high / low)
        np.testing.assert_allclose(images[3, :, :, place], 255 * share, atol=0.01)


def test_a_sun_that_stands_still(exported: Path, tmp_path: Path, generator: Any) -> None:
    export(exported.parent / "rare.zarr", "sdobenchmark", tmp_path / "out", n=1, steps="all")
    frames = generator(
        str(tmp_path / "out"), dim=(4, 256, 256, 1), channels=["171"], augment=False, data_format="channels_first"
    )
    images = frames.loadImg(frames.data.index[0])
    assert images[0].any()
    assert all(np.array_equal(images[0], one) for one in images[1:])


def test_unknown_steps_are_refused(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="steps=two: choose last or all"):
        export(exported.parent / "rare.zarr", "sdobenchmark", tmp_path / "out", steps="two")


def test_their_own_generator_reads_what_the_bundled_generator_makes(tmp_path: Path, generator: Any) -> None:
    export(generated_cube(), "sdobenchmark", tmp_path / "out", allow_ungated=True)
    frames = generator(
        str(tmp_path / "out"),
        dim=(4, 256, 256, 3),
        channels=["94", "131", "171"],
        augment=False,
        data_format="channels_first",
    )
    assert (frames.data["peak_flux"] >= 1e-5).all()
    for sample in frames.data.index:
        disk = frames.loadImg(sample)[3, 64:192, 64:192]
        assert np.all((disk.mean((0, 1)) > 2) & (disk.mean((0, 1)) < 253))
