"""Which straight edges single samples are rejected for: frames of October cut, shifted, and samples.

    python -m benchmarks.straight_edges --cube sdo2012-128.zarr [--bundle sdo2012-128]

Every third frame of the test months, which had no part in the bundle's reference, gets one side of a row or column made
brighter, over a third, half or the whole of it, at a random place on the disk, all channels alike; or a square patch
moved. Told is the share that the checks of straight edges reject, beside that of the frames as they are and of 512 rare
samples. Writes benchmarks/results/straight-edges.md; the last line is the share of cuts of 40 % over the whole width.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import sunaug
from sunaug.bundle import load_bundle
from sunaug.cube import open_cube, select_split
from sunaug.fidelity.fitting import known_rows
from sunaug.fidelity.instruments import measure_set
from sunaug.fidelity.measured import Measured
from sunaug.fidelity.reference import Reference
from sunaug.fidelity.request_verdict import open_reference

RESULTS = Path(__file__).parent / "results" / "straight-edges.md"
JUMPS, LENGTHS = (0.1, 0.2, 0.4), {"a third": 1 / 3, "half": 1 / 2, "the whole": 1.0}
SAMPLES = 512


def cut(frames: NDArray[np.float32], jump: float, length: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """One side of a row or a column brighter by a share, over part of the width."""
    changed, size = frames.copy(), frames.shape[-1]
    for frame in changed:
        turned = frame if rng.integers(2) else frame.swapaxes(1, 2)
        row, run = rng.integers(size // 4, 3 * size // 4), round(length * size)
        first = rng.integers(0, size - run + 1)
        turned[:, row:, first : first + run] *= 1 + jump
    return np.clip(changed, 0, 255)


def moved(frames: NDArray[np.float32], width: int, step: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A square patch in the place of another one, `step` pixels away."""
    changed, size = frames.copy(), frames.shape[-1]
    for frame, before in zip(changed, frames, strict=True):
        y, x = rng.integers(size // 4, 3 * size // 4 - width // 2, 2)
        frame[:, y : y + width, x : x + width] = before[:, y : y + width, x - step : x - step + width]
    return changed


def rejected(measured: Measured, reference: Reference) -> NDArray[np.bool_]:
    """Frames with a straighter edge than any real frame has."""
    out = np.zeros(len(measured), bool)
    for name, column in measured.physics.items():
        if name.startswith("straight_edges"):
            real = [side.measured.physics[name].values for side in (reference.train, reference.validation)]
            out |= column.values > np.nanmax(np.concatenate(real))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cube", required=True)
    parser.add_argument("--bundle", default="sdo2012-128")
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.bundle)
    stored = open_reference(bundle)
    if stored is None:
        parser.error(f"{arguments.bundle} carries no real frames")
    test = select_split(open_cube(arguments.cube), "test")
    whole = test.isel(time=known_rows(test)).load()
    some = whole.isel(time=slice(None, None, 3))
    frames = some["intensity"].values.astype(np.float32)

    def share(changed: NDArray[np.float32]) -> float:
        cube = some.assign(intensity=(some["intensity"].dims, changed))
        measured = measure_set(cube, np.arange(len(changed)), stored.instruments_alone)
        return float(rejected(measured, stored.reference).mean())

    rng = np.random.default_rng(0)
    lines = [f"| cut, one side brighter by | {' | '.join(f'{name} of the width' for name in LENGTHS)} |"]
    lines.append("| --- " * (len(LENGTHS) + 1) + "|")
    for jump in JUMPS:
        shares = [share(cut(frames, jump, length, rng)) for length in LENGTHS.values()]
        lines.append(f"| {jump:.0%} | {' | '.join(f'{one:.0%}' for one in shares)} |")
    patches = share(moved(frames, 3 * frames.shape[-1] // 8, frames.shape[-1] // 8, rng))
    plain = rejected(measure_set(whole, np.arange(whole.sizes["time"]), stored.instruments_alone), stored.reference)
    samples = sunaug.generate(bundle, SAMPLES, rare=True)
    made = rejected(measure_set(samples, np.arange(SAMPLES), stored.instruments_alone), stored.reference)
    lines += [
        "",
        f"Patches of 3/8 of the width moved by 1/8: {patches:.0%}. Frames as they are: {plain.sum()} of {len(plain)}. "
        f"Rare samples of {bundle.info.name}: {made.sum()} of {SAMPLES}. {len(frames)} frames of the test months.",
    ]
    RESULTS.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    print(f"share {shares[-1]:.2f}")


if __name__ == "__main__":
    main()
