import numpy as np
import pytest
import torch

from sunaug.networks import Discriminator, Generator, StyleGAN2Config
from sunaug.networks.conditions import CLASSES, encode_class, encode_flux

TINY = {"size": 16, "base_width": 64, "max_width": 16, "z_dim": 8, "w_dim": 8, "mapping_layers": 2}
WAYS = {
    "flux": {"conditions": ("nowcast_flux", "forecast_flux")},
    "class": {"conditions": (), "class_conditions": ("forecast_flux",)},
    "both": {"conditions": ("nowcast_flux",), "class_conditions": ("forecast_flux",)},
    "the same label in both ways": {"conditions": ("forecast_flux",), "class_conditions": ("forecast_flux",)},
}


def test_encoded_flux():
    np.testing.assert_allclose(encode_flux([1e-6, 1e-5, 1e-4, 1e-8, 0.0]), [0, 1, 2, -2, -2], atol=1e-6)


def test_encoded_class_is_one_hot_and_what_is_below_b_counts_as_no_flare():
    found = encode_class([0.0, 5e-8, 1e-7, 9.9e-7, 1e-6, 1e-5, 1e-4, 1e-3])
    assert found.sum(axis=1).tolist() == [1] * 8
    assert [CLASSES[column] for column in found.argmax(axis=1)] == ["", "", "B", "B", "C", "M", "X", "X"]


def test_a_condition_vector_holds_fluxes_first_and_classes_after():
    config = StyleGAN2Config(**TINY, **WAYS["both"])
    assert config.labels == ("nowcast_flux", "forecast_flux")
    assert config.condition_width == 1 + 5
    np.testing.assert_allclose(
        config.encode([[1e-6, 2e-5], [1e-4, 0.0]]), [[0, 0, 0, 0, 1, 0], [2, 1, 0, 0, 0, 0]], atol=1e-6
    )


def test_a_label_in_both_ways_is_one_column_of_fluxes():
    config = StyleGAN2Config(**TINY, **WAYS["the same label in both ways"])
    assert config.labels == ("forecast_flux",)
    np.testing.assert_allclose(config.encode([[1e-4]]), [[2, 0, 0, 0, 0, 1]], atol=1e-6)


def test_columns_are_found_by_name():
    config = StyleGAN2Config(**TINY, conditions=("forecast_flux",), class_conditions=("nowcast_flux", "forecast_flux"))
    assert config.labels == ("forecast_flux", "nowcast_flux")
    assert config.encode([[1e-5, 1e-6]])[0].tolist() == [1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0]


def test_no_condition_at_all():
    config = StyleGAN2Config(**TINY, conditions=())
    assert config.encode(np.empty((3, 0))).shape == (3, 0)


@pytest.mark.parametrize("ways", WAYS.values(), ids=WAYS)
def test_another_condition_gives_another_image_and_another_score(ways):
    torch.manual_seed(0)
    config = StyleGAN2Config(**TINY, **ways)
    generator, discriminator = Generator(config), Discriminator(config)
    quiet, rare = (torch.from_numpy(config.encode(np.full((4, len(config.labels)), flux))) for flux in (1e-7, 2e-4))
    z = torch.randn(4, 8)
    images = generator(z, quiet)
    assert (images - generator(z, rare)).abs().amax(dim=(1, 2, 3)).min() > 1e-3
    assert (discriminator(images, quiet) - discriminator(images, rare)).abs().min() > 1e-4


def test_each_class_has_an_embedding_of_its_own():
    """All pairs of classes differ in image and score; within a class the number does not matter."""
    torch.manual_seed(0)
    config = StyleGAN2Config(**TINY, **WAYS["class"])
    generator, discriminator = Generator(config), Discriminator(config)
    condition = torch.from_numpy(config.encode([[0.0], [2e-7], [2e-6], [2e-5], [2e-4]]))
    images = generator(torch.randn(1, 8).expand(5, -1), condition)
    scores = discriminator(images[:1].expand(5, -1, -1, -1), condition)
    for first in range(5):
        for second in range(first):
            assert (images[first] - images[second]).abs().max() > 1e-3
            assert (scores[first] - scores[second]).abs() > 1e-5
    np.testing.assert_array_equal(config.encode([[1e-5]]), config.encode([[9e-5]]))
