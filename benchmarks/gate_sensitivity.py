"""What the gate notices: damaged real frames, repeated ones, copies of the training, and generators, held against it.

    python -m benchmarks.gate_sensitivity --cube sdo2012-128.zarr [--bundle sdo2012-128] [--generators A B]
    python -m benchmarks.gate_sensitivity --cube sdo2012-128.zarr --power

The reference is the one that the bundle carries. The frames of the test months, which had no part in it, are damaged in
the ways of `benchmarks.damage` and judged as if they were samples; so are 700 frames of the train months as they are,
and samples of the bundles that --generators names (rare ones and plain ones). For every set and policy: the verdict,
how many gating figures fail, and the worst of them in units of the tolerance, the distance from median real window to
limit. Frames of a generator are judged by its own roles of teachers and judges, real ones by all figures.

Writes benchmarks/results/gate-sensitivity.json and, beside it, a table for each policy, for docs/fidelity.md. The last
line is the smallest excess of the worst figure over the damages by the first policy; above 1 all are noticed.

With --power, the same sets by how many frames of them are at hand: of each, 40 random parts of 16, 32, 64, 128 and 256
frames go through the gate. For every damage, the share of its parts that is refused, and the smallest number of frames
from which on 95 % are. Writes benchmarks/results/gate-power.json and its table; the last line is the largest of these
numbers.
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
from sunaug.fidelity.gate import Assessment, Baseline, assess
from sunaug.fidelity.instruments import Instruments, measure_set
from sunaug.fidelity.measured import Measured
from sunaug.fidelity.policy import Policy, load_policy
from sunaug.fidelity.reference import Reference
from sunaug.fidelity.request_verdict import open_reference
from sunaug.fidelity.roles import NOT_MADE, Roles, roles_of

RESULTS = Path(__file__).parent / "results" / "gate-sensitivity.json"
POWER = Path(__file__).parent / "results" / "gate-power.json"
SAMPLES = 512
PARTS = 40
SIZES = (16, 32, 64, 128, 256)
REFUSED = 0.95


def damaged_sets(test: xr.Dataset, instruments: Instruments, cache: RowCache) -> Iterator[tuple[str, Measured, Roles]]:
    """The test frames as they are, damaged, and repeated."""
    rows = known_rows(test)
    whole = test.isel(time=rows).load()
    measured = measure_set(whole, np.arange(len(rows)), instruments, cache)
    yield "undamaged", measured, NOT_MADE
    for name, damage in DAMAGES.items():
        frames = damage(whole["intensity"].values.astype(np.float32), instruments.geometry)
        changed = whole.assign(intensity=(whole["intensity"].dims, frames))
        yield name, measure_set(changed, np.arange(len(rows)), instruments, cache), NOT_MADE
    yield "50 frames, repeated", replace(measured.take(collapsed(len(rows), 50)), times=None), NOT_MADE


def generated_sets(
    names: list[str], instruments: Instruments, cache: RowCache
) -> Iterator[tuple[str, Measured, Roles]]:
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
            measured = measure_set(samples, np.arange(SAMPLES), instruments, cache)
            yield f"{bundle.info.name}, {kind}", measured, roles_of(bundle)


def summed_up(name: str, found: Assessment) -> dict[str, Any]:
    known = [one for one in found.checks if one.gating and one.state != "unknown"]
    return {
        "set": name,
        "verdict": found.verdict,
        "frames_per_set": found.n,
        "sets": found.sets,
        **found.account.described(),
        "problems": found.problems,
        "lacking": found.lacking,
        "gating": len(known),
        "unknown": [one.name for one in found.gating("unknown")],
        "failed": {one.name: round(one.excess, 2) for one in found.failed},
        "failed_judges": [one.name for one in found.failed if one.role == "judge"],
        "authenticity": next((round(one.excess, 2) for one in found.checks if one.name == "authenticity"), None),
        "worst": max((one.excess for one in known), default=float("nan")),
        "by_family": {
            family: max(one.excess for one in known if one.family == family)
            for family in dict.fromkeys(one.family for one in known)
        },
    }


def power(
    sets: list[tuple[str, Measured, Roles]], reference: Reference, policy: Policy, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """For each set, how many of its random parts are refused, passed or unknown, by the number of frames in a part."""
    # The same frames of every set, so that what real frames get is computed once for each mix of conditions.
    most = max(len(measured) for _, measured, _ in sets)
    orders = {size: [rng.permutation(most) for _ in range(PARTS)] for size in SIZES}
    baselines: dict[tuple[int, ...], Baseline] = {}
    rows = []
    for name, measured, roles in sets:
        looked = reference.look(measured)
        by_size: dict[int, dict[str, int]] = {}
        for size in (one for one in SIZES if one <= len(measured)):
            verdicts = [
                assess(looked.take(part), reference, policy, roles, baselines=baselines).verdict
                for part in (np.sort(order[order < len(measured)][:size]) for order in orders[size])
            ]
            by_size[size] = {verdict: verdicts.count(verdict) for verdict in ("refused", "unknown", "passed")}
        enough = [
            size
            for size in by_size
            if all(by_size[one]["refused"] >= REFUSED * PARTS for one in by_size if one >= size)
        ]
        rows.append({"set": name, "frames": len(measured), "parts": by_size, "enough": min(enough, default=None)})
        print(f"{name}: {by_size}, enough {rows[-1]['enough']}", flush=True)
    return rows


def power_table(rows: list[dict[str, Any]]) -> str:
    lines = [
        f"| frames | {' | '.join(f'{size} frames' for size in SIZES)} | enough |",
        "| --- " * (len(SIZES) + 2) + "|",
    ]
    for row in rows:
        shares = [f"{row['parts'][size]['refused'] / PARTS:.0%}" if size in row["parts"] else "" for size in SIZES]
        lines.append(f"| {row['set']} | {' | '.join(shares)} | {row['enough'] or 'not reached'} |")
    return "\n".join(lines)


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| frames | verdict | single frames rejected | gating checks that fail | the worst (× the tolerance) |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for row in rows:
        worst = ", ".join(
            f"{name.replace('|', ' given ')} {excess:.1f}" for name, excess in list(row["failed"].items())[:4]
        )
        said = "; ".join([*row["problems"], *row["lacking"]])
        lines.append(
            f"| {row['set']} | {row['verdict']} | {row['rejected']} of {row['made']} | {len(row['failed'])} of "
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
    parser.add_argument("--power", action="store_true", help="by the number of frames that are at hand")
    arguments = parser.parse_args()
    bundle, cube = load_bundle(arguments.bundle), open_cube(arguments.cube)
    policies = [load_policy(name) for name in arguments.policies]
    stored = open_reference(bundle)
    if stored is None:
        parser.error(f"{arguments.bundle} carries no real frames")
    cache = RowCache(default_cache())
    sets = [*damaged_sets(select_split(cube, "test"), stored.instruments, cache)]
    train = select_split(cube, "train")
    chosen = np.random.default_rng(0).permutation(known_rows(train))[:700]
    sets.append(("copies of train frames", measure_set(train, np.sort(chosen), stored.instruments, cache), NOT_MADE))
    sets += generated_sets(arguments.generators, stored.instruments, cache)
    origin = {
        "bundle": bundle.info.name,
        "bundle_hash": bundle.hash,
        "cube": Path(arguments.cube).name,
        "machine": f"{processor()}, {versions()}",
        "networks": [one.label for one in stored.instruments.backbones],
    }
    if arguments.power:
        found = power(sets, stored.reference, policies[0], np.random.default_rng(0))
        POWER.write_text(
            json.dumps(origin | {"policy": policies[0].hash, "parts": PARTS, "sets": found}, indent=2) + "\n"
        )
        POWER.with_suffix(".md").write_text(power_table(found) + "\n")
        print(f"enough {max(row['enough'] or 0 for row in found if row['set'] in DAMAGES)}")
        return
    rows: dict[str, list[dict[str, Any]]] = {policy.name: [] for policy in policies}
    for name, measured, roles in sets:
        looked = stored.reference.look(measured)
        for policy in policies:
            row = summed_up(name, assess(looked, stored.reference, policy, roles))
            rows[policy.name].append(row)
            print(f"{policy.name}: {name}: {row['verdict']}, worst {row['worst']:.2f}", flush=True)
    report = origin | {
        "policies": {policy.name: {"sha256": policy.hash, "sets": rows[policy.name]} for policy in policies}
    }
    arguments.results.write_text(json.dumps(report, indent=2) + "\n")
    tables = "\n\n".join(f"Policy `{name}`:\n\n{table(found)}" for name, found in rows.items())
    arguments.results.with_suffix(".md").write_text(tables + "\n")
    damaged = [row["worst"] for row in rows[policies[0].name] if row["set"] in DAMAGES]
    print(f"ratio {min(damaged):.2f}")


if __name__ == "__main__":
    main()
