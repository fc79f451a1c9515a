"""Size and error of a cube's intensity as it is encoded: rounded to photon noise, against every bit kept.

    python -m benchmarks.cube_encoding

With real data ($SUNAUG_DATA, or ../shared/data): the twenty synoptic 193 Å images as a physical cube of 512 pixels, and
a month of three-channel browse images at 256. Photon noise is that of the count in each pixel's footprint, one photon a
count, without readout noise. The last line is the size with rounding over that without, of the physical cube.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from pipelines.ingest import ingest
from sunaug.cube import open_cube
from sunaug.storage import location, tree_size

DATA = Path(os.environ.get("SUNAUG_DATA", Path(__file__).parents[2] / "shared" / "data"))


def main() -> None:
    sets = {
        "193 A synoptic FITS, 512": ([DATA / "aia193_synoptic_fits"], 512),
        "171/131/94 A browse, 256, March 2012": ([f"{DATA}/sdo2012/images/201203*.jpg"], 256),
    }
    ratios = []
    for name, (sources, size) in sets.items():
        with tempfile.TemporaryDirectory() as folder:
            paths = {rounding: Path(folder) / f"{rounding}.zarr" for rounding in ("none", "photon")}
            for rounding, path in paths.items():
                ingest(sources, path, size=size, rounding=rounding)
            exact, rounded = (open_cube(paths[rounding]) for rounding in ("none", "photon"))
            sizes = {rounding: tree_size(location(path / "intensity")) for rounding, path in paths.items()}
            values = exact["intensity"].values.astype(np.float64)
            error = rounded["intensity"].values - values
            with np.errstate(divide="ignore", invalid="ignore"):
                relative = np.abs(error / values)[values > 0]
            raw = values.size * 4
            print(f"{name}: {values.shape[0]} frames, {raw / 2**20:.1f} MiB of float32")
            for rounding, count in sizes.items():
                print(f"  {rounding:6} {count / 2**20:7.1f} MiB, {raw / count:.2f} times smaller than float32")
            bits = rounded["intensity"].attrs["keep_bits"]
            rms = np.sqrt((relative**2).mean())
            print(f"  {bits} bits kept; relative error at most {relative.max():.1e}, rms {rms:.1e}")
            if exact.attrs["intensity_scale"] == "physical":
                area, seconds = (exact[which].values[..., None, None] for which in ("pixel_area", "exposure_time"))
                # A synoptic pixel is the mean of 16 pixels of level 1.
                photons = np.maximum(values, 0) * seconds * area * 16
                noise = np.sqrt(np.maximum(photons, 1)) / (seconds * area * 16)
                share = np.abs(error) / noise
                rms = np.sqrt(np.nanmean(share**2))
                print(f"  error in units of the photon noise: at most {np.nanmax(share):.2f}, rms {rms:.3f}")
            ratios.append(sizes["photon"] / sizes["none"])
    print(f"ratio {ratios[0]:.2f}")


if __name__ == "__main__":
    main()
