from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from sunaug.encoder import SolarEncoder, fit_encoder
from sunaug.encoder.fit import moved, vicreg, views
from sunaug.encoder.network import texture, texture_size
from sunaug.fidelity.frechet import FeatureStatistics, frechet_distance


def suns(count: int = 120, channels: int = 2, size: int = 32, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Disks with bright spots at random places and a little grain, one every eight hours."""
    random = torch.Generator().manual_seed(seed)
    offset = torch.arange(size) - (size - 1) / 2
    disk = torch.sigmoid((7 / 16 * size - torch.hypot(offset[:, None], offset)) * 32 / size)
    images = -0.9 + 0.6 * disk.expand(count, channels, size, size).clone()
    for image in images:
        for _ in range(int(torch.randint(1, 6, (), generator=random))):
            y, x = (torch.rand(2, generator=random) - 0.5) * 0.6 * size
            spot = torch.exp(-((offset[:, None] - y).square() + (offset - x).square()) / (size / 12) ** 2)
            image += spot * (0.3 + torch.rand(channels, 1, 1, generator=random))
    images += 0.02 * disk * torch.randn(images.shape, generator=random)
    times = np.datetime64("2012-01-01", "ns") + np.arange(count) * np.timedelta64(8, "h")
    return images.clamp(-1, 1), times


@cache
def fitted(steps: int = 40, seed: int = 0) -> SolarEncoder:
    encoder = fit_encoder(*suns(), steps=steps, seed=seed)
    assert encoder is not None
    return encoder


def move_of(encoder: SolarEncoder, change: str) -> float:
    """Median distance to a changed copy, in medians of the distance between different frames not fitted on."""
    images, _ = suns(60, seed=9)
    changed = {
        "views": lambda: views(images, torch.Generator().manual_seed(3)),
        "turned": lambda: moved(images, torch.full((60,), 0.1), torch.zeros(60), torch.zeros(60)),
        "shifted": lambda: images.roll(1, dims=3),
        "brighter": lambda: (images + 1) * 1.05 - 1,
    }[change]()
    before, after = encoder.embed(images), encoder.embed(changed)
    return float((after - before).norm(dim=1).median() / torch.pdist(before).median())


def raw_similarity(encoder: SolarEncoder) -> float:
    """How far views of one frame lie apart in the maps' moments alone, where different frames are at one."""
    images, _ = suns(60, seed=9)
    before, after = (encoder.moments(x) for x in (images, views(images, torch.Generator().manual_seed(3))))
    return float(((after - before).square().mean(dim=0) / before.var(dim=0).clamp_min(1e-8)).mean())


def test_the_network_learns_to_overlook_pointing_and_exposure():
    assert raw_similarity(fitted()) < 0.9 * raw_similarity(fitted(steps=0))


@pytest.mark.parametrize("change", ["turned", "shifted", "brighter"])
def test_pointing_and_exposure_move_features_less_than_another_frame_does(change):
    assert move_of(fitted(), change) < 0.5


def test_features_do_not_collapse():
    images, _ = suns(100, seed=9)
    vectors = fitted().embed(images)
    values = torch.linalg.svdvals(vectors - vectors.mean(dim=0)).square()
    assert vectors.isfinite().all()
    assert values.sum().square() / values.square().sum() > 10
    assert fitted().embed(suns()[0]).mean(dim=0).abs().max() < 0.01


def test_damage_is_seen():
    (images, _), (others, _) = suns(200, seed=9), suns(200, seed=8)
    encoder = fitted()
    reference = FeatureStatistics.of(encoder.embed(others).numpy())
    board = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * 0.04 - 0.02
    damaged = {
        "checkerboard": images + board,
        "blur": F.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False),
        "noise": images + 0.04 * torch.randn(images.shape, generator=torch.Generator().manual_seed(1)),
        "no spots": images.clamp_max(-0.3),
    }
    floor = frechet_distance(reference, FeatureStatistics.of(encoder.embed(images).numpy()))
    for name, frames in damaged.items():
        assert frechet_distance(reference, FeatureStatistics.of(encoder.embed(frames).numpy())) > 1.3 * floor, name


def test_bits_of_a_vector_do_not_depend_on_the_others():
    images, _ = suns(90, seed=9)
    encoder = fitted()
    whole = encoder.embed(images)
    torch.testing.assert_close(encoder.embed(images[13:14]), whole[13:14], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        torch.cat([encoder.embed(part) for part in images.split(7)]), whole, rtol=1e-5, atol=1e-5
    )
    assert encoder.embed(images[:0]).shape == (0, encoder.dims)


def test_an_encoder_comes_back_to_the_same_bits(tmp_path):
    encoder = fitted()
    tensors, text = encoder.state()
    save_file(tensors, tmp_path / "encoder.safetensors", metadata=text)
    again = SolarEncoder.from_state(load_file(tmp_path / "encoder.safetensors"), text)
    images, _ = suns(20, seed=9)
    assert torch.equal(again.embed(images), encoder.embed(images))
    with pytest.raises(KeyError):
        SolarEncoder.from_state(tensors, {})
    with pytest.raises(ValueError, match="33"):
        SolarEncoder.from_state(tensors, {"size": "33"})
    with pytest.raises(RuntimeError):
        SolarEncoder.from_state({name: value for name, value in tensors.items() if name != "centre"}, text)


def test_the_same_seed_gives_the_same_weights():
    done = []
    generator = torch.get_rng_state()
    first, second, other = (
        fit_encoder(*suns(), steps=5, seed=seed, report=done.append).state()[0] for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["convs.0.weight"], other["convs.0.weight"])
    assert done == [1, 2, 3, 4, 5] * 3
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize("channels", [1, 3, 10])
@pytest.mark.parametrize("size", [32, 48, 64, 128, 256])
def test_any_number_of_channels_and_any_size(channels, size):
    encoder = SolarEncoder(channels, texture_size(size))
    vectors = encoder.embed(torch.rand(3, channels, size, size) * 2 - 1)
    assert vectors.shape == (3, encoder.dims)
    assert vectors.isfinite().all()


def test_an_encoder_takes_frames_of_other_sizes():
    images, _ = suns(8, size=64, seed=9)
    doubled = images.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(fitted().embed(doubled), fitted().embed(images), rtol=1e-4, atol=1e-4)
    assert fitted().embed(images[..., ::4, ::4]).isfinite().all()


def test_what_is_missing_is_dark_and_what_is_out_of_range_is_clipped():
    images, _ = suns(4, seed=9)
    holed, dark = images.clone(), images.clone()
    holed[:, 0, :5], dark[:, 0, :5] = torch.nan, -1.0
    assert torch.equal(fitted().embed(holed), fitted().embed(dark))
    assert torch.equal(fitted().embed(images * 3), fitted().embed((images * 3).clamp(-1, 1)))


def test_frames_without_contrast_can_be_fitted():
    images, times = suns(120, channels=1)
    encoder = fit_encoder(torch.cat([images, torch.full_like(images, -1.0)], dim=1), times, steps=2)
    assert encoder.embed(torch.cat([images, images], dim=1)).isfinite().all()


def test_too_few_frames_give_no_encoder():
    images, times = suns()
    assert fit_encoder(images[:99], times[:99], steps=1) is None
    assert fit_encoder(images, times[0] + (times - times[0]) / 8, steps=1) is None
    assert fit_encoder(images[:0], times[:0]) is None


def test_turning_keeps_the_fine_structure():
    images, _ = suns(6, size=64, seed=9)
    images = images + 0.05 * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    nothing = torch.zeros(6)
    turned = moved(images, torch.full((6,), 0.2), nothing, nothing)
    middle = (..., slice(12, -12), slice(12, -12))
    assert (texture(turned[middle]) - texture(images[middle])).abs()[:, :4].max() < 0.12
    back = moved(turned, torch.full((6,), -0.2), nothing, nothing)
    assert (back - images)[middle].abs().mean() < 0.2 * 0.05
    torch.testing.assert_close(
        moved(images, nothing, nothing + 2, nothing - 1), images.roll((2, -1), (2, 3)), atol=1e-5, rtol=0
    )
    quarter = torch.rot90(images, -1, dims=(2, 3))
    half = moved(moved(images, nothing + torch.pi / 4, nothing, nothing), nothing + torch.pi / 4, nothing, nothing)
    either = min((half - other)[middle].abs().mean() for other in (quarter, torch.rot90(images, 1, dims=(2, 3))))
    assert either < 0.05


def test_the_loss_is_that_of_vectors_alike_spread_and_unrelated():
    generator = torch.Generator().manual_seed(0)
    spread = 2 * torch.linalg.qr(torch.randn(64, 9, generator=generator)).Q[:, :8] * 8
    spread = torch.linalg.qr(spread - spread.mean(dim=0)).Q * 16
    assert vicreg(spread, spread) < 1e-6
    assert vicreg(spread, spread + 1) == pytest.approx(25, rel=1e-4)
    assert vicreg(torch.zeros(64, 8), torch.zeros(64, 8)) == pytest.approx(25 * 0.99, rel=1e-3)
