"""The peer's driver: its stand-in for `grid_sample`, and its steps where there is a clone to drive."""

import pytest
import torch
import torch.nn.functional as F

from benchmarks.peers.stylegan2_ada import PeerSettings, PeerTrainer, differentiable_grid_sample, folder, sample


def _images_and_grid():
    random = torch.Generator().manual_seed(0)
    images = torch.randn(2, 2, 5, 4, generator=random, dtype=torch.float64, requires_grad=True)
    grid = 2.4 * torch.rand(2, 3, 6, 2, generator=random, dtype=torch.float64) - 1.2  # some of it outside
    return images, grid


def test_grid_sample_values():
    images, grid = _images_and_grid()
    expected = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    torch.testing.assert_close(differentiable_grid_sample(images, grid), expected)


def test_grid_sample_derivatives():
    images, grid = _images_and_grid()
    assert torch.autograd.gradcheck(differentiable_grid_sample, (images, grid))
    assert torch.autograd.gradgradcheck(lambda x: differentiable_grid_sample(x, grid).pow(3), (images,))


SETTINGS = PeerSettings(
    size=16, image_channels=3, classes=3, base_width=64, max_width=8, z_dim=8, w_dim=8, mapping_layers=2, batch=4
)


def _trainer(**changes):
    if not folder().is_dir():
        pytest.skip(f"no clone of StyleGAN2-ADA-PyTorch at {folder()}")
    random = torch.Generator().manual_seed(0)
    images = 2 * torch.rand(12, 3, 16, 16, generator=random) - 1
    settings = SETTINGS.__class__(**{**SETTINGS.__dict__, **changes})
    return PeerTrainer(images, torch.arange(12) % 3, settings)


@pytest.mark.parametrize("lazy", [True, False])
def test_peer_steps(lazy):
    trainer = _trainer(lazy=lazy, augment_p=0.5)
    before = [parameter.clone() for parameter in trainer.discriminator.parameters()]
    for _ in range(5):
        trainer.step()
    assert trainer.images_shown == 20
    assert all(torch.isfinite(parameter).all() for parameter in trainer.discriminator.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.discriminator.parameters(), strict=True))
    assert trainer.augment_p != 0.5  # ADA has moved it after four steps
    state = trainer.state()
    made = sample(trainer.settings, state["average"], torch.tensor([0, 1, 2]), seed=1, group=2)
    assert made.shape == (3, 3, 16, 16)
    torch.testing.assert_close(
        made, sample(trainer.settings, state["average"], torch.tensor([0, 1, 2]), seed=1, group=2)
    )


def test_lazy_rates():
    """Rates and betas that the peer's own loop gives its optimisers."""
    trainer = _trainer()
    rates = {phase.name: phase.optimizer.param_groups[0] for phase in trainer._phases}
    assert list(rates) == ["Gmain", "Greg", "Dmain", "Dreg"]
    assert rates["Gmain"]["lr"] == pytest.approx(0.002)
    assert rates["Dmain"]["lr"] == pytest.approx(0.0025 * 16 / 17)
    assert rates["Dreg"]["betas"] == pytest.approx((0, 0.99 ** (16 / 17)))
    assert trainer.settings.gamma == pytest.approx(0.0002 * 256 / 4)
