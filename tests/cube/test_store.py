import numpy as np
import pytest
import xarray as xr
import zarr

from sunaug.cube import FrameStatus, create_cube, open_cube, shard_ranges, write_frames
from sunaug.cube.schema import FRAME_VARIABLES, OBSERVED_VARIABLES, SYNTHETIC_VARIABLES
from sunaug.cube.store import commit, grow_cube
from sunaug.errors import SunaugError, UsageError

TIMES = np.datetime64("2012-01-01", "ns") + np.arange(5) * np.timedelta64(1, "D")
SETTINGS = {"channels": ["171", "aia94"], "size": 16, "disk_radius": 7.0, "intensity_scale": "physical"}


@pytest.fixture
def path(tmp_path):
    create_cube(tmp_path / "cube.zarr", times=TIMES, attrs={"processing": [{"step": "x"}]}, **SETTINGS)
    return tmp_path / "cube.zarr"


def test_a_new_cube_has_the_schema_and_nothing_else(path):
    cube = open_cube(path)
    assert set(cube) == set(FRAME_VARIABLES | OBSERVED_VARIABLES)
    assert dict(cube.sizes) == {"time": 5, "channel": 2, "y": 16, "x": 16}
    assert list(cube["channel"].values) == ["aia171", "aia94"]
    assert (cube["frame_status"] == FrameStatus.PENDING).all()
    assert cube["intensity"].isnull().all(), "a frame not yet written is NaN, never 0"
    assert cube["forecast_flux"].isnull().all()
    np.testing.assert_array_equal(cube["time"].values, TIMES)
    assert float(cube["x"][-1] - cube["x"][0]) == pytest.approx(15 * 959.63 / 7)
    assert cube.attrs["wcs"]["CRPIX1"] == 8.5


def test_other_readers_see_it_too(path):
    assert xr.open_zarr(path, consolidated=False)["intensity"].dims == ("time", "channel", "y", "x")
    assert zarr.open_group(path, mode="r")["intensity"].shards == (5, 2, 16, 16)


def test_frames_come_back_as_written(path):
    image = np.random.default_rng(0).random((2, 2, 16, 16), dtype=np.float32)
    write_frames(
        path,
        1,
        {
            "frame_status": np.full(2, FrameStatus.COMPLETE, np.int8),
            "intensity": image,
            "source": np.array([["a.fits", "b.fits"]] * 2),
        },
    )
    cube = open_cube(path)
    np.testing.assert_array_equal(cube["intensity"].values[1:3], image)
    assert list(cube["frame_status"].values) == [0, 1, 1, 0, 0]
    assert cube["source"].values[2, 1] == "b.fits"


def test_shards_tile_the_frames(tmp_path, monkeypatch):
    monkeypatch.setattr("sunaug.cube.store.SHARD_BYTES", 2 * 2 * 16 * 16 * 4)
    create_cube(tmp_path / "c.zarr", times=TIMES, **SETTINGS)
    assert shard_ranges(open_cube(tmp_path / "c.zarr")) == [(0, 2), (2, 4), (4, 5)]


def test_a_synthetic_cube_has_samples_and_says_so(tmp_path):
    create_cube(tmp_path / "s.zarr", n_samples=3, directions=["flare"], **SETTINGS)
    cube = open_cube(tmp_path / "s.zarr")
    assert set(cube) == set(FRAME_VARIABLES | SYNTHETIC_VARIABLES)
    assert "SYNTHETIC" in cube.attrs["title"]
    assert cube.sizes["sample"] == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": []}, "at least one channel"),
        ({"channels": ["aia195"]}, "unknown channel"),
        ({"size": 0}, "above zero"),
        ({"intensity_scale": "bright"}, "unknown intensity scale"),
        ({"times": TIMES[::-1]}, "ascending"),
        ({"times": TIMES[[0, 0]]}, "ascending"),
        ({"times": None}, "either the times"),
    ],
)
def test_what_makes_no_cube_is_refused(tmp_path, change, message):
    with pytest.raises(UsageError, match=message):
        create_cube(tmp_path / "c.zarr", **{"times": TIMES, **SETTINGS, **change})
    assert not (tmp_path / "c.zarr").exists()


def test_nothing_is_overwritten(path):
    with pytest.raises(SunaugError, match="exists already"):
        create_cube(path, times=TIMES, **SETTINGS)


def test_what_is_no_cube_is_named(path, tmp_path):
    with pytest.raises(UsageError, match="no such cube"):
        open_cube(tmp_path / "none.zarr")
    (tmp_path / "folder").mkdir()
    with pytest.raises(SunaugError, match="not a Zarr cube"):
        open_cube(tmp_path / "folder")
    zarr.open_group(path, mode="r+").attrs["schema_version"] = "99"
    with pytest.raises(SunaugError, match="has schema version 99, this sunaug reads version 2"):
        open_cube(path)


def test_creating_that_was_stopped_is_begun_anew(tmp_path):
    path = tmp_path / "c.zarr"
    zarr.create_group(path, attributes={"creation_unfinished": True})
    with pytest.raises(SunaugError, match="run its command again"):
        open_cube(path)
    create_cube(path, times=TIMES, **SETTINGS)
    assert open_cube(path).sizes["time"] == 5


def test_intensity_is_rounded_when_it_is_written(tmp_path):
    create_cube(tmp_path / "c.zarr", times=TIMES, keep_bits=10, **SETTINGS)
    image = np.random.default_rng(0).lognormal(3, 2, (5, 2, 16, 16)).astype(np.float32)
    image[0, 0, 0, 0] = np.nan
    write_frames(tmp_path / "c.zarr", 0, {"intensity": image, "frame_status": np.ones(5, np.int8)})
    cube = open_cube(tmp_path / "c.zarr")
    assert cube["intensity"].attrs["keep_bits"] == 10
    stored = cube["intensity"].values
    assert np.isnan(stored[0, 0, 0, 0])
    assert np.nanmax(np.abs(stored / image - 1)) <= 2.0**-11
    assert (stored != image).mean() > 0.9


def test_grown_frames_show_when_they_are_committed(path):
    write_frames(path, 0, {"frame_status": np.ones(5, np.int8), "intensity": np.ones((5, 2, 16, 16), np.float32)})
    before = open_cube(path)
    later = TIMES[-1] + np.arange(1, 4) * np.timedelta64(1, "D")
    assert grow_cube(path, later) == (5, 8)
    write_frames(
        path,
        5,
        {"frame_status": np.ones(3, np.int8), "intensity": np.full((3, 2, 16, 16), 2, np.float32)},
        committed=False,
    )
    assert open_cube(path).sizes["time"] == before.sizes["time"] == 5
    np.testing.assert_array_equal(before["intensity"].values, 1)
    commit(path, {"note": "more"})
    after = open_cube(path)
    np.testing.assert_array_equal(after["time"].values, np.concatenate([TIMES, later]))
    np.testing.assert_array_equal(after["intensity"].values[:, 0, 0, 0], [1] * 5 + [2] * 3)
    assert after["forecast_flux"].isnull().all()
    assert after.attrs["note"] == "more"
    np.testing.assert_array_equal(before["intensity"].values, 1)
    with pytest.raises(UsageError, match="later than the cube's last frame"):
        grow_cube(path, later)
