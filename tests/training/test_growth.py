import pytest
import torch
import yaml

from sunaug.errors import UsageError
from sunaug.networks import make_generator
from sunaug.networks.growing import Stage, enlarge, shrink
from sunaug.training.growth import stage_at
from sunaug.training.recipe import Recipe, load_recipe
from tests.models import make_frames, make_trainer

GROWING = {"architecture": "stylealae", "growth_images": 100, "growth_fade": 0.5}


def make(**options):
    return make_trainer(**{**GROWING, "loss": "non_saturating", **options})


@pytest.mark.parametrize(
    ("images", "stage"),
    [
        (0, (4, 1.0)),
        (99, (4, 1.0)),
        (100, (8, 0.0)),
        (110, (8, 0.2)),
        (150, (8, 1.0)),
        (199, (8, 1.0)),
        (200, (16, 0.0)),
        (225, (16, 0.5)),
        (250, (16, 1.0)),
        (300, (16, 1.0)),
        (10**9, (16, 1.0)),
    ],
)
def test_the_stage_is_a_function_of_the_images(images, stage):
    assert stage_at(images, 16, Recipe(**GROWING)) == Stage(*stage)


def test_other_schedules():
    assert stage_at(0, 16, Recipe()) == Stage(16)
    assert stage_at(100, 16, Recipe(**GROWING | {"growth_fade": 0})) == Stage(8, 1.0)
    assert stage_at(0, 16, Recipe(**GROWING, growth_from=8)) == Stage(8)
    assert stage_at(100, 16, Recipe(**GROWING, growth_from=8)) == Stage(16, 0.0)
    assert stage_at(0, 16, Recipe(**GROWING, growth_from=64)) == Stage(16)


def growing_parts(trainer):
    averages = (trainer.averages, trainer.encoder_averages)
    copies = [network for one in averages for network in one.networks.values()]
    return [trainer.generator, trainer.critics["pixel"].network.encoder, *copies]


def test_every_network_is_at_the_stage_of_the_images_shown():
    trainer = make(growth_images=16, images=80)
    stages = []
    for _ in range(6):
        trainer.step()
        stages.append(trainer.batches.stage)
        assert {part.stage for part in growing_parts(trainer)} == {trainer.batches.stage}
    assert stages == [Stage(4), Stage(4), Stage(8, 0.0), Stage(8), Stage(16, 0.0), Stage(16)]


def test_layers_above_the_stage_wait():
    trainer = make(ema_power=())
    before = {name: value.clone() for name, value in trainer.generator.state_dict().items()}
    for _ in range(2):
        trainer.step()
    after = trainer.generator.state_dict()
    waiting = ("blocks.", "to_image.1", "to_image.2")
    for name, value in before.items():
        if name.startswith(waiting):
            assert torch.equal(after[name], value), name
    assert not torch.equal(after["first.const"], before["first.const"])
    # The averages are looked at: theirs are the images of the stage, of the whole size.
    images = trainer.averages.networks["half_life"](torch.randn(2, 8), torch.zeros(2, 2))
    torch.testing.assert_close(enlarge(shrink(images, 4), 16), images)


def test_the_discriminator_sees_real_frames_averaged_down(monkeypatch):
    trainer = make(augment=(), mirror=False, r1_gamma=0, r1_gamma_end=0)
    trainer.images = 110
    seen = []
    score = trainer.critics["pixel"].network.encoder.forward
    monkeypatch.setattr(trainer.critics["pixel"].network.encoder, "forward", lambda x: seen.append(x) or score(x))
    trainer.step()
    frames = make_frames().images
    at_8, at_4 = torch.nn.functional.avg_pool2d(frames, 2), torch.nn.functional.avg_pool2d(frames, 4)
    expected = 0.8 * at_4.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3) + 0.2 * at_8
    apart = (seen[0][:, None] - expected).abs().amax(dim=(2, 3, 4))
    assert apart.min(dim=1).values.max() < 1e-5
    assert seen[1].shape == (8, 2, 8, 8)


def test_real_frames_are_as_varied_as_the_stage_lets_them_be():
    trainer = make()
    trainer.step()
    frames = trainer.frames.images
    shown = trainer.batches.at_stage(frames)
    torch.testing.assert_close(shrink(shown, 4), shrink(frames, 4))
    assert shown.var() < frames.var()
    assert make_trainer().batches.at_stage(frames) is frames


def test_a_bigger_generator_grows_from_a_smaller_one():
    small = make_generator(make().config.model_copy(update={"size": 8}))
    trainer = make(start=small, growth_from=8)
    trainer.step()
    assert trainer.batches.stage == Stage(8)
    with pytest.raises(UsageError, match=r"has 8 pixels and the networks begin at 4; set `growth_images`, and"):
        make(start=small)
    with pytest.raises(UsageError, match=r"begin at 16"):
        make(start=small, growth_images=0)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"growth_images": 10}, "growth_images: stylegan2 does not grow"),
        (GROWING | {"growth_from": 12}, "12 is not a power of two"),
        (GROWING | {"compile": True}, "compile: networks that grow change at every step"),
        ({"architecture": "stylealae", "discriminator": "projected"}, "stylealae learns by its own"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(tmp_path, recipe, message):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    with pytest.raises(UsageError, match=message) as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)
