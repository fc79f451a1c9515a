"""The bundle that comes with sunaug."""

import numpy as np
import pytest
from safetensors.torch import load_file

import sunaug
from sunaug.bundle import BUNDLED, bundled_names, load_bundle
from sunaug.cube import SPLIT_MONTHS
from sunaug.fidelity.physics import Geometry, fit_limb
from sunaug.generation import Request, Sampler


@pytest.fixture(scope="module", params=bundled_names())
def bundle(request):
    return load_bundle(request.param)


def test_it_is_small_and_in_half_precision(bundle):
    assert BUNDLED in bundled_names()
    assert sum(file.stat().st_size for file in bundle.path.iterdir()) <= 10 * 2**20
    stored = load_file(bundle.path / "model.safetensors")
    assert {str(value.dtype) for value in stored.values()} == {"torch.float16"}


def test_it_was_trained_on_train_months_only(bundle):
    for start, end in bundle.info.training_ranges:
        first, last = (np.datetime64(moment.removesuffix("Z")) for moment in (start, end))
        months = np.arange(first.astype("datetime64[M]"), last.astype("datetime64[M]") + 1)
        assert set(months.astype(int) % 12 + 1) <= set(SPLIT_MONTHS["train"])
        assert first.astype("datetime64[Y]") == np.datetime64("2012")


def test_its_card_says_what_it_is(bundle):
    card = (bundle.path / "README.md").read_text()
    for word in ("SYNTHETIC", "aia171, aia131, aia94", bundle.info.training_ranges[0][0], "no forecast"):
        assert word in card


def test_its_suns_have_a_disk_with_a_limb_in_the_middle(bundle):
    """Real frames of 64 pixels show the limb at 1.06 of the photosphere's radius, within half a pixel of the middle."""
    size, disk_radius = bundle.info.network.size, bundle.info.disk_radius
    images = sunaug.generate(bundle, 64, rare=True, seed=3)["intensity"].sel(channel="aia171").values
    radius, centre = fit_limb(images, Geometry(size, disk_radius))
    assert np.median(radius) / disk_radius == pytest.approx(1.05, abs=0.03)
    assert np.median(np.hypot(*centre.T)) < size / 128


def test_a_sample_does_not_depend_on_its_neighbours(bundle):
    """Made alone, at the head of a group of copies, a sample has the bits that it has in the middle of others."""
    many = sunaug.generate(bundle, 20, rare=True, seed=11)["intensity"].values
    sampler = Sampler(bundle, Request(1, rare=True, seed=11))
    for draw in (0, 5, 13, 19):
        np.testing.assert_array_equal(sampler.sample(draw, draw + 1)["intensity"][0], many[draw])


def test_rare_samples_are_hotter_than_quiet_ones(bundle):
    rare = sunaug.generate(bundle, 128, rare=True)["intensity"].sel(channel=["aia131", "aia94"])
    plain = sunaug.generate(bundle, 128)["intensity"].sel(channel=["aia131", "aia94"])
    brightest = [float(np.quantile(cube, 0.99, axis=(2, 3)).mean()) for cube in (rare, plain)]
    assert brightest[0] > brightest[1]
