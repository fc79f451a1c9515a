import pytest

from sunaug.errors import UsageError
from sunaug.training.recipe import Recipe, load_recipe, recipe_names
from sunaug.training.shape import network_config


@pytest.mark.parametrize("name", recipe_names())
def test_every_preset_passes_its_checks(name):
    assert load_recipe(name).images > 0


def test_a_preset_takes_overrides():
    assert load_recipe("cpu-64", images=7).images == 7


def test_a_recipe_says_what_the_networks_look_like():
    recipe = Recipe(base_width=64, max_width=16, z_dim=8, w_dim=12, class_conditions=("nowcast_flux",))
    config = network_config(recipe, 32, 5)
    assert (config.size, config.image_channels, config.base_width, config.max_width) == (32, 5, 64, 16)
    assert (config.z_dim, config.w_dim, config.mapping_layers) == (8, 12, recipe.mapping_layers)
    assert config.condition_width == 2 + 5
    assert config.labels == recipe.labels == ("nowcast_flux", "forecast_flux")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("images: -1", r"images: -1 is below 1"),
        ("speed: 3", r"speed: unknown name"),
        ("loss: wasserstein", r"unknown loss 'wasserstein'"),
        ("projected_loss: wasserstein", r"unknown loss 'wasserstein'"),
        ("augment: [shear]", r"unknown policy 'shear'"),
        ("discriminator: patch", r"discriminator: 'patch' is none of 'pixel', 'projected' or 'both'"),
        ("conditions: [hindcast_flux]", r"conditions: 0: 'hindcast_flux' is none of 'nowcast_flux' or 'forecast_flux'"),
        ("class_conditions: [M]", r"class_conditions: 0: 'M' is none of"),
        ("ema: power_0.2", r"no average 'power_0.2': one of half_life, power_0.05, power_0.1"),
        ("{ada: true, augment: []}", r"it steers the augmentation, and `augment` is empty"),
        ("{batch: 16, accumulate: 3}", r"a batch of 16 cannot be split into 3 equal parts"),
        ("precision: fp8", r"precision: 'fp8' is none of"),
        ("augment_probability: 1.5", r"augment_probability: 1.5 is above 1"),
        ("seed: -1", r"seed: -1 is below 0"),
        ("betas: [0, 1.5]", r"betas: 1: 1.5 is not below 1"),
        ("ema_power: [0]", r"ema_power: 0: 0 is not above 0"),
        ("{ema_power: [0.5]}", r"ema_power: 0: 0.5 is not below"),
        ("loss: relativistic_average\naccumulate: 2", r"needs the mean over the whole batch"),
        ("{architecture: biggan, accumulate: 2}", r"accumulate: biggan needs the statistics of the whole batch"),
        ("{architecture: biggan, path_length_weight: 1}", r"path_length_weight: an image of biggan depends on all of"),
        ("{architecture: biggan, checkpoint_from: 8}", r"checkpoint_from: layers of biggan keep statistics"),
        ("attention_resolution: 12", r"attention_resolution: size 12 is not a power of two"),
        ("channel_dropout: 1", r"channel_dropout: 1 is not below 1"),
        ("missing_channels: guess", r"missing_channels: 'guess' is none of 'skip' or 'learn'"),
        ("discriminator_scales: 4", r"discriminator_scales: 4 is above 3"),
        ("{discriminator: projected, discriminator_scales: 2}", r"these are discriminators on pixels"),
        ("{architecture: biggan, channel_groups: [[0], [1]]}", r"channel_groups: biggan has none"),
        ("{architecture: stylealae, channel_dropout: 0.1}", r"channel_dropout: .* stylealae has an encoder"),
        ("{architecture: stylealae, missing_channels: learn}", r"missing_channels: .* stylealae has an encoder"),
        ("{patch: 16, discriminator_scales: 2}", r"discriminator_scales: cannot be combined with patches"),
        ("images: [", r"not a recipe in YAML"),
        ("just text", r"not a recipe in YAML"),
    ],
)
def test_a_bad_recipe_is_one_sentence(tmp_path, text, message):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)


def test_a_shape_that_an_architecture_has_not_is_one_sentence():
    recipe = Recipe(architecture="biggan", z_dim=2)
    with pytest.raises(UsageError, match=r"z_dim: 2 numbers cannot be shared out to 4 plain blocks") as caught:
        network_config(recipe, 32, 3)
    assert "\n" not in str(caught.value)


def test_unknown_recipe():
    with pytest.raises(UsageError, match=r"nowhere\.yaml: no such recipe; give a YAML file or one of .*cpu-64"):
        load_recipe("nowhere.yaml")
