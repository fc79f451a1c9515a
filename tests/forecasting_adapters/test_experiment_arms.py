import pytest

from forecasting_adapters.experiment import ARMS, Arm, SyntheticUse, choose_arms, load_arms
from sunaug.errors import UsageError


def test_the_arms_cover_what_is_compared():
    by_name = {arm.name: arm for arm in ARMS}
    assert len(by_name) == len(ARMS)
    baselines = {arm.model_copy(update={"name": ""}) for arm in ARMS if arm.kind == "baseline"}
    assert {
        Arm.model_construct(name="", **options)
        for options in (
            {},
            {"class_weights": True},
            {"sampling": "oversample"},
            {"sampling": "undersample"},
            {"flips": True, "rotations": True},
            {"noise": 0.1},
            {"mixup": 0.4},
        )
    } <= baselines
    uses = [arm.synthetic for arm in ARMS if arm.synthetic]
    assert {use.choose for use in uses} == {"random", "unsure", "errors"}
    assert any(use.pretrain for use in uses)
    assert {use.labels for use in uses} == {"condition", "teacher"}


def test_the_reference_comes_first_and_no_arm_twice():
    assert [arm.name for arm in choose_arms(["fill-50", "flips", "fill-50"])] == ["real", "fill-50", "flips"]
    baselines = choose_arms(["baseline"])
    assert baselines == [arm for arm in ARMS if arm.kind == "baseline"]
    assert len(choose_arms(["all"])) == len(ARMS)
    own = Arm(name="mine", synthetic=SyntheticUse(add=0.1))
    assert own in choose_arms(["generative"], [own])


def test_arms_of_a_recipe(tmp_path):
    recipe = tmp_path / "arms.yaml"
    recipe.write_text("arms:\n  - name: mine\n    flips: true\n    synthetic: {fill: 0.3, choose: unsure}\n")
    (arm,) = load_arms(recipe)
    assert (arm.name, arm.flips, arm.kind, arm.needs_teacher) == ("mine", True, "generative", True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arms: []\n", "holds no list of arms"),
        ("arms: [\n", "not a recipe in YAML"),
        ("- name: a/b\n", "name: 'a/b' does not match"),
        ("- name: mine\n  flip: true\n", "flip: unknown name"),
        ("- name: mine\n  synthetic: {fill: 0.3, add: 1}\n", "either fill or add"),
    ],
)
def test_a_recipe_that_is_wrong(text, message, tmp_path):
    recipe = tmp_path / "arms.yaml"
    recipe.write_text(text)
    with pytest.raises(UsageError, match=message) as refused:
        load_arms(recipe)
    assert str(recipe) in str(refused.value)


def test_unknown_and_double_names():
    with pytest.raises(UsageError, match="unknown arm 'flip': choose of all, baseline, generative, real"):
        choose_arms(["flip"])
    with pytest.raises(UsageError, match="name is taken"):
        choose_arms(["real"], [Arm(name="flips", noise=0.5)])
    with pytest.raises(UsageError, match="cannot be read"):
        load_arms("/nowhere/arms.yaml")
