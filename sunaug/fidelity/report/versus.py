"""Two synthetic cubes that were held against the same real frames, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sunaug.fidelity.evaluate import Evaluation
from sunaug.fidelity.gate import Check

__all__ = ["set_side_by_side"]

_EVEN = 0.05
"""Differences of the excess below this are no difference."""


def set_side_by_side(first: Evaluation, second: Evaluation) -> dict[str, Any]:
    """Which of two sets of samples is nearer to real frames, check by check.

    A set is nearer where it lies less far above the median of its real windows, in units of its limit's distance from
    it; below the median no set is nearer than another.

    Parameters
    ----------
    first, second : Evaluation
        Against the same cube, with the same policy.

    Returns
    -------
    dict
        - ``cubes``: names of the two, which everything below is called by;
        - ``verdicts``, ``failed`` (number of gating checks that do not pass), ``nearer`` (number of checks): by cube;
          ``even``: number of checks without a difference;
        - ``checks``: by name ``unit``, ``gating``, ``values``, ``limits``, ``floors``, ``excess``, ``state``
          and ``passed`` (None where unknown) by cube, and ``nearer``: a cube, ``even``, or None where one of them is
          not known;
        - ``sentence``.
    """
    sides = dict(zip(_names(first, second), (first, second), strict=True))
    checks = {
        name: {one.name: one for one in side.assessment.checks} if side.assessment else {}
        for name, side in sides.items()
    }
    one, other = sides
    found: dict[str, Any] = {}
    for measure, ours in checks[one].items():
        theirs = checks[other].get(measure)
        if theirs is not None:
            found[measure] = _beside({one: ours, other: theirs})
    judged = [check for check in found.values() if check["nearer"]]
    comparison = {
        "cubes": list(sides),
        "verdicts": {name: side.assessment.verdict if side.assessment else None for name, side in sides.items()},
        "failed": {name: len(side.assessment.failed) if side.assessment else None for name, side in sides.items()},
        "nearer": {name: sum(check["nearer"] == name for check in judged) for name in sides},
        "even": sum(check["nearer"] == "even" for check in judged),
        "checks": found,
    }
    return comparison | {"sentence": _sentence(comparison, len(judged))}


def _names(first: Evaluation, second: Evaluation) -> tuple[str, str]:
    paths = [str(one.figures["synthetic"]) for one in (first, second)]
    short = [Path(path).name for path in paths]
    chosen = paths if short[0] == short[1] else short
    return (chosen[0], chosen[1]) if chosen[0] != chosen[1] else (f"{chosen[0]} (1)", f"{chosen[1]} (2)")


def _beside(sides: dict[str, Check]) -> dict[str, Any]:
    one, other = sides
    excess = {name: _excess(check) for name, check in sides.items()}
    nearer: str | None = None
    if all(check.state != "unknown" for check in sides.values()):
        apart = max(excess[one], 0.0) - max(excess[other], 0.0)
        # Infinity from itself is no number: both lie beyond a limit without room.
        nearer = "even" if not abs(apart) > _EVEN else other if apart > 0 else one
    first = sides[one]
    return {
        "unit": first.unit,
        "gating": first.gating,
        "values": {name: _known(check.value) for name, check in sides.items()},
        "limits": {name: _known(check.limit) for name, check in sides.items()},
        "floors": {name: _known(check.floor) for name, check in sides.items()},
        "excess": {name: _known(value) for name, value in excess.items()},
        "passed": {
            name: None if check.state == "unknown" else check.state == "passed" for name, check in sides.items()
        },
        "state": {name: check.state for name, check in sides.items()},
        "nearer": nearer,
    }


def _excess(check: Check) -> float:
    """As the check says; where all real windows are alike, 0 or infinity."""
    if check.state != "unknown" and check.limit == check.floor:
        return 0.0 if check.state == "passed" else float("inf")
    return check.excess


def _known(value: float) -> float | None:
    return float(value) if abs(value) < float("inf") else None


def _sentence(comparison: dict[str, Any], judged: int) -> str:
    one, other = comparison["cubes"]
    if not judged:
        return f"{one} and {other} cannot be compared: no check is known of both."
    nearer, failed = comparison["nearer"], comparison["failed"]
    first, second = (one, other) if nearer[one] >= nearer[other] else (other, one)
    gating = sum(check["gating"] for check in comparison["checks"].values())
    if nearer[first] == nearer[second]:
        start = f"Neither is nearer to real frames: {one} in {nearer[one]}, {other} in {nearer[other]}"
    else:
        start = f"{first} is nearer to real frames in {nearer[first]}, {second} in {nearer[second]}"
    return (
        f"{start} of {judged} checks ({comparison['even']} are even); of {gating} gating checks {one} fails "
        f"{failed[one]} and {other} {failed[other]}."
    )
