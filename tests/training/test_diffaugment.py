import pytest
import torch

from sunaug.training.diffaugment import cutout, diff_augment, translate


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_translation_moves_the_image_by_whole_pixels():
    images = torch.rand(32, 2, 16, 16) + 1
    moved = translate(images, generator())
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
    cut = cutout(torch.ones(64, 1, 16, 16), generator())
    removed = (cut == 0).sum(dim=(1, 2, 3))
    assert removed.max() == 64
    assert removed.min() >= 16
    assert removed.unique().numel() > 3


def test_gradient_flows_to_what_is_left():
    images = torch.rand(4, 1, 16, 16, dtype=torch.float64, requires_grad=True)
    policies = ("translation", "cutout")
    assert torch.autograd.gradcheck(lambda x: diff_augment(x, policies, generator()), images)


@pytest.mark.parametrize("policy", ["translation", "cutout"])
def test_the_same_random_state_gives_the_same_augmentation(policy):
    images = torch.rand(8, 3, 16, 16)
    first, second = (diff_augment(images, [policy], generator(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, diff_augment(images, [policy], generator(4)))
