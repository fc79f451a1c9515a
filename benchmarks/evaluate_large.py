"""How long all measures of a large set take, and how much memory.

    python -m benchmarks.evaluate_large --images sdo2012/images --flares goes_flares.csv --xrs goes_xrs_5min.csv.gz

Ingests every fourth of the images at --size pixels as the reference, and writes a cube of --n frames of that size in
the samples' place: observed frames with noise of their own, so that no two have the same content. Then `sunaug
evaluate` runs as a process of its own with an empty cache, and again with the cache that it has filled. Seconds and
peak memory of both are printed and written to benchmarks/results/evaluate-large.txt. The last line is the time of the
second run over that of the first.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from benchmarks.peaks import peak_of_command
from benchmarks.train_speed import processor, versions
from pipelines.ingest import ingest
from sunaug.cube import FrameStatus, create_cube, open_cube, write_frames

RESULTS = Path(__file__).parent / "results" / "evaluate-large.txt"
_BATCH = 100


def write_stand_ins(path: Path, reference: Path, n: int) -> None:
    """A synthetic cube of observed frames, each with its own noise."""
    observed = open_cube(reference)
    usable = np.flatnonzero(observed["frame_status"].values == FrameStatus.COMPLETE)
    random = np.random.default_rng(0)
    create_cube(
        path,
        channels=[str(name) for name in observed["channel"].values],
        size=observed.sizes["y"],
        disk_radius=float(observed.attrs["solar_radius_pixels"]),
        intensity_scale=observed.attrs["intensity_scale"],
        n_samples=n,
    )
    for start in range(0, n, _BATCH):
        rows = usable[np.arange(start, min(start + _BATCH, n)) % len(usable)]
        frames = observed.isel(time=rows)
        noise = random.standard_normal(frames["intensity"].shape, np.float32)
        write_frames(
            path,
            start,
            {
                "intensity": np.clip(frames["intensity"].values + noise, 0, 255),
                "forecast_flux": frames["forecast_flux"].values,
                "nowcast_flux": frames["nowcast_flux"].values,
                "seed": np.zeros(len(rows), np.int64),
                "draw": np.arange(start, start + len(rows)),
                "frame_status": np.full(len(rows), FrameStatus.COMPLETE, np.int8),
            },
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--flares", type=Path, required=True)
    parser.add_argument("--xrs", type=Path, required=True)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--n", type=int, default=5_000)
    parser.add_argument("--every", type=int, default=4, help="of the images, for the reference")
    parser.add_argument("--work", type=Path, default=Path("runs/evaluate-large"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    reference, stand_ins = arguments.work / "reference.zarr", arguments.work / "stand-ins.zarr"
    if not reference.exists():
        images = sorted(arguments.images.rglob("*.jpg"))[:: arguments.every]
        ingest(images, reference, size=arguments.size, flares=arguments.flares, xrs=arguments.xrs)
    if not stand_ins.exists():
        write_stand_ins(stand_ins, reference, arguments.n)
    command = [str(Path(sys.executable).with_name("sunaug")), "evaluate", str(stand_ins), "--against", str(reference)]
    command += ["--json", str(arguments.work / "figures.json"), "--exit-zero"]
    first, second = (peak_of_command(command, {"SUNAUG_CACHE": str(arguments.work / "cache")}) for _ in range(2))
    cores = len(os.sched_getaffinity(0))
    lines = [
        f"{processor()}, {cores} cores, {versions()}",
        f"{arguments.n:,} frames of {arguments.size} pixels, {open_cube(reference).sizes['time']:,} observed ones",
        f"nothing measured before: {first[0]:,.0f} s, peak {first[1]:,.0f} MiB",
        f"all of it found in the cache: {second[0]:,.0f} s, peak {second[1]:,.0f} MiB",
        f"ratio {second[0] / first[0]:.2f}",
    ]
    arguments.results.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
