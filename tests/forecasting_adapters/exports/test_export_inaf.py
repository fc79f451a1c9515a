import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from forecasting_adapters.exports import export, open_export
from sunaug.errors import UsageError
from tests.peers import peer, torchvision
from tests.rare_cubes import generated_cube, make_rare_cube


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inaf")
    return export(make_rare_cube(folder / "rare.zarr"), "inaf", folder / "out")


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """``sfforecaster.dataset`` from its own code; its skimage, used to resize only, is an empty module if missing."""
    folder = peer("solar-flare-forecaster")
    torchvision()
    pytest.importorskip("sklearn")
    try:
        import skimage  # noqa: F401
    except ImportError:
        monkeypatch.setitem(sys.modules, "skimage", ModuleType("skimage"))
    monkeypatch.syspath_prepend(str(folder))
    import sfforecaster.dataset

    return sfforecaster.dataset


def test_lists_of_each_channel_and_of_all(exported: Path) -> None:
    assert sorted(one.name for one in exported.glob("train*")) == [
        "train_aia131.json",
        "train_aia171.json",
        "train_stack.json",
    ]
    rows = json.loads((exported / "train_aia171.json").read_text())["data"]
    assert [(row["label"], row["id"], row["flare_type"], row["flare_id"]) for row in rows] == [
        ("NONE", 0, "NONE", 0),
        ("NONE", 0, "NONE", 0),
        ("NONE", 0, "C", 1),
        ("M+", 1, "M", 2),
        ("M+", 1, "M", 2),
        ("M+", 1, "X", 3),
    ]
    assert rows[5]["filepath"] == "aia171/SYNTHETIC_000005.png"
    assert rows[5]["timestamp"] == "2031-02-01 05:00:00"
    stack = json.loads((exported / "train_stack.json").read_text())["data"]
    assert stack[5]["filepaths"] == ["aia171/SYNTHETIC_000005.png", "aia131/SYNTHETIC_000005.png"]


def test_other_classes_and_a_root(exported: Path, tmp_path: Path) -> None:
    cube = exported.parent / "rare.zarr"
    export(cube, "inaf", tmp_path / "c", classes="C", root="/data/synthetic/")
    rows = json.loads((tmp_path / "c" / "train_aia171.json").read_text())["data"]
    assert [row["label"] for row in rows] == ["NONE", "NONE", "C+", "C+", "C+", "C+"]
    assert rows[0]["filepath"] == "/data/synthetic/aia171/SYNTHETIC_000000.png"
    export(cube, "inaf", tmp_path / "all", classes="all")
    rows = json.loads((tmp_path / "all" / "train_aia171.json").read_text())["data"]
    assert [row["id"] for row in rows] == [0, 0, 1, 2, 2, 3]
    with pytest.raises(UsageError, match="classes=X: choose one of M, C, all"):
        export(cube, "inaf", tmp_path / "x", classes="X")


def test_their_own_loader_reads_it(exported: Path, theirs: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(exported)
    _, _, targets = theirs.get_target_maps(binary=True, flare_thr="M")
    frames = theirs.ImgDataset("train_aia131.json", load_as_gray=True, id2target=targets)
    assert len(frames) == 6
    assert [int(frames[place][1]) for place in range(6)] == [0, 0, 0, 1, 1, 1]
    image, _ = frames[4]
    assert image.shape == (1, 32, 32)
    levels = open_export(exported)["intensity"].sel(channel="aia131")[4].values[::-1]
    shape = np.log10(levels)
    expected = (shape - shape.min()) / (shape.max() - shape.min())
    np.testing.assert_allclose(image[0].numpy(), expected, atol=1e-4)

    stack = theirs.ImgStackDataset("train_stack.json", id2target=targets)
    both, label = stack[4]
    assert both.shape == (2, 32, 32)
    assert int(label) == 1
    np.testing.assert_array_equal(both[1].numpy(), image[0].numpy())
    ordinal = theirs.ImgDataset("train_aia131.json", load_as_gray=True, nclasses=4, ordinal=True)
    assert ordinal[5][1].tolist() == [1, 1, 1]


def test_their_own_loader_reads_what_the_bundled_generator_makes(
    tmp_path: Path, theirs: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(generated_cube(), "inaf", tmp_path / "out", allow_ungated=True)
    monkeypatch.chdir(tmp_path / "out")
    _, _, targets = theirs.get_target_maps(binary=True, flare_thr="M")
    stack = theirs.ImgStackDataset("train_stack.json", id2target=targets)
    for image, label in (stack[place] for place in range(4)):
        assert image.shape == (3, 64, 64)
        assert int(label) == 1
        assert float(image.min()) == 0
        assert float(image.max()) == 1
        assert 0.02 < float(image.mean()) < 0.98
