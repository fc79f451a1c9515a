"""Peak memory of ``sunaug generate --rare`` for few and for many samples: it must not grow with the number.

    python -m benchmarks.generate_memory [--n 500 5000] [--bundle sdo2012-128]

Each run is a process of its own. The last line is the ratio of the two peaks.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.peaks import peak_of_command
from sunaug.bundle import BUNDLED


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, nargs=2, default=(500, 5000))
    parser.add_argument("--bundle", default=BUNDLED)
    arguments = parser.parse_args()
    peaks = []
    for n in arguments.n:
        with tempfile.TemporaryDirectory() as folder:
            generate = [sys.executable, "-m", "sunaug", "generate", "--rare", "--no-gate"]
            options = ["--n", n, "--bundle", arguments.bundle, "--out", Path(folder) / "rare.zarr"]
            seconds, peak = peak_of_command([*generate, *options])
        peaks.append(peak)
        print(f"n = {n:,}: peak {peak:,.0f} MiB, {seconds:.1f} s, {n / seconds:.0f} samples per second, start included")
    print(f"ratio {peaks[1] / peaks[0]:.2f}")


if __name__ == "__main__":
    main()
