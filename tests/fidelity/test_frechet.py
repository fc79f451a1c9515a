import numpy as np
import pytest

from sunaug.errors import UsageError
from sunaug.fidelity import inception
from sunaug.fidelity.frechet import FeatureStatistics, frechet_distance


@pytest.mark.parametrize("count", [10, 40, 300])
def test_distance_is_pytorch_fids(count):
    inception._pytorch_fid()
    from pytorch_fid import fid_score

    random = np.random.default_rng(count)
    first, second = random.normal(size=(count, 32)), random.normal(0.3, 1.4, size=(count, 32))
    expected = fid_score.calculate_frechet_distance(
        first.mean(0), np.cov(first, rowvar=False), second.mean(0), np.cov(second, rowvar=False)
    )
    ours = frechet_distance(FeatureStatistics.of(first), FeatureStatistics.of(second))
    # pytorch-fid adds 1e-6 to the diagonal where the covariances are singular, and its sqrtm is inexact there.
    assert ours == pytest.approx(expected, rel=1e-6 if count > 32 else 1e-3)


def test_distance_of_gaussians_known_in_closed_form():
    random = np.random.default_rng(0)
    values = random.normal(size=(500, 8))
    one, other = FeatureStatistics.of(values), FeatureStatistics.of(2 * values + 3)
    offset = np.square(other.mean - one.mean).sum()
    assert frechet_distance(one, other) == pytest.approx(offset + np.square(one.root).sum(), rel=1e-9)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)


def test_statistics_are_mean_and_covariance():
    values = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    for part in (values, values[:4]):
        statistics = FeatureStatistics.of(part)
        np.testing.assert_allclose(
            statistics.root.T @ statistics.root, np.cov(part.astype(float), rowvar=False), atol=1e-12
        )
        assert statistics.count == len(part)
    with pytest.raises(UsageError, match="two images"):
        FeatureStatistics.of(values[:1])
