import numpy as np
import pytest
from scipy.stats import spearmanr

from sunaug.fidelity.claims import Classifier, claims, rank_correlation, roc_area

TIMES = np.datetime64("2012-01-01", "ns") + np.arange(400) * np.timedelta64(12, "h")


def labelled(n=400, seed=0):
    random = np.random.default_rng(seed)
    flux = 10 ** random.uniform(-7, -4, n)
    features = random.normal(0, 1, (n, 6))
    features[:, 2] += 3 * (np.log10(flux) + 5)
    return features.astype(np.float32), flux


def test_the_classifier_tells_what_the_features_tell():
    features, flux = labelled()
    classifier = Classifier.fit(features, flux, TIMES)
    unseen, true = labelled(seed=1)
    assert roc_area(classifier.says(unseen), true >= 1e-5) > 0.95
    own = classifier.says(features, TIMES)
    assert roc_area(own, flux >= 1e-5) > 0.9


def test_its_own_frames_are_judged_by_what_has_not_seen_them():
    features, _ = labelled()
    random = np.random.default_rng(3)
    # Labels that no feature tells: what had seen them would tell them all the same.
    shuffled = 10 ** random.uniform(-7, -4, 400)
    wide = random.normal(0, 1, (400, 120)).astype(np.float32)
    classifier = Classifier.fit(wide, shuffled, TIMES)
    assert roc_area(classifier.says(wide), shuffled >= 1e-5) > 0.7
    assert abs(roc_area(classifier.says(wide, TIMES), shuffled >= 1e-5) - 0.5) < 0.12
    assert Classifier.fit(features, np.full(400, 1e-7), TIMES) is None


def test_rank_correlation_is_spearmans():
    random = np.random.default_rng(0)
    first, second = random.integers(0, 9, 50), random.random(50)
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first, second).statistic)
    assert np.isnan(rank_correlation(np.ones(50), second))


def test_claims_notice_samples_that_do_not_obey():
    random = np.random.default_rng(0)
    flux = {"nowcast_flux": np.full(200, np.nan), "forecast_flux": 10 ** random.uniform(-7, -4, 200)}
    honest = np.log10(flux["forecast_flux"])[:, None] + random.normal(0, 0.3, (200, 3))
    real = {"forecast_flux": honest + random.normal(0, 0.01, (200, 3)), "rare": honest[:, 0] + 5}
    good = claims({"forecast_flux": honest, "rare": honest[:, 0] + 5}, flux, real)
    deaf = claims(
        {"forecast_flux": random.permutation(honest), "rare": random.permutation(honest[:, 0]) + 5}, flux, real
    )
    weak = claims({"forecast_flux": honest - 1, "rare": honest[:, 0] + 4}, flux, real)
    assert good["obeys forecast_flux"] > 0.85 > 0.3 > abs(deaf["obeys forecast_flux"])
    assert good["obeys class"] > 0.95 > 0.65 > deaf["obeys class"]
    assert good["reading forecast_flux"] < 0.05
    assert weak["reading forecast_flux"] == pytest.approx(1, abs=0.05)
    assert weak["reading class"] == pytest.approx(1, abs=0.05)
