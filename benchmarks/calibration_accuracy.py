"""How far calibrated frames are from those of aiapy and sunpy, and how long reading and calibrating takes.

    python -m benchmarks.calibration_accuracy

Run from the root of the repository, with real data ($SUNAUG_DATA, or ../shared/data): the twenty synoptic images as
they are, and level-1 images of 4096 x 4096 pixels made of the first, placed and rolled by known amounts, each against
aiapy's steps one by one and against what it was made of; then magnetograms of known flux. The last line sums up.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.io import fits

from sunaug.calibrate.chain import Calibration, calibrate
from sunaug.sources import fits_files
from tests.calibrate.test_against_aiapy import (
    FIELD_LIMIT,
    SIZE,
    Difference,
    aiapy_frame,
    compare,
    level_1,
    magnetogram_flux,
    our_frame,
    response_table,
    true_frame,
)

ROLLS = (0.0, 0.1, 1.0, 30.0, 179.9)


def row(name: str, found: Difference) -> None:
    print(
        f"{name:34} {found.flux * 100:+8.4f} {found.centre:8.4f} {found.limb:+8.4f} {found.roll:+8.4f} "
        f"{1 - found.correlation:9.1e}  {'within' if found.within_limits() else 'OUTSIDE'}"
    )


def best(work: Callable[[], object], times: int = 5) -> float:
    """Seconds of the fastest of several calls."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def timing(path: Path, radius: float) -> tuple[float, float, float]:
    """Seconds that astropy takes to read a file, that sunaug takes, and that sunaug takes to calibrate it."""
    (reference,) = fits_files.refer(path)
    (seen,) = fits_files.read(reference)
    plan = Calibration(SIZE, radius)
    calibrate(seen, plan, "physical")  # compiles

    def astropy_read() -> None:
        with fits.open(path, do_not_scale_image_data=True) as units:
            np.asarray(units[1].data)

    return (
        best(astropy_read),
        best(lambda: fits_files.read(reference)),
        best(lambda: calibrate(seen, plan, "physical")),
    )


def main() -> None:
    data = Path(os.environ.get("SUNAUG_DATA", Path(__file__).parents[2] / "shared" / "data"))
    images = sorted((data / "aia193_synoptic_fits").glob("*.fits"))
    all_found = []

    def report(name: str, found: Difference) -> None:
        all_found.append(found)
        row(name, found)

    print(f"{'frame of 512 pixels':34} {'flux %':>8} {'centre':>8} {'limb':>8} {'roll':>8} {'1 - corr':>9}  limits")
    for path in images:
        expected, radius = aiapy_frame(path, SIZE, response_table())
        report(path.stem, compare(our_frame(path, SIZE, radius, response_table()), expected, radius))
    field_errors, seconds = [], []
    with tempfile.TemporaryDirectory() as folder:
        for roll in ROLLS:
            path = level_1(Path(folder) / f"{roll}.fits", images[0], roll)
            expected, radius = aiapy_frame(path, SIZE)
            ours = our_frame(path, SIZE, radius)
            report(f"level 1, {roll:g} deg, aiapy", compare(ours, expected, radius))
            truth = true_frame(images[0], SIZE, radius)
            report(f"level 1, {roll:g} deg, truth", compare(ours, truth, radius))
            row("   aiapy itself against the truth", compare(expected, truth, radius))
            read, ours_read, calibration = timing(path, radius)
            seconds.append((ours_read + calibration) / read)
            print(
                f"{'':34} astropy reads in {read * 1e3:.0f} ms, sunaug in {ours_read * 1e3:.0f} ms, calibrates in "
                f"{calibration * 1e3:.0f} ms: {seconds[-1]:.2f} times astropy's reading"
            )
            found, made = magnetogram_flux(Path(folder) / f"m{roll}.fits", roll)
            field_errors.append(found / made - 1)
            print(f"{f'magnetogram, {roll:g} deg':34} {field_errors[-1] * 100:+8.4f}")
    inside = sum(found.within_limits() for found in all_found) + sum(abs(one) < FIELD_LIMIT for one in field_errors)
    total = len(all_found) + len(field_errors)
    print(
        f"{inside} of {total} within the limits; worst: flux {max(abs(found.flux) for found in all_found):.3%}, "
        f"centre {max(found.centre for found in all_found):.3f} px, limb {max(abs(f.limb) for f in all_found):.3f} px, "
        f"roll {max(abs(found.roll) for found in all_found):.4f} deg, "
        f"correlation {min(found.correlation for found in all_found):.5f}, "
        f"magnetic flux {max(map(abs, field_errors)):.3%}; "
        f"reading and calibrating {max(seconds):.2f} times astropy's reading"
    )


if __name__ == "__main__":
    main()
