import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from sunaug.networks import ARCHITECTURES, make_discriminator, make_encoder, make_generator
from sunaug.networks.stylealae import StyleALAEConfig

TINY = {"base_width": 64, "max_width": 16, "z_dim": 8, "w_dim": 8, "mapping_layers": 2}


def make(size=16, image_channels=3, **options):
    torch.manual_seed(0)
    config = StyleALAEConfig(size=size, image_channels=image_channels, **{**TINY, **options})
    return make_generator(config), make_discriminator(config)


@pytest.mark.parametrize("image_channels", [1, 2, 3, 11])
@pytest.mark.parametrize("size", [8, 16])
def test_any_number_of_channels(size, image_channels):
    generator, discriminator = make(size, image_channels)
    images = generator(torch.randn(4, 8), torch.zeros(4, 2), torch.randn(4, generator.noise_size))
    assert images.shape == (4, image_channels, size, size)
    assert discriminator(images, torch.zeros(4, 2)).shape == (4,)
    assert discriminator.encode(images).shape == (4, 8)


@pytest.mark.parametrize("size", [64, 1024, 4096])
def test_large_images(size):
    with FakeTensorMode():
        generator, discriminator = make(size, 3, base_width=32768, max_width=512)
        images = generator(torch.randn(2, 8), torch.zeros(2, 2), torch.randn(2, generator.noise_size))
        assert images.shape == (2, 3, size, size)
        assert discriminator(images, torch.zeros(2, 2)).shape == (2,)
    assert generator.n_styles == 2 * len(generator.config.resolutions)


def test_two_numbers_set_the_width_of_every_layer():
    generator, discriminator = make(32, base_width=128, max_width=24)
    assert [block.second.weight.shape[0] for block in generator.blocks] == [16, 8, 4]
    assert generator.first.conv.weight.shape[0] == 24
    assert [block.second.weight.shape[0] for block in discriminator.encoder.blocks] == [8, 16, 24, 24]


def test_the_generator_is_convolutions_noise_activation_and_adain():
    """The image of 8 pixels, computed again with plain operations (Karras et al. 2019, figure 1b)."""
    generator, _ = make(8)
    first, block = generator.first, generator.blocks[0]
    for styled in (*first.styled, *block.styled):
        torch.nn.init.normal_(styled.noise_strength)
    w, noise = torch.randn(2, 8), torch.randn(2, generator.noise_size)
    parts = zip(noise.split([16, 16, 64, 64], dim=1), generator.noise_shapes, strict=True)
    planes = [part.reshape(2, 1, *shape) for part, shape in parts]

    def styled(x, layer, plane):
        x = F.leaky_relu(x + layer.noise_strength[:, None, None] * plane, 0.2)
        scale, bias = layer.adain.affine(w).chunk(2, dim=1)
        return (1 + scale)[:, :, None, None] * F.instance_norm(x, eps=1e-5) + bias[:, :, None, None]

    def convolved(x, layer):
        return F.conv2d(x, layer.weight / layer.weight[0].numel() ** 0.5, layer.bias, padding="same")

    x = styled(first.const.expand(2, -1, -1, -1), first.styled[0], planes[0])
    x = styled(convolved(x, first.conv), first.styled[1], planes[1])
    x = F.interpolate(convolved(x, block.first), scale_factor=2, mode="bilinear")
    x = styled(x, block.styled[0], planes[2])
    x = styled(convolved(x, block.second), block.styled[1], planes[3])
    torch.testing.assert_close(
        generator.synthesize(w, noise), convolved(x, generator.to_image[1]), rtol=1e-3, atol=1e-4
    )


def test_the_encoder_sums_what_it_reads_at_every_layer():
    """W = sum_i C_i [mu(y_i); sigma(y_i)] (Pidhorskyi et al. 2020, section 4), computed again with plain operations."""
    _, discriminator = make(16)
    encoder, images = discriminator.encoder, torch.randn(3, 3, 16, 16)

    def convolved(x, layer):
        x = F.conv2d(x, layer.weight / layer.weight[0].numel() ** 0.5, layer.bias, padding="same")
        return F.leaky_relu(x, 0.2) * 2**0.5

    y, w = convolved(images, encoder.from_image[0]), torch.zeros(3, 8)
    for number, block in enumerate(encoder.blocks):
        for half, conv in enumerate((block.first, block.second)):
            if half and number < 2:
                y = F.avg_pool2d(y, 2)
            y = convolved(y, conv)
            statistics = torch.cat([y.mean(dim=(2, 3)), (y.var(dim=(2, 3), correction=0) + 1e-5).sqrt()], dim=1)
            matrix = block.readings[half].linear.weight / statistics.shape[1] ** 0.5
            w = w + statistics @ matrix.T
            y = F.instance_norm(y, eps=1e-5)
    torch.testing.assert_close(discriminator.encode(images), w, rtol=1e-3, atol=1e-3)


def test_the_score_is_one_of_the_latent_alone():
    """D(E(x)), computed again from w: an MLP with a projection on the embedded condition."""
    _, discriminator = make()
    images, condition = torch.randn(4, 3, 16, 16), torch.randn(4, 2)
    hidden = discriminator.encode(images)
    for layer in discriminator.hidden:
        hidden = F.leaky_relu(hidden @ layer.weight.T / 8**0.5 + layer.bias, 0.2) * 2**0.5
    first, second = discriminator.embed
    embedded = second(F.leaky_relu(first(condition), 0.2) * 2**0.5)
    expected = discriminator.head(hidden)[:, 0]
    torch.testing.assert_close(discriminator(images, condition, 0.0), expected)
    expected = expected + 0.5 * (hidden * embedded).sum(dim=1) / 8**0.5
    torch.testing.assert_close(discriminator(images, condition, 0.5), expected)


def test_unconditional():
    generator, discriminator = make(conditions=())
    assert discriminator(generator(torch.randn(4, 8), None), None).shape == (4,)
    assert discriminator.embed is None


def test_noise_is_used_and_may_be_left_out():
    generator, _ = make()
    for name, parameter in generator.named_parameters():
        if name.endswith("noise_strength"):
            torch.nn.init.constant_(parameter, 0.5)
    z, condition = torch.randn(2, 8), torch.zeros(2, 2)
    first, second = torch.randn(2, 2, generator.noise_size)
    assert not torch.allclose(generator(z, condition, first), generator(z, condition, second), atol=1e-3)
    torch.testing.assert_close(generator(z, condition), generator(z, condition, torch.zeros_like(first)))


def test_style_mixing_swaps_the_layers_from_the_crossover():
    generator, _ = make()
    z, other, condition = torch.randn(2, 8), torch.randn(2, 8), torch.zeros(2, 2)
    w, w_other = generator.mapping(z, condition), generator.mapping(other, condition)
    for crossover in range(generator.n_styles + 1):
        layers = [w] * crossover + [w_other] * (generator.n_styles - crossover)
        mixed = generator(z, condition, None, other, torch.full((2,), crossover))
        torch.testing.assert_close(mixed, generator.synthesize(torch.stack(layers, dim=1)))
    assert not torch.allclose(generator(z, condition), generator(other, condition), atol=1e-3)


@pytest.mark.parametrize("noisy", [True, False])
def test_layers_that_are_computed_again_give_the_same_image_and_gradient(noisy):
    found = []
    for resolution in (None, 4):
        generator, discriminator = make()
        generator.checkpoint_from = discriminator.checkpoint_from = resolution
        assert discriminator.checkpoint_from == resolution
        torch.manual_seed(1)
        noise = torch.randn(4, generator.noise_size) if noisy else None
        images = generator(torch.randn(4, 8), torch.zeros(4, 2), noise)
        discriminator(images, torch.zeros(4, 2)).sum().backward()
        parameters = [*generator.parameters(), *discriminator.parameters()]
        found.append([images, *(parameter.grad for parameter in parameters if parameter.grad is not None)])
    assert all(torch.equal(plain, again) for plain, again in zip(*found, strict=True))


def test_the_encoder_of_a_bundle_is_that_of_the_discriminator():
    _, discriminator = make()
    encoder = make_encoder(discriminator.config)
    encoder.load_state_dict(discriminator.encoder.state_dict())
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(encoder(images), discriminator.encode(images))
    assert make_encoder(ARCHITECTURES["stylegan2"].config()) is None
    assert ARCHITECTURES["stylealae"].grows
    assert not ARCHITECTURES["stylegan2"].grows
