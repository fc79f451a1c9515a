import numpy as np
import pytest

from forecasting_adapters.skill import (
    ContingencyTable,
    average_precision,
    best_threshold,
    brier_skill_score,
    contingency_table,
    hss2,
    recall,
    reliability_curve,
    restore_base_rate,
    roc_area,
    tss,
    weighted_average_precision,
)
from sunaug.errors import UsageError


def test_scores_of_a_table_worked_by_hand() -> None:
    table = ContingencyTable(hits=30, misses=10, false_alarms=20, correct_rejections=140)
    assert tss(table) == pytest.approx(30 / 40 - 20 / 160)
    # Expected agreement by chance: (50 * 40 + 150 * 160) / 200; Heidke's own form of the score.
    by_chance = (50 * 40 + 150 * 160) / 200
    assert hss2(table) == pytest.approx((170 - by_chance) / (200 - by_chance))


def test_counts() -> None:
    observed = [1, 1, 1, 0, 0, 0, 0]
    assert contingency_table(observed, [1, 0, 1, 1, 0, 0, 0]) == ContingencyTable(2, 1, 1, 3)


@pytest.mark.parametrize("score", [tss, hss2])
def test_ends_of_the_scale(score) -> None:
    observed = np.array([1, 0, 0, 1, 0])
    assert score(contingency_table(observed, observed)) == 1
    assert score(contingency_table(observed, 1 - observed)) < 0
    assert score(contingency_table(observed, np.zeros(5))) == 0


def test_tss_does_not_depend_on_the_base_rate() -> None:
    rare, common = ContingencyTable(8, 2, 100, 900), ContingencyTable(800, 200, 100, 900)
    assert tss(rare) == pytest.approx(tss(common))
    assert hss2(rare) < hss2(common)


def test_a_missing_class_gives_nan() -> None:
    assert np.isnan(tss(contingency_table([0, 0], [0, 1])))
    assert np.isnan(hss2(contingency_table([0, 0], [0, 0])))
    assert np.isnan(brier_skill_score([0, 0], [0.1, 0.2]))


def test_brier_skill_score() -> None:
    observed = np.array([1, 0, 0, 0])
    assert brier_skill_score(observed, observed) == 1
    assert brier_skill_score(observed, np.full(4, 0.25)) == pytest.approx(0)
    assert brier_skill_score(observed, np.full(4, 0.25), climatology=0.5) == pytest.approx(1 - 0.1875 / 0.25)
    assert brier_skill_score(observed, 1 - observed) < -1


@pytest.mark.parametrize(("name", "score"), [("tss", tss), ("hss2", hss2)])
def test_best_threshold_is_that_of_a_search_through_all(name, score) -> None:
    rng = np.random.default_rng(3)
    observed = rng.random(300) < 0.2
    # Rounded, so that equal probabilities occur.
    probability = np.round(np.clip(rng.normal(0.3 + 0.3 * observed, 0.2), 0, 1), 2)
    found = best_threshold(observed, probability, name)
    by_hand = {t: score(contingency_table(observed, probability >= t)) for t in np.unique(probability)}
    assert by_hand[found] == max(by_hand.values())


def test_restored_probabilities_keep_their_order_and_find_the_base_rate() -> None:
    balanced = np.array([0.1, 0.5, 0.9])
    restored = restore_base_rate(balanced, 0.05)
    assert (np.diff(restored) > 0).all()
    assert restored[1] == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: contingency_table([1, 0], [1]), "2 observed values and 1"),
        (lambda: contingency_table([], []), "at least one"),
        (lambda: contingency_table([0, 2], [0, 1]), "0 or 1"),
        (lambda: contingency_table([0, 1], [0.3, 0.7]), "0 or 1"),
        (lambda: brier_skill_score([0, 1], [-2.0, 3.0]), "logits"),
        (lambda: brier_skill_score([0, 1], [np.nan, 0.5]), "1 of 2 values of probability are NaN"),
        (lambda: best_threshold([0, 0], [0.1, 0.2]), "one class only"),
        (lambda: best_threshold([0, 1], [0.1, 0.2], "accuracy"), "unknown score 'accuracy'"),
        (lambda: restore_base_rate([0.5], 0.0), "base rate"),
        (lambda: reliability_curve([0, 1], [0.5, 1.5]), "logits"),
        (lambda: reliability_curve([0, 1], [0.5, 0.5], bins=0), "at least one"),
    ],
)
def test_wrong_input_is_refused(call, message) -> None:
    with pytest.raises(UsageError, match=message):
        call()


def test_average_precision_by_hand() -> None:
    # Hits at ranks 1 and 3: recall grows by one half at precision 1 and at 2/3.
    assert average_precision([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    # Equal probabilities are one threshold: their order says nothing.
    assert average_precision([1, 0, 0, 1], [0.5, 0.5, 0.5, 0.5]) == pytest.approx(0.5)
    assert np.isnan(average_precision([0, 0], [0.1, 0.2]))


def test_average_precision_and_roc_area_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(5)
    observed = rng.random(200) < 0.2
    probability = np.round(np.clip(rng.normal(0.3 + 0.2 * observed, 0.2), 0, 1), 2)
    assert average_precision(observed, probability) == pytest.approx(
        metrics.average_precision_score(observed, probability)
    )
    assert roc_area(observed, probability) == pytest.approx(metrics.roc_auc_score(observed, probability))


def test_weights_count_as_copies_of_a_frame() -> None:
    observed, probability = np.array([True, False, True, False]), np.array([0.9, 0.8, 0.4, 0.3])
    weights = np.array([[1, 2, 0, 3], [1, 1, 1, 1], [0, 1, 0, 1]])
    found = weighted_average_precision(observed, probability, weights)
    copies = np.repeat(np.arange(4), weights[0])
    assert found[0] == pytest.approx(average_precision(observed[copies], probability[copies]))
    assert found[1] == pytest.approx(average_precision(observed, probability))
    assert np.isnan(found[2])


def test_recall() -> None:
    assert recall(ContingencyTable(hits=3, misses=1, false_alarms=9, correct_rejections=9)) == pytest.approx(0.75)
    assert np.isnan(recall(ContingencyTable(0, 0, 1, 1)))


def test_reliability_curve() -> None:
    curve = reliability_curve([1, 0, 1, 1], [0.11, 0.19, 0.95, 1.0])
    assert curve.count.tolist() == [0, 2, 0, 0, 0, 0, 0, 0, 0, 2]
    assert curve.probability[[1, 9]] == pytest.approx([0.15, 0.975])
    assert curve.frequency[[1, 9]] == pytest.approx([0.5, 1.0])
    assert np.isnan(curve.frequency[0])
