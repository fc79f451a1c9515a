"""What the gate notices: damaged real frames, repeated ones, copies of the training, and generators, held against it.

    python -m benchmarks.gate_sensitivity --cube sdo2012-128.zarr [--bundle sdo2012-128] [--generators A B]

The reference is the one that the bundle carries. The frames of the test months, which had no part in it, are damaged in
the ways of `benchmarks.damage` and judged as if they were samples; so are 700 frames of the train months as they are,
and samples of the bundles that --generators names (rare ones and plain ones). For every set and policy: the verdict,
how many gating figures fail, and the worst of them in units of the room between median real window and limit.

Writes benchmarks/results/gate-sensitivity.json and, beside it, a table for each policy, for docs/fidelity.md. The last
line is the smallest excess of the worst figure over the damages by the first policy; above 1 all are noticed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import sunaug
from benchmarks.damage import DAMAGES, collapsed
from benchmarks.train_speed import processor, versions
from sunaug.bundle import load_bundle
from sunaug.cube import open_cube, select_split
from sunaug.errors import SunaugError
from sunaug.fidelity.cache import RowCache, default_cache
from sunaug.fidelity.fitting import known_rows
from sunaug.fidelity.gate import Assessment, assess
from sunaug.fidelity.instruments import Instruments, measure_set
from sunaug.fidelity.measured import Measured
from sunaug.fidelity.policy import load_policy
from sunaug.fidelity.stored import FILE, read_reference

RESULTS = Path(__file__).parent / "results" / "gate-sensitivity.json"
SAMPLES = 512


def damaged_sets(test: xr.Dataset, instruments: Instruments, cache: RowCache) -> Iterator[tuple[str, Measured]]:
    """The test frames as they are, damaged, and repeated."""
    rows = known_rows(test)
    whole = test.isel(time=rows).load()
    measured = measure_set(whole, np.arange(len(rows)), instruments, cache)
    yield "undamaged", measured
    for name, damage in DAMAGES.items():
        frames = damage(whole["intensity"].values.astype(np.float32), instruments.geometry)
        changed = whole.assign(intensity=(whole["intensity"].dims, frames))
        yield name, measure_set(changed, np.arange(len(rows)), instruments, cache)
    yield "50 frames, repeated", replace(measured.take(collapsed(len(rows), 50)), times=None)


def generated_sets(names: list[str], instruments: Instruments, cache: RowCache) -> Iterator[tuple[str, Measured]]:
    for name in names:
        bundle = load_bundle(name)
        requests: dict[str, dict[str, Any]] = {"rare": {"rare": True, "force": True}, "plain": {}}
        for kind, request in requests.items():
            try:
                samples = sunaug.generate(bundle, SAMPLES, seed=41, **request)
            except SunaugError as error:
                print(f"{name}: {error}")
                kind += ", without its critic, which accepts none"
                samples = sunaug.generate(bundle, SAMPLES, seed=41, critic=False, **request)
            yield f"{bundle.info.name}, {kind}", measure_set(samples, np.arange(SAMPLES), instruments, cache)


def summed_up(name: str, found: Assessment) -> dict[str, Any]:
    return {
        "set": name,
        "verdict": found.verdict,
        "frames_per_set": found.n,
        "sets": found.sets,
        "dropped": int(found.dropped.sum()),
        "of": len(found.dropped),
        "why_dropped": found.why_dropped,
        "problems": found.problems,
        "gating": sum(one.gating and one.known for one in found.checks),
        "failed": {one.name: round(one.excess, 2) for one in found.failed},
        "authenticity": next((round(one.excess, 2) for one in found.checks if one.name == "authenticity"), None),
        "worst": max((one.excess for one in found.checks if one.gating and one.known), default=float("nan")),
        "by_family": {
            family: max(one.excess for one in found.checks if one.gating and one.known and one.family == family)
            for family in dict.fromkeys(one.family for one in found.checks if one.gating and one.known)
        },
    }


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| frames | verdict | single frames rejected | gating figures that fail | the worst (times the room) |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for row in rows:
        worst = ", ".join(
            f"{name.replace('|', ' given ')} {excess:.1f}" for name, excess in list(row["failed"].items())[:4]
        )
        said = "; ".join(row["problems"])
        lines.append(
            f"| {row['set']} | {row['verdict']} | {row['dropped']} of {row['of']} | {len(row['failed'])} of "
            f"{row['gating']} | {'; '.join(filter(None, (worst, said))) or 'none'} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cube", required=True)
    parser.add_argument("--bundle", default="sdo2012-128", help="whose reference judges")
    parser.add_argument("--generators", nargs="*", default=[], help="bundles whose samples are judged")
    parser.add_argument("--policies", nargs="+", default=["default", "content"])
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    bundle, cube = load_bundle(arguments.bundle), open_cube(arguments.cube)
    policies = [load_policy(name) for name in arguments.policies]
    stored = read_reference(bundle.path / FILE)
    cache = RowCache(default_cache())
    sets = [*damaged_sets(select_split(cube, "test"), stored.instruments, cache)]
    train = select_split(cube, "train")
    chosen = np.random.default_rng(0).permutation(known_rows(train))[:700]
    sets.append(("copies of train frames", measure_set(train, np.sort(chosen), stored.instruments, cache)))
    sets += generated_sets(arguments.generators, stored.instruments, cache)
    rows: dict[str, list[dict[str, Any]]] = {policy.name: [] for policy in policies}
    for name, measured in sets:
        looked = stored.reference.look(measured)
        for policy in policies:
            found = summed_up(name, assess(looked, stored.reference, policy))
            rows[policy.name].append(found)
            print(f"{policy.name}: {name}: {found['verdict']}, worst {found['worst']:.2f}", flush=True)
    report = {
        "bundle": bundle.info.name,
        "bundle_hash": bundle.hash,
        "cube": Path(arguments.cube).name,
        "machine": f"{processor()}, {versions()}",
        "policies": {policy.name: {"sha256": policy.hash, "sets": rows[policy.name]} for policy in policies},
    }
    arguments.results.write_text(json.dumps(report, indent=2) + "\n")
    tables = "\n\n".join(f"Policy `{name}`:\n\n{table(found)}" for name, found in rows.items())
    arguments.results.with_suffix(".md").write_text(tables + "\n")
    damaged = [row["worst"] for row in rows[policies[0].name] if row["set"] in DAMAGES]
    print(f"ratio {min(damaged):.2f}")


if __name__ == "__main__":
    main()
