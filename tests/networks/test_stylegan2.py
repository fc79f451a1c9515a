import pytest
import torch
from pydantic import ValidationError
from torch._subclasses.fake_tensor import FakeTensorMode

from sunaug.networks import Discriminator, Generator, StyleGAN2Config, start_from
from sunaug.networks.layers import upsample

TINY = {"base_width": 64, "max_width": 16, "z_dim": 8, "w_dim": 8, "mapping_layers": 2}


def make(size=16, image_channels=3, **options):
    torch.manual_seed(0)
    config = StyleGAN2Config(size=size, image_channels=image_channels, **{**TINY, **options})
    return Generator(config), Discriminator(config)


@pytest.mark.parametrize("image_channels", range(1, 14))
def test_any_number_of_channels(image_channels):
    generator, discriminator = make(8, image_channels)
    images = generator(torch.randn(4, 8), torch.zeros(4, 2), torch.randn(4, generator.noise_size))
    assert images.shape == (4, image_channels, 8, 8)
    images[:, -1] += 1
    assert discriminator(images, torch.zeros(4, 2)).shape == (4,)


@pytest.mark.parametrize("size", [2**power for power in range(3, 13)])
def test_any_power_of_two_from_8_to_4096(size):
    """With tensors that have shapes and no numbers: a batch of 4096 pixels would take the memory of a large GPU."""
    with FakeTensorMode():
        generator, discriminator = make(size, 3, base_width=32768, max_width=512)
        condition = torch.zeros(4, 2)
        images = generator(torch.randn(4, 8), condition, torch.randn(4, generator.noise_size))
        assert images.shape == (4, 3, size, size)
        assert discriminator(images, condition).shape == (4,)
    assert generator.n_styles == 2 * len(generator.config.resolutions)
    assert generator.convs[-1].conv.weight.shape[0] == min(32768 // size, 512)


@pytest.mark.parametrize("size", [48, 4, 8192])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValidationError):
        StyleGAN2Config(size=size)


def test_size_must_be_a_power_of_two():
    with pytest.raises(ValidationError, match="48 is not a power of two"):
        StyleGAN2Config(size=48)


def test_two_numbers_set_the_width_of_every_layer():
    """A layer at resolution r has min(base / r, max) channels, in both networks."""
    generator, discriminator = make(32, base_width=128, max_width=24)
    assert [conv.conv.weight.shape[0] for conv in generator.convs] == [24, 16, 16, 8, 8, 4, 4]
    assert [block.second.weight.shape[0] for block in discriminator.blocks] == [8, 16, 24]
    assert discriminator.from_image.weight.shape[0] == 4


def test_condition_weight_ramps_the_projection():
    """At weight 0 the score is unconditional; in between it is linear in the weight."""
    generator, discriminator = make()
    images = generator(torch.randn(4, 8), torch.zeros(4, 2))
    quiet, rare = torch.full((4, 2), -1.0), torch.full((4, 2), 2.0)
    torch.testing.assert_close(discriminator(images, quiet, 0.0), discriminator(images, rare, 0.0))
    ends = discriminator(images, rare, 0.0), discriminator(images, rare, 1.0)
    assert not torch.allclose(*ends, atol=1e-4)
    torch.testing.assert_close(discriminator(images, rare, 0.5), (ends[0] + ends[1]) / 2)


def test_unconditional():
    generator, discriminator = make(conditions=())
    assert discriminator(generator(torch.randn(4, 8), None), None).shape == (4,)
    assert generator.mapping.embed is None
    assert discriminator.embed is None


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
    w, w_other = generator.mapping(z, condition), generator.mapping(other, condition)
    for crossover in range(1, generator.n_styles):
        layers = [w] * crossover + [w_other] * (generator.n_styles - crossover)
        expected = generator.synthesize(torch.stack(layers, dim=1))
        mixed = generator(z, condition, None, other, torch.full((2,), crossover))
        torch.testing.assert_close(mixed, expected)
    each = generator(z, condition, None, other, torch.tensor([3, generator.n_styles]))
    torch.testing.assert_close(each[1:], generator(z[1:], condition[1:]))
    assert not torch.allclose(each[0], generator(z, condition)[0], atol=1e-4)


def test_truncation_pulls_every_sample_to_the_mean_of_its_own_condition():
    generator, _ = make()
    condition = torch.tensor([[-1.0, -1.0], [2.0, 2.0], [2.0, 2.0]])
    w = generator.mapping(torch.randn(3, 8), condition)
    torch.testing.assert_close(generator.truncate(w, condition, 1.0), w)
    centres = generator.truncate(w, condition, 0.0)
    latents = torch.randn(20_000, 8)
    for row, centre in zip(condition[:2], centres[:2], strict=True):
        many = generator.mapping(latents, row.expand(len(latents), -1))
        # The mean over 1024 draws is within a few standard errors of the mean over 20,000 others.
        assert ((centre - many.mean(dim=0)).abs() < 5 * many.std(dim=0) / 1024**0.5).all()
    assert (centres[0] - centres[1]).norm() > 0.1 * centres[0].norm()
    assert torch.equal(centres[1], centres[2])
    torch.testing.assert_close(generator.truncate(w, condition, 0.3), centres + 0.3 * (w - centres))


def test_truncation_without_a_condition():
    generator, _ = make(conditions=())
    w = generator.mapping(torch.randn(3, 8), None)
    centres = generator.truncate(w, None, 0.0)
    assert torch.equal(centres, generator.mean_w(None).expand(3, -1))
    torch.testing.assert_close(generator.truncate(w, None, 1.0), w)


def test_layers_that_are_computed_again_give_the_same_image_and_gradient():
    found = []
    for resolution in (None, 8):
        generator, discriminator = make()
        generator.checkpoint_from = discriminator.checkpoint_from = resolution
        torch.manual_seed(1)
        images = generator(torch.randn(4, 8), torch.zeros(4, 2), torch.randn(4, generator.noise_size))
        discriminator(images, torch.zeros(4, 2)).sum().backward()
        parameters = [*generator.parameters(), *discriminator.parameters()]
        found.append([images, *(parameter.grad for parameter in parameters if parameter.grad is not None)])
    assert len(found[0]) == len(found[1])
    assert all(torch.equal(plain, again) for plain, again in zip(*found, strict=True))


def test_layers_that_are_computed_again_keep_no_activations(monkeypatch):
    """Counted where the graph saves tensors: fewer with the option than without."""
    kept = []
    for resolution in (None, 8):
        generator, _ = make(32)
        generator.checkpoint_from = resolution
        sizes = []
        # The numbers of all saved tensors; identity hooks leave them as they are.
        with torch.autograd.graph.saved_tensors_hooks(lambda x, sizes=sizes: sizes.append(x.numel()) or x, lambda x: x):
            generator(torch.randn(4, 8), torch.zeros(4, 2))
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 2


@pytest.mark.parametrize("size", [16, 32, 64])
def test_started_from_a_smaller_generator_the_first_image_is_its_own_enlarged(size):
    small, _ = make(16)
    for conv in small.convs:
        torch.nn.init.constant_(conv.noise_strength, 0.3)
    for to_image in small.to_image:
        torch.nn.init.constant_(to_image.bias, 0.1)
    torch.manual_seed(5)
    large = Generator(small.config.model_copy(update={"size": size}))
    start_from(large, small)
    z, condition, noise = torch.randn(3, 8), torch.randn(3, 2), torch.randn(3, large.noise_size)
    expected = small(z, condition, noise[:, : small.noise_size])
    while expected.shape[-1] < size:
        expected = upsample(expected)
    torch.testing.assert_close(large(z, condition, noise), expected)


def test_layers_at_new_resolutions_learn_from_the_first_step():
    small, _ = make(8)
    large = Generator(small.config.model_copy(update={"size": 16}))
    start_from(large, small)
    large(torch.randn(3, 8), torch.zeros(3, 2)).square().sum().backward()
    assert large.to_image[-1].conv.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    "options", [{"max_width": 8}, {"image_channels": 2}, {"conditions": ("forecast_flux",)}, {"size": 32}]
)
def test_a_generator_that_does_not_fit_cannot_be_started_from(options):
    small, _ = make(**{"size": 16, **options})
    large, _ = make(16)
    before = {name: value.clone() for name, value in large.state_dict().items()}
    with pytest.raises(ValueError, match="layers have other shapes or places here"):
        start_from(large, small)
    assert all(torch.equal(value, before[name]) for name, value in large.state_dict().items())
