import json

import pytest
from scipy.stats import binomtest

from sunaug.judging import Answered, Experiment, Trial, sum_up, wilson_interval

EXPERIMENT = Experiment(
    synthetic="rare.zarr",
    against="real.zarr",
    bundle_hash="cafe",
    fingerprint="0",
    split="validation",
    seed=0,
    mode="single",
    n=4,
    seconds=None,
    channels=("aia171",),
    matched=True,
    samples=(3, 5),
    times=("2012-08-03T00:00:00Z", "2012-08-04T00:00:00Z"),
)


@pytest.mark.parametrize("n", [1, 2, 7, 20, 333])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_interval_against_scipy(n, confidence):
    for successes in {0, 1, n // 3, n - 1, n}:
        expected = binomtest(successes, n).proportion_ci(confidence, method="wilson")
        assert wilson_interval(successes, n, confidence) == pytest.approx(tuple(expected), abs=1e-12)


def test_interval_of_nothing():
    assert wilson_interval(0, 0) == (0, 1)


def _answered(judge, number, frame, truth, answer, milliseconds=None):
    sample, time = (frame, None) if truth == "synthetic" else (None, frame)
    correct = None if answer is None else answer == truth
    return Answered(judge, Trial(number, sample, time, truth), None, answer, correct, milliseconds)


def test_sums():
    day = EXPERIMENT.times[0]
    given = [
        _answered("Ada", 1, 3, "synthetic", "synthetic", 1000),
        _answered("Ada", 2, day, "real", "real", 3000),
        _answered("Ada", 3, 5, "synthetic", "real", 8000),
        _answered("Ada", 4, EXPERIMENT.times[1], "real", None),
        _answered("Grace", 1, 5, "synthetic", "synthetic"),
        _answered("Grace", 2, 3, "synthetic", "synthetic"),
        _answered("Grace", 3, day, "real", "synthetic"),
    ]
    found = sum_up(EXPERIMENT, given)
    json.dumps(found, allow_nan=False)
    assert (found["overall"]["correct"], found["overall"]["n"]) == (4, 6)
    expected = binomtest(4, 6).proportion_ci(method="wilson")
    assert found["overall"]["interval"] == pytest.approx(tuple(expected))
    ada, grace = found["judges"]
    assert (ada["name"], ada["n"], ada["trials"], ada["correct"], ada["milliseconds"]) == ("Ada", 3, 4, 2, 3000)
    assert ada["synthetic"]["share"] == 0.5
    assert ada["real"]["share"] == 1
    assert (grace["milliseconds"], grace["real"]["correct"]) == (None, 0)
    assert [(one["sample"], one["correct"], one["n"]) for one in found["samples"]] == [(3, 2, 2), (5, 1, 2)]
    assert [(one["time"], one["share"]) for one in found["frames"]] == [(day, 0.5)]


def test_no_answer_yet():
    found = sum_up(EXPERIMENT, [])
    assert found["overall"]["share"] is None
    assert found["judges"] == found["samples"] == []
