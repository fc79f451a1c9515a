import numpy as np
import pytest
import torch
from PIL import Image

from sunaug.errors import SunaugError, UsageError
from sunaug.fidelity import frechet
from sunaug.fidelity.frechet import (
    SMALL_WEIGHTS,
    FeatureStatistics,
    display_images,
    features,
    find_weights,
    frechet_distance,
    load_backbone,
)


@pytest.fixture
def no_weights(monkeypatch, tmp_path):
    monkeypatch.delenv("SUNAUG_FID_WEIGHTS", raising=False)
    monkeypatch.setenv("SUNAUG_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path


@pytest.fixture
def backbone(real_data):
    weights = real_data / "weights" / SMALL_WEIGHTS
    if not weights.is_file():
        pytest.skip(f"no Inception weights at {weights}")
    return load_backbone(weights, device="cpu")


@pytest.mark.parametrize("count", [10, 40, 300])
def test_distance_is_pytorch_fids(count):
    frechet._pytorch_fid()
    from pytorch_fid import fid_score

    random = np.random.default_rng(count)
    first, second = random.normal(size=(count, 32)), random.normal(0.3, 1.4, size=(count, 32))
    expected = fid_score.calculate_frechet_distance(
        first.mean(0), np.cov(first, rowvar=False), second.mean(0), np.cov(second, rowvar=False)
    )
    ours = frechet_distance(FeatureStatistics.of(first), FeatureStatistics.of(second))
    # pytorch-fid adds 1e-6 to the diagonal where the covariances are singular, and its sqrtm is inexact there.
    assert ours == pytest.approx(expected, rel=1e-6 if count > 32 else 1e-3)


def test_distance_of_gaussians_known_in_closed_form():
    random = np.random.default_rng(0)
    values = random.normal(size=(500, 8))
    one, other = FeatureStatistics.of(values), FeatureStatistics.of(2 * values + 3)
    offset = np.square(other.mean - one.mean).sum()
    assert frechet_distance(one, other) == pytest.approx(offset + np.square(one.root).sum(), rel=1e-9)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)


def test_statistics_are_mean_and_covariance():
    values = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    for part in (values, values[:4]):
        statistics = FeatureStatistics.of(part)
        np.testing.assert_allclose(
            statistics.root.T @ statistics.root, np.cov(part.astype(float), rowvar=False), atol=1e-12
        )
        assert statistics.count == len(part)
    with pytest.raises(UsageError, match="two images"):
        FeatureStatistics.of(values[:1])


def test_three_channels_make_one_image():
    frames = np.full((2, 3, 4, 4), 100.4, np.float32)
    frames[0, 1] = np.nan
    frames[1, 2] = 300
    images = display_images(frames, ["aia171", "aia131", "aia94"], "browse")
    assert list(images) == ["aia171+aia131+aia94"]
    only = images["aia171+aia131+aia94"]
    assert only.dtype == np.uint8
    assert (only[0, 0] == 100).all()
    assert (only[0, 1] == 0).all()
    assert (only[1, 2] == 255).all()


def test_other_channels_make_an_image_each():
    frames = np.full((2, 2, 4, 4), 9800, np.float32)
    images = display_images(frames, ["aia193", "aia211"], "physical")
    assert list(images) == ["aia193", "aia211"]
    assert images["aia193"].shape == (2, 3, 4, 4)
    assert (images["aia193"] == 255).all()


def test_weights_are_looked_for_in_order(no_weights, monkeypatch):
    with pytest.raises(SunaugError, match="--weights FILE") as error:
        find_weights()
    assert error.value.exit_code == 1
    names = ["hub/checkpoints/pt_inception-2015-12-05-6726825d.pth", f"data/weights/{SMALL_WEIGHTS}", "environment.pth"]
    for name in names:
        (no_weights / name).parent.mkdir(parents=True, exist_ok=True)
        (no_weights / name).write_bytes(b"")
        if name.startswith("environment"):
            monkeypatch.setenv("SUNAUG_FID_WEIGHTS", str(no_weights / name))
        assert find_weights() == no_weights / name
    given = no_weights / "given.pth"
    given.write_bytes(b"")
    assert find_weights(given) == given


def test_bad_weights_are_named(no_weights):
    with pytest.raises(UsageError, match="no such file"):
        load_backbone(no_weights / "absent.pth")
    damaged = no_weights / "damaged.safetensors"
    damaged.write_bytes(b"not weights")
    with pytest.raises(SunaugError, match="not readable as Inception weights"):
        load_backbone(damaged)
    other = no_weights / "other.pth"
    torch.save({"layer": torch.zeros(2)}, other)
    with pytest.raises(SunaugError, match="not the weights of pytorch-fid"):
        load_backbone(other)


@pytest.mark.realdata
def test_features_and_distance_are_those_of_pytorch_fid(backbone, real_data, tmp_path):
    """The same PNG files through pytorch-fid's own code, around the network before batch norms are folded."""
    from pytorch_fid.fid_score import calculate_activation_statistics, calculate_frechet_distance, get_activations

    files = sorted((real_data / "sdo2012" / "images").glob("*.jpg"))[:1200:100]
    images = np.stack([np.asarray(Image.open(file).resize((64, 64))) for file in files])
    paths = [tmp_path / f"{number}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    weights = real_data / "weights" / SMALL_WEIGHTS
    unfolded = frechet._unfolded_network(frechet._read_weights(weights), 768, weights)

    ours = features([images[:5].transpose(0, 3, 1, 2), images[5:].transpose(0, 3, 1, 2)], backbone)
    theirs = get_activations(paths, unfolded, batch_size=6, dims=768, num_workers=0)
    assert ours.shape == (12, 768)
    assert np.abs(ours - theirs).max() < 1e-3 * np.abs(theirs).max()

    statistics = [
        calculate_activation_statistics(part, unfolded, batch_size=6, dims=768, num_workers=0)
        for part in (paths[:6], paths[6:])
    ]
    expected = calculate_frechet_distance(*statistics[0], *statistics[1])
    assert frechet_distance(FeatureStatistics.of(ours[:6]), FeatureStatistics.of(ours[6:])) == pytest.approx(
        expected, rel=1e-3
    )
    assert "FID-768" in backbone.description
