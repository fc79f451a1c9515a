import math

import pytest
import torch

from sunaug.training.health import diversity, frame_features, not_finite, spread


def spots(seed, count=64):
    """Dark frames with one bright spot each, anywhere."""
    random = torch.Generator().manual_seed(seed)
    images = torch.full((count, 2, 32, 32), -0.8)
    for image, (y, x) in zip(images, torch.randint(0, 28, (count, 2), generator=random), strict=True):
        image[:, y : y + 4, x : x + 4] = 0.9
    return images


def test_features_are_local_means_and_contrasts():
    images = torch.rand(3, 2, 32, 32)
    features = frame_features(images).reshape(3, 2, 2, 8, 8)
    tile = images[1, 0, 4:8, 8:12]
    torch.testing.assert_close(features[1, 0, 0, 1, 2], tile.mean())
    torch.testing.assert_close(features[1, 0, 1, 1, 2], tile.std(unbiased=False), atol=1e-4, rtol=1e-3)


def test_one_image_for_every_latent_is_no_diversity():
    real = spread(spots(0))
    assert diversity(spots(1)[:1].expand(64, -1, -1, -1), real) == pytest.approx(0, abs=1e-6)
    noisy = spots(1)[:1] + 0.02 * torch.randn(64, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    assert diversity(noisy, real) < 0.05


def test_as_varied_as_real_frames_is_one():
    assert diversity(spots(1), spread(spots(0))) == pytest.approx(1, abs=0.1)


def test_half_of_the_modes_is_less_than_all():
    few = spots(1, 4).repeat(16, 1, 1, 1)
    assert diversity(few, spread(spots(0))) < 0.9


def test_not_finite_figures_are_named():
    assert not_finite({"a": 1.0, "b": math.nan, "c": math.inf, "d": -1e30}) == ["b", "c"]
    assert not_finite({"diversity": diversity(torch.full((4, 1, 32, 32), math.nan), 1.0)}) == ["diversity"]
