"""Peak memory of ``sunaug generate --rare`` for few and for many samples: it must not grow with the number.

    python benchmarks/generate_memory.py [--n 500 5000] [--bundle sdo2012-128]

Each run is a process of its own; its peak is what the operating system counted (ru_maxrss). The last line is the ratio
of the two peaks.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sunaug.bundle import BUNDLED


def measure(n: int, folder: str, bundle: str) -> tuple[float, float]:
    """Peak memory in MiB and seconds of one run, as its parent sees them."""
    command = [
        sys.executable,
        "-m",
        "sunaug",
        "generate",
        "--rare",
        "--n",
        str(n),
        "--bundle",
        bundle,
        "--out",
        str(Path(folder) / f"{n}.zarr"),
    ]
    started = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, nargs=2, default=(500, 5000))
    parser.add_argument("--bundle", default=BUNDLED)
    arguments = parser.parse_args()
    peaks = []
    for n in arguments.n:
        # A pool of one fresh process per run: RUSAGE_CHILDREN keeps the largest child that a process has ever had.
        with tempfile.TemporaryDirectory() as folder, multiprocessing.get_context("spawn").Pool(1) as pool:
            peak, seconds = pool.apply(measure, (n, folder, arguments.bundle))
        peaks.append(peak)
        print(f"n = {n:,}: peak {peak:,.0f} MiB, {seconds:.1f} s, {n / seconds:.0f} samples per second, start included")
    print(f"ratio {peaks[1] / peaks[0]:.2f}")


if __name__ == "__main__":
    main()
