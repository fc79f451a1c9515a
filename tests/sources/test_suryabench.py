import json
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from upath import UPath

from sunaug.errors import UsageError
from sunaug.lexicon import CHANNELS
from sunaug.sources import RejectedFile, suryabench
from tests.make_data import disk_image

SIZE = 64
UNITS = {"DN s-1": "DN/s", "gauss": "Gauss", "m s-1": "m/s"}


def write_nc(path, images=None, **changes):
    """A SuryaBench file: variables (y, x) in LZ4, each with its time, unit and both FITS headers; smaller than real."""
    if images is None:
        random = np.random.default_rng(0)
        images = {name: random.normal(50, 10, (SIZE, SIZE)) for name in suryabench.VARIABLES}
    variables, encoding = {}, {}
    # HMI's times are in TAI, 35 s ahead of UTC in 2014.
    day, clock = path.stem.split("_")
    day, minute = f"{day[:4]}-{day[4:6]}-{day[6:]}", f"{clock[:2]}:{clock[2:]}"
    for name, image in images.items():
        signed = CHANNELS[name].signed if name in CHANNELS else False
        unit = UNITS[CHANNELS[name].unit] if name in CHANNELS else "1"
        before = {"t_obs": f"{day}T{minute}:01.34Z", "exptime": 2.9, "quality": 0, "rsun_obs": 975.7}
        after = {
            "crpix1": 2048.5,
            "crpix2": 2048.5,
            "cdelt1": 0.6,
            "exptime": 1.0,
            "rsun_obs": 975.7,
            "rsun_fix": 976.0,
        }
        attributes = {
            "unit": unit,
            "t_obs": f"{day.replace('-', '.')}_{minute}:36_TAI" if signed else before["t_obs"],
            "qflag": 0,
            "meta_0": json.dumps(before),
            "meta_1": json.dumps(after),
        } | changes
        kept = {keyword: value for keyword, value in attributes.items() if value is not None}
        variables[name] = xr.DataArray(image.astype(np.float32), dims=["y", "x"], attrs=kept)
        encoding[name] = {"compression": 32004, "compression_opts": (), "chunksizes": image.shape, "_FillValue": 0.0}
    import hdf5plugin  # noqa: F401  (registers LZ4)

    xr.Dataset(variables).to_netcdf(path, engine="h5netcdf", encoding=encoding)
    return path


def test_a_file_holds_all_its_channels_at_one_time(tmp_path):
    images = {name: np.full((SIZE, SIZE), number + 1.0) for number, name in enumerate(suryabench.VARIABLES)}
    path = write_nc(tmp_path / "20140107_1500.nc", images)
    (reference,) = suryabench.refer(path)
    assert reference.time == np.datetime64("2014-01-07T15:00")
    assert reference.channels == suryabench.VARIABLES
    seen = suryabench.read(reference)
    assert [one.channel for one in seen] == list(suryabench.VARIABLES)
    assert [float(one.image[3, 5]) for one in seen] == list(range(1, 14))
    assert [one.unit for one in seen] == ["DN s-1"] * 8 + ["gauss"] * 4 + ["m s-1"]
    assert [one.time for one in seen] == [np.datetime64("2014-01-07T15:00:01.34")] * 8 + [
        np.datetime64("2014-01-07T15:00:01")
    ] * 5, "each channel has a time of its own, that of HMI in TAI"
    assert [one.saturation_level for one in seen] == [16383.0] * 8 + [np.inf] * 5
    first = seen[0]
    assert (first.exposure_time, first.quality, first.level, first.sun_radius) == (2.9, 0, 1.5, 976.0)
    assert first.image.dtype == np.float32


def test_rows_run_from_the_south_and_zero_is_a_value(tmp_path):
    image = np.zeros((SIZE, SIZE))
    image[:10] = 7
    path = write_nc(tmp_path / "20140107_1500.nc", {"aia193": image})
    (seen,) = suryabench.read(*suryabench.refer(path))
    np.testing.assert_array_equal(seen.image, image)


def test_the_disk_is_where_the_processing_puts_it(tmp_path):
    """The enlargement done again: about (2048, 2048), from 943.7 to 976 arcsec, and then 64 times smaller."""
    enlarged = 976 / 943.7
    header = {"crpix1": 2060.5, "crpix2": 2040.5, "rsun_obs": 943.7}
    path = write_nc(tmp_path / "20140707_1500.nc", {"aia193": np.ones((SIZE, SIZE))}, meta_1=json.dumps(header))
    (seen,) = suryabench.read(*suryabench.refer(path))
    full = np.array([2048 + enlarged * (2059.5 - 2048), 2048 + enlarged * (2039.5 - 2048)])
    np.testing.assert_allclose(seen.geometry.centre, (full + 0.5) / 64 - 0.5)
    assert seen.geometry.radius == pytest.approx(976 / (0.6 * 4096 / SIZE))


def test_the_nominal_disk_fits_a_disk_made_so(tmp_path):
    image = disk_image(SIZE, (31.5, 31.5), 976 / (0.6 * 64), seed=1)
    path = write_nc(tmp_path / "20140107_1500.nc", {"aia193": image}, meta_0=None, meta_1=None, t_obs=None, unit=None)
    (seen,) = suryabench.read(*suryabench.refer(path))
    assert seen.geometry.centre == (31.5, 31.5)
    y, x = np.indices(image.shape)
    distance = np.hypot(x - seen.geometry.centre[0], y - seen.geometry.centre[1]) / seen.geometry.radius
    assert seen.image[distance < 0.98].min() > 99
    assert seen.image[(distance > 1.02) & (x < 20)].max() < 60
    assert seen.time == np.datetime64("2014-01-07T15:00"), "the slot, where the header has no time"
    assert np.isnan(seen.exposure_time)


def test_only_channels_wanted_are_read(tmp_path):
    path = write_nc(tmp_path / "20140107_1500.nc")
    (reference,) = suryabench.refer(path, ("hmi_v", "aia171", "aia1700"))
    assert reference.channels == ("aia171", "hmi_v")
    assert [one.channel for one in suryabench.read(reference)] == ["aia171", "hmi_v"]
    with pytest.raises(RejectedFile, match="none of the channels wanted") as caught:
        suryabench.refer(path, ("aia1700",))
    assert caught.value.time == np.datetime64("2014-01-07T15:00")


def test_missing_variables_are_done_without(tmp_path):
    path = write_nc(tmp_path / "20140107_1500.nc", {"hmi_m": np.ones((SIZE, SIZE)), "other": np.ones((SIZE, SIZE))})
    (reference,) = suryabench.refer(path)
    assert reference.channels == ("hmi_m",)
    path = write_nc(tmp_path / "20140107_1512.nc", {"other": np.ones((SIZE, SIZE))})
    with pytest.raises(RejectedFile, match="none of SuryaBench's variables"):
        suryabench.refer(path)


@pytest.mark.parametrize(
    ("images", "changes", "reason"),
    [
        ({"aia193": np.ones((SIZE, SIZE // 2))}, {}, "aia193 has the shape .64, 32., which is no square image"),
        ({"aia193": np.ones((SIZE, SIZE))}, {"unit": "Gauss"}, "aia193 is in 'Gauss', not in DN s-1"),
        ({"aia193": np.ones((SIZE, SIZE))}, {"meta_1": json.dumps({"crpix1": 9000})}, "not full disk"),
    ],
)
def test_variables_of_no_use_are_named(tmp_path, images, changes, reason):
    path = write_nc(tmp_path / "20140107_1500.nc", images, **changes)
    with pytest.raises(RejectedFile, match=reason):
        suryabench.read(*suryabench.refer(path))


@pytest.mark.parametrize("name", ["sun.nc", "20141307_1500.nc", "2014-01-07.nc"])
def test_names_without_a_time_are_rejected(name):
    with pytest.raises(RejectedFile, match="file name"):
        suryabench.refer(Path(name))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda content: b"", "an empty file"),
        (lambda content: b"<!DOCTYPE html>", r'not a NetCDF 4 file \(starts with "<!DOCTYPE html>"\)'),
        (lambda content: content[:3000], "damaged NetCDF"),
    ],
)
def test_damaged_files_are_named(tmp_path, spoil, reason):
    path = write_nc(tmp_path / "20140107_1500.nc")
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(RejectedFile, match=reason):
        suryabench.refer(path)


def test_damaged_pixels_are_named(tmp_path):
    path = write_nc(tmp_path / "20140107_1500.nc", {"aia193": np.random.default_rng(0).random((SIZE, SIZE))})
    import h5py

    with h5py.File(path) as file:
        chunk = file["aia193"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = b"\xff" * chunk.size
    path.write_bytes(content)
    with pytest.raises(RejectedFile, match="damaged NetCDF"):
        suryabench.read(*suryabench.refer(path))


def test_without_the_packages_it_says_which_to_install(tmp_path, monkeypatch):
    path = write_nc(tmp_path / "20140107_1500.nc")
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with pytest.raises(UsageError, match=r"need hdf5plugin; pip install 'sunaug\[netcdf\]'"):
        suryabench.refer(path)


def test_a_file_behind_a_url_reads_the_same(tmp_path):
    path = write_nc(tmp_path / "20140107_1500.nc")
    remote = UPath("memory://bucket/20140107_1500.nc")
    remote.write_bytes(path.read_bytes())
    (reference,) = suryabench.refer(remote, ("aia94",))
    here = suryabench.read(*suryabench.refer(path, ("aia94",)))
    np.testing.assert_array_equal(suryabench.read(reference)[0].image, here[0].image)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"meta_0": json.dumps({"quality": "0x00002000x"})}, "aia193: QUALITY '0x00002000x' is no number"),
        ({"meta_0": json.dumps({"exptime": 0.0})}, "aia193: EXPTIME is 0 s"),
        ({"meta_1": json.dumps({"rsun_obs": 0.27})}, "aia193: RSUN_OBS is 0.27 arcsec"),
        ({"meta_1": json.dumps({"crpix1": "x"})}, "aia193: CRPIX1 'x' is no number"),
        ({"t_obs": "2013-01-07T15:00:01Z"}, "aia193: T_OBS 2013-01-07T15:00:01Z lies more than an hour from the slot"),
        ({"t_obs": "1999-01-07T15:00:01Z"}, "aia193: 1999-01-07T15:00:01Z is before SDO's launch"),
    ],
)
def test_headers_of_what_cannot_be_are_named(tmp_path, changes, reason):
    path = write_nc(tmp_path / "20140107_1500.nc", {"aia193": np.ones((SIZE, SIZE))}, **changes)
    with pytest.raises(RejectedFile, match=reason):
        suryabench.read(*suryabench.refer(path))


def test_pixels_beyond_any_detector_are_missing(tmp_path):
    image = np.full((SIZE, SIZE), 50.0)
    image[30, 30:33] = np.inf, 9.96921e36, -np.inf
    path = write_nc(tmp_path / "20140107_1500.nc", {"aia193": image})
    (seen,) = suryabench.read(*suryabench.refer(path))
    assert np.argwhere(np.isnan(seen.image)).tolist() == [[30, 30], [30, 31], [30, 32]]


def test_a_variable_without_pixels_is_no_dark_sun(tmp_path):
    path = write_nc(tmp_path / "20140107_1500.nc", {"aia193": np.zeros((SIZE, SIZE))})
    with pytest.raises(RejectedFile, match="aia193: nothing but zeros"):
        suryabench.read(*suryabench.refer(path))


@pytest.mark.parametrize("name", ["19991231_0000.nc", "29991231_0000.nc"])
def test_times_that_are_not_of_sdo_are_rejected(name):
    with pytest.raises(RejectedFile, match="the time in the file name"):
        suryabench.refer(Path(name))


@pytest.mark.parametrize("error", [MemoryError(), AssertionError("a fault of ours")])
def test_what_tells_nothing_of_the_file_is_no_rejection(tmp_path, monkeypatch, error):
    def fail(*args, **keywords):
        raise error

    path = write_nc(tmp_path / "20140107_1500.nc", {"aia193": np.ones((SIZE, SIZE))})
    (reference,) = suryabench.refer(path)
    monkeypatch.setattr(suryabench, "_observation", fail)
    with pytest.raises(type(error)):
        suryabench.read(reference)
