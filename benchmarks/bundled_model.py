"""Measure a bundle against the validation months, which it has not seen.

    python benchmarks/bundled_model.py --cube sdo2012.zarr [--bundle runs/mine/bundle]

Makes 1,000 samples under the conditions of all training frames and 1,000 rare ones, evaluates both as ``sunaug
evaluate`` does, and writes the reports to benchmarks/results/; with ``--into`` the main figures go into the bundle in
that folder. Prints a Markdown table of both feature networks, class by class; coverage is given beside that of the
floor. The last line is the ratio of the plain samples' FID (FID-768 with the weights in ../shared/data) to its
real-against-real floor.
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

from sunaug.bundle import BUNDLED, Bundle, load_bundle, write_metrics
from sunaug.cli.progress import progress
from sunaug.fidelity.evaluate import evaluate
from sunaug.generation import Request, generate_cube
from sunaug.installed import refuse_installed

RESULTS = Path(__file__).parent / "results"
REQUESTS = {"plain": Request(1_000), "rare": Request(1_000, rare=True, min_class="M1.0")}


def measure(bundle: Bundle, cube: str, name: str) -> dict[str, Any]:
    """Make the samples of one request and evaluate them."""
    request = REQUESTS[name]
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        path = generate_cube(Path(folder) / f"{name}.zarr", bundle, request)
        generated = time.monotonic() - started
        report = evaluate(path, cube, bundle=bundle, progress=progress)
    return report | {
        "synthetic": f"{request.n:,} {name} samples of {bundle.info.name}, seed {request.seed}",
        "against": Path(cube).name,
        "samples_per_second": round(request.n / generated, 1),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
    }


def by_selection(report: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Figures by selection of validation frames, then by network: ``all``, ``matched``, ``class M``."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for label, selections in report["distribution"].items():
        classes = {f"class {letter}": figures for letter, figures in selections["classes"].items()}
        for name, figures in ({key: selections[key] for key in ("all", "matched")} | classes).items():
            if figures is not None:
                found.setdefault(name, {})[label] = figures
    return found


def main_figures(networks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What a bundle keeps of one selection, without nesting, since ``sunaug inspect`` shows it as a line."""
    kept: dict[str, Any] = {}
    for label, figures in networks.items():
        kept["n"] = figures["n"]
        for quantity, name in (("frechet", label), ("coverage", f"{label} coverage")):
            for key, suffix in (("value", ""), ("floor", " floor"), ("ratio", " ratio")):
                if figures[quantity][key] is not None:
                    kept[name + suffix] = float(f"{figures[quantity][key]:.4g}")
    return kept


def row(name: str, networks: dict[str, dict[str, Any]], labels: list[str]) -> list[str]:
    """Cells of one line of the table."""
    cells = [name, f"{next(iter(networks.values()))['n']:,}"]
    for label in labels:
        frechet, coverage = networks[label]["frechet"], networks[label]["coverage"]
        cells += [f"{frechet['value']:.3g}", f"{frechet['floor']:.3g}", f"{frechet['ratio']:.2f}"]
        cells.append("" if coverage["value"] is None else f"{coverage['value']:.2f} / {coverage['floor']:.2f}")
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cube", required=True, help="cube of the year 2012, ingested with --flares")
    parser.add_argument("--bundle", default=BUNDLED)
    parser.add_argument("--only", choices=REQUESTS, help="one kind of samples; by default both")
    parser.add_argument("--into", type=Path, help="bundle to write the main figures into, a copy of the one measured")
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.bundle)
    if arguments.into:
        refuse_installed(arguments.into)
    bundled = arguments.bundle == BUNDLED
    metrics: dict[str, Any] = {}
    rows: list[list[str]] = []
    for name in [arguments.only] if arguments.only else REQUESTS:
        report = measure(bundle, arguments.cube, name)
        stem = f"bundled-model-{name}" if bundled else f"bundled-model-{bundle.info.name}-{name}"
        (RESULTS / f"{stem}.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
        labels = list(report["distribution"])
        for selection, networks in by_selection(report).items():
            metrics[f"{name}_against_{selection.replace(' ', '_')}_validation"] = main_figures(networks)
            rows.append(row(f"{name}, {selection}", networks, labels))
        for note in report["notes"]:
            print(f"{name}: {note}")
    if arguments.into:
        write_metrics(arguments.into, metrics)
    header = ["samples, validation frames", "N"]
    for label in labels:
        header += [label, "floor", "ratio", "coverage / floor's"]
    for cells in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(cells)} |")
    plain = metrics.get("plain_against_all_validation", {})
    fid = next((label for label in labels if label.startswith("FID")), None)
    ratio = plain.get(f"{fid} ratio")
    print("ratio unknown: no plain samples, or no Inception weights" if ratio is None else f"ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
