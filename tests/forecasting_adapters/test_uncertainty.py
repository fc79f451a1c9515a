"""The statistics of a comparison on made-up days whose truth is known."""

import numpy as np
import pytest

from forecasting_adapters.skill import average_precision, brier_skill_score, contingency_table, hss2, recall, tss
from forecasting_adapters.uncertainty import (
    SCORES,
    Forecasts,
    Observed,
    difference,
    estimate,
    judge,
    reliability,
    resample,
)
from sunaug.errors import UsageError

DAYS, FRAMES_A_DAY, SEEDS = 61, 12, 10
MEMORY = 0.6
"""Correlation from one day to the next, that of the labels of January to July 2012."""


def _memory_walk(random, *shape):
    """Unit normal numbers whose last axis, the days, remembers."""
    walk = random.normal(size=shape)
    for day in range(1, shape[-1]):
        walk[..., day] = MEMORY * walk[..., day - 1] + np.sqrt(1 - MEMORY**2) * walk[..., day]
    return walk


def _world(seed, *skills):
    """Days with flares, and forecasters that know of them: errors shared by all, their own, those of each seed."""
    random = np.random.default_rng(seed)
    activity = _memory_walk(random, DAYS)
    # A flare labels the frames of 24 h: spells begin within a day.
    labels = np.roll(np.repeat(activity > np.quantile(activity, 0.8), FRAMES_A_DAY), random.integers(FRAMES_A_DAY))
    times = np.datetime64("2012-08-01") + np.arange(labels.size) * np.timedelta64(2, "h")
    shared = np.repeat(_memory_walk(random, DAYS), FRAMES_A_DAY)
    forecasters = []
    for skill in skills:
        own = np.repeat(_memory_walk(random, DAYS), FRAMES_A_DAY)
        of_seeds = np.repeat(_memory_walk(random, SEEDS, DAYS), FRAMES_A_DAY, axis=1)
        offset = 0.3 * random.normal(size=(SEEDS, 1))
        scale = skill * labels + 0.7 * shared + 0.5 * own + 0.5 * of_seeds + offset
        forecasters.append(Forecasts(1 / (1 + np.exp(1 - scale)), scale > skill / 2))
    return Observed(labels, np.where(labels, 2e-5, 1e-6), times), forecasters


def _effect(seed, *skills):
    observed, (ours, theirs) = _world(seed, *skills)
    resamples = resample(observed.times, SEEDS, draws=300, seed=seed)
    return judge(difference("tss", observed, ours, theirs, resamples), "ours", "theirs")


def test_no_effect_is_called_that_in_at_least_95_of_100_worlds():
    effects = [_effect(seed, 1.0, 1.0).effect for seed in range(100)]
    assert effects.count("none") >= 95


@pytest.mark.parametrize(("skills", "effect"), [((2.5, 1.0), "helps"), ((1.0, 2.5), "harms")])
def test_a_planted_effect_is_found(skills, effect):
    effects = [_effect(seed, *skills).effect for seed in range(20)]
    assert effects.count(effect) >= 16


def test_single_days_would_see_effects_where_there_are_none():
    """Why blocks are longer than a day: the same worlds, taken as if every frame were one of its own."""
    alarms = 0
    for seed in range(40):
        observed, (ours, theirs) = _world(seed, 1.0, 1.0)
        frames = Observed(observed.labels, observed.flux, np.arange(observed.labels.size).astype("datetime64[D]"))
        resamples = resample(frames.times, SEEDS, draws=100, block_days=1)
        alarms += judge(difference("tss", frames, ours, theirs, resamples), "ours", "theirs").effect != "none"
    assert alarms >= 8


def test_values_are_those_of_the_scores_averaged_over_seeds():
    observed, (ours, _) = _world(1, 1.0, 1.0)
    strong = np.where(np.arange(observed.labels.size) % 3, observed.flux, 2e-4)
    observed = Observed(observed.labels, strong, observed.times)
    resamples = resample(observed.times, SEEDS, draws=5)
    tables = [contingency_table(observed.labels, yes) for yes in ours.yes]
    by_hand = {
        "tss": [tss(table) for table in tables],
        "hss2": [hss2(table) for table in tables],
        "bss": [brier_skill_score(observed.labels, one) for one in ours.probability],
        "average_precision": [average_precision(observed.labels, one) for one in ours.probability],
        "x_recall": [recall(contingency_table(strong >= 1e-4, yes)) for yes in ours.yes],
    }
    assert set(by_hand) == set(SCORES)
    for score, values in by_hand.items():
        assert estimate(score, observed, ours, resamples).value == pytest.approx(np.mean(values)), score


def test_a_draw_holds_whole_blocks_and_as_many_as_there_are():
    times = np.datetime64("2012-08-01") + np.arange(20 * 12) * np.timedelta64(2, "h")
    resamples = resample(times, 4, draws=50, block_days=2)
    assert resamples.blocks.max() == 9
    for block in range(10):
        inside = resamples.frames[:, resamples.blocks == block]
        assert (inside == inside[:, :1]).all()
    assert (resamples.frames.sum(1) == times.size).all()
    assert (resamples.seeds.sum(1) == 4).all()
    assert (resamples.frames[0] == 1).all()
    assert len(np.unique(resamples.frames[1:], axis=0)) > 40


def test_paired_intervals_are_narrower_than_those_of_the_scores():
    observed, (ours, theirs) = _world(2, 1.0, 1.0)
    resamples = resample(observed.times, SEEDS, draws=500)
    # What all forecasters have in common drops out of a difference.
    score = estimate("bss", observed, ours, resamples)
    paired = difference("bss", observed, ours, theirs, resamples)
    assert paired.value == pytest.approx(score.value - estimate("bss", observed, theirs, resamples).value)
    assert paired.high - paired.low < score.high - score.low


def test_one_block_of_flares_has_no_interval():
    times = np.datetime64("2012-10-01") + np.arange(30) * np.timedelta64(1, "D")
    observed = Observed(np.arange(30) == 4, np.where(np.arange(30) == 4, 2e-4, 0), times)
    forecasts = Forecasts(np.full((1, 30), 0.5), np.ones((1, 30), bool))
    found = estimate("x_recall", observed, forecasts, resample(times, 1))
    assert found.value == 1
    assert np.isnan([found.low, found.high]).all()
    assert judge(found, "ours", "theirs").effect == "none"


def test_reliability_has_an_interval_where_days_speak_for_it():
    times = np.datetime64("2012-01-01") + np.arange(120) * np.timedelta64(6, "h")
    random = np.random.default_rng(0)
    probability = np.where(np.arange(120) < 4, 0.95, random.choice([0.15, 0.55], 120))
    labels = random.random(120) < probability
    found = reliability(Observed(labels, np.where(labels, 2e-5, 0.0), times), probability, resample(times, 1))
    chosen = [1, 5]
    for place, chance in zip(chosen, (0.15, 0.55), strict=True):
        assert found.curve.frequency[place] == pytest.approx(labels[probability == chance].mean())
        assert found.low[place] < found.curve.frequency[place] < found.high[place]
    # Four frames of one day are one block, and the other bins are empty.
    assert found.curve.count[9] == 4
    assert np.isnan(np.delete(found.low, chosen)).all()


def test_without_x_flares_their_recall_is_unknown():
    observed, (ours, _) = _world(3, 1.0, 1.0)
    assert np.isnan(estimate("x_recall", observed, ours, resample(observed.times, SEEDS, draws=5)).value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: resample(np.array([], "datetime64[s]"), 1), "at least one frame"),
        (lambda: resample(np.array(["2012-08-01"], "datetime64[s]"), 1, block_days=0), "day of a block"),
        (
            lambda: estimate("accuracy", *_one_forecast(), resample(np.array(["2012-08-01"], "datetime64[s]"), 1)),
            "unknown score 'accuracy'",
        ),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()


def _one_forecast():
    observed = Observed(np.array([True]), np.array([1e-5]), np.array(["2012-08-01"], "datetime64[s]"))
    return observed, Forecasts(np.array([[0.5]]), np.array([[True]]))
