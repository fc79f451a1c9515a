import pytest
import torch
import torch.nn.functional as F

from sunaug.networks.biggan_layers import (
    BatchNorm,
    ConditionalBatchNorm,
    DeepDown,
    DeepUp,
    PlainDown,
    PlainUp,
    SelfAttention,
    conv,
    linear,
)


@pytest.fixture(autouse=True)
def same_numbers():
    torch.manual_seed(0)


def plain(layer, x):
    """A convolution with the kernel divided by its largest singular value, computed whole."""
    weight = layer.parametrizations.weight.original
    weight = weight / torch.linalg.matrix_norm(weight.flatten(1), 2)
    return F.conv2d(x, weight, layer.bias, padding=weight.shape[-1] // 2)


def iterated(module):
    """The module in evaluation mode, after power iterations that find the largest singular values."""
    for _ in range(300):
        for part in module.modules():
            if hasattr(part, "parametrizations"):
                part.weight  # noqa: B018, each look is an iteration
    return module.eval()


def unlike(module):
    """The module with weights that are no longer orthogonal."""
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return iterated(module)


def test_spectral_norm_divides_by_the_largest_singular_value():
    layer, image = unlike(conv(5, 7, 3)), torch.randn(2, 5, 6, 6)
    torch.testing.assert_close(layer(image), plain(layer, image))
    assert torch.linalg.matrix_norm(unlike(linear(9, 4)).weight, 2).item() == pytest.approx(1, abs=1e-4)


def test_weights_begin_orthogonal():
    rows = conv(12, 6, 3).parametrizations.weight.original.flatten(1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(6), rtol=0, atol=1e-5)


def test_batch_norm_uses_the_batch_while_training_and_what_is_stored_afterwards():
    norm = BatchNorm(3)
    x = torch.randn(8, 3, 5, 5) * 4 + 2
    gain, bias = torch.randn(8, 3), torch.randn(8, 3)
    mean = x.mean(dim=(0, 2, 3), keepdim=True)
    variance = (x - mean).square().mean(dim=(0, 2, 3), keepdim=True)
    expected = gain[:, :, None, None] * (x - mean) / (variance + 1e-4).sqrt() + bias[:, :, None, None]
    torch.testing.assert_close(norm(x, gain, bias), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.mean, 0.1 * mean.flatten())
    torch.testing.assert_close(norm.variance, 0.9 + 0.1 * variance.flatten())
    norm.eval()
    alone = torch.cat([norm(one[None], *rows) for one, *rows in zip(x, gain.split(1), bias.split(1), strict=True)])
    torch.testing.assert_close(norm(x, gain, bias), alone)
    torch.testing.assert_close(norm.mean, 0.1 * mean.flatten())


def test_standing_statistics_are_those_of_all_passes_together():
    norm = BatchNorm(3).eval()
    norm.passes = []
    parts = [torch.randn(8, 3, 5, 5) * scale + shift for scale, shift in ((1, 0), (2, 3), (0.5, -1))]
    for part in parts:
        norm(part, torch.ones(1, 3), torch.zeros(1, 3))
    norm.settle()
    variance, mean = torch.var_mean(torch.cat(parts), dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(norm.mean, mean)
    torch.testing.assert_close(norm.variance, variance)
    assert norm.passes is None


def test_gains_and_biases_are_linear_in_the_latent_about_one_and_zero():
    layer = iterated(ConditionalBatchNorm(4, 6))
    x, latent = torch.randn(2, 4, 3, 3), torch.randn(2, 6)
    torch.testing.assert_close(layer(x, torch.zeros(2, 6)), x / (1 + 1e-4) ** 0.5)
    gain, bias = (latent @ one.weight.T for one in (layer.gain, layer.bias))
    expected = x / (1 + 1e-4) ** 0.5 * (1 + gain)[:, :, None, None] + bias[:, :, None, None]
    torch.testing.assert_close(layer(x, latent), expected)


def test_attention_is_the_papers():
    """Zhang et al. 2019, equations 1 to 3, pixel by pixel, with keys and values pooled."""
    layer, x = unlike(SelfAttention(16)), torch.randn(2, 16, 4, 6)
    query, key, value = (plain(one, x) for one in (layer.query, layer.key, layer.value))
    key, value = F.max_pool2d(key, 2), F.max_pool2d(value, 2)
    attended = torch.zeros(2, 8, 4, 6)
    for sample in range(2):
        for row in range(4):
            for column in range(6):
                likeness = torch.einsum("c,cyx->yx", query[sample, :, row, column], key[sample])
                share = likeness.exp() / likeness.exp().sum()
                attended[sample, :, row, column] = (share * value[sample]).sum(dim=(1, 2))
    torch.testing.assert_close(layer(x), x + layer.gamma * plain(layer.out, attended), rtol=1e-4, atol=1e-5)


def test_attention_begins_as_nothing():
    x = torch.randn(2, 16, 4, 4)
    torch.testing.assert_close(SelfAttention(16)(x), x)


def twice(x):
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def test_plain_blocks_are_those_of_figure_15():
    up, latent, x = unlike(PlainUp(6, 4, 5)), torch.randn(2, 5), torch.randn(2, 6, 4, 4)
    inner = plain(up.first, twice(up.first_norm(x, latent).relu()))
    inner = plain(up.second, up.second_norm(inner, latent).relu())
    torch.testing.assert_close(up(x, latent), inner + plain(up.skip, twice(x)))

    down = unlike(PlainDown(6, 8))
    inner = plain(down.second, plain(down.first, x.relu()).relu())
    torch.testing.assert_close(down(x), F.avg_pool2d(inner + plain(down.skip, x), 2))
    first = unlike(PlainDown(6, 8, activate=False))
    inner = plain(first.second, plain(first.first, x).relu())
    torch.testing.assert_close(first(x), F.avg_pool2d(inner + plain(first.skip, x), 2))
    last = unlike(PlainDown(6, 6, down=False))
    torch.testing.assert_close(last(x), x + plain(last.second, plain(last.first, x.relu()).relu()))


@pytest.mark.parametrize("resized", [False, True])
def test_deep_blocks_are_those_of_figure_16(resized):
    up, latent, x = unlike(DeepUp(8, 4, 5, up=resized)), torch.randn(2, 5), torch.randn(2, 8, 4, 4)
    enlarged = twice if resized else lambda image: image
    assert [one.weight.shape for one in up.convs] == [(2, 8, 1, 1), (2, 2, 3, 3), (2, 2, 3, 3), (4, 2, 1, 1)]
    inner = plain(up.convs[0], up.norms[0](x, latent).relu())
    inner = plain(up.convs[1], enlarged(up.norms[1](inner, latent).relu()))
    for norm, layer in zip(up.norms[2:], up.convs[2:], strict=True):
        inner = plain(layer, norm(inner, latent).relu())
    torch.testing.assert_close(up(x, latent), inner + enlarged(x[:, :4]))

    down = unlike(DeepDown(8, 12, down=resized))
    shrunk = (lambda image: F.avg_pool2d(image, 2)) if resized else (lambda image: image)
    inner = x
    for layer in down.convs[:3]:
        inner = plain(layer, inner.relu())
    shortcut = shrunk(x)
    shortcut = torch.cat([shortcut, plain(down.more, shortcut)], dim=1)
    torch.testing.assert_close(down(x), plain(down.convs[3], shrunk(inner.relu())) + shortcut)
