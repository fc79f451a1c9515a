import numpy as np
import pytest
import torch

from sunaug.errors import UsageError
from sunaug.scaling import IntensityScaling, default_scaling


@pytest.mark.parametrize("kind", ["log", "asinh", "linear"])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_the_inverse_gives_the_units_back(kind, as_tensor):
    scaling = default_scaling(["aia171", "aia94"], kind=kind)
    random = np.random.default_rng(0)
    intensity = random.uniform(6, 300, (4, 2, 8, 8)).astype(np.float32)
    given = torch.from_numpy(intensity) if as_tensor else intensity
    back = scaling.unscale(scaling.scale(given))
    assert isinstance(back, torch.Tensor) == as_tensor
    np.testing.assert_allclose(np.asarray(back), intensity, rtol=2e-3)


def test_limits_map_to_minus_one_and_one():
    scaling = IntensityScaling(kind="log", low=(10.0,), high=(1000.0,))
    values = np.array([1, 10, 100, 1000, 10000], np.float32).reshape(1, 1, 5)
    np.testing.assert_allclose(scaling.scale(values).ravel(), [-1, -1, 0, 1, 2], atol=1e-6)


def test_missing_stays_missing():
    assert np.isnan(default_scaling(["aia171"]).scale(np.full((1, 2, 2), np.nan, np.float32))).all()


def test_browse_counts_and_magnetograms_are_linear():
    assert default_scaling(["aia171"], "browse").kind == "linear"
    assert default_scaling(["hmi_m"]).kind == "linear"
    with pytest.raises(UsageError, match="has a sign"):
        default_scaling(["hmi_m"], kind="log")


def test_wrong_numbers_of_channels_are_refused():
    with pytest.raises(UsageError, match="has 1 channels, the images have 3"):
        default_scaling(["aia171"]).scale(np.ones((3, 4, 4), np.float32))


@pytest.mark.parametrize(
    "settings",
    [{"kind": "cube", "low": (1,), "high": (2,)}, {"low": (2,), "high": (1,)}, {"low": (0,), "high": (1,)}],
)
def test_senseless_scalings_are_refused(settings):
    with pytest.raises(ValueError, match=r"scaling|limit"):
        IntensityScaling(**settings)
