"""What the gate has said of a cube, as readers of the cube find it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sunaug.cube import refuse_reconstructions
from sunaug.errors import GateRefused

__all__ = ["PASSED", "REFUSED", "UNGATED", "UNJUDGED", "UNKNOWN", "refuse_ungated", "verdict_of"]

PASSED, REFUSED, UNKNOWN = "passed", "refused", "unknown"
"""What the gate says of samples that it has looked at; unknown is not passed."""

UNGATED, UNJUDGED = "ungated", "unjudged"
"""Of samples that it has not looked at: it was told not to, or could not."""

_SAID = {
    REFUSED: "the fidelity gate has refused it",
    UNKNOWN: "the fidelity gate cannot tell whether it passes",
    UNGATED: "it was made with --no-gate",
    UNJUDGED: "the fidelity gate has not judged it",
}


def verdict_of(attributes: Mapping[str, Any]) -> str:
    """The verdict in a cube's attributes; ``unjudged`` where there is none."""
    gate = attributes.get("gate")
    found = str(gate.get("verdict", UNJUDGED)) if isinstance(gate, Mapping) else UNJUDGED
    return found if found in (PASSED, REFUSED, UNKNOWN, UNGATED) else UNJUDGED


def refuse_ungated(attributes: Mapping[str, Any], name: str, *, allow: bool) -> None:
    """Refuse a synthetic cube that has not passed the gate.

    Raises
    ------
    UsageError
        If it holds reconstructions, whatever is allowed.
    GateRefused
        Unless `allow`.
    """
    refuse_reconstructions(attributes, name)
    verdict = verdict_of(attributes)
    if verdict != PASSED and not allow:
        looked_at = verdict in (REFUSED, UNKNOWN)
        sentence = str(attributes["gate"].get("sentence", "")).rstrip(".") if looked_at else ""
        raise GateRefused(
            f"{name}: {_SAID[verdict]}{f' ({sentence})' if sentence else ''}; pass allow_ungated=True to use it anyway."
        )
