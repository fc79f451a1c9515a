import dataclasses
import math

import numpy as np
import pytest
import torch

from sunaug.errors import UsageError
from sunaug.latent import projection
from sunaug.latent.ganspace import draw_latents
from sunaug.latent.projection import GROUP, Projection, Projector, pyramid_loss, starting_w
from sunaug.networks import ARCHITECTURES, make_generator
from tests.models import make_bundle

NONE = np.full((1, 2), np.nan)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def own(bundle):
    """Frames that the generator made itself, without noise: (n, channel, y, x), and their w."""
    random = torch.Generator().manual_seed(5)
    z, fluxes = torch.randn(4, 8, generator=random), np.full((4, 2), 1e-5)
    with torch.inference_mode():
        w = bundle.generator.mapping(z, torch.from_numpy(bundle.info.network.encode(fluxes)))
        return bundle.generator.synthesize(w), w


def mean_square(first, second):
    return (first - second).square().mean(dim=(1, 2, 3))


@pytest.mark.parametrize("layers", ["one", "each"])
def test_a_frame_of_the_generator_is_found_again(bundle, own, layers):
    frames, _ = own
    fluxes = np.full((4, 2), np.nan)
    projector = Projector(bundle, Projection(steps=80, layers=layers))
    w = projector.project(frames, fluxes, range(4))
    assert w.shape == (4, bundle.generator.n_styles, 8)
    assert (w[:, :1] == w).all() == (layers == "one")
    start = bundle.generator.synthesize(starting_w(bundle, frames, fluxes))
    assert (mean_square(projector.images(w), frames) < 0.05 * mean_square(start, frames)).all()


def test_the_search_starts_at_the_mean_w_of_the_frames_condition(bundle):
    fluxes = np.array([[1e-6, 1e-5], [np.nan, 1e-5], [np.nan, np.nan]])
    usual = np.median(bundle.reference["fluxes"].numpy()[:-1], axis=0)  # the lower of the two in the middle
    known = np.where(np.isnan(fluxes), usual, fluxes)
    z = torch.randn(1024, 8, generator=torch.Generator().manual_seed(0))
    for row, w in zip(known, starting_w(bundle, torch.zeros(3, 3, 16, 16), fluxes), strict=True):
        condition = torch.tensor(np.log10(row) + 6, dtype=torch.float32).expand(1024, -1)
        torch.testing.assert_close(w, bundle.generator.mapping(z, condition).mean(dim=0), atol=1e-5, rtol=1e-4)


def test_an_unconditional_bundle_starts_at_its_mean_w(tmp_path):
    bundle = make_bundle(tmp_path / "plain", conditions=())
    frames = bundle.generator.synthesize(bundle.generator.mapping(torch.ones(2, 8), None))
    start = starting_w(bundle, frames, np.empty((2, 0)))
    assert start.shape == (2, 8)
    projector = Projector(bundle, Projection(steps=60))
    made = projector.images(projector.project(frames, np.empty((2, 0)), range(2)))
    assert (mean_square(made, frames) < 0.1 * mean_square(bundle.generator.synthesize(start), frames)).all()


def test_whole_frames_start_where_the_encoder_puts_them(bundle, own):
    frames = own[0].clone()
    frames[1, 2, 5, 5] = torch.nan
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 8)).requires_grad_(False)
    encoding = dataclasses.replace(bundle, image_encoder=encoder)
    start = starting_w(encoding, frames, np.full((4, 2), 1e-6))
    torch.testing.assert_close(start[[0, 2, 3]], encoder(frames[[0, 2, 3]]))
    torch.testing.assert_close(start[1], starting_w(bundle, frames, np.full((4, 2), 1e-6))[1])


@pytest.mark.parametrize("architecture", sorted(set(ARCHITECTURES) - {"stylegan2"}))
def test_frames_of_other_architectures_are_found_again(bundle, architecture):
    torch.manual_seed(0)
    config = ARCHITECTURES[architecture].config(size=16, image_channels=3, base_width=64, max_width=16, z_dim=8)
    info = bundle.info.model_copy(update={"architecture": architecture, "network": config})
    generator = make_generator(config).eval().requires_grad_(False)
    other = dataclasses.replace(bundle, info=info, generator=generator)
    fluxes = np.full((2, 2), 1e-5)
    w = generator.mapping(torch.randn(2, 8), torch.from_numpy(config.encode(fluxes)))
    frames = generator.synthesize(w)
    projector = Projector(other, Projection(steps=80))
    made = projector.images(projector.project(frames, fluxes, range(2)))
    start = generator.synthesize(starting_w(other, frames, fluxes))
    assert (mean_square(made, frames) < 0.3 * mean_square(start, frames)).all()


def test_the_loss_is_the_mean_square_at_every_resolution():
    random = torch.Generator().manual_seed(0)
    images, target = (torch.randn(2, 3, 16, 16, generator=random) for _ in range(2))
    difference = images - target
    halved = difference.reshape(2, 3, 8, 2, 8, 2).mean(dim=(3, 5))
    expected = difference.square().mean(dim=(1, 2, 3)) + halved.square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(pyramid_loss(images, target, torch.ones_like(target)), expected)


def test_the_loss_of_a_part_is_that_of_the_pixels_that_count():
    images, target = torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    target[..., 0, 0], target[..., 1, 1] = 3.0, 100.0
    weight = torch.zeros_like(target)
    weight[..., 0, 0] = weight[..., 0, 1] = weight[..., 8, 8] = 1
    # Full resolution: 9, 0 and 0; halved: the mean of 3 and 0 for two pixels, 0 for the third one.
    expected = 9 / 3 + (2 * 1.5**2 + 0) / 3
    assert pyramid_loss(images, target, weight).item() == pytest.approx(expected)


def test_what_does_not_count_changes_nothing(bundle, own):
    frames = own[0].clone()
    frames[:, 1] = torch.nan
    frames[0, 0, :5, 3:9] = torch.nan
    projector = Projector(bundle, Projection(steps=20))
    found = projector.project(frames, np.repeat(NONE, 4, 0), range(4))
    assert found.isfinite().all()

    seen = frames.clone().requires_grad_(True)
    weight = frames.isfinite().float()
    pyramid_loss(seen.nan_to_num(), torch.ones_like(frames), weight).sum().backward()
    assert (seen.grad[weight == 0] == 0).all()
    assert (seen.grad[weight == 1] != 0).any()

    whole = projector.project(own[0], np.repeat(NONE, 4, 0), range(4))
    assert not torch.equal(found, whole)


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(bundle, own):
    def found(seed):
        return Projector(bundle, Projection(steps=8, seed=seed)).project(own[0][:1], NONE, [11])

    assert torch.equal(found(3), found(3))
    assert not torch.equal(found(3), found(4))


def test_a_frame_is_projected_alike_whatever_is_beside_it(bundle):
    random = torch.Generator().manual_seed(2)
    frames = torch.rand(GROUP + 3, 3, 16, 16, generator=random) - 0.5
    fluxes = np.full((len(frames), 2), 1e-6)
    projector = Projector(bundle, Projection(steps=15))
    together = projector.project(frames, fluxes, range(len(frames)))
    for number in (0, 4, GROUP + 2):
        alone = projector.project(frames[number : number + 1], fluxes[:1], [number])
        torch.testing.assert_close(alone[0], together[number], atol=1e-4, rtol=1e-3)


def test_latents_of_the_mapping_network_are_likely(bundle):
    """The mean squared Mahalanobis distance of a distribution from its own mean is its number of dimensions."""
    projector = Projector(bundle)
    w, _ = next(draw_latents(bundle, 4096, 9, batch=4096))
    likely = projector.unlikeliness(bundle.generator.styles(w)).mean().item()
    covariance = torch.cov(w.T.double())
    offset = w.double() - w.double().mean(dim=0)
    floor = 1e-5 * covariance.trace() / 8 * torch.eye(8)
    expected = (offset * torch.linalg.solve(covariance + floor, offset.T).T).sum(dim=1).mean().item() / 8
    assert likely == pytest.approx(expected, rel=0.1)


def test_a_w_for_each_layer_stays_near_to_what_the_mapping_network_makes(bundle, monkeypatch):
    random = torch.Generator().manual_seed(2)
    frames, fluxes = torch.rand(2, 3, 16, 16, generator=random) - 0.5, np.full((2, 2), 1e-6)
    projector = Projector(bundle, Projection(steps=40, layers="each"))
    near = projector.project(frames, fluxes, range(2))
    monkeypatch.setitem(projection._PRIOR, "each", 0.0)
    free = projector.project(frames, fluxes, range(2))
    assert (projector.unlikeliness(near) < 0.5 * projector.unlikeliness(free)).all()


def test_noise_and_rate_follow_the_paper():
    """Appendix D: 0.05 t^2 over the first three quarters; up over the first 5 %, down over the last quarter."""
    settings = Projection(steps=1000)
    assert settings.noise(0) == pytest.approx(0.05)
    assert settings.noise(375) == pytest.approx(0.05 / 4)
    assert settings.noise(750) == settings.noise(999) == 0
    assert settings.rate(24) == pytest.approx(settings.rate(500) / 2)
    assert settings.rate(49) == settings.rate(750)
    assert settings.rate(875) == pytest.approx(settings.rate(500) * (0.5 + 0.5 * math.cos(math.pi / 2)))


def test_a_missing_channel_is_completed_by_one_that_it_is_tied_to(bundle, own):
    """A generator whose third channel is the negative of its first: what is seen of one tells the other."""
    tied = make_generator(bundle.info.network)
    tied.load_state_dict(bundle.generator.state_dict())
    with torch.no_grad():
        for layer in tied.to_image:
            layer.conv.weight[2], layer.bias[2] = -layer.conv.weight[0], -layer.bias[0]
    toy = dataclasses.replace(bundle, generator=tied.requires_grad_(False))
    frames = tied.synthesize(own[1])
    given = frames.clone()
    given[:, 1:] = torch.nan
    projector = Projector(toy, Projection(steps=60))
    completed = projector.images(projector.project(given, np.repeat(NONE, 4, 0), range(4)))
    torch.testing.assert_close(completed[:, 2], -completed[:, 0])
    start = tied.synthesize(starting_w(toy, given, np.repeat(NONE, 4, 0)))
    assert (mean_square(completed[:, 2:], frames[:, 2:]) < 0.1 * mean_square(start[:, 2:], frames[:, 2:])).all()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"steps": 0}, "--steps 0: give one step or more"),
        ({"layers": "two"}, "--layers two: choose one"),
        ({"seed": -1}, "--seed -1: give a number from 0"),
    ],
)
def test_settings_that_make_no_sense(settings, sentence):
    with pytest.raises(UsageError, match=sentence):
        Projection(**settings)
