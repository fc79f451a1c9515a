import pytest
import torch

from sunaug.networks import make_discriminator, make_generator, start_from
from sunaug.networks.growing import Stage, enlarge, fade_in, shrink
from sunaug.networks.stylealae import StyleALAEConfig

TINY = {"image_channels": 2, "base_width": 64, "max_width": 16, "z_dim": 8, "w_dim": 8, "mapping_layers": 2}


def make(size=16):
    torch.manual_seed(0)
    config = StyleALAEConfig(size=size, **TINY)
    return make_generator(config), make_discriminator(config)


def test_averaging_down_undoes_enlarging():
    images = torch.randn(2, 3, 4, 4)
    large = enlarge(images, 16)
    assert large.shape == (2, 3, 16, 16)
    assert torch.equal(large[:, :, 5, 11], images[:, :, 1, 2])
    torch.testing.assert_close(shrink(large, 4), images)


def test_frames_have_the_detail_of_a_stage():
    frames = torch.randn(2, 3, 16, 16)
    assert fade_in(frames, Stage(16)) is frames
    at_8, at_4 = fade_in(frames, Stage(8)), fade_in(frames, Stage(4))
    torch.testing.assert_close(shrink(at_8, 8), torch.nn.functional.avg_pool2d(frames, 2))
    torch.testing.assert_close(at_8, enlarge(shrink(at_8, 8), 16))
    torch.testing.assert_close(fade_in(frames, Stage(8, 0.0)), at_4)
    torch.testing.assert_close(fade_in(frames, Stage(8, 0.25)), 0.75 * at_4 + 0.25 * at_8)
    assert (at_8 - at_4).abs().max() > 0.1


@pytest.mark.parametrize("resolution", [4, 8, 16])
def test_networks_run_at_the_resolution_of_their_stage(resolution):
    generator, discriminator = make()
    generator.stage = discriminator.encoder.stage = Stage(resolution)
    images = generator(torch.randn(2, 8), torch.zeros(2, 2), torch.randn(2, generator.noise_size))
    assert images.shape == (2, 2, 16, 16)
    small = shrink(images, resolution)
    torch.testing.assert_close(enlarge(small, 16), images)
    assert discriminator.project(images).shape == small.shape
    torch.testing.assert_close(discriminator.encode(images), discriminator.encode(small))
    discriminator(images, torch.zeros(2, 2)).sum().backward()
    # What is above the stage takes no part.
    for name, parameter in generator.named_parameters():
        above = name.startswith("blocks.") and int(name.split(".")[1]) > {4: -1, 8: 0, 16: 1}[resolution]
        of_image = name.startswith("to_image.") and int(name.split(".")[1]) != {4: 0, 8: 1, 16: 2}[resolution]
        assert (parameter.grad is None) == (above or of_image), name
    blocks = [block.first.weight.grad is not None for block in discriminator.encoder.blocks]
    assert blocks == [resolution >= one for one in (16, 8, 4)]


@pytest.mark.parametrize("resolution", [8, 16])
def test_a_new_resolution_begins_as_the_one_below_and_comes_in(resolution):
    """Generator, encoder and score at a fade of 0 are those of the stage before, of 1 those of the whole stage."""
    generator, discriminator = make()
    z, condition, frames = torch.randn(3, 8), torch.randn(3, 2), torch.randn(3, 2, 16, 16)

    def at(*stage):
        generator.stage = discriminator.encoder.stage = Stage(*stage)
        return generator(z, condition), discriminator.encode(frames), discriminator(frames, condition)

    before, start, half, end = at(resolution // 2), at(resolution, 0.0), at(resolution, 0.5), at(resolution)
    for one, other in zip(before, start, strict=True):
        torch.testing.assert_close(one, other)
    for one, other in zip(start, end, strict=True):
        assert (one - other).abs().max() > 1e-3
    torch.testing.assert_close(half[0], (start[0] + end[0]) / 2)
    for one, other, last in zip(half[1:], start[1:], end[1:], strict=True):
        assert not torch.allclose(one, other)
        assert not torch.allclose(one, last)


def test_the_state_holds_the_stage_in_half_precision_too():
    generator, discriminator = make()
    generator.stage = discriminator.encoder.stage = Stage(8, 0.25)
    other, judge = make()
    other.load_state_dict({name: value.half() for name, value in generator.state_dict().items()})
    judge.load_state_dict(discriminator.state_dict())
    assert other.stage == judge.encoder.stage == Stage(8, 0.25)


def test_a_bigger_generator_starts_at_a_smaller_ones_stage():
    small, _ = make(8)
    large, _ = make(16)
    start_from(large, small)
    assert large.stage == Stage(8)
    z, condition = torch.randn(3, 8), torch.randn(3, 2)
    torch.testing.assert_close(large(z, condition), enlarge(small(z, condition), 16))
