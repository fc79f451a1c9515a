"""Training on frames that lack channels."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from sunaug.cube import open_cube
from sunaug.errors import SunaugError, UsageError
from sunaug.scaling import default_scaling
from sunaug.training.channels import group_numbers, hide_channels, shown_channels
from sunaug.training.frames import known_frames, load_frames
from sunaug.training.health import diversity, spread
from tests.models import CHANNELS, assert_same_bits, knock_out, make_cube, make_frames, make_trainer

LABELS = ("nowcast_flux", "forecast_flux")


def some_observed(n=32, channels=2):
    """Two thirds of the channels, one of each frame at least."""
    random = np.random.default_rng(1)
    observed = random.random((n, channels)) < 2 / 3
    observed[np.arange(n), random.integers(channels, size=n)] = True
    return torch.from_numpy(observed)


def partial_frames(filling=-1.0):
    frames = make_frames()
    observed = some_observed()
    images = torch.where(observed[:, :, None, None], frames.images, filling)
    return dataclasses.replace(frames, images=images, observed=observed)


class Watch:
    """Keeps what a discriminator is shown and told."""

    def __init__(self, trainer):
        critic = trainer.critics["pixel"]
        self.score, self.calls = critic.network.score, []
        trainer.critics["pixel"] = dataclasses.replace(critic, fast_score=self)

    def __call__(self, view, condition, weight, shown):
        self.calls.append((view.detach().clone(), shown))
        return self.score(view, condition, weight, shown)


def test_channels_are_dropped_as_often_as_asked_and_one_stays():
    uniform = torch.rand(20_000, 4, generator=torch.Generator().manual_seed(0))
    observed = torch.tensor([True, True, True, False]).expand(20_000, -1)
    shown = shown_channels(observed, uniform, 0.4)
    assert not shown[:, 3].any()
    assert shown.any(dim=1).all()
    # All three would go in 0.4^3 of the cases, where each is equally likely to stay.
    expected = 0.6 + 0.4**3 / 3
    torch.testing.assert_close(
        shown[:, :3].double().mean(dim=0), torch.full((3,), expected).double(), atol=0.01, rtol=0
    )
    assert torch.equal(shown_channels(observed, uniform, 0.0), observed)


def test_hidden_channels_are_at_the_lowest_value():
    images = torch.rand(2, 2, 4, 4)
    shown = torch.tensor([[True, False], [True, True]])
    hidden = hide_channels(images, shown)
    assert (hidden[0, 1] == -1).all()
    assert torch.equal(hidden[0, 0], images[0, 0])
    assert torch.equal(hidden[1], images[1])
    assert hide_channels(images, None) is images


def test_a_fake_is_shown_with_the_channels_of_the_frame_beside_it():
    trainer = make_trainer(
        partial_frames(), missing_channels="learn", channel_dropout=0.3, augment=(), mirror=False, r1_gamma=0
    )
    watch = Watch(trainer)
    trainer.step()
    (real, shown), (fake, told), (judged, again) = watch.calls
    assert torch.equal(shown, told)
    assert torch.equal(shown, again)
    assert 0 < shown.float().mean() < 1
    for images in (real, fake, judged):
        assert torch.equal((images == -1).all(dim=(2, 3)), ~shown)


def test_the_discriminator_is_told_by_a_plane_for_each_channel():
    network = make_trainer(partial_frames(), missing_channels="learn").critics["pixel"].network
    seen = []
    network.network.from_image.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    images, shown = torch.rand(2, 2, 16, 16), torch.tensor([[True, False], [True, True]])
    network.score(images, torch.zeros(2, 2), 1.0, shown)
    assert torch.equal(seen[0][:, :2], images)
    assert torch.equal(seen[0][:, 2:], shown.float()[:, :, None, None].expand(-1, -1, 16, 16))


def test_what_a_frame_lacks_makes_no_difference():
    """Whatever stands in the bank where a channel is missing, the step is the same."""
    first, second = (
        make_trainer(partial_frames(filling), missing_channels="learn", augment=("translation", "contrast"))
        for filling in (-1.0, 0.7)
    )
    for trainer in (first, second):
        trainer.step()
    assert_same_bits(first.state_dict(), second.state_dict())
    # While complete frames would make another.
    whole = make_trainer(missing_channels="learn", augment=("translation", "contrast"))
    whole.step()
    assert not torch.equal(first.generator.const, whole.generator.const)


def test_dropout_leaves_all_other_numbers_of_a_step_alone():
    plain, dropped = make_trainer(augment=(), r1_gamma=0), make_trainer(augment=(), r1_gamma=0, channel_dropout=0.5)
    watch, seen = Watch(dropped), []
    critic = plain.critics["pixel"]
    score = critic.network.score
    plain.critics["pixel"] = dataclasses.replace(
        critic, fast_score=lambda view, *told: seen.append(view.detach()) or score(view, *told)
    )
    for trainer in (plain, dropped):
        trainer.step()
    for ours, (theirs, shown) in zip(seen[:2], watch.calls[:2], strict=True):
        torch.testing.assert_close(hide_channels(ours, shown), theirs)


def test_parts_make_the_step_of_the_whole_batch():
    options = {"missing_channels": "learn", "channel_dropout": 0.4}
    whole, parts = (make_trainer(partial_frames(), accumulate=count, **options) for count in (1, 2))
    for trainer in (whole, parts):
        trainer.step()
    for name, critic in whole.critics.items():
        for ours, theirs in zip(critic.network.parameters(), parts.critics[name].network.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5)


def test_a_stopped_training_goes_on_to_the_same_bits():
    options = {"missing_channels": "learn", "channel_dropout": 0.4, "penalty_interval": 2}
    first = make_trainer(partial_frames(), **options)
    first.step()
    second = make_trainer(partial_frames(), **options)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for trainer in (first, second):
        trainer.step()
    assert_same_bits(first.state_dict(), second.state_dict())


@pytest.fixture
def cube(tmp_path):
    path = make_cube(tmp_path / "c.zarr", months=(1,), frames=6)
    gone = np.zeros((6, 3), bool)
    gone[[0, 0, 3], [0, 2, 1]] = True
    gone[5] = True
    return open_cube(knock_out(path, gone))


def test_frames_that_lack_channels_are_skipped_or_learnt_from(cube):
    scaling = default_scaling(CHANNELS, "browse")
    skipped = load_frames(cube, scaling, LABELS, 0.5)
    assert len(skipped.images) == known_frames(cube, LABELS).sizes["time"] == 3
    assert skipped.observed is None
    learnt = load_frames(cube, scaling, LABELS, 0.5, "learn")
    expected = torch.ones(5, 3, dtype=torch.bool)  # the last frame has no channel left
    expected[[0, 0, 3], [0, 2, 1]] = False
    assert torch.equal(learnt.observed, expected)
    assert torch.equal((learnt.images == -1).all(dim=(2, 3)), ~expected)
    assert learnt.fluxes.shape == (5, 2)
    assert learnt.times.shape == (5,)
    assert learnt.weights.sum().item() == pytest.approx(1)
    whole = learnt.whole()
    assert torch.equal(whole.images, skipped.images)
    assert whole.weights.sum().item() == pytest.approx(1)


def test_a_cube_without_a_whole_frame_can_only_be_learnt_from(tmp_path):
    gone = np.zeros((6, 3), bool)
    gone[:, 1] = True
    cube = open_cube(knock_out(make_cube(tmp_path / "c.zarr", months=(1,), frames=6), gone))
    with pytest.raises(SunaugError, match="no usable frame in the train months"):
        known_frames(cube, LABELS)
    assert known_frames(cube, LABELS, "learn").sizes["time"] == 6


def test_frames_differ_as_much_as_their_channels_that_are_there():
    """Missing channels are no diversity: in front of it, a healthy generator would look like a collapsed one."""
    images = make_frames(64).images
    observed = some_observed(64)
    lacking = hide_channels(images, observed)
    whole = spread(images)
    assert spread(lacking, observed) == pytest.approx(whole, rel=0.15)
    assert spread(lacking) > 1.5 * whole
    assert diversity(images, spread(lacking, observed)) == pytest.approx(1, abs=0.15)


def test_groups_are_given_by_name_or_number():
    assert group_numbers([["aia94", 0], [1]], CHANNELS) == ((2, 0), (1,))
    with pytest.raises(UsageError, match="no channel aia193; the cube has aia171, aia131, aia94"):
        group_numbers([["aia193"]], CHANNELS)
