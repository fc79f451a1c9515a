"""What is chosen on validation."""

import numpy as np
import pytest

from forecasting_adapters.experiment.selection import choose, cross_fit, day_folds


def _logits(seeds=3, checkpoints=2, days=20, a_day=12):
    """Forecasts that know more at the second checkpoint, on a scale that is three times too bold."""
    random = np.random.default_rng(0)
    times = np.datetime64("2012-08-01") + np.arange(days * a_day) * np.timedelta64(2, "h")
    labels = random.random(days * a_day) < 0.3
    skill = np.linspace(0.5, 2, checkpoints)[None, :, None]
    noise = random.normal(size=(seeds, checkpoints, labels.size))
    return 3 * (skill * labels + noise), labels, times


def test_the_better_checkpoint_is_chosen_and_its_forecasts_are_calibrated():
    logits, labels, _ = _logits()
    choice = choose(logits, labels)
    assert choice.checkpoint == 1
    single, mean = choice.forecast(logits[:, 1])
    assert single.probability.mean(1) == pytest.approx(labels.mean(), abs=0.01)
    bold = 1 / (1 + np.exp(-logits[:, 1]))
    assert (np.mean((single.probability - labels) ** 2, 1) < np.mean((bold - labels) ** 2, 1)).all()
    assert mean.probability[0] == pytest.approx(single.probability.mean(0))
    # The order of the frames stays as it was.
    assert (np.argsort(single.probability[0]) == np.argsort(logits[0, 1])).all()


def test_a_forecaster_that_knows_the_wrong_way_round_is_not_turned_over():
    logits, labels, _ = _logits()
    choice = choose(-logits, labels)
    assert (choice.slope > 0).all()
    single, _ = choice.forecast(-logits[:, choice.checkpoint])
    assert np.ptp(single.probability) < 0.05


def test_no_frame_is_judged_by_what_it_had_a_part_in():
    logits, labels, times = _logits()
    folds = day_folds(times)
    single, mean = cross_fit(logits, labels, folds)
    other = labels.copy()
    other[folds == 2] = ~other[folds == 2]
    again, mean_again = cross_fit(logits, other, folds)
    for before, after in ((single, again), (mean, mean_again)):
        assert (before.probability[:, folds == 2] == after.probability[:, folds == 2]).all()
        assert (before.yes[:, folds == 2] == after.yes[:, folds == 2]).all()
        assert (before.probability[:, folds != 2] != after.probability[:, folds != 2]).any()


def test_the_order_of_the_frames_is_not_mixed_up_by_the_folds():
    logits, labels, times = _logits()
    single, _ = cross_fit(logits, labels, day_folds(times))
    assert (np.argsort(single.order[0]) == np.argsort(logits[0, 1])).all()
    assert (np.argsort(single.probability[0]) != np.argsort(logits[0, 1])).any()


def test_folds_are_stretches_of_whole_days():
    _, _, times = _logits()
    folds = day_folds(times)
    assert np.bincount(folds).tolist() == [48] * 5
    assert (np.diff(folds) >= 0).all()
    days = times.astype("datetime64[D]")
    assert all(len(np.unique(folds[days == day])) == 1 for day in np.unique(days))
