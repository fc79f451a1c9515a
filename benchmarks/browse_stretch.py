"""The display stretch of SDO browse images, measured against science data.

    python benchmarks/browse_stretch.py [--data FOLDER]

193 Å: browse images of January and February 2017 against synoptic FITS of the same day. 171 Å: red of the RGB images
of 2012-07-19 against level-1 cut-outs of the flare on the limb that day. Fits the stretch on all pairs but one and
tries it on that one, by percentiles and by pixels, on one grid of 256 x 256 pixels with the disk 112 pixels in radius.
Writes what it prints to benchmarks/results/browse_stretch.txt. The last line is the rms error in dex
of `STRETCHES` for 193 Å where the two images are nearest in time.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from sunaug.calibrate.registration import register
from sunaug.calibrate.stretch import STRETCHES, Stretch
from sunaug.sources import DiskGeometry, browse, fits_files

RESULTS = Path(__file__).parent / "results"
SIZE, RADIUS = 256, 112.0
PERCENTILES = (5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99)
FITTED_LEVELS = (5.0, 245.0)
"""Levels that the fit uses: near the end stops a quantile may stand for anything."""

FUNCTIONS: tuple[Literal["log", "sqrt"], ...] = ("log", "sqrt")
ALIKE = 0.5
"""Correlation from which two images are of one orientation: on 2017-01-25 the spacecraft was rolled by 135 degrees when
the browse image was taken, so that only distributions can be compared."""

PAIRS_193 = {
    "20170113_192617": "20170113_2300",
    "20170125_172424": "20170125_2300",
    "20170206_225541": "20170206_2300",
}
PAIRS_171 = {"20120719_0600": "073001", "20120719_0700": "073001", "20120719_0800": "074237", "20120719_0900": "074237"}


@dataclass(frozen=True)
class Pair:
    """A browse image and science data of the same hours on one grid."""

    name: str
    hours: float
    levels: NDArray[np.float32]
    """As stored, shape (y, x), on the browse image's own grid."""
    geometry: DiskGeometry
    intensity: NDArray[np.float32]
    """DN/s on the common grid."""

    def intensity_by(self, stretch: Stretch) -> NDArray[np.float32]:
        """DN/s from the levels, on the common grid; undone before it is averaged, as an ingest does."""
        return register(stretch.intensity(self.levels), self.geometry, SIZE, RADIUS)[0]


def on_grid(image: NDArray[np.float32], geometry: DiskGeometry) -> NDArray[np.float32]:
    return register(image, geometry, SIZE, RADIUS)[0]


def pairs_193(data: Path) -> list[Pair]:
    pairs = []
    for seen, measured in PAIRS_193.items():
        (shown,) = browse.read(*browse.refer(data / "aia193_browse_2017" / f"{seen}_1024_0193.jpg"))
        path = data / "aia193_synoptic_fits" / f"AIA{measured}_0193.fits"
        (science,) = fits_files.read(*fits_files.refer(path))
        intensity = on_grid(science.image / np.float32(science.exposure_time), science.geometry)
        hours = float((science.time - shown.time) / np.timedelta64(1, "h"))
        pairs.append(Pair(seen, hours, shown.image, shown.geometry, intensity))
    return pairs


def pairs_171(data: Path) -> list[Pair]:
    pairs = []
    for seen, clock in PAIRS_171.items():
        shown = browse.read(*browse.refer(data / "sdo2012" / "images" / f"{seen}.jpg"))[0]
        path = data / "aia_flare_cutouts_fits" / f"aia.lev1_euv_12s.2012-07-19T{clock}Z.171.image.fits"
        with fits.open(path) as units:
            (unit,) = (unit for unit in units if unit.header.get("NAXIS") == 2)
            header, image = unit.header, np.asarray(unit.data, dtype=np.float32)
        # A cut-out is refused by the FITS source, so its geometry is made here.
        roll = np.deg2rad(header["CROTA2"])
        turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
        radius = header["RSUN_OBS"] / header["CDELT1"]
        geometry = DiskGeometry((header["CRPIX1"] - 1, header["CRPIX2"] - 1), turn * radius)
        time = np.datetime64(f"2012-07-19T{clock[:2]}:{clock[2:4]}:{clock[4:]}", "ns")
        hours = float((time - shown.time) / np.timedelta64(1, "h"))
        intensity = on_grid(image / np.float32(header["EXPTIME"]), geometry)
        pairs.append(Pair(seen, hours, shown.image, shown.geometry, intensity))
    return pairs


def common(pair: Pair, inner: float, outer: float) -> NDArray[np.bool_]:
    """Pixels that both have, between two distances from the disk's centre in solar radii."""
    y, x = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2
    away = np.hypot(x, y) / RADIUS
    both = np.isfinite(pair.intensity) & np.isfinite(on_grid(pair.levels, pair.geometry))
    return both & (away >= inner) & (away < outer)


def quantiles(pair: Pair, where: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Levels and DN/s at 1 to 99 per cent of the same pixels: hours of rotation, or a roll, change them little."""
    steps = np.arange(1, 100)
    return (
        np.percentile(on_grid(pair.levels, pair.geometry)[where], steps),
        np.percentile(pair.intensity[where], steps),
    )


def fit(pairs: list[Pair], function: Literal["log", "sqrt"], outer: float) -> Stretch:
    """Least squares of level against log10 or square root of the intensity, over the quantiles of all pairs."""
    found = [quantiles(pair, common(pair, 0, outer)) for pair in pairs]
    levels, intensity = (np.concatenate(parts) for parts in zip(*found, strict=True))
    inside = (levels > FITTED_LEVELS[0]) & (levels < FITTED_LEVELS[1])
    forward = np.log10(intensity) if function == "log" else np.sqrt(intensity)
    slope, offset = np.polyfit(levels[inside], forward[inside], 1)
    low, high = (float(10**end if function == "log" else end**2) for end in (offset, offset + 255 * slope))
    return Stretch(function, low, high, "fit")


def rms(difference: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(difference), dtype=np.float64)))


@dataclass(frozen=True)
class Error:
    """How far the intensity from the levels is from the true one, in dex."""

    n: int
    in_range: float
    """Share of the pixels whose true intensity the stretch can show."""
    by_pixel: float
    """rms over those; NaN where the two images are not turned alike."""
    percentiles: NDArray[np.float64]
    by_percentile: NDArray[np.float64]


def error(pair: Pair, stretch: Stretch, where: NDArray[np.bool_]) -> Error:
    shown, real = pair.intensity_by(stretch)[where], pair.intensity[where]
    likeness = np.corrcoef(np.log10(shown), np.log10(real.clip(1)))[0, 1]
    inside = (real > stretch.low) & (real < stretch.high)
    percentiles = np.percentile(real, PERCENTILES)
    return Error(
        len(real),
        float(inside.mean()),
        rms(np.log10(shown[inside] / real[inside])) if likeness > ALIKE else np.nan,
        percentiles,
        np.log10(np.percentile(shown, PERCENTILES) / percentiles),
    )


def spelt(by_pixel: float) -> str:
    return "other roll" if np.isnan(by_pixel) else f"{by_pixel:.3f}"


def table(pair: Pair, stretch: Stretch) -> list[str]:
    lines = [f" {pair.name}, science {pair.hours:+.2f} h"]
    for name, inner, outer in (("on the disk", 0.0, 1.0), ("off the limb", 1.0, 1.13)):
        found = error(pair, stretch, common(pair, inner, outer))
        lines += [
            f"  {name}: {found.n:,} pixels, {found.in_range:.1%} in range, rms dex by pixel {spelt(found.by_pixel)}, "
            f"by percentile {rms(found.by_percentile):.3f}",
            "    per cent" + "".join(f"{step:7d}" for step in PERCENTILES),
            "    DN/s    " + "".join(f"{value:7.0f}" for value in found.percentiles),
            "    dex     " + "".join(f"{value:+7.2f}" for value in found.by_percentile),
        ]
    return lines


def compare(pairs: list[Pair], channel: str, outer: float) -> list[str]:
    lines = [f"{channel}, {len(pairs)} pairs; errors on the disk of the pair left out, rms dex"]
    for function in FUNCTIONS:
        for left_out in pairs:
            stretch = fit([pair for pair in pairs if pair is not left_out], function, outer)
            found = error(left_out, stretch, common(left_out, 0, 1))
            lines.append(
                f" {function:4s} without {left_out.name}: {stretch.low:6.2f} to {stretch.high:5.0f} DN/s, "
                f"by pixel {spelt(found.by_pixel)}, by percentile {rms(found.by_percentile):.3f}"
            )
        whole = fit(pairs, function, outer)
        lines.append(f" {function:4s} on all: {whole.low:.2f} to {whole.high:.0f} DN/s")
    kept = STRETCHES[channel]
    lines.append(f"STRETCHES, {channel}: {kept.function} {kept.low:g} to {kept.high:g} DN/s")
    return lines + [line for pair in pairs for line in table(pair, kept)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get("SUNAUG_DATA", Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--data", type=Path, default=default, help="folder of real SDO data")
    data = parser.parse_args().data
    # The cut-outs lie on the limb: hardly any of their pixels would be left on the disk alone.
    pairs = pairs_193(data)
    lines = [*compare(pairs_171(data), "aia171", 1.13), "", *compare(pairs, "aia193", 1.0)]
    nearest = min(pairs, key=lambda pair: abs(pair.hours))
    lines.append(f"error {error(nearest, STRETCHES['aia193'], common(nearest, 0, 1)).by_pixel:.3f}")
    text = "\n".join(lines) + "\n"
    print(text, end="")
    (RESULTS / "browse_stretch.txt").write_text(text)


if __name__ == "__main__":
    main()
