import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from sunaug.networks import BigGANConfig, make_discriminator, make_generator, start_from

TINY = {"base_width": 64, "max_width": 16, "z_dim": 9, "embedding_dim": 5, "attention_resolution": 8}
BLOCKS = ("plain", "deep")


def make(size=16, image_channels=3, **options):
    torch.manual_seed(0)
    config = BigGANConfig(size=size, image_channels=image_channels, **{**TINY, **options})
    return make_generator(config), make_discriminator(config)


def settled(**options):
    generator, _ = make(**options)
    generator.eval().settle(torch.randn(64, generator.config.condition_width))
    return generator


@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("image_channels", [1, 4, 13])
def test_any_number_of_channels(blocks, image_channels):
    generator, discriminator = make(8, image_channels, blocks=blocks)
    images = generator(torch.randn(4, 9), torch.zeros(4, 2))
    assert images.shape == (4, image_channels, 8, 8)
    assert discriminator(images, torch.zeros(4, 2)).shape == (4,)
    assert generator.noise_size == 0


@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("size", [32, 128])
def test_widths_and_resolutions_follow_two_numbers(blocks, size):
    generator, discriminator = make(size, blocks=blocks, base_width=256, attention_resolution=16)
    images = generator(torch.randn(2, 9), torch.zeros(2, 2))
    assert images.shape == (2, 3, size, size)
    assert discriminator(images, torch.zeros(2, 2)).shape == (2,)
    stages = generator.blocks.stages
    assert all(stage.out_channels == generator.config.width(stage.resolution) for stage in stages)
    repeats = 2 if blocks == "deep" else 1
    assert generator.n_styles == 1 + repeats * (len(generator.config.resolutions) - 1)
    for network in (generator, discriminator):
        at = [network.blocks.stages[int(number)] for number in network.blocks.attention]
        assert [(stage.resolution, stage.resized) for stage in at] == [(16, True)]
        assert sum(row[2] for row in network.layer_rows()) == sum(one.numel() for one in network.parameters())


def test_w_is_z_and_the_shared_embedding_of_the_condition():
    generator, _ = make()
    z, condition = torch.randn(3, 9), torch.randn(3, 2)
    embed = generator.mapping.embed
    expected = torch.cat([z, condition @ embed.weight.T + embed.bias], dim=1)
    torch.testing.assert_close(generator.mapping(z, condition), expected)
    assert generator.config.latent_width == 14


def slopes_by_layer(generator):
    """How strongly an image depends on each number of each layer's w: (n_styles, latent_width)."""
    w = generator.mapping(torch.randn(2, 9), torch.zeros(2, 2)).detach()
    styles = generator.styles(w).clone().requires_grad_(True)
    generator.synthesize(styles).square().sum().backward()
    return styles.grad.abs().sum(dim=0)


def test_each_plain_block_sees_its_part_of_z_and_the_condition():
    generator = settled()
    assert [len(read) for read in generator.reads] == [3, 3 + 5, 3 + 5]
    assert sorted(number for read in generator.reads for number in read if number < 9) == list(range(9))
    for slopes, read in zip(slopes_by_layer(generator), generator.reads, strict=True):
        assert slopes.nonzero().flatten().tolist() == read


def test_every_deep_layer_sees_the_whole_w():
    generator = settled(blocks="deep")
    assert (slopes_by_layer(generator) > 0).all()


def test_the_score_is_an_unconditional_part_and_a_projection():
    """Miyato & Koyama 2018, equation 3, on activations summed over all pixels; the ramp's weight is linear."""
    _, discriminator = make()
    discriminator.eval()
    images, condition = torch.randn(4, 3, 16, 16), torch.randn(4, 2)
    features = F.relu(discriminator.blocks(images)).sum(dim=(2, 3))
    embedded = condition @ discriminator.embed.weight.T + discriminator.embed.bias
    own = features @ discriminator.head.weight[0] + discriminator.head.bias
    for weight in (0.0, 0.5, 1.0):
        expected = own + weight * (features * embedded).sum(dim=1)
        torch.testing.assert_close(discriminator(images, condition, weight), expected)
    assert not torch.allclose(own, discriminator(images, condition), atol=1e-3)


@pytest.mark.parametrize("blocks", BLOCKS)
def test_an_image_does_not_depend_on_its_batch_once_it_is_settled(blocks):
    generator = settled(blocks=blocks)
    z, condition = torch.randn(6, 9), torch.randn(6, 2)
    together = generator(z, condition)
    alone = torch.cat([generator(*pair) for pair in zip(z.split(1), condition.split(1), strict=True)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    generator.train()
    assert not torch.allclose(generator(z, condition)[:2], generator(z[:2], condition[:2]), atol=1e-2)


def test_settled_images_are_like_those_of_training():
    """The statistics are those of batches: what the training saw, without their noise."""
    generator = settled(image_channels=1)
    z, condition = torch.randn(512, 9), torch.randn(512, 2)
    still = generator(z, condition)
    trained = generator.train()(z, condition)
    assert torch.corrcoef(torch.stack([still.flatten(), trained.flatten()]))[0, 1] > 0.97


def test_settling_gives_the_same_bits_and_leaves_the_weights():
    generator = settled()
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    generator.settle(torch.randn(64, 2, generator=torch.Generator().manual_seed(1)))
    changed = {name for name, value in generator.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.endswith((".mean", ".variance")) for name in changed)
    again = {name: value.clone() for name, value in generator.state_dict().items()}
    generator.settle(torch.randn(64, 2, generator=torch.Generator().manual_seed(1)))
    assert all(torch.equal(value, again[name]) for name, value in generator.state_dict().items())


def test_truncation_scales_z_and_keeps_the_condition():
    generator, _ = make()
    z, condition = torch.randn(3, 9), torch.randn(3, 2)
    w = generator.mapping(z, condition)
    torch.testing.assert_close(generator.truncate(w, condition, 0.3), generator.mapping(0.3 * z, condition))


def test_unconditional():
    generator, discriminator = make(conditions=())
    assert generator.mapping.embed is None
    assert discriminator.embed is None
    assert discriminator(generator(torch.randn(4, 9), None), None).shape == (4,)


def test_style_mixing_takes_the_second_z_from_the_crossover():
    generator = settled()
    z, other, condition = torch.randn(2, 9), torch.randn(2, 9), torch.zeros(2, 2)
    mixed = generator(z, condition, None, other, torch.tensor([1, 2]))
    expected = torch.stack([torch.cat([z[0, :3], other[0, 3:]]), torch.cat([z[1, :6], other[1, 6:]])])
    torch.testing.assert_close(mixed, generator(expected, condition))


@pytest.mark.parametrize("blocks", BLOCKS)
def test_activations_of_directions_are_linear_in_w(blocks):
    generator = settled(blocks=blocks)
    found = generator.activation_map()
    w = torch.randn(4, 14)
    if blocks == "deep":
        weight = generator.linear.weight
        torch.testing.assert_close(w @ found.T, w @ weight.T / weight[:, :9].norm())
        return
    layers = [generator.linear.weight]
    norms = [block.first_norm for block in generator.blocks.blocks]
    layers += [torch.cat([norm.gain.weight, norm.bias.weight]) for norm in norms]
    parts = found.split([len(one) for one in layers])
    for part, layer, read in zip(parts, layers, generator.reads, strict=True):
        assert part[:, :9].norm().item() == pytest.approx(1)
        own = w[:, read] @ layer.T
        torch.testing.assert_close(w @ part.T, own * ((w @ part.T).norm() / own.norm()))


def test_shapes_that_cannot_be_are_refused():
    with pytest.raises(ValidationError, match="3 numbers cannot be shared out to 4 plain blocks"):
        make(32, z_dim=3)
    assert make(32, z_dim=3, blocks="deep")[0].n_styles == 7
    with pytest.raises(ValidationError, match="12 is not a power of two"):
        make(attention_resolution=12)


def test_it_starts_from_one_of_its_size_and_does_not_grow():
    small, _ = make(16, blocks="deep")
    same, _ = make(16, blocks="deep")
    torch.nn.init.normal_(small.to_image.bias)
    start_from(same, small)
    torch.testing.assert_close(same.to_image.bias, small.to_image.bias)
    wide = {"blocks": "deep", "base_width": 4096, "max_width": 8, "attention_resolution": None}
    with pytest.raises(ValueError, match="cannot grow; start it from a bundle of the same size"):
        start_from(make(32, **wide)[0], make(16, **wide)[0])
