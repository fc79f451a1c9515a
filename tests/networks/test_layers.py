import pytest
import torch
import torch.nn.functional as F

from sunaug.networks.layers import (
    EqualConv2d,
    EqualLinear,
    ModulatedConv2d,
    ResidualDown,
    StyledConv,
    ToImage,
    activate,
    kernels_last,
    minibatch_stddev,
    upsample,
)


def convolved_one_by_one(x, style, weight, *, demodulate):
    """Karras et al. 2020, equations 1 and 3: each sample with a kernel of its own."""
    expected = []
    for sample, scale in zip(x, style, strict=True):
        kernel = weight * scale[None, :, None, None]
        if demodulate:
            kernel = kernel / torch.sqrt(kernel.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8)
        expected.append(F.conv2d(sample[None], kernel, padding=weight.shape[-1] // 2)[0])
    return torch.stack(expected)


@pytest.mark.parametrize("kernel", [1, 3])
def test_modulated_convolution_is_the_papers(kernel):
    torch.manual_seed(0)
    layer = ModulatedConv2d(5, 7, kernel, 4).double()
    x, w, bias = (torch.randn(*shape, dtype=torch.float64) for shape in ((3, 5, 8, 8), (3, 4), (7,)))
    expected = convolved_one_by_one(x, layer.affine(w), layer.weight * layer.gain, demodulate=True)
    torch.testing.assert_close(layer(x, w), expected, rtol=1e-10, atol=1e-10)
    biased = 2.5 * (expected + bias[:, None, None])
    torch.testing.assert_close(layer(x, w, bias, 2.5), biased, rtol=1e-10, atol=1e-10)


def test_the_image_is_made_by_a_modulated_convolution():
    torch.manual_seed(0)
    layer = ToImage(6, 3, 4).double()
    with torch.no_grad():
        layer.bias.normal_()
    x, w = torch.randn(2, 6, 8, 4, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    expected = convolved_one_by_one(x, layer.conv.affine(w), layer.conv.weight * layer.conv.gain, demodulate=False)
    torch.testing.assert_close(layer(x, w), expected + layer.bias[:, None, None], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("up", [False, True])
def test_a_styled_layer_is_convolution_noise_bias_and_activation(up):
    """The gain of the activation, which the layer puts into its factors, changes nothing."""
    torch.manual_seed(0)
    layer = StyledConv(5, 6, 4, up=up).double()
    with torch.no_grad():
        layer.bias.normal_()
        layer.noise_strength.fill_(0.7)
    side = 16 if up else 8
    shapes = ((3, 5, 8, 8), (3, 4), (3, 1, side, side))
    x, w, noise = (torch.randn(*shape, dtype=torch.float64) for shape in shapes)
    plain = layer.conv(x, w)
    plain = (upsample(plain) if up else plain) + 0.7 * noise + layer.bias[:, None, None]
    torch.testing.assert_close(layer(x, w, noise), activate(plain), rtol=1e-10, atol=1e-10)


def test_a_residual_block_is_the_papers():
    torch.manual_seed(0)
    block = ResidualDown(4, 6).double()
    with torch.no_grad():
        block.first.bias.normal_()
        block.second.bias.normal_()
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    expected = activate(block.second(F.avg_pool2d(activate(block.first(x)), 2))) + block.skip(F.avg_pool2d(x, 2))
    torch.testing.assert_close(block(x), expected / 2**0.5, rtol=1e-10, atol=1e-10)


def test_equalised_layers_keep_unit_variance():
    torch.manual_seed(0)
    assert EqualLinear(512, 512)(torch.randn(256, 512)).std().item() == pytest.approx(1, abs=0.02)
    assert EqualLinear(512, 512, lr_multiplier=0.01)(torch.randn(256, 512)).std().item() == pytest.approx(1, abs=0.02)
    inner = EqualConv2d(64, 64, 3)(torch.randn(4, 64, 16, 16))[:, :, 1:-1, 1:-1]
    assert inner.std().item() == pytest.approx(1, abs=0.05)


def test_upsampling_is_the_binomial_filter():
    """One pixel becomes the outer product of [1, 3, 3, 1] / 4 with itself."""
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 1
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
    torch.testing.assert_close(upsample(x)[0, 0, 3:7, 3:7], taps[:, None] * taps)


def test_minibatch_stddev_sees_variety():
    same = torch.randn(1, 3, 4, 4).expand(8, -1, -1, -1)
    assert minibatch_stddev(same)[:, -1].max() < 1e-3
    varied = minibatch_stddev(torch.randn(8, 3, 4, 4))
    assert varied.shape == (8, 4, 4, 4)
    assert varied[:, -1].min() > 0.3
    assert minibatch_stddev(torch.randn(6, 3, 4, 4)).shape == (6, 4, 4, 4)


def test_minibatch_stddev_of_a_split_batch_is_the_whole_ones():
    """Neighbours form a group, so that a batch may be split over processes or parts."""
    x = torch.randn(16, 3, 4, 4)
    whole = minibatch_stddev(x)
    torch.testing.assert_close(torch.cat([minibatch_stddev(part) for part in x.split(4)]), whole)
    expected = x[4:8].var(dim=0, unbiased=False).add(1e-8).sqrt().mean()
    torch.testing.assert_close(whole[4:8, -1], expected.expand(4, 4, 4))


def test_half_precision_does_not_round_the_image_nor_the_spread():
    """What makes the image stays in single precision under autocast, and the spread is summed in it."""
    torch.manual_seed(0)
    layer = ToImage(8, 3, 4)
    x, w = torch.randn(2, 8, 4, 4), torch.randn(2, 4)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x.bfloat16(), w)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, layer(x.bfloat16().float(), w))
    spread = minibatch_stddev(x.bfloat16())[:, -1]
    torch.testing.assert_close(spread, minibatch_stddev(x.bfloat16().float())[:, -1].bfloat16())


def test_kernels_are_laid_out_channels_last_and_keep_their_values():
    layer = EqualConv2d(6, 5, 3)
    before = layer.weight.detach().clone()
    kernels_last(layer)
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(layer.weight, before)
