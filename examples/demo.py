"""The main job on the bundled model, command by command: rare frames, a look at them, what the flare direction does.

Run by ``make demo``; leaves a synthetic cube and pictures in the folder given with ``--out``. Where real frames are at
hand (the folder named by ``SUNAUG_DATA``, or ``../shared/data``), it also ingests twenty FITS files.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

import sunaug
from sunaug.bundle import BUNDLED
from sunaug.errors import GateRefused
from sunaug.pictures import contact_sheet

STEPS = (0.0, 1.0, 2.0, 3.0)
SUNS = 3


def run(*command: str | Path) -> int:
    """Show a sunaug command, run it, and give its exit code; one that fails for more than the gate ends the demo."""
    print(f"\n$ sunaug {shlex.join(map(str, command))}", flush=True)
    code = subprocess.run([sys.executable, "-m", "sunaug", *map(str, command)], check=False).returncode
    if code not in (0, GateRefused.exit_code):
        raise SystemExit(code)
    return code


def steering_picture(path: Path) -> None:
    """Draw the same latents and conditions at growing steps along the flare direction."""
    # The critic would put other latents in the place of those that it refuses at some steps.
    cubes = [sunaug.generate(n=SUNS, rare=True, seed=1, steer=steps, critic=False) for steps in STEPS]
    panels = [
        (f"flare direction {steps:+.0f} sigma", cube["intensity"].values[sun])
        for sun in range(SUNS)
        for steps, cube in zip(STEPS, cubes, strict=True)
    ]
    channels = [str(name) for name in cubes[0]["channel"].values]
    scale = cubes[0].attrs["intensity_scale"]
    contact_sheet(path, panels, channels, intensity_scale=scale, columns=len(STEPS), synthetic=True)
    print(f"{path}: {SUNS} Suns along the flare direction.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo-output"))
    parser.add_argument("--n", type=int, default=200)
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)

    run("inspect", BUNDLED)
    # The same request again finds its cube complete and leaves it as it is.
    if run("generate", "--rare", "--n", str(arguments.n), "--out", out / "rare.zarr"):
        print("The gate's refusal, exit code 3, is what the bundled model gets today: see docs/fidelity.md.")
    run("inspect", out / "rare.zarr", "--picture", out / "rare.png")
    steering_picture(out / "steering.png")

    fits = Path(os.environ.get("SUNAUG_DATA", "../shared/data")) / "aia193_synoptic_fits"
    if fits.is_dir():
        run("ingest", fits, "--out", out / "aia193.zarr", "--size", "256")
        run("inspect", out / "aia193.zarr", "--picture", out / "aia193.png")
    else:
        print(f"\n{fits}: no real FITS files here, so the demo ends without an ingest (SUNAUG_DATA names the folder).")


if __name__ == "__main__":
    main()
