import functools
import http.server
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from torch.utils.data import DataLoader

from forecasting_adapters import SyntheticSolarDataset
from forecasting_adapters.loading import ReadAhead, collate_samples, taken_ahead
from forecasting_adapters.reading import ArrayReader, ShardReader, open_reader
from sunaug.cube import FrameStatus, create_cube, open_cube, write_frames
from sunaug.errors import SunaugError, UsageError
from tests.loader_cubes import make_synthetic


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty frames of 256 pixels in shards of 32, of which only 0 to 2 and 8 to 11 were ever written."""
    path = tmp_path_factory.mktemp("cubes") / "sharded.zarr"
    create_cube(path, channels=["aia171", "aia94"], size=256, disk_radius=112, intensity_scale="browse", n_samples=40)
    random = np.random.default_rng(0)
    for start, count in ((0, 3), (8, 4)):
        frames = {
            "intensity": random.uniform(0, 255, (count, 2, 256, 256)).astype(np.float32),
            "forecast_flux": np.full(count, 2e-5),
            "frame_status": np.full(count, FrameStatus.COMPLETE, np.int8),
        }
        write_frames(path, start, frames)
    return path


def test_shards_are_read_past_the_library_to_the_same_bits(sharded: Path) -> None:
    reader, opened = open_reader(sharded, open_cube(sharded)), open_cube(sharded)
    assert isinstance(reader, ShardReader)
    rows = np.array([11, 0, 39, 3, 9, 0, 2])
    found = reader.read(rows)
    np.testing.assert_array_equal(found, opened["intensity"].values[rows])
    np.testing.assert_array_equal(found, ArrayReader(opened["intensity"]).read(rows))
    assert np.isnan(found[[2, 3]]).all()
    assert np.isfinite(found[[0, 1, 4, 5, 6]]).all()


def test_another_layout_is_read_through_xarray(tmp_path: Path, sharded: Path) -> None:
    opened = open_cube(sharded)
    assert isinstance(open_reader(opened, opened), ArrayReader)
    group = zarr.create_group(tmp_path / "plain.zarr")
    group.create_array("intensity", shape=(4, 2, 8, 8), chunks=(2, 2, 8, 8), dtype="float32")
    assert not ShardReader.can_read(group["intensity"])


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    cube = make_synthetic(tmp_path / "rare.zarr")
    shard = cube / "intensity" / "c" / "0" / "0" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[:40] = bytes(40)
    shard.write_bytes(content)
    with pytest.raises(SunaugError, match=r"c/0/0/0/0: frame 0 in it cannot be decompressed; the cube is damaged"):
        SyntheticSolarDataset(cube)[0]
    for damage in (b"", b"short"):
        shard.write_bytes(damage)
        with pytest.raises(SunaugError, match=r"c/0/0/0/0: is (empty|shorter than its index); the cube is damaged"):
            SyntheticSolarDataset(cube)[0]


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """Files with byte ranges; remembers what was asked for."""

    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Range")))
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self.send_error(404)
        content, wanted = path.read_bytes(), self.headers.get("Range")
        if wanted is None:
            return super().do_GET()
        first, last = wanted.removeprefix("bytes=").split("-")
        start = int(first) if first else len(content) - int(last)
        stop = int(last) + 1 if first and last else len(content)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        self.wfile.write(content[start:stop])
        return None

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def served(sharded: Path):
    pytest.importorskip("aiohttp", reason="cubes over HTTP need the extra remote")
    handler = type("Handler", (_Ranges,), {"asked": []})
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(sharded.parent))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/{sharded.name}", handler.asked
    server.shutdown()
    server.server_close()


def test_neighbours_behind_a_url_come_in_one_request(sharded: Path, served: tuple[str, list]) -> None:
    url, asked = served
    array = zarr.open_group(sharded, mode="r")["intensity"]
    reader = ShardReader(url, array, open_cube(sharded)["frame_status"].values)
    rows = np.array([1, 0, 2, 9, 38, 8])
    np.testing.assert_array_equal(reader.read(rows), open_cube(sharded)["intensity"].values[rows])
    ranges = [wanted for path, wanted in asked if path.endswith("/c/0/0/0/0") and wanted]
    # The index, then frames 0 to 2 and 8 to 9 together: nothing lies between them.
    assert len(ranges) == 2
    asked.clear()
    reader.read(np.array([10]))
    assert len(asked) == 1


def test_read_ahead_gives_the_batches_of_the_loader(tmp_path: Path) -> None:
    frames = SyntheticSolarDataset(make_synthetic(tmp_path / "rare.zarr"))
    plain = list(DataLoader(frames, batch_size=8))
    ahead = ReadAhead(DataLoader(frames, batch_size=8, collate_fn=collate_samples))
    assert len(ahead) == 3
    for _ in range(2):
        for ours, theirs in zip(ahead, plain, strict=True):
            assert ours.keys() == theirs.keys()
            assert torch.equal(ours["image"], theirs["image"])
            assert torch.equal(ours["label"], theirs["label"])
            assert ours["sample_id"] == theirs["sample_id"]
    with pytest.raises(UsageError, match="0 batches ahead"):
        ReadAhead([], 0)


def test_images_are_taken_as_they_are_only_in_their_own_order(tmp_path: Path) -> None:
    frames = SyntheticSolarDataset(make_synthetic(tmp_path / "rare.zarr"))
    samples = frames.__getitems__(range(4))
    assert collate_samples(samples)["image"].data_ptr() == samples[0]["image"].data_ptr()
    for other in (samples[::-1], samples[:3], [*samples[:3], frames[7]]):
        expected = torch.stack([sample["image"] for sample in other])
        assert torch.equal(collate_samples(other)["image"], expected)


def test_what_a_thread_raises_is_raised_where_its_items_are_taken() -> None:
    def broken():
        yield 1
        raise SunaugError("the disk is gone")

    taken = taken_ahead(broken(), 2)
    assert next(taken) == 1
    with pytest.raises(SunaugError, match="the disk is gone"):
        next(taken)


def test_a_thread_ends_with_whoever_takes_its_items() -> None:
    before = threading.active_count()
    taken = taken_ahead(iter(range(1000)), 2)
    assert next(taken) == 0
    assert threading.active_count() == before + 1
    taken.close()
    assert threading.active_count() == before


def test_open_shards_stay_behind_when_a_dataset_travels(sharded: Path) -> None:
    frames = SyntheticSolarDataset(sharded, allow_ungated=True)
    before = frames[5]["image"]
    copy = pickle.loads(pickle.dumps(frames))
    assert copy.source._reader is None
    assert torch.equal(copy[5]["image"], before)
