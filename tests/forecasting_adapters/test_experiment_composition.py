"""Which frames an arm trains on."""

import numpy as np
import pytest
import torch

from forecasting_adapters.experiment import Arm, SyntheticUse
from forecasting_adapters.experiment.composition import Teacher, compose, shortage
from forecasting_adapters.experiment.frames import Frames
from sunaug.errors import UsageError


def _frames(positive, negative, flux=2e-5):
    """Images hold their own number."""
    labels = np.arange(positive + negative) < positive
    n = len(labels)
    fluxes = np.stack([np.where(labels, flux, 1e-6), np.full(n, 1e-7)], axis=1)
    images = torch.arange(n, dtype=torch.float16)[:, None, None, None].expand(n, 1, 4, 4)
    return Frames(images, labels, fluxes, np.full(n, "NaT", "datetime64[s]"))


def _teacher(synthetic, errors=((2e-5, 1e-7),), border=0.5):
    return Teacher(np.linspace(0, 1, 40), synthetic, border, np.array(errors))


REAL, POOL = _frames(10, 30), _frames(60, 60)


def test_real_frames_alone():
    given, phases, counts = compose(Arm(name="real"), REAL, None, None, 0)
    assert given.targets.tolist() == REAL.labels.tolist()
    assert set(given.weights.tolist()) == {1.0}
    assert [phase.share for phase in phases] == [1.0]
    assert counts == {"real_positive": 10, "real_negative": 30, "synthetic_positive": 0, "synthetic_negative": 0}


def test_positives_are_filled_up_to_their_share():
    given, _, counts = compose(Arm(name="fill", synthetic=SyntheticUse(fill=0.5)), REAL, POOL, None, 0)
    assert given.labels.mean() == 0.5
    assert (counts["synthetic_positive"], counts["synthetic_negative"]) == (20, 0)


def test_what_is_added_has_the_real_base_rate_and_differs_between_seeds():
    arm = Arm(name="add", synthetic=SyntheticUse(add=1))
    first, _, counts = compose(arm, REAL, POOL, None, 0)
    again, _, _ = compose(arm, REAL, POOL, None, 0)
    other, _, _ = compose(arm, REAL, POOL, None, 1)
    assert (counts["synthetic_positive"], counts["synthetic_negative"]) == (10, 30)
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
    drawn = first.images[40:, 0, 0, 0].tolist()
    assert len(set(drawn)) == 40


def test_class_weights_give_both_classes_the_same_say():
    use = SyntheticUse(fill=0.4, weight=0.5)
    given, _, _ = compose(Arm(name="weighted", class_weights=True), REAL, None, None, 0)
    weights = given.weights.numpy()
    assert weights[REAL.labels].sum() == pytest.approx(weights[~REAL.labels].sum())
    assert weights.mean() == pytest.approx(1)
    light, _, _ = compose(Arm(name="light", synthetic=use), REAL, POOL, None, 0)
    assert set(light.weights[:40].tolist()) == {1.0}
    assert set(light.weights[40:].tolist()) == {0.5}


def test_the_unsure_samples_are_those_nearest_to_the_border():
    says = np.linspace(0.01, 0.99, 120)
    arm = Arm(name="unsure", synthetic=SyntheticUse(fill=0.5, choose="unsure"))
    given, _, _ = compose(arm, REAL, POOL, _teacher(says, border=says[30]), 0)
    chosen = given.images[40:, 0, 0, 0].numpy()
    assert np.abs(chosen - 30).max() <= 12
    assert 30 in chosen


def test_samples_like_the_errors_are_preferred():
    pool = _frames(60, 60)
    pool.fluxes[:30, 0] = 5e-4
    arm = Arm(name="errors", synthetic=SyntheticUse(fill=0.5, choose="errors"))
    given, _, _ = compose(arm, REAL, pool, _teacher(np.full(120, 0.5), errors=((4e-4, np.nan),)), 0)
    assert (given.images[40:, 0, 0, 0] < 30).all()


def test_a_teacher_gives_labels():
    says = np.linspace(0, 1, 120)
    use = SyntheticUse(fill=0.5, labels="teacher")
    given, _, _ = compose(Arm(name="taught", teacher=0.5, synthetic=use), REAL, POOL, _teacher(says), 0)
    assert given.targets[:40].numpy() == pytest.approx((REAL.labels + np.linspace(0, 1, 40)) / 2)
    rows = given.images[40:, 0, 0, 0].long().numpy()
    assert given.targets[40:].numpy() == pytest.approx(says[rows])


def test_pretraining_comes_first_and_sees_samples_alone():
    arm = Arm(name="pretrain", synthetic=SyntheticUse(add=0.5, pretrain=0.25))
    _, (before, after), _ = compose(arm, REAL, POOL, None, 0)
    assert (before.share, after.share) == (0.25, 0.75)
    assert before.rows.tolist() == list(range(40, 60))
    assert after.rows.tolist() == list(range(40))


def test_shortage_is_said_in_words():
    assert shortage(SyntheticUse(fill=0.5), REAL.labels, POOL.labels) == ""
    assert "needs 40 positive" in shortage(SyntheticUse(add=4), REAL.labels, np.ones(30, bool))
    assert "needs 60 negative" in shortage(SyntheticUse(add=2), REAL.labels, np.ones(60, bool))
    assert "25% of the real frames are positive already" in shortage(SyntheticUse(fill=0.2), REAL.labels, POOL.labels)
    with pytest.raises(UsageError, match="arm 'add': needs 30 positive"):
        compose(Arm(name="add", synthetic=SyntheticUse(add=3)), REAL, _frames(20, 200), None, 0)
    with pytest.raises(UsageError, match="no synthetic frames are given"):
        compose(Arm(name="add", synthetic=SyntheticUse(add=3)), REAL, None, None, 0)
