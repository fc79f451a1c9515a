"""Frames per second of an ingest of level-1 files to a 512 cube, against a plain loop of aiapy's steps.

    python -m benchmarks.ingest_speed [--files 20] [--rounds 3] [--more 96] [--many 200]

Run from the root of the repository with nothing else running, with real data ($SUNAUG_DATA, or ../shared/data): the
files are made of a real synoptic 193 Å image, enlarged to 4096 x 4096 pixels, off centre and rolled by 0.1 degrees,
with photon noise, Rice-compressed (12 MB each), and lie on a disk that caches them.

- *reading*: astropy opens each file and decompresses its image, nothing more;
- *sunaug*: a whole ``ingest`` in one process: looking at files, calibration, the cube with its checks and statistics;
- *aiapy*: ``register``, ``correct_degradation``, division by the exposure and block means, each frame saved as
  ``.npy``;

in turns, on one core. Then one and two workers of a `distributed` cluster that is up already, and the peak memory of
runs of few and of many files. The last line is sunaug's frames per second over aiapy's.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import sunpy.map
from aiapy.calibrate import correct_degradation
from aiapy.calibrate import register as aiapy_register
from aiapy.calibrate.util import get_correction_table
from astropy.io import fits

from benchmarks.peaks import resident_peak
from pipelines.ingest import ingest
from tests.calibrate.test_against_aiapy import level_1, response_table

SIZE = 512
DATA = Path(os.environ.get("SUNAUG_DATA", Path(__file__).parents[2] / "shared" / "data"))
_MADE_AT = b"2012-03-07T00:00:00"


def make_files(folder: Path, count: int) -> list[Path]:
    """Level-1-like files, the same image at `count` times; `count` may grow from call to call."""
    folder.mkdir(exist_ok=True)
    first = folder / "first.bytes"
    if not first.exists():
        smooth = level_1(folder / "smooth", sorted((DATA / "aia193_synoptic_fits").glob("*.fits"))[0], 0.1)
        with fits.open(smooth) as units:
            image, header = np.clip(units[1].data, 0, None), units[1].header
        noisy = np.random.default_rng(0).poisson(image).astype(np.int16)
        units = [fits.PrimaryHDU(), fits.CompImageHDU(noisy, header, compression_type="RICE_1")]
        fits.HDUList(units).writeto(first)
        smooth.unlink()
    content = first.read_bytes()
    assert content.count(_MADE_AT) >= 2
    paths = []
    for number in range(count):
        moment = np.datetime64("2012-03-07T00:00:00") + number * np.timedelta64(10, "m")
        path = folder / f"{number:04d}.fits"
        if not path.exists():
            path.write_bytes(content.replace(_MADE_AT, str(moment).encode()))
        paths.append(path)
    return paths


def read_alone(paths: list[Path], out: Path) -> None:
    for path in paths:
        with fits.open(path, memmap=False) as units:
            np.asarray(units[1].data)


def with_sunaug(paths: list[Path], out: Path) -> None:
    result = ingest(paths, out / "cube.zarr", size=SIZE, degradation=response_table(), scheduler="synchronous")
    assert result.frames == {"complete": len(paths)}, result


def with_aiapy(paths: list[Path], out: Path) -> None:
    table = get_correction_table(response_table())
    for path in paths:
        smap = correct_degradation(aiapy_register(sunpy.map.Map(path)), correction_table=table)
        block = len(smap.data) // SIZE
        frame = smap.data.reshape(SIZE, block, SIZE, block).mean(axis=(1, 3)) / smap.exposure_time.to_value("s")
        np.save(out / f"{path.stem}.npy", frame.astype(np.float32))


def seconds_of(work: Callable[[list[Path], Path], None], paths: list[Path]) -> float:
    with tempfile.TemporaryDirectory() as out, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        began = time.perf_counter()
        work(paths, Path(out))
        return time.perf_counter() - began


def with_workers(paths: list[Path], workers: int, rounds: int) -> float:
    """Seconds of an ingest on a cluster of so many single-threaded worker processes, the fastest of some."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster:
        address = cluster.scheduler_address

        def run(chosen: list[Path], out: Path) -> None:
            ingest(chosen, out / "cube.zarr", size=SIZE, scheduler=address)

        seconds_of(run, paths[: 2 * workers])  # workers import and compile at their first task
        return min(seconds_of(run, paths) for _ in range(rounds))


def peak_of(paths: list[Path]) -> float:
    """Peak memory of this process in MiB after an ingest of these files."""
    with tempfile.TemporaryDirectory() as out:
        with_sunaug(paths, Path(out))
    return resident_peak()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=20, help="files of each turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns")
    parser.add_argument("--more", type=int, default=96, help="files for one and two workers; 0 for none")
    parser.add_argument(
        "--many", type=int, default=200, help="files for the peak of memory, against 20; 0 leaves it out"
    )
    parser.add_argument("--folder", type=Path, help="keep the files here")
    arguments = parser.parse_args()
    packages = ", ".join(f"{name} {version(name)}" for name in ("astropy", "sunpy", "aiapy", "numpy", "numba", "zarr"))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(packages)
    with contextlib.ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        paths = make_files(folder, max(arguments.files, arguments.more, arguments.many))
        few = paths[: arguments.files]
        print(f"{len(few)} files of {few[0].stat().st_size / 1e6:.1f} MB to {SIZE} x {SIZE}, one core, in turns:")
        ways = {"reading": read_alone, "sunaug": with_sunaug, "aiapy": with_aiapy}
        for work in (read_alone, with_sunaug):
            seconds_of(work, few[:2])  # compiles, and fills the disk's cache
        turns: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(arguments.rounds):
            for name, work in ways.items():
                turns[name].append(seconds_of(work, few) / len(few))
        middle = {name: statistics.median(times) for name, times in turns.items()}
        for name, times in turns.items():
            spread = ", ".join(f"{one:.3f}" for one in times)
            print(f"  {name:8} {1 / middle[name]:6.2f} frames/s, {middle[name]:.3f} s a frame ({spread})")
        print(f"  sunaug takes {middle['sunaug'] / middle['reading']:.2f} times as long as reading alone")
        if arguments.more:
            chosen = paths[: arguments.more]
            one, two = (with_workers(chosen, workers, 2) for workers in (1, 2))
            print(f"{len(chosen)} files, distributed workers: one in {one:.1f} s, two in {two:.1f} s")
            print(f"  two are {one / two:.2f} times as fast as one")
        if arguments.many:
            context = multiprocessing.get_context("spawn")
            peaks = []
            for count in (20, arguments.many):
                with context.Pool(1) as pool:  # a fresh process each, for the peak is that of a process's whole life
                    peaks.append(pool.apply(peak_of, (paths[:count],)))
            print(f"peak memory: {peaks[0]:,.0f} MiB for 20 files, {peaks[1]:,.0f} MiB for {arguments.many}")
            print(f"  {peaks[1] / peaks[0]:.2f} times")
    print(f"ratio {middle['aiapy'] / middle['sunaug']:.2f}")


if __name__ == "__main__":
    sys.exit(main())
