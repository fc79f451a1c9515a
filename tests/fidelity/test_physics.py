import numpy as np
import pytest
from scipy import ndimage

from sunaug.errors import UsageError
from sunaug.fidelity.physics import Geometry, compare, measure, radial_power

SIZE, RADIUS = 64, 28.0
CHANNELS = ["aia171", "aia131", "aia94"]
GEOMETRY = Geometry(SIZE, RADIUS)


@pytest.fixture(scope="module")
def real(suns):
    return measure([suns(24, 1), suns(24, 2)], CHANNELS, "browse", GEOMETRY)


@pytest.fixture(scope="module")
def other_real(suns):
    return measure([suns(48, 3)], CHANNELS, "browse", GEOMETRY)


def times_the_floor(frames, real, other_real):
    """Distance over floor of every measure."""
    table = compare(measure([frames], CHANNELS, "browse", GEOMETRY), real, other_real)
    return {name: row["distance"] / row["floor"] for name, row in table.items()}


def test_power_of_a_wave_is_in_its_ring():
    x = np.arange(SIZE)
    wave = np.broadcast_to(np.cos(2 * np.pi * 12 * x / SIZE), (1, SIZE, SIZE))
    assert radial_power(wave, GEOMETRY).shape == (1, SIZE // 2)
    assert radial_power(wave, GEOMETRY)[0].argmax() + 1 == 12
    turned = radial_power(np.swapaxes(wave, 1, 2), GEOMETRY)
    np.testing.assert_allclose(turned, radial_power(wave, GEOMETRY), rtol=1e-9)


def test_power_of_white_noise_is_flat():
    noise = np.random.default_rng(0).normal(size=(50, SIZE, SIZE))
    power = radial_power(noise, GEOMETRY).mean(axis=0)
    np.testing.assert_allclose(power[2:], power[2:].mean(), rtol=0.15)


def test_undamaged_frames_stay_near_the_floor(real, other_real, suns):
    assert max(times_the_floor(suns(48, 4), real, other_real).values()) < 6


@pytest.mark.parametrize(
    ("damage", "noticed_by"),
    [
        (
            lambda frames: ndimage.gaussian_filter(frames, (0, 0, 1, 1)),
            ["fine_structure aia171", "power_spectrum aia94"],
        ),
        (
            lambda frames: frames + np.random.default_rng(0).normal(0, 5, frames.shape),
            ["fine_structure aia94", "power_spectrum aia94"],
        ),
        (lambda frames: np.roll(frames, 2, axis=3), ["limb_offset aia171"]),
        (lambda frames: frames * np.array([1, 1.1, 1])[:, None, None], ["total aia131", "hot_to_cool aia131/aia171"]),
        (lambda frames: frames[:, [1, 0, 2]], ["hot_to_cool aia131/aia171", "total aia171"]),
        (lambda frames: frames * 0.8, ["intensity aia171", "total aia94"]),
    ],
    ids=["blur", "noise", "shift", "one channel brighter", "swapped channels", "darker"],
)
def test_damage_is_noticed(damage, noticed_by, real, other_real, suns):
    ratios = times_the_floor(damage(suns(48, 4)), real, other_real)
    for name in noticed_by:
        assert ratios[name] > 8, name


def test_larger_disk_and_corona_are_noticed(real, other_real, suns):
    assert times_the_floor(suns(48, 4, limb=1.03), real, other_real)["limb_radius aia171"] > 8


def test_collapse_to_one_frame_is_noticed(real, other_real, suns):
    ratios = times_the_floor(np.repeat(suns(1, 4), 48, axis=0), real, other_real)
    assert ratios["total aia171"] > 2


def test_a_set_against_itself_is_at_zero(real):
    for name, row in compare(real, real).items():
        assert row["distance"] == pytest.approx(0, abs=1e-12), name
        assert row["floor"] is None
        assert row["unit"]


def test_batches_do_not_matter(suns):
    frames = suns(10, 5)
    whole = measure([frames], CHANNELS, "browse", GEOMETRY)
    parts = measure([frames[:3], frames[3:]], CHANNELS, "browse", GEOMETRY)
    for row in compare(whole, parts).values():
        assert row["distance"] == pytest.approx(0, abs=1e-9)


def test_physical_units_are_decades(suns):
    frames = suns(6, 6) * 10 + 30
    table = compare(
        measure([frames * 10], CHANNELS, "physical", GEOMETRY), measure([frames], CHANNELS, "physical", GEOMETRY)
    )
    assert table["total aia171"]["distance"] == pytest.approx(1.0, abs=1e-3)
    assert table["total aia171"]["unit"] == "dex"
    assert table["hot_to_cool aia94/aia171"]["distance"] == pytest.approx(0.0, abs=1e-6)
    assert table["intensity aia171"]["distance"] == pytest.approx(1.0, abs=0.01)


def test_missing_pixels_and_magnetograms(suns):
    frames = suns(4, 7)
    frames[:, :, :5] = np.nan
    frames[:, 2] -= 30
    measured = measure([frames], ["aia171", "aia131", "hmi_m"], "physical", GEOMETRY)
    assert all(np.isfinite(values).all() for values in measured.per_frame.values())
    assert "limb_radius hmi_m" not in measured.per_frame
    assert "fine_structure hmi_m" in measured.per_frame


def test_what_cannot_be_measured():
    with pytest.raises(UsageError, match="at least one frame"):
        measure([], CHANNELS, "browse", GEOMETRY)
