"""Groups of channels with layers of their own."""

import re

import pytest
import torch
from pydantic import ValidationError

from sunaug.bundle import load_bundle
from sunaug.networks import Discriminator, Generator, StyleGAN2Config, start_from
from sunaug.networks.layers import upsample
from sunaug.networks.patches import synthesize_tiles

TINY = {
    "size": 32,
    "image_channels": 3,
    "base_width": 128,
    "max_width": 12,
    "z_dim": 8,
    "w_dim": 8,
    "mapping_layers": 2,
}


def make(seed=0, **options):
    torch.manual_seed(seed)
    generator = Generator(StyleGAN2Config(**{**TINY, **options}))
    for name, parameter in generator.named_parameters():
        if name.endswith(("noise_strength", "bias")):
            torch.nn.init.normal_(parameter)
    return generator


def inputs(generator, batch=2):
    torch.manual_seed(1)
    w = torch.randn(batch, generator.n_styles, generator.config.w_dim)
    return w, torch.randn(batch, generator.noise_size)


def test_one_group_of_all_channels_is_the_network_without_groups():
    """The same weights under other names, the same image."""
    plain, grouped = make(), make(seed=2, channel_groups=((0, 1, 2),), group_resolutions=2)
    renamed = {re.sub(r"\.branches\.0", "", name): name for name in grouped.state_dict()}
    assert renamed.keys() == plain.state_dict().keys()
    grouped.load_state_dict({renamed[name]: value for name, value in plain.state_dict().items()})
    torch.testing.assert_close(grouped.synthesize(*inputs(plain)), plain.synthesize(*inputs(plain)))


@pytest.mark.parametrize("resolutions", [1, 2])
def test_a_groups_layers_make_its_channels_alone(resolutions):
    generator = make(channel_groups=((2, 0), (1,)), group_resolutions=resolutions)
    w, noise = inputs(generator)
    before = generator.synthesize(w, noise)
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if ".branches.1." in name:
                parameter.add_(0.5)
    changed = (generator.synthesize(w, noise) - before).abs().amax(dim=(0, 2, 3))
    assert changed[1] > 1e-3
    assert changed[0] == changed[2] == 0
    with torch.no_grad():
        generator.const.add_(0.5)  # the trunk is everybody's
    assert ((generator.synthesize(w, noise) - before).abs().amax(dim=(0, 2, 3)) > 1e-3).all()


def test_channels_come_out_in_their_places():
    first, second = make(channel_groups=((0, 1), (2,))), make(channel_groups=((2, 0), (1,)))
    weights = first.state_dict()
    for name in weights:  # the layers below make all channels of the image, in order
        if name.startswith("to_image.") and "branches" not in name and "affine" not in name:
            weights[name] = torch.zeros_like(weights[name])
    for generator in (first, second):
        generator.load_state_dict(weights)
    w, noise = inputs(first)
    torch.testing.assert_close(second.synthesize(w, noise)[:, [2, 0, 1]], first.synthesize(w, noise))


def test_steering_and_noise_stay_as_they_are():
    plain, grouped = make(), make(channel_groups=((0,), (1,), (2,)), group_resolutions=2)
    assert grouped.style_resolutions == plain.style_resolutions
    assert grouped.noise_shapes == plain.noise_shapes
    sizes = [sum(one.numel() for one in generator.convs.parameters()) for generator in (plain, grouped)]
    assert sizes[1] < sizes[0]


def test_groups_are_made_in_tiles_and_with_shuffled_pixels():
    generator = make(size=64, channel_groups=((2, 0), (1,)), group_resolutions=2, unshuffle=2)
    w, noise = inputs(generator, 1)
    whole = generator.synthesize(w, noise)
    assert whole.shape == (1, 3, 64, 64)
    tiled = torch.zeros_like(whole)
    for window, tile in synthesize_tiles(generator, w, noise, tile=32):
        tiled[:, :, window.top : window.bottom, window.left : window.right] = tile
    torch.testing.assert_close(tiled, whole, rtol=1e-4, atol=1e-5)


def test_branches_start_from_a_trunk_that_was_trained_without_them():
    trunk, grouped = make(size=16), make(seed=3, channel_groups=((0, 2), (1,)))
    start_from(grouped, trunk)
    w, noise = inputs(grouped)
    small = trunk.synthesize(w[:, : trunk.n_styles], noise[:, : trunk.noise_size])
    biases = grouped.to_image[-1]
    with torch.no_grad():
        for branch in biases.branches:
            branch.bias.zero_()
    torch.testing.assert_close(grouped.synthesize(w, noise), upsample(small))


def test_the_discriminator_has_no_groups():
    config = StyleGAN2Config(**TINY, channel_groups=((0,), (1,), (2,)))
    plain = Discriminator(StyleGAN2Config(**TINY)).state_dict()
    assert {name: one.shape for name, one in Discriminator(config).state_dict().items()} == {
        name: one.shape for name, one in plain.items()
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channel_groups": ((0,), (1,))}, "each of the 3 channels has to be in one group"),
        ({"channel_groups": ((0, 1), (1, 2))}, "each of the 3 channels has to be in one group"),
        ({"channel_groups": ((0, 1, 2), ())}, "no group empty"),
        ({"channel_groups": ((0,), (1, 2)), "group_resolutions": 4}, "of 4 resolutions, one at least has to be shared"),
    ],
)
def test_groups_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        StyleGAN2Config(**TINY, **options)


def test_bundles_from_before_have_none():
    network = load_bundle("sdo2012-64").info.network
    assert network.channel_groups == ()
    assert "channel_groups" not in (load_bundle("sdo2012-64").path / "bundle.json").read_text()
