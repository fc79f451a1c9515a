import math

import pytest
import torch

from sunaug.training.diffaugment import (
    POLICIES,
    AdaptiveProbability,
    augment_numbers,
    brighten,
    cutout,
    diff_augment,
    flip,
    mirror,
    rotate,
    stretch,
    translate,
)


def uniform(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_all_six_policies_are_there():
    assert set(POLICIES) == {"translation", "cutout", "brightness", "contrast", "rotation", "flip"}


def test_translation_moves_the_image_by_whole_pixels():
    images = torch.rand(32, 2, 16, 16) + 1
    moved = translate(images, uniform(32, 2))
    shifts = set()
    for before, after in zip(images, moved, strict=True):
        found = [
            (dy, dx)
            for dy in range(-2, 3)
            for dx in range(-2, 3)
            if torch.equal(
                after[:, max(-dy, 0) : 16 - max(dy, 0), max(-dx, 0) : 16 - max(dx, 0)],
                before[:, max(dy, 0) : 16 - max(-dy, 0), max(dx, 0) : 16 - max(-dx, 0)],
            )
        ]
        assert len(found) == 1
        dy, dx = found[0]
        assert (after == 0).sum() == 2 * (256 - (16 - abs(dy)) * (16 - abs(dx)))
        shifts.add(found[0])
    assert len(shifts) > 10


def test_cutout_removes_a_square_of_half_the_size():
    cut = cutout(torch.ones(64, 1, 16, 16), uniform(64, 2))
    removed = (cut == 0).sum(dim=(1, 2, 3))
    assert removed.max() == 64
    assert removed.min() >= 16
    assert removed.unique().numel() > 3
    for image in cut[:, 0]:
        rows, columns = (image == 0).any(dim=1).sum(), (image == 0).any(dim=0).sum()
        assert (image == 0).sum() == rows * columns


def test_brightness_adds_one_number_to_all_of_an_image():
    images = torch.rand(4, 3, 8, 8)
    added = brighten(images, torch.tensor([[0.0], [0.25], [0.5], [1.0]])) - images
    expected = torch.tensor([-0.5, -0.25, 0.0, 0.5])[:, None, None, None].expand_as(added)
    torch.testing.assert_close(added, expected)


def test_contrast_stretches_about_the_images_own_mean():
    images = torch.rand(3, 2, 8, 8)
    stretched = stretch(images, torch.tensor([[0.0], [0.5], [1.0]]))
    torch.testing.assert_close(stretched.mean(dim=(1, 2, 3)), images.mean(dim=(1, 2, 3)))
    ratio = stretched.std(dim=(1, 2, 3)) / images.std(dim=(1, 2, 3))
    torch.testing.assert_close(ratio, torch.tensor([0.5, 1.0, 1.5]))


def test_rotation_turns_about_the_centre_by_up_to_ten_degrees():
    """A spot right of the centre goes up or down by the sine of the angle; the middle angle is no rotation."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    spot = torch.exp(-((y - 31.5) ** 2 + (x - 51.5) ** 2) / 8).expand(3, 1, -1, -1)
    turned = rotate(spot, torch.tensor([[0.0], [0.5], [1.0]]))
    torch.testing.assert_close(turned[1], spot[1], atol=1e-5, rtol=0)
    shares = turned[:, 0] / turned[:, 0].sum(dim=(1, 2), keepdim=True)
    dy, dx = (shares * y).sum(dim=(1, 2)) - 31.5, (shares * x).sum(dim=(1, 2)) - 31.5
    assert dy[[0, 2]].abs().tolist() == pytest.approx([20 * math.sin(math.radians(10))] * 2, abs=0.1)
    assert dy[0] * dy[2] < 0
    assert dx[[0, 2]].tolist() == pytest.approx([20 * math.cos(math.radians(10))] * 2, abs=0.1)


def test_flip_mirrors_half_of_the_images_each_way():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    flipped = flip(image.expand(400, -1, -1, -1), uniform(400, 2))
    ways = [tuple(image.flip(dims).flatten().tolist()) for dims in ((), (-1,), (-2,), (-1, -2))]
    seen = [tuple(one.flatten().tolist()) for one in flipped]
    assert set(seen) == set(ways)
    # Each of the four a quarter of the time, to four standard errors.
    assert all(65 < seen.count(way) < 135 for way in ways)


def test_mirror_flips_those_that_are_chosen():
    images = torch.rand(4, 2, 4, 4)
    chosen = torch.tensor([[False, False], [True, False], [False, True], [True, True]])
    found = mirror(images, chosen)
    expected = [images[0], images[1].flip(-1), images[2].flip(-2), images[3].flip(-1, -2)]
    assert torch.equal(found, torch.stack(expected))


@pytest.mark.parametrize("policy", POLICIES)
def test_each_policy_changes_images_and_has_the_right_gradient(policy):
    """Against finite differences in double precision."""
    numbers = uniform(4, augment_numbers([policy]))
    images = torch.rand(4, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    assert not torch.equal(diff_augment(images, [policy], numbers), images)
    assert torch.autograd.gradcheck(lambda x: diff_augment(x, [policy], numbers), images)


def test_all_policies_together_have_the_right_gradient():
    numbers = uniform(2, augment_numbers([*POLICIES]))
    images = torch.rand(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: diff_augment(x, [*POLICIES], numbers, 0.7), images)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_numbers_give_the_same_augmentation(policy):
    images = torch.rand(8, 3, 16, 16)
    count = augment_numbers([policy])
    assert count == POLICIES[policy][0] + 1
    first, second = (diff_augment(images, [policy], uniform(8, count, seed=3)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, diff_augment(images, [policy], uniform(8, count, seed=4)))


def test_a_sample_is_augmented_by_its_own_numbers():
    images, numbers = torch.rand(8, 3, 16, 16), uniform(8, augment_numbers([*POLICIES]))
    whole = diff_augment(images, [*POLICIES], numbers, 0.5)
    torch.testing.assert_close(diff_augment(images[3:5], [*POLICIES], numbers[3:5], 0.5), whole[3:5])


def test_policies_come_in_order_and_take_numbers_of_their_own():
    images, numbers = torch.rand(4, 1, 16, 16), uniform(4, 5)
    expected = cutout(brighten(images, numbers[:, :1]), numbers[:, 2:4])
    torch.testing.assert_close(diff_augment(images, ["brightness", "cutout"], numbers), expected)


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_each_policy_is_used_with_its_probability(probability):
    """Independently: with a half each, a quarter of the images is brightened, stretched, both, or neither."""
    images = torch.rand(2000, 1, 2, 2)
    numbers = uniform(2000, 4)
    changed = diff_augment(images, ["brightness", "contrast"], numbers, probability)
    brightened = (changed.mean(dim=(1, 2, 3)) - images.mean(dim=(1, 2, 3))).abs() > 1e-6
    stretched = (changed.std(dim=(1, 2, 3)) - images.std(dim=(1, 2, 3))).abs() > 1e-6
    # 2000 images: four standard errors are 0.045.
    both = brightened & stretched
    for used, expected in ((brightened, probability), (stretched, probability), (both, probability**2)):
        assert used.float().mean().item() == pytest.approx(expected, abs=0.045 if 0 < probability < 1 else 0.005)


def test_probability_zero_leaves_the_images_alone():
    images = torch.rand(8, 1, 16, 16)
    assert torch.equal(diff_augment(images, [*POLICIES], uniform(8, augment_numbers([*POLICIES])), 0.0), images)


def test_adaptive_probability_rises_by_the_span_when_the_discriminator_overfits():
    steered = AdaptiveProbability(target=0.6, span=1000)
    for _ in range(200):
        steered.update(1.0, 1)
    above = next(step for step in range(1, 200) if 1 - (15 / 16) ** step > 0.6)
    # A step of one image moves the probability by 1 / 1000, from where the running mean is above the target.
    assert steered.probability == pytest.approx((200 - above + 1) / 1000)
    for _ in range(2000):
        steered.update(1.0, 1)
    assert steered.probability == 1


def test_adaptive_probability_falls_where_the_sign_is_below_the_target():
    steered = AdaptiveProbability(target=0.6, span=100)
    steered.load_state_dict({"probability": 0.5, "overfitting": 0.6})
    steered.update(0.0, 10)
    assert steered.probability == pytest.approx(0.4)
    for _ in range(20):
        steered.update(0.0, 10)
    assert steered.probability == 0


def test_adaptive_probability_starts_at_zero_and_follows_the_mean_sign_not_the_last():
    steered = AdaptiveProbability(target=0.6, span=100)
    assert steered.probability == 0
    steered.update(1.0, 10)
    assert steered.probability == 0
    again = AdaptiveProbability(target=0.6, span=100)
    again.load_state_dict(steered.state_dict())
    assert again.state_dict() == steered.state_dict()
    assert steered.overfitting == pytest.approx(1 / 16)
