"""How near a generator comes to real frames, and to channels of them that it is not shown.

    python -m benchmarks.completion --cube sdo2012-128.zarr [--bundle sdo2012-128] [--n 16] [--steps 100]

The cube is one of the year 2012 (`sunaug ingest sdo2012`). Frames of the validation months, evenly spaced, are
projected by all channels, with one w for all layers and with one for each, and by all channels but one, with one for
each. Beside the errors of the completed channel stand those of the mean train frame and of a regression on the given
channels at the same pixel (`sunaug.reconstruction.baselines`), both fitted on the train months.

Writes benchmarks/results/completion.json and docs/projection.png, and prints the tables of docs/projection.md. The last
line, ``ratio X``, is the RMS error of the regression over that of the generator, mean over the completed channels:
above 1, the generator knows more of a missing channel than the regression does.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from benchmarks.train_speed import processor, versions
from sunaug.bundle import Bundle, BundleInfo, load_bundle
from sunaug.cube import open_cube
from sunaug.latent.projection import GROUP, LAYERS, Projection, Projector
from sunaug.pictures import Panel, contact_sheet
from sunaug.reconstruction import Errors, RealFrames, fit_baselines, real_frames, reconstruct

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "completion.json"
PICTURE = HERE.parent / "docs" / "projection.png"
SHOWN = "aia94"
TIMED_STEPS = 10
NAMES = {"one": "one w", "each": "a w for each layer"}
COLUMNS = 5


def figures(errors: Errors, channels: list[str], names: list[str]) -> dict[str, dict[str, float]]:
    """Means over the frames, by channel, with the standard error of the RMS."""
    found = {}
    for name in names:
        rms, total = (one[:, channels.index(name)].astype(np.float64) for one in (errors.rms, errors.total))
        found[name] = {
            "rms_error": float(rms.mean()),
            "rms_standard_error": float(rms.std(ddof=1) / np.sqrt(len(rms))),
            "absolute_total_error": float(np.abs(total).mean()),
        }
    return found


def reconstructed(bundle: Bundle, frames: RealFrames, settings: Projection, folder: Path) -> xr.Dataset:
    name = f"{bundle.info.name}-{len(frames)}-{settings.steps}-{settings.layers}-{'-'.join(frames.counted)}.zarr"
    return open_cube(reconstruct(folder / name, bundle, frames, settings))


def errors_in(made: xr.Dataset) -> Errors:
    return Errors(made["rms_error"].values, made["total_error"].values)


def completed(
    bundle: Bundle, cube: xr.Dataset, missing: str, arguments: argparse.Namespace
) -> tuple[dict[str, dict[str, float]], dict[str, NDArray[np.float32]]]:
    """Figures of a completed channel, and its images (n, y, x) in the cube's units, by what made them."""
    info = bundle.info
    given = [name for name in info.channels if name != missing]
    frames = real_frames(cube, bundle, given, n=arguments.n)
    place, real = info.channels.index(missing), frames.intensity()
    fitted = fit_baselines(cube, info, given)
    made = reconstructed(bundle, frames, Projection(steps=arguments.steps, layers="each"), arguments.work)
    errors = fitted.errors(frames) | {"generator": errors_in(made)}
    said = fitted.predict(info.scaling.scale(real))["regression"]
    images = {
        "observed": real,
        "generator": made["intensity"].values,
        "regression": info.within_range(info.scaling.unscale(said)),
    }
    return (
        {name: figures(one, info.channels, [missing])[missing] for name, one in errors.items()},
        {name: image[:, place] for name, image in images.items()},
    )


def seconds(bundle: Bundle, frames: RealFrames) -> float:
    """Processor time that a step takes for each of a group of frames."""
    projector = Projector(bundle, Projection(steps=TIMED_STEPS))
    chosen = slice(0, GROUP)
    scaled = frames.what_counts(frames.intensity(chosen))
    began = time.process_time()
    projector.project(scaled, frames.fluxes[chosen], range(len(scaled)))
    return (time.process_time() - began) / TIMED_STEPS / len(scaled)


def table(found: dict[str, dict[str, dict[str, float]]], head: str) -> str:
    """A Markdown table: rows and columns by name, RMS error and absolute error of the total."""
    columns = list(next(iter(found.values())))
    lines = ["| " + " | ".join([head, *columns]) + " |", "| --- " * (1 + len(columns)) + "|"]
    for name, row in found.items():
        cells = [
            f"{one['rms_error']:.3f} ± {one['rms_standard_error']:.3f}, {one['absolute_total_error']:.1%}"
            for one in row.values()
        ]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines)


def draw(images: dict[str, NDArray[np.float32]], times: NDArray[np.datetime64], info: BundleInfo) -> None:
    """A row for each maker, a column for each of some frames."""
    columns = np.linspace(0, len(times) - 1, COLUMNS).round().astype(int)
    panels: list[Panel] = [
        (f"{maker}, {times[column].astype('datetime64[h]')}h", image[column][None])
        for maker, image in images.items()
        for column in columns
    ]
    flags = [maker != "observed" for maker in images for _ in columns]
    heading = f"{SHOWN} completed from the other channels, by {info.name} and by a regression"
    contact_sheet(
        PICTURE,
        panels,
        [SHOWN],
        intensity_scale=info.intensity_scale,
        columns=COLUMNS,
        heading=heading,
        synthetic=flags,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cube", required=True, help="cube of the year 2012")
    parser.add_argument("--bundle", default="sdo2012-128")
    parser.add_argument("--n", type=int, default=16, help="frames")
    parser.add_argument("--steps", type=int, default=100, help="of each projection")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("/tmp/sunaug-completion"),
        help="folder that keeps what a stopped run has made",
    )
    arguments = parser.parse_args()
    bundle, cube = load_bundle(arguments.bundle), open_cube(arguments.cube)
    channels = bundle.info.channels
    frames = real_frames(cube, bundle, n=arguments.n)
    projections: dict[str, dict[str, dict[str, float]]] = {name: {} for name in channels}
    completions: dict[str, dict[str, dict[str, float]]] = {}
    for layers in LAYERS:
        made = reconstructed(bundle, frames, Projection(steps=arguments.steps, layers=layers), arguments.work)
        for channel, one in figures(errors_in(made), channels, channels).items():
            projections[channel][NAMES[layers]] = one
    for missing in channels:
        completions[missing], images = completed(bundle, cube, missing, arguments)
        if missing == SHOWN:
            draw(images, frames.times, bundle.info)
    report = {
        "bundle": bundle.info.name,
        "bundle_hash": bundle.hash,
        "cube": Path(arguments.cube).name,
        "frames": len(frames),
        "steps": arguments.steps,
        "processor_seconds_per_frame": round(seconds(bundle, frames) * arguments.steps, 2),
        "machine": f"{processor()}, {versions()}",
        "projected": projections,
        "completed": completions,
    }
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    print(table(projections, "channel, by all"))
    print(table(completions, "completed channel"))
    means = [
        np.mean([one[maker]["rms_error"] for one in completions.values()]) for maker in ("regression", "generator")
    ]
    print(f"ratio {means[0] / means[1]:.2f}")


if __name__ == "__main__":
    main()
