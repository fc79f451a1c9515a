import numpy as np
import pytest

from sunaug.cube import FrameStatus, open_cube, write_frames
from sunaug.errors import SunaugError, UsageError
from sunaug.reconstruction import real_frames
from tests.models import CHANNELS, make_cube


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    return open_cube(make_cube(tmp_path_factory.mktemp("cube") / "real.zarr"))


def test_frames_are_evenly_spaced_over_the_split(cube, bundle):
    frames = real_frames(cube, bundle, n=4)
    august = cube["time"].values[24:]
    np.testing.assert_array_equal(frames.times, august[[0, 8, 15, 23]])
    assert len(real_frames(cube, bundle, n=100)) == 24
    assert len(real_frames(cube, bundle, n=100, split="all")) == 48
    np.testing.assert_array_equal(frames.fluxes[:, 1], cube["forecast_flux"].values[24:][[0, 8, 15, 23]])
    assert frames.counted == tuple(CHANNELS)


def test_channels_are_in_the_bundles_order_and_missing_ones_are_nan(cube, bundle):
    part = cube.sel(channel=["aia94", "aia171"])
    frames = real_frames(part, bundle, n=2)
    intensity = frames.intensity()
    assert frames.counted == ("aia171", "aia94")
    np.testing.assert_array_equal(intensity[1, 2], cube["intensity"].sel(channel="aia94").values[47])
    assert np.isnan(intensity[:, 1]).all()


def test_only_the_channels_gone_by_count(cube, bundle):
    frames = real_frames(cube, bundle, ["131", "AIA 171"], n=2)
    counting = frames.what_counts(frames.intensity())
    assert counting[:, :2].isfinite().all()
    assert counting[:, 2].isnan().all()


def test_a_partial_frame_is_taken_where_it_has_what_counts(tmp_path, bundle):
    path = make_cube(tmp_path / "real.zarr", months=(8,), frames=3)
    observed = np.full((3, 3), np.iinfo(np.int64).min)
    observed[1, :2] = 0
    status = np.array([FrameStatus.REJECTED, FrameStatus.PARTIAL, FrameStatus.PENDING], np.int8)
    write_frames(path, 0, {"observed_at": observed, "frame_status": status})
    cube = open_cube(path)
    np.testing.assert_array_equal(real_frames(cube, bundle, ["aia171"]).times, cube["time"].values[1:2])
    with pytest.raises(SunaugError, match="no usable frame of aia94 in the split validation"):
        real_frames(cube, bundle, ["aia94"])


def test_a_frame_without_a_pixel_is_refused(cube, bundle):
    frames = real_frames(cube, bundle, ["aia94"], n=2)
    intensity = frames.intensity()
    intensity[1, 2] = np.nan
    with pytest.raises(SunaugError, match="a frame has no pixel in aia94"):
        frames.what_counts(intensity)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n": 0}, "--n 0: ask for at least one frame"),
        ({"split": "august"}, "--split august: choose one of train, validation, test, all"),
        ({"channels": ["aia193"]}, "tiny has no channel aia193, only aia171, aia131, aia94"),
        ({"channels": []}, "has no channel that counts"),
    ],
)
def test_bad_requests(cube, bundle, options, sentence):
    with pytest.raises(UsageError, match=sentence):
        real_frames(cube, bundle, **options)


def test_a_cube_that_the_bundle_does_not_go_with(tmp_path, cube, bundle):
    other = open_cube(make_cube(tmp_path / "large.zarr", frames=2, size=32))
    with pytest.raises(UsageError, match=r"different frame sizes \(32 against 16\)"):
        real_frames(other, bundle)
    with pytest.raises(UsageError, match=r"different intensity scales \(physical against browse\)"):
        real_frames(cube.assign_attrs(intensity_scale="physical"), bundle)
    with pytest.raises(UsageError, match=r"real.zarr has no channel aia94"):
        real_frames(cube.sel(channel=["aia171"]), bundle, ["aia94"])
    with pytest.raises(UsageError, match="is a synthetic cube"):
        real_frames(cube.rename(time="sample"), bundle)
