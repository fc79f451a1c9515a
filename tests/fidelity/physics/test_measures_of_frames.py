"""Every family on made-up frames, where the answer is known."""

import numpy as np
import pytest
from scipy.special import erfc

from sunaug.errors import UsageError
from sunaug.fidelity.physics import FAMILIES, Geometry, count, distance, tables, tabulate, typical
from sunaug.fidelity.physics.spectrum import radial_power

SIZE, RADIUS = 64, 28.0
CHANNELS = ["aia171", "aia131", "aia94"]
GEOMETRY = Geometry(SIZE, RADIUS)
LARGE = Geometry(128, 56.0)


def distance_map(geometry, offset=(0.0, 0.0), flattening=0.0):
    """Distance from the centre in stated radii, of an ellipse with its long axis along x."""
    axis = np.arange(geometry.size) - (geometry.size - 1) / 2
    x, y = np.meshgrid(axis - offset[0], axis - offset[1])
    return np.hypot(x * np.sqrt(1 - flattening), y / np.sqrt(1 - flattening)) / geometry.disk_radius


def disk(geometry, limb=1.0, softness=1.0, **shape):
    """An even disk of 100 counts whose edge is a Gaussian's integral of `softness` pixels, in three channels."""

    edge = erfc((distance_map(geometry, **shape) - limb) * geometry.disk_radius / softness / np.sqrt(2)) / 2
    return np.repeat((100 * edge)[None, None], 3, axis=1).astype(np.float32)


def value(table, name):
    return float(table[name].values[0])


def one(frame, geometry=LARGE, channels=CHANNELS, scale="browse"):
    return tabulate(frame, channels, scale, geometry)


def test_columns_have_their_frames_units_and_families(suns):
    frames = suns(5, 1)
    table = tabulate(frames, CHANNELS, "browse", GEOMETRY)
    assert count(table) == 5
    families = [column.family for column in table.values()]
    assert families == sorted(families, key=FAMILIES.index)
    assert set(families) == set(FAMILIES) - {"energy", "magnetic"}
    for name, column in table.items():
        assert column.values.dtype == np.float32, name
        assert len(column.values) == 5, name
        assert column.unit, name
        assert (column.kind == "scalar") == (column.positions is None) == (not column.axis), name
        if not name.startswith(("saturated_", "conditional_mean")):
            assert np.isfinite(column.values).all(), name


@pytest.mark.parametrize("size", [32, 64, 128])
def test_the_same_measures_at_every_size(suns, size):
    table = tabulate(suns(3, 1, size=size), CHANNELS, "browse", Geometry(size, 0.4375 * size))
    assert table.keys() == tabulate(suns(3, 1), CHANNELS, "browse", GEOMETRY).keys()
    assert typical(table["limb_radius aia171"]) == pytest.approx(1.03, abs=0.06)


def test_batches_do_not_matter(suns):
    frames, seen = suns(40, 5), []
    whole = tables([frames], CHANNELS, "browse", GEOMETRY)
    parts = tables(iter([frames[:3], frames[3:]]), CHANNELS, "browse", GEOMETRY, report=seen.append)
    assert seen == [3, 40]
    for name, column in whole.items():
        np.testing.assert_allclose(parts[name].values, column.values, rtol=2e-4, atol=2e-5, err_msg=name)


def test_limb_is_where_it_was_put():
    table = one(disk(LARGE, 1.02, offset=(1.5, -0.8)))
    for name in CHANNELS:
        assert value(table, f"limb_radius {name}") == pytest.approx(1.02, abs=0.004)
        assert value(table, f"limb_offset {name}") == pytest.approx(1.7 / 56, abs=0.003)
        assert value(table, f"limb_ellipticity {name}") == pytest.approx(0, abs=0.002)
    # The edge's own width, that of the fit's smoothing and that of bilinear sampling add up in squares.
    for softness in (1.0, 2.0):
        width = value(one(disk(LARGE, softness=softness)), "limb_width aia171") * 56
        assert width == pytest.approx(2.355 * np.sqrt(softness**2 + 1 + 1 / 4), rel=0.08)
    assert value(one(disk(LARGE, flattening=0.02)), "limb_ellipticity aia171") == pytest.approx(0.02, abs=0.003)


def test_profile_is_that_of_the_disk():
    radii = distance_map(LARGE)
    frame = np.repeat((50 + 100 * np.clip(radii, 0, 1.2))[None, None], 3, axis=1)
    profile = one(frame)["profile aia171"]
    np.testing.assert_allclose(profile.values[0, 2:] * 255, 50 + 100 * profile.positions[2:], atol=0.6)
    frame[:, :, 64:100, 64:70] = 255
    np.testing.assert_allclose(one(frame)["profile aia171"].values[0, 8:], profile.values[0, 8:], atol=0.02)


def test_brightness_is_that_of_the_pixels(suns):
    frames = suns(4, 2)
    table = tabulate(frames, CHANNELS, "browse", GEOMETRY)
    np.testing.assert_allclose(table["total aia171"].values, frames[:, 0].mean(axis=(1, 2)) / 255, rtol=1e-5)
    near = distance_map(GEOMETRY) <= 0.8
    np.testing.assert_allclose(
        table["quiet_level aia94"].values, np.median(frames[:, 2][:, near], axis=1) / 255, rtol=1e-5
    )
    bins = table["intensity aia131"]
    np.testing.assert_array_equal(bins.values.sum(axis=1), SIZE**2)
    mean = bins.values.astype(float) @ bins.positions / SIZE**2
    np.testing.assert_allclose(mean, frames[:, 1].mean(axis=(1, 2)) / 255, atol=0.5 / 256)
    ratio = table["total aia94"].values / table["total aia171"].values
    np.testing.assert_allclose(table["hot_to_cool aia94/aia171"].values, ratio, rtol=1e-5)


def test_saturated_patch_has_its_area_and_shape():
    frames = np.repeat(disk(LARGE), 4, axis=0)
    frames[1, 0, 60:64, 60:64] = 255
    frames[1, 0, 20:22, 60:62] = 255
    frames[2, 0, 30:90, 64:66] = 255
    round_one = distance_map(LARGE) < 0.2
    frames[3, 0, round_one] = 255
    table = tabulate(frames, CHANNELS, "browse", LARGE)
    disk_area = np.pi * 56**2
    pixels = [0, 20, 120, round_one.sum()]
    np.testing.assert_allclose(table["saturated_share aia171"].values, np.array(pixels) / 128**2, rtol=1e-5)
    np.testing.assert_allclose(
        table["saturated_patch aia171"].values, np.array([0, 16, 120, pixels[3]]) / disk_area, rtol=1e-5
    )
    np.testing.assert_allclose(table["saturated_elongation aia171"].values, [np.nan, 1, 30, 1], rtol=0.01)
    np.testing.assert_allclose(
        table["saturated_compactness aia171"].values, [np.nan, 3 / np.pi, 120 / (2 * np.pi * 3604 / 12), 1], rtol=0.01
    )
    assert (table["saturated_patch aia94"].values == 0).all()


def test_power_of_a_wave_is_in_its_ring():
    x = np.arange(SIZE)
    wave = np.broadcast_to(np.cos(2 * np.pi * 12 * x / SIZE), (1, SIZE, SIZE))
    assert radial_power(wave, GEOMETRY).shape == (1, SIZE // 2)
    assert radial_power(wave, GEOMETRY)[0].argmax() + 1 == 12
    turned = radial_power(np.swapaxes(wave, 1, 2), GEOMETRY)
    np.testing.assert_allclose(turned, radial_power(wave, GEOMETRY), rtol=1e-3, atol=1e-3)


def power_law(slope, count=20, size=128):
    """Frames (count, 3, size, size) of counts whose power falls with the frequency to the power of `slope`."""
    random = np.random.default_rng(0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    frequency[0, 0] = np.inf
    noise = np.fft.ifft2(np.fft.fft2(random.normal(size=(count, 3, size, size))) * frequency ** (slope / 2)).real
    return (128 + 20 * noise / noise.std()).astype(np.float32)


@pytest.mark.parametrize("slope", [-3.0, -1.5, 0.0])
def test_slope_is_that_of_the_power_law(slope):
    table = tabulate(power_law(slope), CHANNELS, "browse", LARGE)
    assert typical(table["spectral_slope aia171"]) == pytest.approx(slope, abs=0.15)
    assert table["power_spectrum aia171"].values.shape == (20, 64)


def test_upsampling_artefacts_are_seen_at_the_edge_of_the_frequency_plane():
    clean = power_law(-2.0)
    rows, columns = np.indices((128, 128))
    signs = {"checkerboard": (-1.0) ** (rows + columns), "stripes": (-1.0) ** rows, "across": (-1.0) ** columns}
    tables_ = {name: tabulate(clean * (1 + 0.01 * sign), CHANNELS, "browse", LARGE) for name, sign in signs.items()}
    plain = tabulate(clean, CHANNELS, "browse", LARGE)
    for measured in ("checkerboard", "stripes"):
        column = f"{measured} aia131"
        assert typical(plain[column]) == pytest.approx(0, abs=0.4)
        for name, table in tables_.items():
            seen = name == measured or (name == "across" and measured == "stripes")
            assert (distance(table[column], plain[column]) > 0.8) == seen, (measured, name)


def test_channels_that_belong_together_and_not(suns):
    frames = suns(6, 3)
    table = tabulate(frames, CHANNELS, "browse", GEOMETRY)
    turned = tabulate(np.stack([frames[:, 0], frames[::-1, 1], frames[:, 2]], axis=1), CHANNELS, "browse", GEOMETRY)
    assert (turned["correlation aia171/aia131"].values < table["correlation aia171/aia131"].values - 0.1).all()
    np.testing.assert_array_equal(turned["correlation aia171/aia94"].values, table["correlation aia171/aia94"].values)
    joint = table["joint aia171/aia131"]
    np.testing.assert_allclose(joint.values.mean(axis=1), 0.5, rtol=1e-5)
    # Nothing in common: a total variation of 1.
    bright = tabulate(np.full((2, 3, SIZE, SIZE), 254.0), CHANNELS, "browse", GEOMETRY)
    assert distance(joint, bright["joint aia171/aia131"]) == pytest.approx(1, abs=1e-4)
    linear = np.stack([frames[:, 0], frames[:, 0] / 2, frames[:, 2]], axis=1)
    mean = tabulate(linear, CHANNELS, "browse", GEOMETRY)["conditional_mean aia131|aia171"]
    known = np.isfinite(mean.values).all(axis=0)
    np.testing.assert_allclose(mean.values[0, known], mean.positions[known] / 2, atol=1 / 32)


def patch(latitude, longitude, angle, geometry=LARGE):
    axis = (np.arange(geometry.size) - (geometry.size - 1) / 2) / geometry.disk_radius
    y, x = np.meshgrid(axis, axis, indexing="ij")
    z = np.sqrt(np.maximum(1 - x**2 - y**2, 0))
    lat, lon = np.radians([latitude, longitude])
    toward = x * np.cos(lat) * np.sin(lon) + y * np.sin(lat) + z * np.cos(lat) * np.cos(lon)
    return (toward > np.cos(np.radians(angle))) & (x**2 + y**2 < 1)


def test_regions_are_where_they_were_planted():
    frames = np.repeat(disk(LARGE), 2, axis=0) + np.random.default_rng(0).normal(0, 8, (2, 3, 128, 128))
    frames[0][:, patch(20, -30, 8)] += 100
    frames[0][:, patch(-10, 10, 8)] += 100
    table = tabulate(frames, CHANNELS, "browse", LARGE)
    assert value(table, "region_number") == 2
    assert value(table, "region_latitude") == pytest.approx(15, abs=1.5)
    assert value(table, "region_latitude_spread") == pytest.approx(5, abs=0.7)
    assert value(table, "region_largest") < value(table, "region_area") < 2.05 * value(table, "region_largest")
    for name, places in (("region_belts", (20, -10)), ("region_meridians", (-30, 10))):
        column = table[name]
        assert column.values[0].sum() == pytest.approx(value(table, "region_area"), rel=1e-4)
        for place in places:
            assert column.values[0][np.abs(column.positions - place) <= 5].sum() > 0.01
    empty = {name: float(column.values[1]) for name, column in table.items() if column.kind == "scalar"}
    assert empty["region_number"] == empty["region_area"] == empty["region_largest"] == 0
    assert np.isnan(empty["region_latitude"])
    assert np.isnan(empty["region_latitude_spread"])
    assert table["region_belts"].values[1].sum() == 0


def test_flux_of_magnetograms():
    field = np.zeros((3, 1, 128, 128), np.float32)
    field[0, 0, 40:50, 60:70] = 300
    field[0, 0, 70:80, 60:70] = -300
    field[1, 0, 40:50, 60:70] = 300
    field[1, 0, 70:80, 60:70] = -100
    table = tabulate(field, ["hmi_m"], "physical", LARGE)
    np.testing.assert_allclose(table["flux_balance hmi_m"].values, [0, 0.5, np.nan], atol=1e-6)
    pixels = (distance_map(LARGE) <= 0.95).sum()
    np.testing.assert_allclose(table["unsigned_flux hmi_m"].values, np.array([60000, 40000, 0]) / pixels, rtol=1e-5)
    counts = tabulate(field / 3000 * 127.5 + 127.5, ["hmi_m"], "browse", LARGE)
    np.testing.assert_allclose(counts["flux_balance hmi_m"].values[:2], [0, 0.5], atol=1e-5)
    assert {column.family for column in table.values()} == {"intensity", "spectrum", "magnetic"}
    assert table["intensity hmi_m"].unit == "gauss"
    shifted = tabulate(field + 100, ["hmi_m"], "physical", LARGE)
    assert distance(shifted["intensity hmi_m"], table["intensity hmi_m"]) == pytest.approx(100, rel=0.05)
    assert not any(name.startswith("unsigned") for name in tabulate(field, ["hmi_v"], "physical", LARGE))


def test_physical_units_are_decades(suns):
    frames = suns(6, 6) * 10 + 30
    bright, faint = (tabulate(one, CHANNELS, "physical", GEOMETRY) for one in (frames * 10, frames))
    for name in ("total aia171", "quiet_level aia131"):
        assert distance(bright[name], faint[name]) == pytest.approx(1, abs=1e-3)
        assert bright[name].unit == "dex"
    assert distance(bright["intensity aia171"], faint["intensity aia171"]) == pytest.approx(1, abs=0.01)
    assert distance(bright["hot_to_cool aia94/aia171"], faint["hot_to_cool aia94/aia171"]) < 1e-5
    saturated = tabulate(frames * 1000, CHANNELS, "physical", GEOMETRY)
    assert (saturated["saturated_share aia171"].values > 0.5).all()


def test_missing_pixels(suns):
    frames = suns(4, 7)
    whole = tabulate(frames, CHANNELS, "browse", GEOMETRY)
    gap = frames.copy()
    gap[0, :, 30:34, 30:36] = np.nan
    gap[1, 2] = np.nan
    table = tabulate(gap, CHANNELS, "browse", GEOMETRY)
    for name, column in table.items():
        np.testing.assert_allclose(column.values[2:], whole[name].values[2:], rtol=1e-5, err_msg=name)
        assert column.kind == "histogram" or np.isfinite(column.values).all() or "aia94" in name or "_" in name, name
    np.testing.assert_allclose(table["profile aia171"].values[0, 5:], whole["profile aia171"].values[0, 5:], atol=0.03)
    assert table["intensity aia171"].values[0].sum() == SIZE**2 - 24
    for name in (
        "total aia94",
        "limb_radius aia94",
        "correlation aia171/aia94",
        "hot_to_cool aia94/aia171",
        "region_number",
    ):
        np.testing.assert_array_equal(np.isnan(table[name].values), [False, True, False, False], err_msg=name)
    assert table["intensity aia94"].values[1].sum() == 0
    assert np.isnan(table["power_spectrum aia94"].values[1]).all()
    assert np.isfinite(distance(table["power_spectrum aia94"], whole["power_spectrum aia94"]))


def test_many_channels_are_paired_with_the_next(suns):
    names = ["aia94", "aia131", "aia171", "aia193", "aia211", "hmi_m"]
    frames = np.concatenate([suns(2, 1), suns(2, 2)], axis=1) + 1
    table = tabulate(frames, names, "physical", GEOMETRY)
    assert sum(name.startswith("joint") for name in table) == 4
    assert "joint aia171/aia193" in table
    assert "limb_radius hmi_m" not in table
    assert "checkerboard hmi_m" in table


def test_what_cannot_be_measured(suns):
    frames = suns(2, 1)
    with pytest.raises(UsageError, match="at least one frame"):
        tables([], CHANNELS, "browse", GEOMETRY)
    with pytest.raises(UsageError, match="at least one frame"):
        tabulate(frames[:0], CHANNELS, "browse", GEOMETRY)
    with pytest.raises(UsageError, match="do not fit 2 channels of 64 pixels"):
        tabulate(frames, CHANNELS[:2], "browse", GEOMETRY)
    with pytest.raises(UsageError, match="unknown intensity scale 'counts'"):
        tabulate(frames, CHANNELS, "counts", GEOMETRY)
