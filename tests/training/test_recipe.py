import pytest

from sunaug.errors import UsageError
from sunaug.training.recipe import load_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_every_preset_passes_its_checks(name):
    assert load_recipe(name).images > 0


def test_a_preset_takes_overrides():
    assert load_recipe("cpu-64", images=7).images == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("images: -1", r"images: Input should be greater than or equal to 1"),
        ("speed: 3", r"speed: Extra inputs are not permitted"),
        ("loss: wasserstein", r"unknown loss 'wasserstein'"),
        ("augment: [rotation]", r"unknown policy 'rotation'"),
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


def test_unknown_recipe():
    with pytest.raises(UsageError, match=r"nowhere\.yaml: no such recipe; give a YAML file or one of .*cpu-64"):
        load_recipe("nowhere.yaml")
