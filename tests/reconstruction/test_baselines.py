import numpy as np
import pytest

from sunaug.cube import create_cube, open_cube, write_frames
from sunaug.errors import SunaugError
from sunaug.reconstruction import fit_baselines, real_frames
from tests.models import CHANNELS


def tied_cube(path, months=(1, 8)):
    """Frames of noise whose 94 Å is a quadratic function of the two others, another one in each half of the frame."""
    random = np.random.default_rng(0)
    start = [np.datetime64(f"2012-{month:02d}-03", "ns") for month in months]
    times = np.concatenate([day + np.arange(70) * np.timedelta64(1, "h") for day in start])
    images = random.uniform(0, 255, (len(times), 3, 16, 16))
    first, second = (images[:, number] / 127.5 - 1 for number in (0, 1))
    half = np.arange(16) < 8
    images[:, 2] = 127.5 * (1 + np.where(half, 0.3 * first * second - 0.2 * second**2, 0.5 * first + 0.1))
    create_cube(path, channels=CHANNELS, size=16, disk_radius=7.0, intensity_scale="browse", times=times)
    status = np.ones(len(times), np.int8)
    write_frames(path, 0, {"intensity": images.astype(np.float32), "frame_status": status})
    return open_cube(path)


def test_the_regression_finds_a_quadratic_at_each_place_and_the_mean_frame_is_one(tmp_path, bundle):
    cube = tied_cube(tmp_path / "tied.zarr")
    fitted = fit_baselines(cube, bundle.info, ["aia171", "aia131"])
    scaled = bundle.info.scaling.scale(cube["intensity"].values)
    np.testing.assert_allclose(fitted.mean.numpy()[0], scaled[:70, 2].mean(axis=0), atol=1e-5)
    found = fitted.errors(real_frames(cube, bundle, n=5))
    assert (found["regression"].rms[:, 2] < 0.01).all()
    assert (found["mean frame"].rms[:, 2] > 0.1).all()
    assert np.isnan(found["regression"].rms[:, :2]).all()
    assert np.isnan(found["mean frame"].total[:, :2]).all()


def test_pixels_without_data_have_no_part_in_the_fit(tmp_path, bundle):
    cube = tied_cube(tmp_path / "tied.zarr").load()
    whole = fit_baselines(cube, bundle.info, ["aia171", "aia131"])
    cube["intensity"][3, 0, 2, 2] = np.nan
    cube["intensity"][:, 2, 5, 5] = np.nan
    fitted = fit_baselines(cube, bundle.info, ["aia171", "aia131"])
    kept = np.delete(bundle.info.scaling.scale(cube["intensity"].values[:70])[:, 2, 2, 2], 3)
    assert fitted.mean[0, 2, 2].item() == pytest.approx(kept.mean(), abs=1e-6)
    assert (fitted.coefficients[5, 5] == 0).all()
    np.testing.assert_array_equal(fitted.coefficients[8:].numpy(), whole.coefficients[8:].numpy())


def test_no_train_months_no_baselines(tmp_path, bundle):
    cube = tied_cube(tmp_path / "august.zarr", months=(8,))
    with pytest.raises(SunaugError, match="no usable frame in the train months"):
        fit_baselines(cube, bundle.info, ["aia171"])


def test_a_channel_that_the_cube_lacks_has_no_errors(tmp_path, bundle):
    cube = tied_cube(tmp_path / "tied.zarr").sel(channel=["aia171", "aia131"])
    found = fit_baselines(cube, bundle.info, ["aia171", "aia131"]).errors(real_frames(cube, bundle, n=2))
    assert found["regression"].rms.shape == (2, 3)
    assert np.isnan(found["regression"].rms).all()
    assert np.isnan(found["mean frame"].total).all()
