"""The spectral finish: samples get the spectrum of real frames, and keep what is on the Sun."""

import numpy as np
import pytest
import torch

from sunaug.errors import SunaugError
from sunaug.finish import MeanPower, SpectralFinish, disk_window
from sunaug.measures.limb import Geometry

SIZE = 64
GEOMETRY = Geometry(SIZE, 28.0)


def _images(n, seed):
    """Noise on a disk whose brightness differs from image to image, two channels."""
    random = torch.Generator().manual_seed(seed)
    disk = disk_window(GEOMETRY, 0.98, 1.02)
    brightness = torch.rand(n, 2, 1, 1, generator=random)
    return disk * brightness + 0.05 * torch.randn(n, 2, SIZE, SIZE, generator=random)


def _power(images, window):
    """Mean power by an independent way: numpy, whole FFT, frame by frame."""
    planes = images.numpy().astype(np.float64)
    mean = (planes * window).sum(axis=(2, 3), keepdims=True) / window.sum()
    return (np.abs(np.fft.fft2((planes - mean) * window)) ** 2).mean(axis=0)


def _spoilt(images):
    """With a checkerboard, stripes, and half of the finest detail."""
    board = torch.where((torch.arange(SIZE)[:, None] + torch.arange(SIZE)) % 2 == 0, 1.0, -1.0)
    stripes = torch.where(torch.arange(SIZE) % 2 == 0, 1.0, -1.0)
    frequency = 2 * torch.hypot(torch.fft.fftfreq(SIZE)[:, None], torch.fft.rfftfreq(SIZE))
    dull = torch.fft.irfft2(torch.fft.rfft2(images) * torch.where(frequency > 0.6, 0.5, 1.0), s=(SIZE, SIZE))
    return dull + 0.02 * board + 0.02 * stripes


@pytest.fixture(scope="module")
def finish():
    real = MeanPower.of(GEOMETRY, _images(600, 0).split(64))
    samples = MeanPower.of(GEOMETRY, _spoilt(_images(600, 1)).split(64))
    return SpectralFinish.between(real, samples, GEOMETRY)


def test_mean_power_is_that_of_the_windowed_frames():
    images = _images(10, 3)
    found = MeanPower.of(GEOMETRY, images.split(4)).mean
    window = disk_window(GEOMETRY, 0.85, 0.98).numpy()
    for part, weight in zip(found, (window, np.ones((SIZE, SIZE))), strict=True):
        np.testing.assert_allclose(part, _power(images, weight)[..., : SIZE // 2 + 1], rtol=2e-3, atol=1e-6)


def test_finished_samples_have_the_power_of_real_frames(finish):
    real, spoilt = _images(400, 5), _spoilt(_images(400, 6))
    frequency = 2 * np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.fftfreq(SIZE))
    high = frequency > 0.3
    for window in (disk_window(GEOMETRY, 0.6, 0.75).numpy(), np.ones((SIZE, SIZE))):
        wanted, before, after = (_power(one, window) for one in (real, spoilt, finish(spoilt)))
        corner = (slice(None), SIZE // 2, SIZE // 2)
        assert (before[corner] > 20 * wanted[corner]).all()
        # Gains end at 4, which a pure checkerboard in noise does not keep within.
        assert (after[corner] < before[corner] / 10).all()
        band = high & (frequency < 0.95)
        assert before[:, band].mean() < 0.8 * wanted[:, band].mean()
        assert after[:, band].mean() == pytest.approx(wanted[:, band].mean(), rel=0.1)


def test_low_frequencies_stay(finish):
    spoilt = _spoilt(_images(20, 7))
    before, after = torch.fft.fft2(spoilt), torch.fft.fft2(finish(spoilt))
    low = 2 * torch.hypot(torch.fft.fftfreq(SIZE)[:, None], torch.fft.fftfreq(SIZE)) < 0.08
    scale = before[..., low].abs().mean()
    assert (after - before)[..., low].abs().max() < 0.02 * scale


def test_samples_with_the_spectrum_already_stay_as_they_are():
    power = MeanPower.of(GEOMETRY, _images(100, 0).split(50))
    finish = SpectralFinish.between(power, power, GEOMETRY)
    images = _images(3, 8)
    torch.testing.assert_close(finish(images), images, rtol=0, atol=1e-6)


def test_gains_end_at_four(finish):
    assert finish.gains.max() <= 4.0 + 1e-5
    assert finish.gains.min() >= 0.25 - 1e-5


def test_nothing_was_taken_in():
    with pytest.raises(ValueError, match="no image"):
        _ = MeanPower(GEOMETRY).mean


def test_finish_is_part_of_the_bundle(tmp_path):
    from sunaug.bundle import load_bundle, write_finish
    from sunaug.generation import fit_finish, generate, regenerate
    from tests.models import make_bundle

    plain = make_bundle(tmp_path / "b")
    before = generate(plain, n=20, seed=3)
    real = torch.rand(50, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    finish = fit_finish(plain, real)
    assert finish is not None
    write_finish(plain.path, finish)
    bundle = load_bundle(plain.path)
    assert bundle.hash != plain.hash
    after = generate(bundle, n=20, seed=3)
    assert not np.allclose(after["intensity"], before["intensity"], atol=1)
    # The same bits whatever the number of samples, and one sample again.
    np.testing.assert_array_equal(generate(bundle, n=3, seed=3)["intensity"], after["intensity"][:3])
    np.testing.assert_array_equal(regenerate(after, 7, bundle), after["intensity"][7])
    # Fitted again it is what it was: a finish that is there already is not looked at.
    again = fit_finish(bundle, real)
    assert torch.equal(again.gains, finish.gains)
    assert fit_finish(bundle, real[:0]) is None


def test_damaged_finish_is_one_sentence(tmp_path):
    from sunaug.bundle import load_bundle, write_finish
    from tests.models import make_bundle

    bundle = make_bundle(tmp_path / "b")
    write_finish(bundle.path, SpectralFinish(torch.ones(2, 3, 8, 5), Geometry(16, 7.0)))
    with pytest.raises(SunaugError, match=r"gains of shape \(2, 3, 8, 5\) in place of \(2, 3, 16, 9\)"):
        load_bundle(bundle.path)
