from pathlib import Path

import numpy as np
import pytest

from forecasting_adapters.exports import export, open_export
from forecasting_adapters.exports.files import find_members
from sunaug.cube import open_cube
from sunaug.errors import SunaugError, UsageError
from tests.rare_cubes import FLUXES, generated_cube, make_rare_cube


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("webdataset")
    return export(make_rare_cube(folder / "rare.zarr"), "webdataset", folder / "out", shard=4)


def test_shards_hold_the_frames_bit_by_bit(exported: Path) -> None:
    assert sorted(one.name for one in exported.glob("*.tar")) == ["SYNTHETIC-000000.tar", "SYNTHETIC-000001.tar"]
    back = open_export(exported)["intensity"]
    np.testing.assert_array_equal(back.values, open_cube(exported.parent / "rare.zarr")["intensity"].values)


def test_the_package_itself_reads_it(exported: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    shards = [str(one) for one in sorted(exported.glob("*.tar"))]
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode())
    assert [one["__key__"] for one in samples] == [f"SYNTHETIC_{number:06d}" for number in range(6)]
    assert [one["cls"] for one in samples] == [0, 0, 0, 1, 1, 1]
    stored = open_cube(exported.parent / "rare.zarr")["intensity"].values
    for number, one in enumerate(samples):
        assert one["npy"].dtype == np.float32
        np.testing.assert_array_equal(one["npy"], stored[number])
        assert one["json"]["forecast_flux"] == FLUXES[number]
        assert one["json"]["channels"] == ["aia171", "aia131"]
        assert one["json"]["SYNTHETIC"]


def test_the_package_itself_reads_what_the_bundled_generator_makes(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    cube = generated_cube()
    out = export(cube, "webdataset", tmp_path / "out", allow_ungated=True, threshold="X1")
    samples = list(webdataset.WebDataset(str(out / "SYNTHETIC-000000.tar"), shardshuffle=False).decode())
    np.testing.assert_array_equal(np.stack([one["npy"] for one in samples]), cube["intensity"].values)
    assert [one["cls"] for one in samples] == (cube["forecast_flux"].values >= 1e-4).astype(int).tolist()


def test_wrong_options_and_damaged_shards_are_told(exported: Path, tmp_path: Path) -> None:
    cube = exported.parent / "rare.zarr"
    with pytest.raises(UsageError, match="shard=0"):
        export(cube, "webdataset", tmp_path / "a", shard=0)
    with pytest.raises(UsageError, match="not a GOES class"):
        export(cube, "webdataset", tmp_path / "b", threshold="strong")
    out = export(cube, "webdataset", tmp_path / "c", shard=6)
    shard = out / "SYNTHETIC-000000.tar"
    shard.write_bytes(b"x" * shard.stat().st_size)
    with pytest.raises(SunaugError, match=r"SYNTHETIC-000000.tar: not a tar"):
        open_export(out)


def test_a_sample_that_is_in_no_shard_is_told(tmp_path: Path) -> None:
    with pytest.raises(SunaugError, match=r"a.npy is in none of its tars"):
        find_members(tmp_path, "*.tar", ["a.npy"])
