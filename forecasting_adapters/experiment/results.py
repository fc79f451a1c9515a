"""Results of a comparison: scores with intervals, differences to the best baseline, a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from forecasting_adapters.experiment.arms import Arm
from forecasting_adapters.experiment.frames import Frames
from forecasting_adapters.uncertainty import (
    SCORES,
    Estimate,
    Forecasts,
    Observed,
    Reliability,
    Resamples,
    Verdict,
    difference,
    estimate,
    judge,
    reliability,
    resample,
)

__all__ = ["ArmResult", "Results", "compare"]

Scores = dict[str, Estimate]


@dataclass(frozen=True)
class ArmResult:
    """How an arm came out.

    Attributes
    ----------
    arm : Arm
    scores, ensemble : dict of Estimate
        Each of `SCORES`: mean over the seeds, and of the mean probability of all seeds.
    against_baseline, ensemble_against_baseline : dict of Estimate
        Paired differences to the best baseline; empty for that one itself.
    forecasts : tuple of Forecasts
        Of the single seeds, and of their mean.
    reliability : Reliability
        Of the mean probability of all seeds.
    facts : dict
        Of the first seed: counts of the training set, steps, seconds.
    """

    arm: Arm
    scores: Scores
    ensemble: Scores
    against_baseline: Scores
    ensemble_against_baseline: Scores
    forecasts: tuple[Forecasts, Forecasts]
    reliability: Reliability
    facts: dict[str, Any]


@dataclass(frozen=True)
class Results:
    """A comparison's results.

    Attributes
    ----------
    stage : {"validation", "test"}
    arms : list of ArmResult
    baseline : str
        The best arm without synthetic frames, by its TSS on validation.
    candidate : str or None
        The best one with, by the same; the only one that the verdict is about.
    verdict : Verdict
    observed : Observed
    about : dict
        Settings, cubes, seeds, what was allowed; in the final stage also when.
    """

    stage: str
    arms: list[ArmResult]
    baseline: str
    candidate: str | None
    verdict: Verdict
    observed: Observed
    about: dict[str, Any]

    def arm(self, name: str) -> ArmResult:
        """The result of one arm."""
        return next(one for one in self.arms if one.arm.name == name)

    def as_json(self) -> dict[str, Any]:
        """All figures, ready for JSON: NaN is None."""
        return {
            "stage": self.stage,
            "verdict": asdict(self.verdict),
            "best_baseline": self.baseline,
            "best_generative": self.candidate,
            "frames": len(self.observed.labels),
            "frames_with_flare": int(self.observed.labels.sum()),
            "days": len(np.unique(self.observed.times.astype("datetime64[D]"))),
            **self.about,
            "arms": [_arm_as_json(one) for one in self.arms],
        }


def compare(
    stage: str,
    arms: Sequence[Arm],
    facts: Mapping[str, dict[str, Any]],
    forecasts: Mapping[str, tuple[Forecasts, Forecasts]],
    frames: Frames,
    on_validation: Mapping[str, Forecasts],
    validation: Frames,
    about: Mapping[str, Any],
) -> Results:
    """Score every arm, and set it beside the baseline that is best on validation.

    Parameters
    ----------
    stage : {"validation", "test"}
    arms : sequence of Arm
    facts : mapping of str to dict
        Of each arm's training.
    forecasts : mapping of str to tuple of Forecasts
        Of each arm for `frames`: of its single seeds, and of their mean.
    frames : Frames
    on_validation : mapping of str to Forecasts
        Of each arm's single seeds for `validation`, by which the best arms are chosen.
    validation : Frames
    about : mapping
        What else is to be recorded.
    """
    seeds = next(iter(on_validation.values())).seeds
    chosen = resample(validation.times, seeds, draws=1)
    rank = {name: estimate("tss", _observed(validation), one, chosen).value for name, one in on_validation.items()}
    baseline = max((arm.name for arm in arms if arm.kind == "baseline"), key=rank.__getitem__)
    candidate = max((arm.name for arm in arms if arm.kind == "generative"), key=rank.__getitem__, default=None)
    observed, resamples = _observed(frames), resample(frames.times, seeds)
    results = [
        _score(arm, facts[arm.name], forecasts[arm.name], forecasts[baseline], observed, resamples) for arm in arms
    ]
    found = next((one for one in results if one.arm.name == candidate), None)
    return Results(
        stage=stage,
        arms=results,
        baseline=baseline,
        candidate=candidate,
        verdict=_verdict(stage, found, baseline),
        observed=observed,
        about={**about, "seeds": seeds},
    )


def _verdict(stage: str, candidate: ArmResult | None, baseline: str) -> Verdict:
    if candidate is None:
        return Verdict("none", "Nothing to judge: no arm with synthetic frames was trained.")
    found = judge(candidate.against_baseline["tss"], candidate.arm.name, baseline)
    if stage == "test":
        return found
    return Verdict(
        "none",
        "No verdict yet. On the validation months, on which both were chosen as the best of their kind: "
        f"{found.sentence} --final asks the test months.",
    )


def _score(
    arm: Arm,
    facts: dict[str, Any],
    forecasts: tuple[Forecasts, Forecasts],
    baseline: tuple[Forecasts, Forecasts],
    observed: Observed,
    resamples: Resamples,
) -> ArmResult:
    single, ensemble = ({score: estimate(score, observed, one, resamples) for score in SCORES} for one in forecasts)
    paired, paired_ensemble = (
        {score: difference(score, observed, ours, theirs, resamples) for score in SCORES} if ours is not theirs else {}
        for ours, theirs in zip(forecasts, baseline, strict=True)
    )
    curve = reliability(observed, forecasts[1].probability[0], resamples)
    return ArmResult(arm, single, ensemble, paired, paired_ensemble, forecasts, curve, facts)


def _observed(frames: Frames) -> Observed:
    return Observed(frames.labels, frames.fluxes[:, 0], frames.times)


def _arm_as_json(result: ArmResult) -> dict[str, Any]:
    found = result.reliability
    return {
        **result.arm.model_dump(mode="json", exclude_defaults=True),
        "kind": result.arm.kind,
        "scores": _numbers(result.scores),
        "ensemble": _numbers(result.ensemble),
        "against_baseline": _numbers(result.against_baseline),
        "ensemble_against_baseline": _numbers(result.ensemble_against_baseline),
        "reliability_of_ensemble": {
            "probability": [_none(value) for value in found.curve.probability],
            "frequency": [_none(value) for value in found.curve.frequency],
            "low": [_none(value) for value in found.low],
            "high": [_none(value) for value in found.high],
            "count": found.curve.count.tolist(),
        },
        "training": result.facts,
    }


def _numbers(scores: Scores) -> dict[str, dict[str, float | None]]:
    return {
        name: {part: _none(getattr(one, part)) for part in ("value", "low", "high")} for name, one in scores.items()
    }


def _none(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 5)
