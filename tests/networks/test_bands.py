"""Bands of rows are the same pixels as the whole image; `tests/training/test_banded_training.py` joins them."""

from functools import partial

import pytest
import torch

from sunaug.networks import Discriminator, Generator, StyleGAN2Config
from sunaug.networks.bands import Bands, halve_in_bands, parameters_in_bands, set_bands, synthesize_in_bands

GROUPS = {"channel_groups": ((1,), (0,)), "group_resolutions": 2}


class Alone(Bands):
    """A band that hears of no other."""

    def gather(self, band):
        return band

    def sum(self, part):
        return part


def make(kind, size, **options):
    torch.manual_seed(0)
    shape = {"base_width": 64, "max_width": 8, "z_dim": 8, "w_dim": 8, "mapping_layers": 2}
    network = kind(StyleGAN2Config(size=size, image_channels=2, **shape, **options)).double()
    for name, parameter in network.named_parameters():
        if name.endswith(("bias", "noise_strength")):
            torch.nn.init.normal_(parameter)
    return network


@pytest.mark.parametrize(
    ("size", "of", "options"), [(64, 2, {}), (64, 8, {}), (32, 4, {"unshuffle": 2}), (64, 2, GROUPS), (8, 2, {})]
)
def test_a_generator_makes_the_rows_of_the_whole_image(size, of, options):
    generator = make(Generator, size, **options)
    w, noise = torch.randn(2, generator.n_styles, 8).double(), torch.randn(2, generator.noise_size).double()
    whole = generator.synthesize(w, noise)
    bands = [synthesize_in_bands(generator, w, noise, Alone(number, of)) for number in range(of)]
    torch.testing.assert_close(torch.cat(bands, dim=2), whole)


@pytest.mark.parametrize(("size", "of"), [(64, 2), (64, 8), (128, 4), (8, 2)])
def test_halving_blocks_make_the_rows_of_the_whole_features(size, of):
    """However many blocks: their borders spoil three rows, which the margin has and the crop leaves out."""
    discriminator, images = make(Discriminator, size), torch.randn(2, 2, size, size).double()
    resolutions = discriminator.config.resolutions
    above = Bands(0, of).count(resolutions)
    layers = partial(discriminator._first, blocks=above)
    junction = resolutions[-1 - above]
    bands = [halve_in_bands(layers, images, junction, Alone(number, of)) for number in range(of)]
    assert bands[0].shape[2] == junction // of < size // of
    torch.testing.assert_close(torch.cat(bands, dim=2), layers(images))


def test_the_junction_leaves_little_below_it_and_a_row_for_each_band():
    assert [Bands(0, 2).junction(top) for top in (8, 32, 128, 256, 4096)] == [4, 8, 32, 64, 64]
    assert Bands(0, 16).junction(32) == 16
    assert Bands(0, 2).count([4, 8, 16, 32]) == 2


def test_layers_above_the_junction_are_those_that_see_bands():
    """They alone have other gradients where rows are missing."""
    for kind in (Generator, Discriminator):
        network = make(kind, 64)
        assert parameters_in_bands(network) == set()
        set_bands(network, Alone(0, 2))
        found = parameters_in_bands(network)
        names = {name for name, parameter in network.named_parameters() if parameter in found}
        if kind is Generator:
            expected = ("convs.5.", "convs.6.", "convs.7.", "convs.8.", "to_image.3.", "to_image.4.")
        else:
            expected = ("from_image.", "blocks.0.", "blocks.1.")
        assert names == {name for name, _ in network.named_parameters() if name.startswith(expected)}


def test_bands_are_for_training():
    """A generator that is looked at makes whole images, and waits for nobody."""
    generator = make(Generator, 16)
    w = torch.randn(1, 8).double()
    whole = generator.synthesize(w)
    set_bands(generator, Alone(0, 2))
    assert generator.synthesize(w).shape == (1, 2, 8, 16)
    torch.testing.assert_close(generator.eval().synthesize(w), whole)


def test_an_image_is_shared_by_rows():
    rows = [Bands(number, 4).window(16) for number in range(4)]
    assert [(one.top, one.bottom, one.left, one.right) for one in rows] == [
        (0, 4, 0, 16),
        (4, 8, 0, 16),
        (8, 12, 0, 16),
        (12, 16, 0, 16),
    ]
