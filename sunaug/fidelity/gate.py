"""The gate: does a set of samples pass for real frames, and which single samples do not?

A set passes if it is no further from the validation months than a real stretch of another season: `limits` says how far
that is, `policy` which figures count, `roles` which of them had no part in making the samples. What cannot be told is
unknown, and a set of which too much is unknown does not pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sunaug.fidelity.account import Account, Rejections
from sunaug.fidelity.comparison import HIGHER_IS_BETTER, Figure, compare_sets
from sunaug.fidelity.limits import limits_of
from sunaug.fidelity.policy import Policy
from sunaug.fidelity.reference import Looked, Mix, Reference, matching
from sunaug.fidelity.roles import Roles
from sunaug.fidelity.sample_checks import check_samples
from sunaug.fidelity.verdict import PASSED, REFUSED, UNKNOWN
from sunaug.threads import one_thread

__all__ = ["Assessment", "Baseline", "Check", "assess", "described"]

_MOST_SETS = 4
"""Sets of samples that figures are means of, at most."""


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
        Whether the set is refused where it fails.
    role : {"judge", "teacher", "unknown"}
        Whether the figure had a part in making the samples, see `sunaug.fidelity.roles`.
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
    role: Literal["judge", "teacher", "unknown"] = "judge"

    @property
    def state(self) -> Literal["passed", "failed", "unknown"]:
        """Whether the samples keep to the limit; ``unknown`` where they have no value or real frames set no limit."""
        if not (np.isfinite(self.value) and np.isfinite(self.limit)):
            return "unknown"
        kept = self.value <= self.limit if self.better == "lower" else self.value >= self.limit
        return "passed" if kept else "failed"

    @property
    def excess(self) -> float:
        """Distance from the median window over the tolerance, that of the limit from it: above 1 fails."""
        if self.state == "unknown":
            return float("nan")
        tolerance = self.limit - self.floor
        if not tolerance:
            return 0.0 if self.state == "passed" else float("inf")
        return float((self.value - self.floor) / tolerance)


@dataclass(frozen=True)
class Assessment:
    """What the gate says of a set.

    Attributes
    ----------
    policy : Policy
    roles : Roles
    checks : list of Check
    n : int
        Frames in each set that was compared.
    sets : int
        Sets of samples that the figures are means of.
    windows : int
        Real windows.
    problems : list of str
        Reasons to refuse the set besides its figures.
    lacking : list of str
        What is missing for the set to pass, whatever its figures.
    rejected : ndarray of bool, shape (samples,)
        Single samples that lie beyond what real frames show.
    why_rejected : dict of str to int
        Their number, by reason; one sample can have several.
    before : Rejections
        Samples that were rejected before, and are not among these.
    """

    policy: Policy
    roles: Roles
    checks: list[Check]
    n: int
    sets: int
    windows: int
    problems: list[str]
    lacking: list[str]
    rejected: NDArray[np.bool_] = field(repr=False)
    why_rejected: dict[str, int]
    before: Rejections = field(default_factory=lambda: Rejections(0, {}))

    def gating(self, state: str) -> list[Check]:
        """Gating checks that are ``passed``, ``failed`` (the worst first) or ``unknown``."""
        found = [one for one in self.checks if one.gating and one.state == state]
        return sorted(found, key=lambda one: -one.excess) if state == "failed" else found

    @property
    def failed(self) -> list[Check]:
        """Gating checks that fail, the worst first."""
        return self.gating("failed")

    @property
    def verdict(self) -> str:
        """``passed``, ``refused`` or ``unknown``; a set fails by one check, and passes by none that is unknown."""
        if self.failed or self.problems:
            return REFUSED
        return UNKNOWN if self.lacking else PASSED

    @property
    def account(self) -> Account:
        """What became of all samples that were made."""
        rejections = self.before.and_(int(self.rejected.sum()), self.why_rejected)
        return Account(len(self.rejected) + self.before.number, rejections, self.policy.drop)

    @property
    def sentence(self) -> str:
        """The verdict, for people."""
        known = len(self.gating("passed")) + len(self.failed)
        unknown = len(self.gating("unknown"))
        rest = f"; {unknown} {'is' if unknown == 1 else 'are'} unknown" if unknown else ""
        if self.failed:
            worst = ", ".join(f"{one.name} ({one.excess:.1f}× the tolerance)" for one in self.failed[:3])
            more = f" and {len(self.failed) - 3} more" if len(self.failed) > 3 else ""
            said = f"{len(self.failed)} of {known} gating checks fail: {worst}{more}{rest}"
            return f"Refused: {'; '.join([*self.problems, said])}."
        if self.problems:
            return f"Refused: {'; '.join(self.problems)}."
        if self.lacking:
            return f"Unknown: {'; '.join(self.lacking)}."
        networks = ", ".join(_judges(self.checks))
        return (
            f"Passed: all {known} gating checks{rest}. In each, the samples are as near to unseen real frames as real "
            f"frames of other months are{f'; judges are {networks}' if networks else ''}."
        )


def _judges(checks: Sequence[Check]) -> list[str]:
    """Feature networks without a part in the samples whose Fréchet distance is a known gating check."""
    return [
        one.name.removeprefix("frechet ")
        for one in checks
        if one.gating and one.role == "judge" and one.name.startswith("frechet ") and one.state != "unknown"
    ]


@dataclass(frozen=True)
class Baseline:
    """What sets of real frames get in the samples' place, and the limits that follow from it.

    It depends on the samples only by their mix of conditions: sets with the same mix share it.

    Attributes
    ----------
    mix : Mix
    real : Looked
        The validation frames that every set is compared with.
    names, families : list of str
        Of the figures.
    units : list of str
    signs : ndarray, shape (k,)
        -1 for figures of which more is better, 1 for the others.
    figures : ndarray, shape (windows, k)
        Of the real windows.
    gating : ndarray of bool, shape (k,)
    limits : ndarray, shape (k,)
        NaN where real frames set none.
    """

    mix: Mix
    real: Looked = field(repr=False)
    names: list[str]
    families: list[str]
    units: list[str]
    signs: NDArray[np.float64]
    figures: NDArray[np.float64]
    gating: NDArray[np.bool_]
    limits: NDArray[np.float64]

    @classmethod
    def of(cls, reference: Reference, mix: Mix, policy: Policy, random: np.random.Generator) -> Baseline:
        """Compare windows of the train months with frames of the validation months.

        Parameters
        ----------
        reference : Reference
        mix : Mix
            Of the samples, see `sunaug.fidelity.reference.matching`.
        policy : Policy
        random : numpy.random.Generator
            Of the choice of validation frames.
        """
        train, validation = reference.train, reference.validation
        fluxes = [side.measured.forecast_flux for side in (validation, train)]
        real = validation.take(mix.draw(fluxes[0], random))
        number = min(policy.windows, 2 * (len(train) // mix.n) + 1)
        windows = [compare_sets(train.take(rows), real, reference) for rows in mix.windows(fluxes[1], number)]
        first = windows[0]
        names = list(first)
        families = [first[name].family for name in names]
        # Turned round where more is better, so that less always is.
        signs = np.array([-1.0 if name.split(" ")[0] in HIGHER_IS_BETTER else 1.0 for name in names])
        figures = np.array([[one[name].value for name in names] for one in windows])
        gating = np.array([policy.gates(name) for name in names])
        limits = signs * limits_of(names, families, gating, signs, figures * signs, reference, policy)
        units = [first[name].unit for name in names]
        return cls(mix, real, names, families, units, signs, figures, gating, limits)

    def checks(self, ours: Sequence[Mapping[str, Figure]], policy: Policy, roles: Roles) -> list[Check]:
        """Sets of samples, as `compare_sets` gives them, beside the real windows.

        A figure that only one side has is unknown: an older reference lacks a measure, or this machine a network.
        """
        found = []
        nan = float("nan")
        for column, name in enumerate(self.names):
            known = self.figures[:, column][np.isfinite(self.figures[:, column])]
            found.append(
                Check(
                    name=name,
                    family=self.families[column],
                    unit=self.units[column],
                    value=float(np.mean([one[name].value if name in one else nan for one in ours])),
                    floor=float(np.median(known)) if len(known) else nan,
                    low=float(known.min()) if len(known) else nan,
                    high=float(known.max()) if len(known) else nan,
                    limit=float(self.limits[column]),
                    better="higher" if self.signs[column] < 0 else "lower",
                    gating=bool(self.gating[column]),
                    role=roles.of(name),
                )
            )
        for name in [one for one in ours[0] if one not in self.names]:
            figure = ours[0][name]
            value = float(np.mean([one[name].value for one in ours]))
            better: Literal["lower", "higher"] = "higher" if name.split(" ")[0] in HIGHER_IS_BETTER else "lower"
            gates, role = policy.gates(name), roles.of(name)
            found.append(Check(name, figure.family, figure.unit, value, nan, nan, nan, nan, better, gates, role))
        return found


def _subsets(samples: Looked, n: int, random: np.random.Generator) -> list[Looked]:
    """Up to four sets of n samples, no sample in two of them."""
    order = random.permutation(len(samples))
    sets = min(len(order) // n, _MOST_SETS)
    return [samples.take(np.sort(order[start : start + n])) for start in range(0, sets * n, n)]


@one_thread(blas=True)
def assess(
    samples: Looked,
    reference: Reference,
    policy: Policy,
    roles: Roles,
    *,
    seed: int = 0,
    before: Rejections | None = None,
    baselines: dict[tuple[int, ...], Baseline] | None = None,
) -> Assessment:
    """Hold a set of samples against real frames.

    Parameters
    ----------
    samples : Looked
        See `Reference.look`.
    reference : Reference
    policy : Policy
    roles : Roles
        Which figures had a part in making the samples.
    seed : int
        Of the choice of frames.
    before : Rejections, optional
        Samples of the set that were rejected before, and are not among these.
    baselines : dict, optional
        Keeps what real frames get, by the mix of conditions, for further sets that are held against the same reference
        by the same policy and seed.
    """
    before = before or Rejections(0, {})
    rejected, why = check_samples(samples, reference)
    made = len(samples) + before.number
    share = (int(rejected.sum()) + before.number) / made
    if policy.drop and not rejected.all():
        samples = samples.take(np.flatnonzero(~rejected))
    problems = [f"{share:.0%} of the samples are rejected"] if share > policy.drop_share else []
    lacking = []
    if made < policy.enough:
        lacking.append(f"too few to judge: {made:,} samples, {policy.enough:,} are needed")
    sides = [side.measured.forecast_flux for side in (reference.validation, reference.train)]
    mix = matching(samples.measured.forecast_flux, sides)
    if mix.n < policy.minimum_frames:
        lacking.append(
            f"sets of {mix.n} frames at most can be compared, {policy.minimum_frames} are needed: make more samples, "
            "or give more real frames of their class"
        )
        return Assessment(policy, roles, [], mix.n, 0, 0, problems, lacking, rejected, why, before)
    baselines = {} if baselines is None else baselines
    key = tuple(mix.counts.tolist())
    if key not in baselines:
        baselines[key] = Baseline.of(reference, mix, policy, np.random.default_rng((seed, 0)))
    baseline = baselines[key]
    parts = _subsets(samples, mix.n, np.random.default_rng((seed, 1)))
    checks = baseline.checks([compare_sets(part, baseline.real, reference) for part in parts], policy, roles)
    lacking += _lacking(checks, policy)
    return Assessment(
        policy, roles, checks, mix.n, len(parts), len(baseline.figures), problems, lacking, rejected, why, before
    )


def _lacking(checks: Sequence[Check], policy: Policy) -> list[str]:
    """What the checks lack for a set to pass."""
    found = []
    judges = _judges(checks)
    if len(judges) < policy.judges:
        asked = [one.name.removeprefix("frechet ") for one in checks if one.name.startswith("frechet ") and one.gating]
        found.append(
            f"of the feature networks ({', '.join(asked) or 'none'}) {len(judges)} had no part in the samples and "
            f"could be asked, {policy.judges} are needed"
        )
    gating = [one for one in checks if one.gating]
    unknown = [one for one in gating if one.state == "unknown"]
    if len(unknown) > policy.unknown_share * len(gating):
        named = ", ".join(one.name for one in unknown[:3]) + (" and others" if len(unknown) > 3 else "")
        found.append(f"too few to judge: {len(unknown)} of {len(gating)} gating checks are unknown ({named})")
    return found


def described(assessment: Assessment, *, everything: bool = False) -> dict[str, Any]:
    """An assessment as JSON keeps it: gating checks only, unless `everything` is asked for.

    ``verdict``, ``sentence``, ``policy``, ``policy_sha256``, ``frames_per_set``, ``sets``, ``real_windows``; what
    `Account.described` says; ``teachers``; ``counts`` of the gating checks that ``passed``, ``failed`` and are
    ``unknown``; and ``checks``: by name ``value``, ``floor``,
    ``limit``, ``state``, ``passed`` (None where unknown), ``role`` (and ``low``, ``high``, ``family``, ``unit``,
    ``better``, ``gating`` with everything).
    """
    teachers = assessment.roles.teachers
    return {
        "verdict": assessment.verdict,
        "sentence": assessment.sentence,
        "policy": assessment.policy.name,
        "policy_sha256": assessment.policy.hash,
        "frames_per_set": assessment.n,
        "sets": assessment.sets,
        "real_windows": assessment.windows,
        **assessment.account.described(),
        "teachers": None if teachers is None else dict(teachers),
        "counts": {state: len(assessment.gating(state)) for state in ("passed", "failed", "unknown")},
        "checks": {one.name: _plain(one, everything) for one in assessment.checks if one.gating or everything},
    }


def _plain(check: Check, everything: bool) -> Mapping[str, Any]:
    short = {
        "value": _number(check.value),
        "floor": _number(check.floor),
        "limit": _number(check.limit),
        "state": check.state,
        "passed": None if check.state == "unknown" else check.state == "passed",
        "role": check.role,
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
