import numpy as np
import pytest

from sunaug.cube.encoding import photon_noise_bits, round_bits


@pytest.mark.parametrize(("radius", "bits"), [(1600.0, 7), (200.0, 10), (112.0, 11), (28.0, 13)])
def test_bits_follow_the_photons_in_a_pixel(radius, bits):
    assert photon_noise_bits(radius, "physical") == bits
    full_well = 16383 * (1600 / radius) ** 2
    assert 2.0 ** -(bits + 1) <= 0.5 / np.sqrt(full_well) < 2.0**-bits, "no bit more and no bit less"


def test_rounding_errs_as_little_as_it_says():
    values = np.random.default_rng(0).lognormal(3, 3, 10000).astype(np.float32)
    rounded = round_bits(values, 10)
    error = np.abs(rounded.astype(float) / values - 1)
    assert 2.0**-12 < error.max() <= 2.0**-11
    assert abs(np.mean(rounded.astype(float) / values - 1)) < 2.0**-15, "to the nearest, so without a bias"
    assert (round_bits(-values, 10) == -rounded).all()


def test_what_is_not_a_number_stays_so():
    values = np.array([np.nan, np.inf, -np.inf, 0.0, 1.0], np.float32)
    np.testing.assert_array_equal(round_bits(values, 7), values)
    np.testing.assert_array_equal(round_bits(np.float32([1 / 3]), 23), np.float32([1 / 3]))
