"""One run of a comparison."""

import numpy as np
import pytest
import torch

from forecasting_adapters.experiment import Arm, Settings
from forecasting_adapters.experiment.forecaster import CompactCNN, build_forecaster
from forecasting_adapters.experiment.training import Phase, TrainingSet, augment, epoch_rows, predict, train
from forecasting_adapters.skill import roc_area
from sunaug.errors import UsageError

LABELS = np.arange(60) % 6 == 0
SETTINGS = Settings(size=16, batch=16, checkpoints=3, average_steps=10, learning_rate=1e-2)


def _spots(seed=0):
    """Dark frames; before a flare one with a bright spot somewhere."""
    random = np.random.default_rng(seed)
    images = random.normal(-0.6, 0.1, (60, 3, 16, 16))
    for row in np.flatnonzero(LABELS):
        y, x = random.integers(2, 13, 2)
        images[row, :, y : y + 2, x : x + 2] = 0.9
    return torch.from_numpy(images).half()


def _given(images):
    return TrainingSet(images, torch.from_numpy(LABELS).float(), torch.ones(60), LABELS)


WHOLE = [Phase(np.arange(60), 1.0)]


def test_what_is_learned_holds_for_other_frames():
    network, checkpoints = train(Arm(name="real"), _given(_spots()), WHOLE, SETTINGS, 90, seed=0)
    assert len(checkpoints) == 3
    assert roc_area(LABELS, predict(network, checkpoints[-1], _spots(1)).numpy()) > 0.9


def test_a_seed_decides_everything():
    def end(seed):
        _, checkpoints = train(Arm(name="x", flips=True, mixup=0.4), _given(_spots()), WHOLE, SETTINGS, 6, seed)
        return torch.cat([value.reshape(-1).float() for value in checkpoints[-1].values()])

    assert torch.equal(end(1), end(1))
    assert not torch.equal(end(1), end(2))


def test_phases_share_the_steps(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "forecasting_adapters.experiment.training.augment",
        lambda arm, images, targets: (seen.append(float(images.mean())), (images, targets))[1],
    )
    images = torch.cat([torch.full((30, 3, 16, 16), -0.5), torch.full((30, 3, 16, 16), 0.5)]).half()
    phases = [Phase(np.arange(30, 60), 0.3), Phase(np.arange(30), 0.7)]
    _, checkpoints = train(Arm(name="x"), _given(images), phases, SETTINGS, 11, seed=0)
    assert seen == [0.5] * 3 + [-0.5] * 8
    assert len(checkpoints) == 3


@pytest.mark.parametrize(("sampling", "positives", "negatives"), [("natural", 10, 50), ("oversample", 50, 50)])
def test_sampling(sampling, positives, negatives):
    rows = epoch_rows(LABELS, sampling, np.random.default_rng(0))
    assert (LABELS[rows].sum(), (~LABELS[rows]).sum()) == (positives, negatives)
    assert set(rows) == set(range(60))


def test_undersampling_draws_other_frames_each_epoch():
    random = np.random.default_rng(0)
    first, second = (epoch_rows(LABELS, "undersample", random) for _ in range(2))
    assert LABELS[first].sum() == (~LABELS[first]).sum() == 10
    assert len(set(first)) == 20
    assert set(first) != set(second)


def test_one_class_is_sampled_as_it_is():
    rows = epoch_rows(np.ones(5, bool), "oversample", np.random.default_rng(0))
    assert sorted(rows) == list(range(5))


def test_augmentation():
    torch.manual_seed(0)
    images, targets = _spots().float(), torch.from_numpy(LABELS).float()
    same, kept = augment(Arm(name="real"), images, targets)
    assert same is images
    assert kept is targets
    flipped, _ = augment(Arm(name="x", flips=True), images, targets)
    assert torch.allclose(flipped.sum((1, 2, 3)), images.sum((1, 2, 3)), atol=1e-2)
    assert not torch.equal(flipped, images)
    noisy, _ = augment(Arm(name="x", noise=0.1), images, targets)
    assert (noisy - images).std() == pytest.approx(0.1, rel=0.05)
    mixed, soft = augment(Arm(name="x", mixup=1.0), images, targets)
    assert ((soft > 0) & (soft < 1)).any()
    assert mixed.mean() == pytest.approx(float(images.mean()), abs=0.02)
    turned, _ = augment(Arm(name="x", rotations=True), images, targets)
    assert turned.shape == images.shape
    assert not torch.equal(turned, images)


def test_a_forecaster_by_import_path():
    network = build_forecaster("tests.forecasting_adapters.test_experiment_training:linear", 3, 16)
    assert isinstance(network, torch.nn.Sequential)
    assert CompactCNN(3, 64)(torch.zeros(2, 3, 64, 64)).shape == (2,)


def linear(channels, size):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(channels * size**2, 1))


def two_logits(channels, size):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(channels * size**2, 2))


def wrong_size(channels, size):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(7, 1))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("torch.nn", "write it as package.module:factory"),
        ("no_such_package:Net", "cannot be imported"),
        ("torch.nn:NoSuchNet", "cannot be imported"),
        (f"{__name__}:two_logits", "gives \\(2, 2\\) for 2 images"),
        (f"{__name__}:wrong_size", "fails with channels=3, size=16 \\(RuntimeError"),
    ],
)
def test_a_forecaster_that_does_not_fit(path, message):
    with pytest.raises(UsageError, match=message):
        build_forecaster(path, 3, 16)
