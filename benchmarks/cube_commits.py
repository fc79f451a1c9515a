"""Time to commit frames to a cube and to load them at random: sunaug's cube in Zarr against icechunk.

    python -m benchmarks.cube_commits [--frames 1024] [--size 128] [--rounds 5] [--write]

Run from the root of the repository, where icechunk is installed (``pip install icechunk``; sunaug does not need it).
The same frames, three channels, in the same chunks, shards and codecs, are written a shard at a time

- *cube*: by `write_frames` under the cube's lock, with one `commit` at the end, as an ingest does it;
- *icechunk*: into one writable session with one commit at the end, so that a stopped run would lose everything;
- *icechunk, each shard*: with a commit after each shard, so that a stopped run keeps what is whole, as the cube does;

into a folder, and into an object store (moto's server on this machine, in a process of its own, where it is installed).
Then batches of 32 frames are read from the folder in random order

- *shard reader*: by `open_reader`, as `SolarDataset` reads a cube;
- *cube, xarray* and *icechunk, xarray*: by xarray, which is the way that icechunk offers.

All are measured in turns, after a round that does not count; medians are printed, and the range of the rounds.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from benchmarks.train_speed import processor
from forecasting_adapters.reading import ArrayReader, open_reader
from sunaug.cube import FrameStatus, create_cube, open_cube, shard_ranges, write_frames
from sunaug.cube.lock import only_writer
from sunaug.cube.opening import quiet_zarr
from sunaug.cube.schema import OBSERVED_VARIABLES
from sunaug.cube.store import commit
from sunaug.storage import location

RESULTS = Path(__file__).parent / "results" / "cube-commits.txt"
CHANNELS = ("aia171", "aia193", "aia94")
BATCH, BATCHES, BUCKET = 32, 20, "sun"


def make_frames(count: int, size: int) -> dict[str, NDArray[Any]]:
    """Values by variable; the intensities are smooth with noise, of which a third is rounded off when it is written."""
    random = np.random.default_rng(0)
    smooth = np.hypot(*np.meshgrid(*[np.linspace(-1, 1, size)] * 2)).astype(np.float32)
    grain = random.lognormal(0, 0.3, (count, len(CHANNELS), size, size)).astype(np.float32)
    facts = {
        name: np.full((count, len(CHANNELS)), 1, variable.dtype)
        for name, variable in OBSERVED_VARIABLES.items()
        if variable.dims == ("channel",) and variable.dtype != "str"
    }
    return {
        **facts,
        "source": np.full((count, len(CHANNELS)), "aia.lev1_euv_12s.2012-03-07T000000Z.image.fits", "<U128"),
        "intensity": 500 * np.exp(-smooth) * grain,
        "forecast_flux": np.full(count, 2e-6),
        "nowcast_flux": np.full(count, 1e-6),
        "frame_status": np.full(count, FrameStatus.COMPLETE, np.int8),
    }


def new_cube(path: str, frames: dict[str, NDArray[Any]], lease: Any = None) -> list[tuple[int, int]]:
    """Make an empty cube for the frames; the ranges of its shards."""
    count, _, size, _ = frames["intensity"].shape
    times = np.datetime64("2012-01-01", "ns") + np.arange(count) * np.timedelta64(1, "h")
    create_cube(
        path,
        channels=CHANNELS,
        size=size,
        disk_radius=7 / 16 * size,
        intensity_scale="physical",
        times=times,
        keep_bits=14,
        lease=lease,
    )
    return shard_ranges(open_cube(path))


def write_cube(path: str, frames: dict[str, NDArray[Any]]) -> None:
    """As an ingest writes."""
    with only_writer(location(path)) as lease:
        for start, stop in new_cube(path, frames, lease):
            write_frames(path, start, {name: one[start:stop] for name, one in frames.items()}, lease=lease)
        commit(path, {"ingests": [{"fingerprint": "benchmark"}]}, lease)


def copy_layout(template: Path, store: Any) -> None:
    """The arrays of a cube in another store, the small ones as they are."""
    old, new = zarr.open_group(template, mode="r"), zarr.create_group(store, zarr_format=3)
    new.attrs.update(old.attrs.asdict())
    for name, array in old.arrays():
        made = new.create_array(
            name,
            shape=array.shape,
            dtype=array.dtype,
            chunks=array.chunks,
            shards=array.shards,
            compressors=array.compressors,
            fill_value=array.fill_value,
            dimension_names=array.metadata.dimension_names,
            attributes=array.attrs.asdict(),
        )
        if array.shards is None:
            made[:] = array[:]


def write_icechunk(storage: Any, template: Path, frames: dict[str, NDArray[Any]], *, each_shard: bool) -> None:
    """The same into a new repository of icechunk."""
    from icechunk import Repository

    from sunaug.cube.encoding import round_bits

    repository = Repository.create(storage)
    session = repository.writable_session("main")
    copy_layout(template, session.store)
    if each_shard:
        session.commit("made")
    for start, stop in shard_ranges(open_cube(template)):
        if each_shard:
            session = repository.writable_session("main")
        group = zarr.open_group(session.store, mode="r+")
        for name, values in frames.items():
            part = values[start:stop]
            group[name][start:stop] = round_bits(part, 14) if name == "intensity" else part  # type: ignore[index]
        if each_shard:
            session.commit(f"frames {start} to {stop}")
    if not each_shard:
        session.commit("all frames")


@contextmanager
def object_store(folder: Path) -> Iterator[str]:
    """moto's S3 server in a process of its own; the address of a bucket's endpoint."""
    import boto3

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ.update(keys | {"AWS_ENDPOINT_URL": endpoint})
    log = (folder / "moto.log").open("w")
    command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(300):
            try:
                boto3.client("s3").create_bucket(Bucket=BUCKET)
                break
            except Exception:
                time.sleep(0.2)
        yield endpoint
    finally:
        server.terminate()
        server.wait()
        log.close()


def s3_storage(endpoint: str, prefix: str) -> Any:
    """A place for a repository in the object store."""
    import icechunk

    return icechunk.s3_storage(
        bucket=BUCKET,
        prefix=prefix,
        endpoint_url=endpoint,
        allow_http=True,
        force_path_style=True,
        region="us-east-1",
        access_key_id="test",
        secret_access_key="test",
    )


def in_turns(ways: dict[str, Callable[[int], float]], rounds: int) -> dict[str, list[float]]:
    """Figures of each way, one of every round but the first."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            figure = way(number)
            if number:
                found[name].append(figure)
    return found


def lines(title: str, found: dict[str, list[float]], unit: str) -> list[str]:
    """A table of what was found."""
    rows = [
        f"  {name:<24} {statistics.median(one):8.2f}  ({min(one):.2f} to {max(one):.2f})" for name, one in found.items()
    ]
    return [f"{title}, {unit}", *rows]


def main() -> None:
    """Measure, print and, where it is asked for, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1024)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--note", default="", help="what else ran on the machine")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS}")
    arguments = parser.parse_args()
    if importlib.util.find_spec("icechunk") is None:
        sys.exit("icechunk is not installed here, and nothing was measured; pip install icechunk.")
    import icechunk

    def timed(work: Callable[[], object]) -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    with tempfile.TemporaryDirectory() as scratch, quiet_zarr():
        folder = Path(scratch)
        frames = make_frames(arguments.frames, arguments.size)
        shards = new_cube(str(folder / "template.zarr"), frames)
        template = folder / "template.zarr"
        text = [
            f"{arguments.frames:,} frames of {len(CHANNELS)} x {arguments.size} x {arguments.size} in {len(shards)} "
            f"shards, median (range) of {arguments.rounds} rounds; {processor()}, {os.cpu_count()} cores; Python "
            f"{sys.version.split()[0]}, zarr {zarr.__version__}, icechunk {icechunk.__version__}",
            *([f"While it ran: {arguments.note}."] if arguments.note else []),
        ]

        def local(number: int, each_shard: bool) -> float:
            place = folder / f"ice-{each_shard}"
            shutil.rmtree(place, ignore_errors=True)
            storage = icechunk.local_filesystem_storage(str(place))
            return timed(lambda: write_icechunk(storage, template, frames, each_shard=each_shard))

        def cube(number: int) -> float:
            shutil.rmtree(folder / "cube.zarr", ignore_errors=True)
            return timed(lambda: write_cube(str(folder / "cube.zarr"), frames))

        writing: dict[str, Callable[[int], float]] = {
            "cube": cube,
            "icechunk": lambda number: local(number, False),
            "icechunk, each shard": lambda number: local(number, True),
        }
        text += lines("commit to a folder", in_turns(writing, arguments.rounds), "seconds")
        for name in ("cube.zarr", "ice-False"):
            files = [one for one in (folder / name).rglob("*") if one.is_file()]
            text.append(f"  {name}: {len(files)} files, {sum(one.stat().st_size for one in files) / 2**20:.1f} MiB")
        if importlib.util.find_spec("moto") is not None:
            with object_store(folder) as endpoint:
                remote: dict[str, Callable[[int], float]] = {
                    "cube": lambda number: timed(lambda: write_cube(f"s3://{BUCKET}/{number}.zarr", frames)),
                    "icechunk": lambda number: timed(
                        lambda: write_icechunk(s3_storage(endpoint, f"a{number}"), template, frames, each_shard=False)
                    ),
                    "icechunk, each shard": lambda number: timed(
                        lambda: write_icechunk(s3_storage(endpoint, f"b{number}"), template, frames, each_shard=True)
                    ),
                }
                text += lines("commit to an object store", in_turns(remote, arguments.rounds), "seconds")

        opened = open_cube(folder / "cube.zarr")
        session = icechunk.Repository.open(
            icechunk.local_filesystem_storage(str(folder / "ice-False"))
        ).readonly_session("main")
        readers = {
            "shard reader": open_reader(folder / "cube.zarr", opened),
            "cube, xarray": ArrayReader(opened["intensity"]),
            "icechunk, xarray": ArrayReader(xr.open_zarr(session.store, consolidated=False)["intensity"]),
        }
        rows = np.arange(0, arguments.frames, 97)
        expected = readers["shard reader"].read(rows)
        for reader in readers.values():
            np.testing.assert_array_equal(reader.read(rows), expected)

        def speed(name: str, number: int) -> float:
            random = np.random.default_rng(number)
            wanted = [random.integers(arguments.frames, size=BATCH) for _ in range(BATCHES)]
            return BATCH * BATCHES / timed(lambda: [readers[name].read(rows) for rows in wanted])

        loading = {name: (lambda number, name=name: speed(name, number)) for name in readers}
        text += lines("load at random from a folder", in_turns(loading, arguments.rounds), "frames per second")
    print("\n".join(text))
    if arguments.write:
        RESULTS.write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
