"""How well judges told real from synthetic frames, and which frames gave themselves away."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from statistics import NormalDist, median
from typing import Any

from sunaug.judging.answers import Answered, Experiment

__all__ = ["RESULTS_SCHEMA", "share", "sum_up", "wilson_interval"]

RESULTS_SCHEMA = 1


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22, 209, without continuity correction).

    Parameters
    ----------
    successes, n : int
        Of `n` independent answers.
    confidence : float

    Returns
    -------
    low, high : float
        From 0 to 1; the whole range where `n` is 0.
    """
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p = successes / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    # At the ends the formula gives 0 and 1 but for rounding.
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == n else centre + half)


def share(right: Sequence[bool]) -> dict[str, Any]:
    """Count, share and 95 % Wilson interval of the true ones; share and interval are None where there is none."""
    n, successes = len(right), sum(right)
    return {
        "n": n,
        "correct": successes,
        "share": successes / n if n else None,
        "interval": list(wilson_interval(successes, n)) if n else None,
    }


def sum_up(experiment: Experiment, answers: Iterable[Answered]) -> dict[str, Any]:
    """Sum up a database of answers.

    Parameters
    ----------
    experiment : Experiment
    answers : iterable of Answered
        As `sunaug.judging.read_answers` gives them. Trials without an answer count for nothing.

    Returns
    -------
    dict
        Goes into JSON as it is.

        - ``schema``: 1; ``experiment``: the fields of `Experiment`;
        - ``overall``: ``n`` answers, how many are ``correct``, their ``share`` and its 95 % Wilson ``interval``, all
          judges and frames together; in mode ``single`` also ``synthetic`` and ``real``, the same figures of each kind;
        - ``judges``: the same for each judge with the ``name``, the number of ``trials`` and the median
          ``milliseconds`` of an answer (None where no browser measured it);
        - ``samples``: by falling lower end of the interval, each ``sample`` with how often it was shown (``n``) and
          detected (``correct``); in mode ``pair`` that is how often its real neighbour was recognised;
        - ``frames``: the same for the real frames, by ``time``.
    """
    everything = list(answers)
    given = [one for one in everything if one.answer is not None]
    names = dict.fromkeys(one.judge for one in everything)
    judges = []
    for name in names:
        own = [one for one in given if one.judge == name]
        times = [one.milliseconds for one in own if one.milliseconds is not None]
        judges.append(
            {
                "name": name,
                "trials": sum(one.judge == name for one in everything),
                **_kinds(experiment.mode, own),
                "milliseconds": median(times) if times else None,
            }
        )
    return {
        "schema": RESULTS_SCHEMA,
        "experiment": asdict(experiment),
        "overall": _kinds(experiment.mode, given),
        "judges": judges,
        "samples": _by_frame(given, "sample"),
        "frames": _by_frame(given, "time"),
    }


def _kinds(mode: str, answers: Sequence[Answered]) -> dict[str, Any]:
    figures = share([bool(one.correct) for one in answers])
    if mode == "single":
        for kind in ("synthetic", "real"):
            figures[kind] = share([bool(one.correct) for one in answers if one.trial.truth == kind])
    return figures


def _by_frame(answers: Sequence[Answered], kind: str) -> list[dict[str, Any]]:
    """Figures of each frame of one kind: ``sample`` or ``time``."""
    found: dict[Any, list[bool]] = {}
    for one in answers:
        key = getattr(one.trial, kind)
        if key is not None:
            found.setdefault(key, []).append(bool(one.correct))
    figures = [{kind: key, **share(right)} for key, right in sorted(found.items())]
    # Twice out of twice says less than nine times out of ten: the lower end knows that.
    return sorted(figures, key=lambda one: one["interval"][0], reverse=True)
