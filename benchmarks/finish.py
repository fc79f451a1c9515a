"""What the spectral finish changes: samples of a bundle with it and without, at the gate.

    python -m benchmarks.finish [--bundle sdo2012-128] [--n 512]

Run from the root of the repository. The same latents, conditions and steering are drawn twice, plain ones and rare
ones, and judged by the bundle's own real frames (policy ``default``). A single sample is *rejected* where it is like no
real frame. The figures go to results/finish.json, and from there the table in docs/training.md is made. The last line
is the failed checks of rare samples with the finish over those without.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.trained_runs import machine, put_between, versions
from sunaug.bundle import BUNDLED, Bundle, load_bundle
from sunaug.errors import UsageError
from sunaug.fidelity.policy import load_policy
from sunaug.fidelity.request_verdict import assess_samples, open_reference
from sunaug.generation import generate

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "finish.json"
PAGE = ROOT / "docs" / "training.md"
MARKS = ("<!-- finish -->", "<!-- /finish -->")
SHOWN = ("frechet solar-texture", "frechet solar-content", "stripes aia171", "corner_structure aia171")


def judged(bundle: Bundle, n: int, *, rare: bool) -> dict[str, Any]:
    """What the gate says of samples."""
    stored = open_reference(bundle)
    if stored is None:
        raise UsageError(f"{bundle.path}: has no real frames to judge samples by; fit them with sunaug directions.")
    found = assess_samples([generate(bundle, n=n, rare=rare)], bundle, stored, load_policy("default"))
    return {
        "rare": rare,
        "finish": bundle.finish is not None,
        "checks": sum(one.gating and one.state != "unknown" for one in found.checks),
        "failed": {one.name: round(one.excess, 2) for one in found.failed},
        "excess": {one.name: round(one.excess, 2) for one in found.checks if one.name in SHOWN},
        "rejected": int(found.rejected.sum()),
        "why_rejected": found.why_rejected,
    }


def table(found: dict[str, Any]) -> str:
    """What stands between the page's marks."""
    head = ["samples", "finish", "failed checks", *SHOWN, "rejected"]
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for one in found["cases"]:
        cells = ["rare" if one["rare"] else "plain", "with" if one["finish"] else "without"]
        cells += [f"{len(one['failed'])} of {one['checks']}", *(f"{one['excess'][name]:.1f}" for name in SHOWN)]
        cells.append(f"{one['rejected']} of {found['n']}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"`python -m benchmarks.finish`, {found['bundle']}, {found['machine']}."])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", default=BUNDLED)
    parser.add_argument("--n", type=int, default=512)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page-file", type=Path, default=PAGE)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    bundle = load_bundle(arguments.bundle)
    found = {
        "bundle": bundle.info.name,
        "n": arguments.n,
        "machine": machine(),
        "versions": versions(),
        "cases": [
            judged(one, arguments.n, rare=rare)
            for rare in (False, True)
            for one in (replace(bundle, finish=None), bundle)
        ],
    }
    arguments.results.write_text(json.dumps(found, indent=2) + "\n")
    put_between(MARKS, table(found), arguments.page_file, "\n".join(MARKS))
    without, with_it = (len(one["failed"]) for one in found["cases"][2:])
    print(f"ratio {with_it / max(without, 1):.2f}")


if __name__ == "__main__":
    main()
