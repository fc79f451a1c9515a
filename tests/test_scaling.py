import numpy as np
import pytest
import torch

from sunaug.errors import UsageError
from sunaug.scaling import IntensityScaling, default_scaling, missing_values


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


@pytest.mark.parametrize("as_tensor", [False, True])
def test_light_and_fields_of_one_cube_are_scaled_each_in_its_way(as_tensor):
    names = ["hmi_m", "aia171", "aia94", "hmi_v"]
    scaling = default_scaling(names)
    assert scaling.kinds == ("linear", "log", "log", "linear")
    intensity = np.stack([np.full((2, 2), one, np.float32) for one in (-4500.0, 500.0, 0.01, 6500.0)])[None]
    given = torch.from_numpy(intensity) if as_tensor else intensity
    scaled = scaling.scale(given)
    for number, name in enumerate(names):
        alone = default_scaling([name]).scale(given[:, [number]])
        np.testing.assert_allclose(np.asarray(scaled[:, [number]]), np.asarray(alone))
    back = scaling.unscale(scaled)
    assert isinstance(back, torch.Tensor) == as_tensor
    # Fields beyond the range are kept on both sides; light ends at its lowest.
    np.testing.assert_allclose(np.asarray(back)[0, :, 0, 0], [-4500, 500, 0.1, 6500], rtol=1e-4)


@pytest.mark.parametrize("kind", ["asinh", "linear"])
def test_fields_of_both_signs_are_alike(kind):
    scaling = default_scaling(["hmi_m"], kind=kind)
    field = np.linspace(-4000, 4000, 9, dtype=np.float32).reshape(1, 1, 9)
    scaled = scaling.scale(field).ravel()
    np.testing.assert_allclose(scaled, -scaled[::-1], atol=1e-5)
    assert scaling.floor[0] == -np.inf


def test_what_is_missing_is_dark_or_no_field():
    names = ["aia171", "hmi_m"]
    assert missing_values(names).tolist() == [-1, 0]
    low, none = default_scaling(names).unscale(missing_values(names)[None, :, None, None])[0, :, 0, 0]
    assert low == pytest.approx(5)
    assert none == 0


def test_wrong_numbers_of_channels_are_refused():
    with pytest.raises(UsageError, match="has 1 channels, the images have 3"):
        default_scaling(["aia171"]).scale(np.ones((3, 4, 4), np.float32))


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "cube", "low": (1,), "high": (2,)},
        {"low": (2,), "high": (1,)},
        {"low": (0,), "high": (1,)},
        {"kind": ("log", "linear"), "low": (1,), "high": (2,)},
        {"kind": ("linear", "log"), "low": (1, 0), "high": (2, 2)},
    ],
)
def test_senseless_scalings_are_refused(settings):
    with pytest.raises(ValueError, match=r"scaling|limit"):
        IntensityScaling(**settings)
