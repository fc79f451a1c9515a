import numpy as np
import pytest

from sunaug.cube.statistics import summarise, tally


def _statistics(images, channel="aia193", scale="physical", pieces=3):
    return summarise([tally(part, channel, scale) for part in np.array_split(images, pieces)], channel, scale)


@pytest.fixture
def images():
    images = np.random.default_rng(0).lognormal(4, 1.5, (12, 40, 40)).astype(np.float32)
    images[0, :5] = np.nan
    images[1, :2] = -3.0
    return images


def test_statistics_are_those_of_the_finite_pixels(images):
    found, finite = _statistics(images), images[np.isfinite(images)].astype(float)
    assert found["pixels"] == finite.size
    assert (found["missing"], found["not_positive"]) == (200, 80)
    assert found["mean"] == pytest.approx(finite.mean())
    assert found["std"] == pytest.approx(finite.std())
    logs = np.log10(finite[finite > 0])
    assert (found["log10_mean"], found["log10_std"]) == pytest.approx((logs.mean(), logs.std()))
    assert (found["minimum"], found["maximum"]) == (finite.min(), finite.max())
    for share, value in found["quantiles"].items():
        if 0.01 < float(share) < 0.9999:  # two pixels are above the last one
            assert np.log10(value) == pytest.approx(np.log10(np.quantile(finite, float(share))), abs=0.011), share
    histogram = found["histogram"]
    assert sum(histogram["counts"]) + histogram["below"] + histogram["above"] == finite.size
    assert len(histogram["edges"]) == len(histogram["counts"]) + 1


def test_pieces_do_not_matter(images):
    one, many = _statistics(images, pieces=1), _statistics(images, pieces=5)
    assert one["quantiles"] == many["quantiles"]
    assert one["mean"] == pytest.approx(many["mean"], rel=1e-12)


@pytest.mark.parametrize(
    ("channel", "scale", "values", "width"),
    [("hmi_m", "physical", (-1500, 1500), 2.0), ("aia171", "browse", (0, 255), 0.25)],
)
def test_signed_and_browse_values_have_even_bins(channel, scale, values, width):
    images = np.random.default_rng(1).uniform(*values, (4, 50, 50)).astype(np.float32)
    found = _statistics(images, channel, scale)
    for share, value in found["quantiles"].items():
        assert value == pytest.approx(np.quantile(images, float(share)), abs=1.5 * width)
    assert (found["histogram"]["below"], found["histogram"]["above"]) == (0, 0)


def test_nothing_gives_nothing():
    found = _statistics(np.full((3, 4, 4), np.nan, np.float32))
    assert (found["pixels"], found["mean"], found["quantiles"]["0.5"]) == (0, None, None)
