"""SDOML exports through the dataset classes of SDO-FM, sdofmv2 and sdo-cli, run from their own code.

Their packages import much that a dataset does not need, so that each module is loaded by itself into an empty package.
They were written for zarr-python 2, where a local store was called DirectoryStore; sdofmv2's loguru is replaced by
Python's logging where it is not installed.
"""

from __future__ import annotations

import logging
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import zarr

from forecasting_adapters.exports import export, open_export
from sunaug.cube import open_cube
from sunaug.sources import RejectedFile, sdoml
from tests.exported import FLUXES, generated, synthetic_cube
from tests.peers import import_torchvision, peer

CHANNELS = {"131A": "aia131", "171A": "aia171", "94A": "aia94"}
N = 17
"""More than a chunk of 15."""


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    return synthetic_cube(tmp_path_factory.mktemp("cube") / "rare.zarr", n=N)


@pytest.fixture(scope="module")
def store(cube, tmp_path_factory):
    return export(cube, "sdoml", tmp_path_factory.mktemp("sdoml") / "sdomlv2.zarr")


@pytest.fixture(scope="module")
def written(store):
    """The images as our own reader has them, by SDOML's names."""
    cube = open_export(store, verify=True)
    return {theirs: cube["intensity"].sel(channel=ours).values for theirs, ours in CHANNELS.items()}


def _load(monkeypatch, root, module, replaced=()):
    """A module of a package without the rest of the package; `replaced` are pieces of its text."""
    *parents, _ = module.split(".")
    for depth in range(1, len(parents) + 1):
        package = ModuleType(".".join(parents[:depth]))
        package.__path__ = [str(root.joinpath(*parents[:depth]))]
        monkeypatch.setitem(sys.modules, package.__name__, package)
    path = root.joinpath(*module.split(".")).with_suffix(".py")
    text = path.read_text()
    for old, new in replaced:
        text = text.replace(old, new)
    loaded = ModuleType(module)
    loaded.__package__ = ".".join(parents)
    exec(compile(text, str(path), "exec"), loaded.__dict__)
    return loaded


def _sdofm(monkeypatch, store, **settings):
    import_torchvision()
    pytest.importorskip("lightning")
    # Quotes within quotes of an f-string, in its data module, need Python 3.12.
    quotes = [('.replace(" ", "")', ".replace(' ', '')")]
    module = _load(monkeypatch, peer("SDO-FM"), "sdofm.datasets.SDOML", quotes)
    index = pd.read_csv(store / "train_index.csv", parse_dates=["Time"], index_col="Time")
    return module.SDOMLDataset(
        index,
        None,
        zarr.open_group(store, mode="r"),
        None,
        components=None,
        wavelengths=sorted(CHANNELS),
        ions=None,
        freq="12min",
        **settings,
    )


def test_sdofm_trains_on_it_and_never_validates_or_tests(monkeypatch, store, written):
    split = {"train": [2, 3, 4, 5, 6, 7, 8, 9], "validation": [10, 1], "test": [11, 12]}
    found = {name: _sdofm(monkeypatch, store, months=months) for name, months in split.items()}
    assert {name: len(one) for name, one in found.items()} == {"train": N, "validation": 0, "test": 0}
    images = found["train"][16]
    assert (images.shape, images.dtype) == ((3, 1, 512, 512), np.float32)
    for row, name in enumerate(sorted(CHANNELS)):
        np.testing.assert_array_equal(images[row, 0], written[name][16])


def test_sdofm_gets_the_keywords_of_each_frame(monkeypatch, store):
    dataset = _sdofm(monkeypatch, store, months=[2], get_header=True, drop_frame_dim=True)
    images, headers = dataset[4]
    assert images.shape == (3, 512, 512)
    (header,) = headers["171A"]
    assert (header["SYNTHET"], header["SAMPLE"], header["FORFLUX"]) == (True, 4, FLUXES[4])
    assert (header["TELESCOP"], header["WAVELNTH"], header["NOWFLUX"]) == ("sunaug", 171, None)


def _sdofmv2(monkeypatch):
    import_torchvision()
    pytest.importorskip("lightning")
    try:
        import loguru  # noqa: F401
    except ImportError:
        stand_in = ModuleType("loguru")
        stand_in.logger = logging.getLogger("sdofmv2")
        monkeypatch.setitem(sys.modules, "loguru", stand_in)
    root = peer("sdofmv2", "src")
    # sdofmv2.utils itself would import the whole package.
    _load(monkeypatch, root, "sdofmv2.utils.constants")
    constants = [("from ..utils import", "from ..utils.constants import")]
    return _load(monkeypatch, root, "sdofmv2.core.datamodule", constants)


def test_sdofmv2_reads_it_by_our_index(monkeypatch, store, written):
    module = _sdofmv2(monkeypatch)
    index = module.SDOMLDataModule._load_aligndata(None, str(store / "train_index.csv"))
    dataset = module.SDOMLDataset(
        index,
        None,
        zarr.open_group(store, mode="r"),
        None,
        components=None,
        wavelengths=sorted(CHANNELS),
        ions=None,
        normalization=SimpleNamespace(enabled=False),
        drop_frame_dim=True,
    )
    assert len(dataset) == N
    images, time = dataset[15]
    assert (tuple(images.shape), images.dtype) == ((3, 512, 512), torch.float32)
    assert index.index[15] == pd.Timestamp("2031-02-01T03:00")
    assert time == index.index.astype("int")[15]
    for row, name in enumerate(sorted(CHANNELS)):
        np.testing.assert_array_equal(images[row], written[name][15])


def _sdo_cli(monkeypatch):
    import_torchvision()
    pytest.importorskip("pytorch_lightning")
    # As zarr-python 2 called what opens a folder; a cache in front of it is not needed.
    monkeypatch.setattr(zarr, "DirectoryStore", zarr.storage.LocalStore, raising=False)
    monkeypatch.setattr(zarr, "LRUStoreCache", lambda store, max_size: store, raising=False)
    monkeypatch.setattr(zarr.Group, "tree", lambda self: "", raising=False)
    return _load(monkeypatch, peer("sdo-cli", "src"), "sdo.sood.data.sdo_ml_v2_dataset")


def _sdo_cli_dataset(module, store, channel, **settings):
    asked = dict.fromkeys(
        ("start", "end", "freq", "irradiance", "irradiance_channel", "goes_cache_dir", "transforms", "obs_times")
    )
    fixed = {"storage_driver": "fs", "year": "2031", "cache_max_size": 2**20, "reduce_memory": False}
    return module.SDOMLv2NumpyDataset(storage_root=str(store), channel=channel, **fixed, **(asked | settings))


def test_sdo_cli_reads_it(monkeypatch, store, written):
    module = _sdo_cli(monkeypatch)
    for name in CHANNELS:
        dataset = _sdo_cli_dataset(module, store, name)
        assert len(dataset) == N
        image, attributes = dataset[16]
        assert (tuple(image.shape), image.dtype) == ((1, 512, 512), torch.float32)
        np.testing.assert_array_equal(image[0], written[name][16])
        assert attributes["T_OBS"] == "2031-02-01T03:12:00.000000Z"
        assert attributes["SYNTHET"] is True
    late = _sdo_cli_dataset(module, store, "171A", start="2031-02-01T03:00:00Z")
    assert len(late) == 2


def test_samples_of_the_generator_lie_within_sdo_cli_s_table(monkeypatch, tmp_path):
    module = _sdo_cli(monkeypatch)
    store = export(generated(), "sdoml", tmp_path / "sdoml.zarr", split="none", allow_ungated=True)
    for name in CHANNELS:
        transforms = module.get_default_transforms(target_size=256, channel=name)
        dataset = _sdo_cli_dataset(module, store, name, transforms=transforms)
        images = torch.stack([dataset[place][0] for place in range(len(dataset))])
        assert images.shape == (12, 1, 256, 256)
        # Its range is [-1, 1]: no channel stands at an end of it.
        assert -0.95 < images.mean() < 0.95
        assert images.std() > 0.05


def test_the_store_is_laid_out_as_sdoml_s(store):
    group = zarr.open_group(store, mode="r", zarr_format=2)
    assert sorted(group["2031"].array_keys()) == sorted(CHANNELS)
    array = group["2031/171A"]
    assert (array.shape, array.chunks, array.dtype) == ((N, 512, 512), (15, 512, 512), np.float32)
    assert all(key.isupper() and len(values) == N for key, values in array.attrs.items())
    assert "EXPTIME" not in array.attrs
    assert array.attrs["T_OBS"][0] == "2031-02-01T00:00:00.000000Z"


def test_frames_of_two_years_and_of_hmi(tmp_path):
    channels = ["hmi_bz", "aia171"]
    path = synthetic_cube(tmp_path / "two.zarr", n=3, channels=["hmi_m", *channels], intensity_scale="physical")
    out = export(path, "sdoml", tmp_path / "out.zarr", start="2031-09-30T23:50", border="missing")
    group = zarr.open_group(out, mode="r", zarr_format=2)
    assert group["2031/Bz"].shape == (1, 512, 512)
    assert group["2032/Bz"].shape == (2, 512, 512)
    assert group["2032/Bz"].attrs["T_OBS"][1].endswith("_TAI")
    assert (group["2032/Bz"].attrs["PIXLUNIT"], group["2031/171A"].attrs["PIXLUNIT"]) == (["Gauss"] * 2, ["DN/s"])
    opened = open_export(out)
    assert opened.attrs["export"]["warnings"][0].startswith("upsampled 14.5 times")
    np.testing.assert_array_equal(opened["channel"], channels)
    assert not opened["intensity"][:, :, 0].values.any()
    before = open_cube(path)["intensity"].sel(channel=channels)
    middle = slice(240, 272)
    means = opened["intensity"][:, :, middle, middle].mean(("y", "x"))
    np.testing.assert_allclose(means, before[:, :, 15:17, 15:17].mean(("y", "x")), rtol=0.25)


def test_a_killed_export_goes_on_after_its_last_chunk(cube, store, tmp_path):
    class Killed(BaseException):
        pass

    def die(done):
        if done == 16:
            raise Killed

    with pytest.raises(Killed):
        export(cube, "sdoml", tmp_path / "out.zarr", report=die)
    chunk = tmp_path / "out.zarr.partial" / "2031" / "171A" / "0.0.0"
    made = chunk.stat().st_mtime_ns
    assert all(isinstance(one, RejectedFile) for one in sdoml.refer(tmp_path / "out.zarr.partial"))
    out = export(cube, "sdoml", tmp_path / "out.zarr")
    assert (out / "2031" / "171A" / "0.0.0").stat().st_mtime_ns == made
    assert (out / "SYNTHETIC.json").read_text() == (store / "SYNTHETIC.json").read_text()


def test_an_export_is_not_taken_for_observations(store):
    found = sdoml.refer(store)
    assert len(found) == len(CHANNELS)
    assert all(isinstance(one, RejectedFile) and one.reason.startswith("synthetic frames") for one in found)
