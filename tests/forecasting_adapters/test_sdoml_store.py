import numpy as np
import pytest
import zarr
from numcodecs import Blosc

from forecasting_adapters.sdoml import write_sdoml
from sunaug.cube import FrameStatus, create_cube, open_cube, write_frames
from sunaug.errors import SunaugError, UsageError
from sunaug.sources import sdoml

SIZE = 512
RADIUS = 976 / 4.8
CHANNELS = ("aia171", "hmi_bz")
COUNT = 17


def make_store(path):
    """An SDOML v2 store with AIA and HMI, 17 frames in two years, as its authors write one."""
    random = np.random.default_rng(0)
    compressor = Blosc(cname="zstd", clevel=5, shuffle=Blosc.BITSHUFFLE)
    root = zarr.create_group(path, zarr_format=2)
    for year, count, start in (("2012", 16, "2012-01-31T23:00:00.34"), ("2013", 1, "2013-01-01T00:00:00.10")):
        times = np.datetime64(start, "ms") + np.arange(count) * np.timedelta64(6, "m")
        tai = times.astype("datetime64[s]") + np.timedelta64(34 if year == "2012" else 35, "s")
        attributes = {
            "171A": {
                "T_OBS": [f"{text[:-1]}Z" for text in np.datetime_as_string(times)],
                "EXPTIME": random.uniform(0.5, 3, count).tolist(),
                "DEG_COR": random.uniform(0.5, 1, count).tolist(),
                "PIXLUNIT": ["DN/s"] * count,
            },
            "Bz": {
                "T_OBS": [text.replace("-", ".").replace("T", "_") + "_TAI" for text in np.datetime_as_string(tai)],
                "PIXLUNIT": ["Gauss"] * count,
            },
        }
        group = root.create_group(year)
        for name, own in attributes.items():
            shape = (count, SIZE, SIZE)
            array = group.create_array(name, shape=shape, chunks=(15, SIZE, SIZE), dtype="f4", compressors=compressor)
            # Few different values, so that the test compresses quickly.
            array[:] = np.repeat(random.normal(100, 50, (*shape[:2], 8)), SIZE // 8, axis=2)
            array.attrs.put(own | {"QUALITY": random.integers(0, 2**31, count).tolist()})
    return path


def make_cube(path, store, **settings):
    """The cube of all frames in a store, without a change."""
    seen = {}
    for reference in sdoml.refer(store):
        (observation,) = sdoml.read(reference)
        seen.setdefault(observation.channel, []).append(observation)
    pairs = list(zip(*(seen[name] for name in CHANNELS), strict=True))
    times = np.array([pair[0].time for pair in pairs])
    create_cube(
        path,
        **{"channels": CHANNELS, "size": SIZE, "disk_radius": RADIUS, "intensity_scale": "physical", "times": times}
        | settings,
    )
    for number, pair in enumerate(pairs):
        frame = {
            "intensity": np.stack([one.image for one in pair])[None],
            "exposure_time": np.array([[one.exposure_time for one in pair]], dtype=np.float32),
            "quality": np.array([[one.quality for one in pair]]),
            "observed_at": np.array([[one.time for one in pair]]).astype("datetime64[ns]").astype(np.int64),
            "degradation_factor": np.array([[one.degradation for one in pair]]),
            "frame_status": np.array([FrameStatus.COMPLETE], dtype=np.int8),
        }
        write_frames(path, number, frame)
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store") / "sdomlv2.zarr")


@pytest.fixture(scope="module")
def cube_path(store, tmp_path_factory):
    return make_cube(tmp_path_factory.mktemp("cube") / "cube.zarr", store)


def test_what_was_read_comes_out_again(store, cube_path, tmp_path):
    write_sdoml(open_cube(cube_path), tmp_path / "out.zarr")
    before, after = sdoml.refer(store), sdoml.refer(tmp_path / "out.zarr")
    assert [(one.member, one.time, one.channels) for one in after] == [
        (one.member, one.time, one.channels) for one in before
    ]
    assert len(after) == 2 * COUNT
    for old, new in zip(before, after, strict=True):
        (was,), (now,) = sdoml.read(old), sdoml.read(new)
        np.testing.assert_array_equal(now.image, was.image)
        assert (now.unit, now.quality) == (was.unit, was.quality)
        np.testing.assert_equal(now.degradation, was.degradation)
        np.testing.assert_equal(np.float32(now.exposure_time), np.float32(was.exposure_time))


def test_the_store_has_the_layout_of_sdoml(store, cube_path, tmp_path):
    write_sdoml(open_cube(cube_path), tmp_path / "out.zarr")
    real, ours = (zarr.open_group(path, mode="r", zarr_format=2) for path in (store, tmp_path / "out.zarr"))
    for name in ("2012/171A", "2012/Bz", "2013/171A", "2013/Bz"):
        was, now = real[name], ours[name]
        assert (now.shape, now.chunks, now.dtype, now.compressors) == (
            was.shape,
            was.chunks,
            was.dtype,
            was.compressors,
        )
        assert set(was.attrs) <= set(now.attrs)
        assert all(keyword.isupper() and len(values) == now.shape[0] for keyword, values in now.attrs.items())
        assert now.attrs["PIXLUNIT"] == was.attrs["PIXLUNIT"]
    assert ours["2012/Bz"].attrs["T_OBS"] == real["2012/Bz"].attrs["T_OBS"]
    assert "DEG_COR" not in ours["2012/Bz"].attrs
    assert np.array(ours["2012/171A"].attrs["CDELT1"]) * RADIUS == pytest.approx(ours["2012/171A"].attrs["RSUN_OBS"])


def test_frames_and_channels_that_are_not_there_are_left_out(cube_path, tmp_path):
    cube = open_cube(cube_path).load()
    cube["frame_status"][:3] = [FrameStatus.REJECTED, FrameStatus.PENDING, FrameStatus.PARTIAL]
    cube["observed_at"][2, 1] = np.datetime64("NaT", "ns")
    write_sdoml(cube, tmp_path / "out.zarr")
    found = sdoml.refer(tmp_path / "out.zarr")
    times = {name: [one.time for one in found if one.channels == (name,)] for name in CHANNELS}
    np.testing.assert_array_equal(times["aia171"], cube["observed_at"].values[2:, 0])
    np.testing.assert_array_equal(times["hmi_bz"], cube["observed_at"].values[3:, 1])
    (third,) = sdoml.read(next(one for one in found if one.time == times["aia171"][1]))
    np.testing.assert_array_equal(third.image, cube["intensity"].values[3, 0])


def test_without_a_degradation_factor_it_is_one(cube_path, tmp_path):
    cube = open_cube(cube_path).load()
    cube["degradation_factor"][0] = np.nan
    write_sdoml(cube.isel(time=slice(2), channel=[0]), tmp_path / "nan.zarr")
    first, second = zarr.open_group(tmp_path / "nan.zarr", mode="r")["2012/171A"].attrs["DEG_COR"]
    assert (first, second) == (1.0, cube["degradation_factor"].values[1, 0])
    write_sdoml(cube.drop_vars("degradation_factor").isel(time=slice(2), channel=[0]), tmp_path / "absent.zarr")
    assert zarr.open_group(tmp_path / "absent.zarr", mode="r")["2012/171A"].attrs["DEG_COR"] == [1.0, 1.0]


def test_an_unknown_exposure_stays_unknown(cube_path, tmp_path):
    cube = open_cube(cube_path).isel(time=slice(1), channel=[0]).load()
    cube["exposure_time"][:] = np.nan
    write_sdoml(cube, tmp_path / "out.zarr")
    (seen,) = sdoml.read(*sdoml.refer(tmp_path / "out.zarr"))
    assert np.isnan(seen.exposure_time)


def test_nothing_is_overwritten_and_nothing_made_of_nothing(cube_path, tmp_path):
    cube = open_cube(cube_path).load()
    (tmp_path / "out.zarr").mkdir()
    with pytest.raises(SunaugError, match="exists already"):
        write_sdoml(cube, tmp_path / "out.zarr")
    cube["frame_status"][:] = FrameStatus.REJECTED
    with pytest.raises(SunaugError, match="no frame is complete or partial"):
        write_sdoml(cube, tmp_path / "none.zarr")
    assert not (tmp_path / "none.zarr").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 256, "disk_radius": RADIUS / 2}, "frames of 256 pixels .* --size 512 --disk-radius keep"),
        ({"disk_radius": 224.0}, "disk radius of 224.00 are not SDOML's 512 and 203.33; .* --disk-radius 203.3333"),
        ({"intensity_scale": "browse"}, "is browse, not DN/s"),
        ({"channels": ("aia171", "hmi_m", "aia4500")}, "no place for hmi_m, aia4500"),
        ({"times": None, "n_samples": 3}, "a synthetic cube has no times"),
    ],
)
def test_cubes_that_make_no_sdoml_are_refused(tmp_path, settings, message):
    basic = {"channels": ("aia171",), "size": SIZE, "disk_radius": RADIUS, "intensity_scale": "physical"}
    times = np.array(["2012-01-01", "2012-01-02"], dtype="datetime64[ns]")
    create_cube(tmp_path / "cube.zarr", **{**basic, "times": times, **settings})
    with pytest.raises(UsageError, match=message):
        write_sdoml(open_cube(tmp_path / "cube.zarr"), tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()


def test_the_radius_of_each_frame_counts(cube_path, tmp_path):
    cube = open_cube(cube_path).load()
    cube["disk_radius"][5, 1] = 200.5
    with pytest.raises(UsageError, match=r"a disk radius of 200\.50"):
        write_sdoml(cube, tmp_path / "out.zarr")
