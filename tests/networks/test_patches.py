"""Patches and tiles are the same pixels as the whole image."""

from itertools import islice

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from sunaug.networks import Discriminator, Generator, StyleGAN2Config, start_from
from sunaug.networks import patches as patches_module
from sunaug.networks.patches import TILE, synthesize_tiles, synthesize_whole
from sunaug.networks.windows import Window, block_windows, crop, tiles
from sunaug.training.estimate import StepCounter

TINY = {"base_width": 64, "max_width": 8, "z_dim": 8, "w_dim": 8, "mapping_layers": 2}


def make(size=64, image_channels=2, **options):
    torch.manual_seed(0)
    generator = Generator(StyleGAN2Config(size=size, image_channels=image_channels, **{**TINY, **options}))
    for conv in generator.convs:
        torch.nn.init.constant_(conv.noise_strength, 0.3)
    for name, parameter in generator.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    return generator


def latents(generator, batch=2):
    torch.manual_seed(1)
    w = torch.randn(batch, generator.n_styles, generator.config.w_dim)
    return w, torch.randn(batch, generator.noise_size)


def patch(generator, window, size, w, noise):
    """A patch whose noise is cut out of the whole image's, input by input."""
    coarse = generator.coarse(w, noise[:, : generator.coarse_noise_size(size)], size)
    planes, first = [], 0
    for height, width in generator.noise_shapes:
        planes.append(noise[:, first : first + height * width].reshape(-1, height, width))
        first += height * width
    taken = [
        planes[layer][:, part.top : part.bottom, part.left : part.right]
        for layer, part in generator.noise_windows(window, size)
    ]
    return generator.refine(coarse, w, window, taken)


def test_every_patch_is_the_crop_of_the_whole_image():
    """At all places along the diagonal, at the edges among them; both parities, and other heights than widths."""
    generator = make()
    w, noise = latents(generator)
    with torch.no_grad():
        whole = generator.synthesize(w, noise)
        for place in range(0, 49):
            window = Window(place, place + 16, 48 - place, 59 - place)
            made = patch(generator, window, 16, w, noise)
            expected = whole[:, :, window.top : window.bottom, window.left : window.right]
            torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("coarse", [8, 32, 64])
def test_patches_start_from_any_resolution(coarse):
    generator = make()
    w, noise = latents(generator)
    window = Window.square(21, 38, 8)
    expected = generator.synthesize(w, noise)[:, :, 21:29, 38:46]
    torch.testing.assert_close(patch(generator, window, coarse, w, noise), expected, rtol=1e-4, atol=1e-5)


def test_a_patch_has_the_gradients_of_its_crop():
    generator = make(32)
    w, noise = latents(generator)
    window, found = Window.square(5, 14, 16), []
    for checkpoint_from in (None, None, 16):
        generator.zero_grad(set_to_none=True)
        generator.checkpoint_from = checkpoint_from
        made = generator.synthesize(w, noise)[:, :, 5:21, 14:30] if not found else patch(generator, window, 8, w, noise)
        made.square().sum().backward()
        found.append([p.grad for p in generator.parameters() if p.grad is not None])
    assert len(found[0]) == len(found[1]) == len(found[2])
    for whole, part, recomputed in zip(*found, strict=True):
        torch.testing.assert_close(part, whole, rtol=1e-3, atol=1e-3 * whole.abs().max().item())
        torch.testing.assert_close(recomputed, part)


def test_the_image_at_low_resolution_is_what_the_finer_layers_add_to():
    """Where the finer layers add nothing, the image is the low-resolution one, enlarged."""
    generator = make(32)
    for layer in generator.to_image[-2:]:
        torch.nn.init.zeros_(layer.conv.weight)
        torch.nn.init.zeros_(layer.bias)
    w, noise = latents(generator)
    low = generator.image(generator.coarse(w, noise[:, : generator.coarse_noise_size(8)], 8))
    enlarged = torch.nn.functional.interpolate(low, scale_factor=2, mode="bilinear")
    enlarged = torch.nn.functional.interpolate(enlarged, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(generator.synthesize(w, noise), enlarged)


def test_windows_are_what_the_paper_arithmetic_says():
    """Rows that depend on a row, found by pushing a unit through interpolation and two convolutions of ones."""
    for top in range(0, 28):
        window = Window.square(top, top, 4)
        (found,) = block_windows(window, 32, 16)
        wanted = torch.zeros(1, 1, 32, 32)
        wanted[..., window.top : window.bottom, window.left : window.right] = 1
        x = torch.zeros(1, 1, 16, 16, requires_grad=True)
        ones = torch.ones(1, 1, 3, 3)
        out = torch.nn.functional.conv2d(x, ones, padding=1)
        out = torch.nn.functional.interpolate(out, scale_factor=2, mode="bilinear")
        (torch.nn.functional.conv2d(out, ones, padding=1) * wanted).sum().backward()
        rows = x.grad[0, 0].sum(dim=1).nonzero()[:, 0]
        assert (found.below.top, found.below.bottom) == (rows.min(), rows.max() + 1)


def test_windows_that_split_a_pixel_of_the_last_layer_are_refused():
    generator = make(64, unshuffle=4)
    with pytest.raises(ValueError, match=r"rows 2:18.*no multiples of 4"):
        generator.noise_windows(Window.square(2, 0, 16), 32)
    assert crop(torch.arange(16).reshape(4, 4), Window.square(2, 2, 4), Window.square(3, 4, 2)).tolist() == [
        [6, 7],
        [10, 11],
    ]


@pytest.mark.parametrize("options", [{}, {"unshuffle": 2}, {"unshuffle": 4, "image_channels": 1}])
@pytest.mark.parametrize("tile", [16, 32, 128])
def test_tiles_cover_the_whole_image(options, tile):
    generator = make(**options)
    w, noise = latents(generator)
    covered = torch.zeros(64, 64)
    with torch.inference_mode():
        for one in (None, noise):
            whole = generator.synthesize(w, one)
            for window, made in synthesize_tiles(generator, w, one, tile=tile):
                covered[window.top : window.bottom, window.left : window.right] += 1
                expected = whole[..., window.top : window.bottom, window.left : window.right]
                torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)
    assert (covered == 2).all()


@pytest.mark.parametrize(("tile", "expected"), [(None, 0), (16, 0), (8, 1)])
def test_only_large_images_are_made_by_tiles(monkeypatch, tile, expected):
    """Those of more than two tiles' width."""
    generator = make(32)
    generator.tile = tile
    w, noise = latents(generator)
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return tiles(*arguments)

    monkeypatch.setattr(patches_module, "tiles", counted)
    with torch.inference_mode():
        made, whole = synthesize_whole(generator, w, noise), generator.synthesize(w, noise)
    torch.testing.assert_close(made, whole, rtol=1e-4, atol=1e-5)
    assert len(calls) == expected
    assert Generator(generator.config.model_copy(update={"size": 16})).tile == TILE == 512


def test_the_memory_of_tiles_is_that_of_a_tile():
    """Counted on tensors without content: 64 times the pixels take the same memory beside the image's noise."""
    peaks = []
    for size in (512, 4096):
        with FakeTensorMode(), torch.no_grad(), StepCounter() as counter:
            generator = make(size, 1, base_width=8192, max_width=32)
            w = torch.randn(1, 8)
            noise = torch.randn(1, generator.noise_size)
            before = counter.alive
            counter.peak = 0
            for _ in islice(synthesize_tiles(generator, w, noise, tile=256), 2):
                pass
            peaks.append(counter.peak - before)
    assert max(peaks) < 1.1 * min(peaks)
    with FakeTensorMode(), torch.no_grad(), StepCounter() as counter:
        make(4096, 1, base_width=8192, max_width=32).synthesize(torch.randn(1, 8))
    assert counter.peak > 15 * max(peaks)


@pytest.mark.parametrize("unshuffle", [1, 2, 4])
def test_unshuffle_moves_the_top_layers_pixels_into_channels(unshuffle):
    """Pixel (u y + i, u x + j) of channel c is channel c u^2 + u i + j at (y, x) (Shi et al. 2016, equation 4)."""
    generator = make(32, 3, unshuffle=unshuffle)
    assert generator.style_resolutions[-1] == 32 // unshuffle
    w, noise = latents(generator)
    packed = generator.coarse(w, noise, 32).image
    assert packed.shape == (2, 3 * unshuffle**2, 32 // unshuffle, 32 // unshuffle)
    image = generator.synthesize(w, noise)
    for channel in range(3):
        for i in range(unshuffle):
            for j in range(unshuffle):
                place = channel * unshuffle**2 + i * unshuffle + j
                assert torch.equal(image[:, channel, i::unshuffle, j::unshuffle], packed[:, place])


def test_the_discriminator_begins_with_the_inverse():
    config = StyleGAN2Config(size=32, image_channels=3, unshuffle=4, **TINY)
    torch.manual_seed(0)
    discriminator = Discriminator(config)
    assert len(discriminator.blocks) == 1
    images, condition = torch.randn(4, 3, 32, 32), torch.zeros(4, 2)
    squares = images.reshape(4, 3, 8, 4, 8, 4).permute(0, 1, 3, 5, 2, 4).reshape(4, 48, 8, 8)
    bare = Discriminator(StyleGAN2Config(size=8, image_channels=48, **TINY))
    bare.load_state_dict(discriminator.state_dict())
    torch.testing.assert_close(discriminator(images, condition), bare(squares, condition))


@pytest.mark.parametrize(("size", "unshuffle"), [(32, 3), (32, 8), (64, 0)])
def test_impossible_unshuffling_is_refused(size, unshuffle):
    with pytest.raises(ValueError, match="unshuffle"):
        StyleGAN2Config(size=size, unshuffle=unshuffle)


def test_unshuffled_starts_from_a_smaller_image_with_each_pixel_a_square():
    small = make(16)
    large = Generator(small.config.model_copy(update={"size": 64, "unshuffle": 4}))
    start_from(large, small)
    w, noise = latents(small)
    expected = small.synthesize(w, noise).repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    torch.testing.assert_close(large.synthesize(w, noise), expected)
