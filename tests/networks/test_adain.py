import torch

from sunaug.networks.adain import AdaIN, StyleReading, instance_statistics


def features():
    torch.manual_seed(0)
    return 3 * torch.randn(2, 5, 8, 8) + 1


def test_statistics_are_those_of_each_map():
    x = features()
    mean, deviation = instance_statistics(x)
    for sample in range(2):
        for channel in range(5):
            values = x[sample, channel].numpy()
            torch.testing.assert_close(mean[sample, channel].item(), values.mean().item(), rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(deviation[sample, channel].item(), values.std().item(), rtol=1e-5, atol=1e-5)


def test_a_flat_map_is_finite_twice_derived():
    x = torch.ones(1, 1, 4, 4, requires_grad=True)
    normalised, _ = StyleReading(1, 2)(x)
    (gradient,) = torch.autograd.grad(normalised.square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), x)
    assert gradient.isfinite().all()
    assert second.isfinite().all()


def test_adain_is_equation_1_of_stylegan():
    x, w = features(), torch.randn(2, 3)
    layer = AdaIN(5, 3)
    scale, bias = (w @ layer.affine.weight.T / 3**0.5 + layer.affine.bias).split(5, dim=1)
    expected = torch.nn.functional.instance_norm(x, eps=1e-5)
    expected = (1 + scale)[:, :, None, None] * expected + bias[:, :, None, None]
    torch.testing.assert_close(layer(x, w), expected, rtol=1e-4, atol=1e-5)


def test_after_adain_the_statistics_are_the_style():
    x, w = features(), torch.randn(2, 3)
    layer = AdaIN(5, 3)
    mean, deviation = instance_statistics(layer(x, w))
    scale, bias = layer.affine(w).chunk(2, dim=1)
    torch.testing.assert_close(mean, bias, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(deviation, (1 + scale).abs(), rtol=1e-3, atol=1e-3)


def test_a_reading_is_linear_in_the_statistics_and_takes_them_out():
    x = features()
    layer = StyleReading(5, 4)
    normalised, reading = layer(x)
    statistics = torch.cat([x.mean(dim=(2, 3)), x.std(dim=(2, 3), correction=0)], dim=1)
    torch.testing.assert_close(reading, statistics @ layer.linear.weight.T / 10**0.5, rtol=1e-4, atol=1e-5)
    mean, deviation = instance_statistics(normalised)
    torch.testing.assert_close(mean, torch.zeros(2, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(deviation, torch.ones(2, 5), atol=1e-4, rtol=0)
