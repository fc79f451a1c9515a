"""Draw twelve real flare-prone frames beside twelve rare samples of the bundled model, none picked by hand.

    python examples/real_and_synthetic.py --cube sdo2012.zarr --out real-and-synthetic.png

The real ones are spread evenly over the validation months, which the bundled model has not seen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import sunaug
from sunaug.flares import format_goes_class, parse_goes_class
from sunaug.pictures import compare_sheet

FRAMES = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--cube", required=True, help="cube of the year 2012, ingested with --flares at the model's size"
    )
    parser.add_argument("--out", type=Path, default=Path("real-and-synthetic.png"))
    parser.add_argument("--min-class", default="M1.0")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    validation = sunaug.select_split(sunaug.open_cube(arguments.cube), "validation")
    rare = np.flatnonzero(validation["forecast_flux"].values >= parse_goes_class(arguments.min_class) * (1 - 1e-6))
    chosen = validation.isel(time=rare[np.linspace(0, len(rare) - 1, FRAMES).round().astype(int)])
    samples = sunaug.generate(n=FRAMES, rare=True, min_class=arguments.min_class, seed=arguments.seed)
    samples = samples.sel(channel=chosen["channel"].values)

    real = [
        (f"{str(time)[:16]}  {format_goes_class(flux)}", image)
        for time, flux, image in zip(
            chosen["time"].values, chosen["forecast_flux"].values, chosen["intensity"].values, strict=True
        )
    ]
    synthetic = [
        (f"sample {number}  {format_goes_class(flux)}", image)
        for number, (flux, image) in enumerate(
            zip(samples["forecast_flux"].values, samples["intensity"].values, strict=True)
        )
    ]
    channels = [str(name) for name in chosen["channel"].values]
    print(compare_sheet(arguments.out, real, synthetic, channels, intensity_scale=chosen.attrs["intensity_scale"]))


if __name__ == "__main__":
    main()
