"""The gate: does a set of samples pass for real frames, and which single samples do not?

A set passes if it is no further from the validation months than a real stretch of another season: `limits` says how far
that is, `policy` which figures count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sunaug.fidelity.comparison import HIGHER_IS_BETTER, compare_sets
from sunaug.fidelity.limits import limits_of
from sunaug.fidelity.policy import Policy
from sunaug.fidelity.reference import Looked, Reference, matching
from sunaug.fidelity.verdict import PASSED, REFUSED

__all__ = ["Assessment", "Check", "assess", "described", "judge_samples"]


@dataclass(frozen=True)
class Check:
    """One figure of the samples, beside what real frames get.

    Attributes
    ----------
    name, family, unit : str
    value : float
        Of the samples.
    floor : float
        Median of the real windows.
    low, high : float
        The least and the largest of the real windows.
    limit : float
        What the samples have to keep to; NaN where too few real windows give the figure.
    better : {"lower", "higher"}
    gating : bool
        Whether the set is refused where it does not pass.
    """

    name: str
    family: str
    unit: str
    value: float
    floor: float
    low: float
    high: float
    limit: float
    better: Literal["lower", "higher"]
    gating: bool

    @property
    def known(self) -> bool:
        """Whether there is something to compare."""
        return bool(np.isfinite(self.value) and np.isfinite(self.limit))

    @property
    def passed(self) -> bool:
        """Whether the samples keep to the limit; so does what cannot be told."""
        if not self.known:
            return True
        return self.value <= self.limit if self.better == "lower" else self.value >= self.limit

    @property
    def excess(self) -> float:
        """How far the samples are from the median window, in units of the limit's distance from it: above 1 fails."""
        if not self.known:
            return float("nan")
        room = self.limit - self.floor
        if not room:
            return 0.0 if self.passed else float("inf")
        return float((self.value - self.floor) / room)


@dataclass(frozen=True)
class Assessment:
    """What the gate says of a set.

    Attributes
    ----------
    policy : Policy
    checks : list of Check
    n : int
        Frames in each set that was compared.
    sets : int
        Sets of samples that the figures are means of.
    windows : int
        Real windows.
    problems : list of str
        Reasons to refuse the set besides its figures.
    dropped : ndarray of bool, shape (samples,)
        Single samples that no real frame is like.
    why_dropped : dict of str to int
        Their number, by reason; one sample can have several.
    """

    policy: Policy
    checks: list[Check]
    n: int
    sets: int
    windows: int
    problems: list[str]
    dropped: NDArray[np.bool_] = field(repr=False)
    why_dropped: dict[str, int]

    @property
    def failed(self) -> list[Check]:
        """Gating checks that the set does not pass, the worst first."""
        return sorted((one for one in self.checks if one.gating and not one.passed), key=lambda one: -one.excess)

    @property
    def verdict(self) -> str:
        """``passed`` or ``refused``."""
        return REFUSED if self.failed or self.problems else PASSED

    @property
    def sentence(self) -> str:
        """The verdict, for people."""
        gating = [one for one in self.checks if one.gating and one.known]
        if self.problems:
            return f"Refused: {'; '.join(self.problems)}."
        if not self.failed:
            return (
                f"Passed: in all {len(gating)} gating checks the samples are as near to unseen real frames as real "
                "frames of other months are."
            )
        worst = ", ".join(f"{one.name} ({one.excess:.1f} times the room)" for one in self.failed[:3])
        more = f" and {len(self.failed) - 3} more" if len(self.failed) > 3 else ""
        return f"Refused: {len(self.failed)} of {len(gating)} gating checks fail: {worst}{more}."


def _subsets(samples: Looked, n: int, random: np.random.Generator) -> list[Looked]:
    """Up to four sets of n samples, no sample in two of them."""
    order = random.permutation(len(samples))
    return [samples.take(np.sort(order[start : start + n])) for start in range(0, min(len(order) // n, 4) * n, n)]


def assess(
    samples: Looked, reference: Reference, policy: Policy, *, seed: int = 0, share_dropped: float | None = None
) -> Assessment:
    """Hold a set of samples against real frames.

    Parameters
    ----------
    samples : Looked
        See `Reference.look`.
    reference : Reference
    policy : Policy
    seed : int
        Of the choice of frames.
    share_dropped : float, optional
        Of single samples that are like no real frame, where more were looked at than these.
    """
    random = np.random.default_rng(seed)
    train, validation = reference.train, reference.validation
    fluxes = [side.measured.forecast_flux for side in (validation, train)]
    dropped, why = judge_samples(samples, reference)
    if policy.drop and not dropped.all():
        samples = samples.take(np.flatnonzero(~dropped))
    mix = matching(samples.measured.forecast_flux, fluxes)
    if mix.n < policy.minimum_frames:
        problem = (
            f"sets of {mix.n} frames at most can be compared, {policy.minimum_frames} are needed: make more samples, "
            "or give more real frames of their class"
        )
        return Assessment(policy, [], mix.n, 0, 0, [problem], dropped, why)
    real = validation.take(mix.draw(fluxes[0], random))
    number = min(policy.windows, 2 * (len(train) // mix.n) + 1)
    windows = [compare_sets(train.take(rows), real, reference) for rows in mix.windows(fluxes[1], number)]
    parts = _subsets(samples, mix.n, random)
    ours = [compare_sets(part, real, reference) for part in parts]
    names = list(ours[0])
    # Turned round where more is better, so that less always is.
    signs = np.array([-1.0 if name.split(" ")[0] in HIGHER_IS_BETTER else 1.0 for name in names])
    real_figures = np.array([[one[name].value for name in names] for one in windows]) * signs
    gating = np.array([policy.gates(name) for name in names])
    families = [ours[0][name].family for name in names]
    limits = signs * limits_of(names, families, gating, signs, real_figures, reference, policy)
    checks = []
    for column, name in enumerate(names):
        known = real_figures[:, column][np.isfinite(real_figures[:, column])] * signs[column]
        checks.append(
            Check(
                name=name,
                family=ours[0][name].family,
                unit=ours[0][name].unit,
                value=float(np.mean([one[name].value for one in ours])),
                floor=float(np.median(known)) if len(known) else float("nan"),
                low=float(known.min()) if len(known) else float("nan"),
                high=float(known.max()) if len(known) else float("nan"),
                limit=float(limits[column]),
                better="higher" if signs[column] < 0 else "lower",
                gating=bool(gating[column]),
            )
        )
    problems = []
    share = float(dropped.mean()) if share_dropped is None else share_dropped
    if share > policy.drop_share:
        problems.append(f"{share:.0%} of the samples are like no real frame")
    return Assessment(policy, checks, mix.n, len(parts), len(windows), problems, dropped, why)


SAMPLE_COLUMNS = ("limb_radius *", "limb_offset *", "limb_width *", "limb_ellipticity *", "checkerboard *")
"""Measures in which a single sample has to lie where real frames do."""


def judge_samples(samples: Looked, reference: Reference) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Single samples that no real frame is like: further from all of them, or nearer to one, than unseen frames are.

    Returns
    -------
    dropped : ndarray of bool, shape (n,)
    why : dict of str to int
        How many, by reason.
    """
    train, validation = reference.train, reference.validation
    real = np.concatenate([train.features.distance, validation.features.distance])
    reasons = {
        "far from all real frames": samples.features.distance > real[np.isfinite(real)].max(),
        "copy of a training frame": samples.pixels.distance < validation.pixels.distance.min() / 2,
    }
    for name, column in samples.measured.physics.items():
        if column.kind != "scalar" or not any(fnmatch(name, pattern) for pattern in SAMPLE_COLUMNS):
            continue
        known = np.concatenate([side.measured.physics[name].values for side in (train, validation)])
        known = known[np.isfinite(known)]
        if len(known):
            # Beyond the outermost real frame by as much as the outermost 1 % reach beyond the others.
            low, high = np.quantile(known, [0.01, 0.99])
            least, most = 2 * known.min() - low, 2 * known.max() - high
            reasons[name] = (column.values < least) | (column.values > most)
    dropped = np.logical_or.reduce(list(reasons.values()))
    return np.asarray(dropped), {reason: int(hit.sum()) for reason, hit in reasons.items() if hit.any()}


def described(assessment: Assessment, *, everything: bool = False) -> dict[str, Any]:
    """An assessment as a cube's attribute keeps it: gating checks only, unless `everything` is asked for.

    ``verdict``, ``sentence``, ``policy``, ``policy_sha256``, ``frames_per_set``, ``sets``, ``real_windows``,
    ``dropped``, ``why_dropped`` and ``checks``: by name ``value``, ``floor``, ``limit``, ``passed`` (and ``low``,
    ``high``, ``family``, ``unit``, ``better``, ``gating`` with everything).
    """
    return {
        "verdict": assessment.verdict,
        "sentence": assessment.sentence,
        "policy": assessment.policy.name,
        "policy_sha256": assessment.policy.hash,
        "frames_per_set": assessment.n,
        "sets": assessment.sets,
        "real_windows": assessment.windows,
        "dropped": int(assessment.dropped.sum()),
        "why_dropped": assessment.why_dropped,
        "checks": {one.name: _plain(one, everything) for one in assessment.checks if one.gating or everything},
    }


def _plain(check: Check, everything: bool) -> Mapping[str, Any]:
    short = {
        "value": _number(check.value),
        "floor": _number(check.floor),
        "limit": _number(check.limit),
        "passed": check.passed,
    }
    if not everything:
        return short
    return short | {
        "low": _number(check.low),
        "high": _number(check.high),
        "family": check.family,
        "unit": check.unit,
        "better": check.better,
        "gating": check.gating,
    }


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None
