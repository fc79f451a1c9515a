import numpy as np
import pytest
import torch
from pydantic import ValidationError

from sunaug.networks import Discriminator, Generator, StyleGAN2Config
from sunaug.networks.conditions import encode_flux

TINY = {"base_width": 64, "max_width": 16, "z_dim": 8, "w_dim": 8, "mapping_layers": 2}


def make(size=16, image_channels=3, **options):
    torch.manual_seed(0)
    config = StyleGAN2Config(size=size, image_channels=image_channels, **{**TINY, **options})
    return Generator(config), Discriminator(config)


@pytest.mark.parametrize("image_channels", [1, 3, 13])
@pytest.mark.parametrize("size", [8, 32])
def test_shapes(size, image_channels):
    generator, discriminator = make(size, image_channels)
    condition = torch.zeros(4, 2)
    images = generator(torch.randn(4, 8), condition, torch.randn(4, generator.noise_size))
    assert images.shape == (4, image_channels, size, size)
    assert discriminator(images, condition).shape == (4,)
    assert generator.n_styles == 2 * len(generator.config.resolutions)


def test_condition_changes_image_and_score():
    generator, discriminator = make()
    z, quiet, rare = torch.randn(4, 8), torch.full((4, 2), -1.0), torch.full((4, 2), 2.0)
    assert not torch.allclose(generator(z, quiet), generator(z, rare), atol=1e-4)
    images = generator(z, quiet)
    assert not torch.allclose(discriminator(images, quiet), discriminator(images, rare), atol=1e-4)


def test_condition_weight_ramps_the_projection():
    """At weight 0 the score is unconditional; in between it is linear in the weight."""
    generator, discriminator = make()
    images = generator(torch.randn(4, 8), torch.zeros(4, 2))
    quiet, rare = torch.full((4, 2), -1.0), torch.full((4, 2), 2.0)
    torch.testing.assert_close(discriminator(images, quiet, 0.0), discriminator(images, rare, 0.0))
    ends = discriminator(images, rare, 0.0), discriminator(images, rare, 1.0)
    torch.testing.assert_close(discriminator(images, rare, 0.5), (ends[0] + ends[1]) / 2)


def test_unconditional():
    generator, discriminator = make(conditions=())
    assert discriminator(generator(torch.randn(4, 8), None), None).shape == (4,)


def test_noise_is_used_and_may_be_left_out():
    generator, _ = make()
    for conv in generator.convs:
        torch.nn.init.constant_(conv.noise_strength, 0.5)
    z, condition = torch.randn(2, 8), torch.zeros(2, 2)
    first, second = torch.randn(2, 2, generator.noise_size)
    assert not torch.allclose(generator(z, condition, first), generator(z, condition, second), atol=1e-3)
    torch.testing.assert_close(generator(z, condition), generator(z, condition, torch.zeros_like(first)))


def test_style_mixing_swaps_the_layers_from_the_crossover():
    generator, _ = make()
    z, other, condition = torch.randn(2, 8), torch.randn(2, 8), torch.zeros(2, 2)
    whole = torch.full((2,), generator.n_styles)
    torch.testing.assert_close(generator(z, condition, None, other, whole), generator(z, condition))
    none = torch.zeros(2, dtype=torch.long)
    torch.testing.assert_close(generator(z, condition, None, other, none), generator(other, condition))
    half = torch.full((2,), 2)
    w, w_other = generator.mapping(z, condition), generator.mapping(other, condition)
    layers = [w, w] + [w_other] * (generator.n_styles - 2)
    expected = generator.synthesize(torch.stack(layers, dim=1))
    torch.testing.assert_close(generator(z, condition, None, other, half), expected)


def test_encoded_flux():
    np.testing.assert_allclose(encode_flux([1e-6, 1e-5, 1e-4, 1e-8, 0.0]), [0, 1, 2, -2, -2], atol=1e-6)


def test_size_must_be_a_power_of_two():
    with pytest.raises(ValidationError, match="48 is not a power of two"):
        StyleGAN2Config(size=48)
