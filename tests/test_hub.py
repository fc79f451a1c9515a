import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from forecasting_adapters import SyntheticSolarDataset
from sunaug.bundle import load_bundle
from sunaug.errors import SunaugError, UsageError
from sunaug.hub import HubId, download, parse_hub_id
from tests.huggingface import Hub, serve
from tests.loader_cubes import make_synthetic
from tests.models import make_bundle


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A server with an empty cache before it."""
    package = pytest.importorskip("huggingface_hub", reason="the Hub needs the extra hub")
    with serve() as server:
        # The endpoint is read from HF_ENDPOINT when the package is imported, which was before this test.
        ask = functools.partial(package.snapshot_download, endpoint=server.endpoint, cache_dir=tmp_path / "hf")
        monkeypatch.setattr(package, "snapshot_download", ask)
        yield server


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf://org/suns", HubId("org/suns")),
        ("hf://datasets/org/suns", HubId("org/suns", ("dataset",))),
        ("hf://models/org/suns@v1.0", HubId("org/suns", ("model",), revision="v1.0")),
        ("hf://org/suns/rare/x.zarr@main", HubId("org/suns", folder="rare/x.zarr", revision="main")),
        ("org/rare-suns", HubId("org/rare-suns")),
        ("org/rare.zarr", None),
        ("one/two/three", None),
        ("/org/suns", None),
        ("sdo2012-128", None),
        ("s3://bucket/rare", None),
    ],
)
def test_ids(text: str, expected: HubId | None) -> None:
    assert parse_hub_id(text) == expected


def test_what_is_here_is_no_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse_hub_id("runs/mine") is None
    for damaged in ("hf://", "hf://org", "hf://org//suns", "hf:///org/suns"):
        with pytest.raises(UsageError, match="not an id of the Hugging Face Hub"):
            parse_hub_id(damaged)


def test_a_cube_comes_from_the_hub_once(hub: Hub, tmp_path: Path) -> None:
    cube = make_synthetic(tmp_path / "rare.zarr")
    hub.repositories["datasets", "org/rare-suns"] = cube
    here = SyntheticSolarDataset(cube)
    for source in ("org/rare-suns", "hf://org/rare-suns", "hf://datasets/org/rare-suns"):
        there = SyntheticSolarDataset(source)
        assert torch.equal(there[7]["image"], here[7]["image"])
        assert there.training_ranges == here.training_ranges
    assert len(hub.downloaded) == len(set(hub.downloaded)) > 5


def test_a_bundle_comes_from_the_hub(hub: Hub, tmp_path: Path) -> None:
    hub.repositories["models", "org/suns"] = make_bundle(tmp_path / "tiny").path
    frames = SyntheticSolarDataset("org/suns", n=3, allow_ungated=True)
    assert len(frames) == 3
    assert load_bundle("hf://org/suns").hash == frames.bundle_hash
    with pytest.raises(UsageError, match="org/suns: no such bundle"):
        load_bundle("org/suns")  # a slip in a path must not ask the network


def test_a_folder_of_a_repository(hub: Hub, tmp_path: Path) -> None:
    root = tmp_path / "repository"
    make_synthetic(root / "rare.zarr")
    (root / "pictures").mkdir()
    (root / "pictures" / "a.txt").write_text("no cube")
    hub.repositories["datasets", "org/sets"] = root
    assert download(HubId("org/sets")).name == "rare.zarr"
    make_synthetic(root / "quiet.zarr")
    hub.repositories["datasets", "org/more"] = root
    with pytest.raises(UsageError, match=r"holds quiet.zarr, rare.zarr; name one of them, as hf://org/more/quiet.zarr"):
        download(HubId("org/more"))
    hub.downloaded.clear()
    assert len(SyntheticSolarDataset("hf://org/more/quiet.zarr")) == 20
    with pytest.raises(UsageError, match="holds no synthetic cube and no generator bundle"):
        SyntheticSolarDataset("hf://org/more/pictures")


def test_what_the_hub_does_not_have(hub: Hub) -> None:
    with pytest.raises(UsageError, match="org/none: no such path here, and no such repository"):
        SyntheticSolarDataset("org/none")


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = pytest.importorskip("huggingface_hub", reason="the Hub needs the extra hub")
    nowhere = functools.partial(package.snapshot_download, endpoint="http://127.0.0.1:9", cache_dir=tmp_path)
    monkeypatch.setattr(package, "snapshot_download", nowhere)
    with pytest.raises(SunaugError, match=r"org/suns: no such path here, and cannot be had .* HF_ENDPOINT") as raised:
        download(HubId("org/suns"))
    assert "\n" not in str(raised.value)
