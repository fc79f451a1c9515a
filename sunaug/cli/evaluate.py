"""``sunaug evaluate``: how far a synthetic cube is from real frames, beside how far real frames are from each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sunaug.cli.places import ANYWHERE, INPUT, OUTPUT

if TYPE_CHECKING:
    from sunaug.bundle import Bundle
    from sunaug.fidelity.evaluate import Evaluation

_LISTED = 20
"""Failed checks that are printed; the report and --json have all."""


def evaluate(
    synthetic: list[str] = typer.Argument(
        ..., **ANYWHERE, help="Synthetic cube, two with --compare (an observed one is taken as if it were synthetic)."
    ),
    against: str = typer.Option(..., "--against", **ANYWHERE, help="Observed cube with train and validation months."),
    report: Path | None = typer.Option(
        None, "--report", **OUTPUT, help="Write an HTML page with pictures, plots and tables."
    ),
    json: Path | None = typer.Option(None, "--json", **OUTPUT, help="Write all figures to this file."),
    compare: bool = typer.Option(False, "--compare", help="Set two synthetic cubes side by side."),
    policy: str = typer.Option(
        "default", "--policy", **ANYWHERE, help="Policy of the gate: one of sunaug's, or a YAML file."
    ),
    strict: bool = typer.Option(
        True,
        "--strict/--exit-zero",
        help="Exit with 3 unless the gate lets all samples pass, or with 0 whatever it says.",
    ),
    bundle: str | None = typer.Option(
        None, "--bundle", help="Bundle that made the samples; looked for by the name in the cube if left out."
    ),
    weights: Path | None = typer.Option(
        None,
        "--weights",
        **INPUT,
        envvar=["SUNAUG_EVALUATE_WEIGHTS", "SUNAUG_FID_WEIGHTS"],
        help="Inception weights: pytorch-fid's own file, or the 768-d safetensors file.",
    ),
    n: int | None = typer.Option(None, "--n", help="Most frames per side of a Fréchet distance. [default: all]"),
    seed: int = typer.Option(0, "--seed", help="Seed of the random choice of frames."),
) -> None:
    """Compare a synthetic cube with real frames: distributions, physics, copies, claims, each beside its floor."""
    from sunaug.cli.progress import progress
    from sunaug.errors import GateRefused, UsageError
    from sunaug.fidelity.evaluate import run_evaluation
    from sunaug.fidelity.policy import load_policy

    if len(synthetic) != (2 if compare else 1):
        wanted = "two synthetic cubes with --compare" if compare else "one synthetic cube, or two with --compare"
        raise UsageError(f"{len(synthetic)} cubes given: `sunaug evaluate` takes {wanted}.")
    if compare and report:
        raise UsageError(f"--report {report}: a report is of one cube; leave --compare out and write one for each.")
    if json and report and json.absolute() == report.absolute():
        raise UsageError(f"--json {json}: is the file of --report as well; give two.")
    asked = load_policy(policy)
    found: list[tuple[Evaluation, Bundle | None]] = []
    for path in synthetic:
        maker = _maker(path, bundle)
        evaluation = run_evaluation(
            path,
            against,
            weights=weights,
            n=n,
            seed=seed,
            policy=asked,
            bundle=maker,
            progress=progress,
            say=lambda text: typer.echo(text, err=True),
        )
        found.append((evaluation, maker))
    figures: dict[str, Any]
    if compare:
        from sunaug.fidelity.report import set_side_by_side

        comparison = set_side_by_side(found[0][0], found[1][0])
        lines = _comparison(comparison)
        figures = {"comparison": comparison, "evaluations": [one.figures for one, _ in found]}
    else:
        figures = found[0][0].figures
        lines = [*_gate(figures), "", *_distributions(figures), "", *_physics(figures), *_explanations(figures)]
    for line in lines:
        typer.echo(line)
    if json:
        _write_json(json, figures)
    if report:
        from sunaug.fidelity.report import write_report

        typer.echo(f"Report: {write_report(report, found[0][0], bundle=found[0][1])}")
    if not strict:
        return
    refusals = [refusal for one, _ in found if (refusal := _refusal(one))]
    if refusals:
        raise GateRefused(" ".join(refusals))


def _maker(path: str, named: str | None) -> Bundle | None:
    """The bundle that made a cube, where it is at hand: what is named has to be it, what is found by name may be."""
    from sunaug.bundle import load_bundle
    from sunaug.cube import open_cube
    from sunaug.errors import SunaugError, UsageError

    attributes = open_cube(path).attrs
    name, wanted = attributes.get("bundle_name"), attributes.get("bundle_hash")
    if named is None:
        try:
            found = load_bundle(str(name))
        except SunaugError:
            return None
        return found if found.hash == wanted else None
    found = load_bundle(named)
    if found.hash != wanted:
        raise UsageError(
            f"--bundle {named}: did not make {path} (the cube names {name or 'no bundle'}, SHA-256 "
            f"{str(wanted)[:12]}, this one has {found.hash[:12]}); give the one that did, or leave --bundle out."
        )
    return found


def _write_json(path: Path, figures: dict[str, Any]) -> None:
    from json import dumps

    from sunaug.errors import SunaugError

    try:
        path.write_text(dumps(figures, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise SunaugError(f"{path}: the figures cannot be written ({error.strerror or error}).") from None
    typer.echo(f"All figures: {path}")


def _refusal(evaluation: Evaluation) -> str | None:
    """Why a set does not pass, if it does not."""
    from sunaug.fidelity.verdict import PASSED

    name, found = str(evaluation.figures["synthetic"]), evaluation.assessment
    if found is None:
        return f"{name}: not judged, so it has not passed; give real frames with a known forecast (ingest --flares)."
    return None if found.verdict == PASSED else f"{name}: {found.sentence}"


def _gate(report: dict[str, Any]) -> list[str]:
    """The verdict, and the gating checks that fail, the worst first."""
    gate = report["gate"]
    if gate is None:
        return ["Not judged: the gate needs real frames with a known forecast in the train and the validation months."]
    lines = [gate["sentence"]]
    counts = ", ".join(f"{number} {state}" for state, number in gate["counts"].items())
    lines.append(f"Samples: {gate['account']}. Gating checks: {counts}.")
    failed = {name: one for name, one in gate["checks"].items() if one["gating"] and one["state"] == "failed"}
    if not failed:
        return lines
    worst = sorted(failed, key=lambda name: -_excess(failed[name]))
    rows: list[tuple[str, ...]] = [("failed check", "samples", "real", "limit", "excess", "role, unit")]
    for name in worst[:_LISTED]:
        one = failed[name]
        excess = _excess(one)
        times = f"{excess:.1f}" if excess < float("inf") else ""
        about = ", ".join(filter(None, (one["role"], one["unit"])))
        rows.append((name, *(_number(one[key]) for key in ("value", "floor", "limit")), times, about))
    lines += ["", *_aligned([row[:-1] for row in rows], left=1, tail=[row[-1] for row in rows])]
    more = len(failed) - _LISTED
    if more > 0:
        lines.append(f"and {more} more: --json or --report has all.")
    lines.append(
        f"Real: median of {gate['real_windows']} sets of {gate['frames_per_set']:,} real frames; excess: distance from "
        "it over that of the limit. A teacher had a part in making the samples, a judge had none."
    )
    return lines


def _excess(check: dict[str, Any]) -> float:
    room = check["limit"] - check["floor"]
    return (check["value"] - check["floor"]) / room if room else float("inf")


def _comparison(found: dict[str, Any]) -> list[str]:
    """A line for each check of two cubes."""
    one, other = found["cubes"]
    lines = [f"{name}: {found['verdicts'][name] or 'not judged'}" for name in (one, other)]
    checks = found["checks"]
    if checks:
        alike = all(_same(*check["limits"].values()) for check in checks.values())
        limits = ("limit",) if alike else (f"limit {one}", f"limit {other}")
        rows: list[tuple[str, ...]] = [("check", one, other, *limits, "fails")]
        tail = ["nearer to real frames"]
        for name, check in checks.items():
            failing = [cube for cube in (one, other) if check["gating"] and check["state"][cube] == "failed"]
            fails = "both" if len(failing) == 2 else "".join(failing)
            edges = [check["limits"][cube] for cube in (one, other)][: len(limits)]
            values = [check["values"][cube] for cube in (one, other)]
            rows.append((name, *map(_number, values), *map(_number, edges), fails))
            tail.append(check["nearer"] or "")
        lines += ["", *_aligned(rows, left=1, tail=tail)]
    return [*lines, "", found["sentence"]]


def _same(one: float | None, other: float | None) -> bool:
    return one == other or (one is not None and other is not None and abs(one - other) <= 1e-6 * abs(one))


def _selections(figures: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the samples were compared with in one network, and how that came out."""
    for name in ("all", "matched"):
        if figures[name]:
            yield name, figures[name]
    for name, one in figures["classes"].items():
        yield f"class {name}", one


def _distributions(report: dict[str, Any]) -> list[str]:
    """A line for each feature network and selection of validation frames."""
    header = ("network", "frames", "N", "Fréchet", "floor", "ratio", "KID×1000", "floor", "coverage", "floor", "ratio")
    rows: list[tuple[str, ...]] = [header]
    for label, figures in report["distribution"].items():
        for name, one in _selections(figures):
            kid, coverage = one["kid"], one["coverage"]
            rows.append(
                (
                    label,
                    name,
                    f"{one['n']:,}",
                    *_figures(one["frechet"]["value"], one["frechet"]["floor"]),
                    _thousandths(kid["value"], kid["stderr"]),
                    _thousandths(kid["floor"], kid["floor_stderr"]),
                    *_figures(coverage["value"], coverage["floor"], digits=2),
                )
            )
    return _aligned(rows, left=2)


def _physics(report: dict[str, Any]) -> list[str]:
    """A line for each physical measure where no gate has them among its checks."""
    if report["gate"] and report["gate"]["checks"]:
        return []
    rows: list[tuple[str, ...]] = [
        ("measure", "synthetic", "floor", "ratio", "unit; median frame, synthetic against real")
    ]
    for name, figures in report["physics"].items():
        typical = f"{_number(figures['synthetic'])} against {_number(figures['real'])}"
        rows.append((name, *_figures(figures["distance"], figures["floor"]), f"{figures['unit']}; {typical}"))
    return [*_aligned([row[:-1] for row in rows], left=1, tail=[row[-1] for row in rows]), ""]


def _explanations(report: dict[str, Any]) -> list[str]:
    table = report["gate"] is None or not report["gate"]["checks"]
    physics = f" ({report['physics_against']} for the physical checks)" if table else ""
    lines = [
        f"{report['synthetic']} and real frames of the validation months{physics}: the distance of the two; floor: "
        "that of real frames of the train months.",
        "Coverage is a share of the validation frames: less than the floor's means that kinds of frames are missing.",
    ]
    for label, origin in report["backbones"].items():
        comparable = "" if label == "FID-2048" else "; not comparable with a published FID (2,048)"
        lines.append(f"{label}: {origin}{comparable}.")
    return lines + [f"Note: {note}" for note in report["notes"]]


def _aligned(rows: Sequence[tuple[str, ...]], left: int, tail: Sequence[str] = ()) -> list[str]:
    """Rows as lines, the first `left` columns flush left and the others flush right; `tail` is put behind each."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            f"{text:<{width}}" if column < left else f"{text:>{width}}"
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return [f"{line}  {end}".rstrip() for line, end in zip(lines, tail, strict=True)] if tail else lines


def _figures(value: float | None, floor: float | None, digits: int = 1) -> tuple[str, str, str]:
    ratio = f"{value / floor:.{digits}f}" if value is not None and floor else ""
    return _number(value), _number(floor), ratio


def _thousandths(value: float | None, stderr: float | None) -> str:
    if value is None:
        return ""
    if abs(value) >= 10:  # features without a common scale
        return f"{1000 * value:.2e}" + ("" if stderr is None else f" ± {1000 * stderr:.1e}")
    return f"{1000 * value:.2f}" + ("" if stderr is None else f" ± {1000 * stderr:.2f}")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
