"""Measure the bundled model against the validation months, which it has not seen.

    python benchmarks/bundled_model.py --cube sdo2012.zarr

Makes 1,000 samples under the conditions of all training frames and 5,000 rare ones, evaluates both as ``sunaug
evaluate`` does, writes the reports to benchmarks/results/ and the Fréchet distances into the bundle. The last line is
the ratio of the Fréchet distance of the plain samples to its real-against-real floor.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from sunaug.bundle import BUNDLED, load_bundle, write_metrics
from sunaug.cli.progress import progress
from sunaug.fidelity.evaluate import evaluate
from sunaug.generation import Request, generate_cube

RESULTS = Path(__file__).parent / "results"
REQUESTS = {"plain": Request(1_000), "rare": Request(5_000, rare=True, min_class="M1.0")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cube", required=True, help="cube of the year 2012, ingested with --flares and --size 64")
    parser.add_argument("--bundle", default=BUNDLED)
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.bundle)
    metrics: dict[str, Any] = {}
    for name, request in REQUESTS.items():
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            path = generate_cube(Path(folder) / f"{name}.zarr", bundle, request)
            generated = time.monotonic() - started
            report = evaluate(path, arguments.cube, progress=progress)
        report |= {
            "synthetic": f"{request.n:,} {name} samples of {bundle.info.name}, seed {request.seed}",
            "against": Path(arguments.cube).name,
            "samples_per_second": round(request.n / generated, 1),
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        }
        (RESULTS / f"bundled-model-{name}.json").write_text(json.dumps(report, indent=2) + "\n")
        for selection, figures in report["fid"].items():
            if figures is not None:
                kept = {key: round(figures[key], 4) for key in ("value", "floor", "ratio")}
                metrics[f"{name}_against_{selection}_validation"] = {
                    "measure": report["backbone"].split()[0],
                    **kept,
                    "n": figures["n"],
                }
                print(
                    f"{name} against {selection} validation frames: {metrics[f'{name}_against_{selection}_validation']}"
                )
    write_metrics(bundle.path, metrics)
    print(f"ratio {metrics['plain_against_all_validation']['ratio']:.2f}")


if __name__ == "__main__":
    main()
