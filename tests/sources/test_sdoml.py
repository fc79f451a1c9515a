import json

import numpy as np
import pytest
import zarr
from numcodecs import Blosc
from upath import UPath

from sunaug.cube import create_cube
from sunaug.sources import FileReference, RejectedFile, sdoml

SIZE = 32


def write_store(path, year, arrays, size=SIZE, seed=0):
    """An SDOML v2 store as its authors write one: `arrays` gives the attributes by name, a list for each keyword."""
    root = zarr.open_group(path, mode="a", zarr_format=2)
    group = root.require_group(year)
    random = np.random.default_rng(seed)
    compressor = Blosc(cname="zstd", clevel=5, shuffle=Blosc.BITSHUFFLE)
    for name, attributes in arrays.items():
        count = len(attributes["T_OBS"])
        shape = (count, size, size)
        array = group.create_array(name, shape=shape, chunks=(15, size, size), dtype="f4", compressors=compressor)
        array[:] = random.uniform(0, 1000, shape).astype(np.float32)
        array.attrs.put(attributes)
    return path


def aia_attributes(count, start="2012-03-07T00:00:00.34", **changes):
    """Six minutes apart, with the keywords that matter and one of the many that do not."""
    times = np.datetime64(start, "ms") + np.arange(count) * np.timedelta64(6, "m")
    return {
        "T_OBS": [f"{text[:-1]}Z" for text in np.datetime_as_string(times)],
        "EXPTIME": [2.0 + number / 100 for number in range(count)],
        "QUALITY": [0] * (count - 1) + [1 << 30],
        "WAVELNTH": [171] * count,
        "CRPIX1": [256.25] * count,
        "DEG_COR": [0.9 - number / 1000 for number in range(count)],
        "PIXLUNIT": ["DN/s"] * count,
    } | changes


def hmi_attributes(count):
    return {
        "T_OBS": [f"2012.03.07_00:{12 * number:02d}:04_TAI" for number in range(count)],
        "QUALITY": [0] * count,
        "PIXLUNIT": ["Gauss"] * count,
    }


@pytest.fixture
def store(tmp_path):
    path = write_store(tmp_path / "sdomlv2.zarr", "2012", {"171A": aia_attributes(17), "94A": aia_attributes(3)})
    return write_store(path, "2013", {"171A": aia_attributes(2, "2013-01-01T00:00:00.10")})


def test_every_frame_is_a_member_with_its_time(store):
    found = sdoml.refer(store)
    assert [one.member for one in found[:4]] == ["2012/94A/0", "2012/94A/1", "2012/94A/2", "2012/171A/0"]
    assert found[-1] == FileReference(
        store, "sdoml", np.datetime64("2013-01-01T00:06:00.10", "ns"), ("aia171",), "2013/171A/1"
    )
    assert len(found) == 22
    assert found[3].time == np.datetime64("2012-03-07T00:00:00.34")


def test_a_frame_has_the_array_and_its_keywords(store):
    reference = next(one for one in sdoml.refer(store, ("aia171",)) if one.member == "2012/171A/16")
    (seen,) = sdoml.read(reference)
    np.testing.assert_array_equal(seen.image, zarr.open_group(store, mode="r")["2012/171A"][16])
    assert seen.image.dtype == np.float32
    assert (seen.channel, seen.time, seen.unit) == ("aia171", reference.time, "DN s-1")
    assert seen.exposure_time == pytest.approx(2.16)
    assert seen.quality == 1 << 30
    assert seen.degradation == pytest.approx(0.884)
    assert seen.sun_radius == 976.0
    assert seen.saturation_level == np.inf
    assert seen.geometry.centre == (15.5, 15.5)
    assert seen.geometry.radius == pytest.approx(976 / 4.8 * SIZE / 512)


def test_the_disk_of_a_full_size_frame():
    geometry = sdoml.disk_geometry()
    assert geometry.radius == pytest.approx(203.333, abs=1e-3)
    assert geometry.centre == (255.5, 255.5)


def test_hmi_times_are_tai_and_fields_are_gauss(tmp_path):
    path = write_store(tmp_path / "sdomlv2_hmi.zarr", "2012", dict.fromkeys(("Bx", "By", "Bz"), hmi_attributes(2)))
    found = sdoml.refer(path)
    assert [one.channels for one in found] == [(name,) for name in ("hmi_bx", "hmi_by", "hmi_bz") for _ in range(2)]
    assert found[1].time == np.datetime64("2012-03-07T00:11:30"), "TAI was 34 s ahead of UTC"
    (seen,) = sdoml.read(found[1])
    assert (seen.unit, seen.quality) == ("gauss", 0)
    assert np.isnan([seen.exposure_time, seen.degradation]).all()


def test_only_channels_wanted_are_looked_at(store):
    attributes = store / "2012" / "94A" / ".zattrs"
    attributes.write_text("{")
    assert {one.channels for one in sdoml.refer(store, ("aia171",))} == {("aia171",)}
    with pytest.raises(RejectedFile, match="holds aia94, aia171, none of the channels wanted"):
        sdoml.refer(store, ("aia193",))


def test_frames_without_time_are_named(tmp_path):
    times = ["2012-03-07T00:00:00.34Z", "MISSING", "", "2012-03-07", "2012-13-07T00:00:00Z", "2012.03.07_00:00:00_TAI"]
    path = write_store(tmp_path / "a.zarr", "2012", {"171A": aia_attributes(6, T_OBS=times)})
    found = sdoml.refer(path)
    assert [isinstance(one, RejectedFile) for one in found] == [False, True, True, True, True, False]
    assert found[1].member == "2012/171A/1"
    assert str(found[1]) == "T_OBS 'MISSING' is no time that can be read."
    assert found[5].time == np.datetime64("2012-03-06T23:59:26")


def test_channels_that_cannot_be_read_do_not_spoil_the_others(store):
    year = store / "2012"
    write_store(store, "2014", {"193A": aia_attributes(3, T_OBS=["2014-01-01T00:00:00Z"] * 3)})
    (store / "2014" / "193A" / ".zattrs").write_text(json.dumps({"T_OBS": ["2014-01-01T00:00:00Z"]}))
    (year / "171A" / ".zarray").write_text("{")
    bad = [one for one in sdoml.refer(store) if isinstance(one, RejectedFile)]
    assert [one.member for one in bad] == ["2012/171A", "2014/193A"]
    assert "damaged Zarr metadata" in str(bad[0])
    assert str(bad[1]) == "the attribute T_OBS has 1 times for 3 frames."


def test_a_damaged_chunk_costs_its_frames_only(store):
    chunk = store / "2012" / "171A" / "0.0.0"
    chunk.write_bytes(chunk.read_bytes()[:100])
    found = sdoml.refer(store, ("aia171",))
    with pytest.raises(RejectedFile, match="damaged chunk") as caught:
        sdoml.read(found[3])
    assert (caught.value.member, caught.value.time) == ("2012/171A/3", found[3].time)
    assert sdoml.read(found[15])[0].image.shape == (SIZE, SIZE)


def test_an_unknown_unit_is_refused(tmp_path):
    path = write_store(tmp_path / "a.zarr", "2012", {"171A": aia_attributes(2, PIXLUNIT=["DN/s", "K"])})
    good, bad = sdoml.refer(path)
    assert sdoml.read(good)[0].unit == "DN s-1"
    with pytest.raises(RejectedFile, match="PIXLUNIT 'K' is neither DN/s nor Gauss"):
        sdoml.read(bad)


def test_keywords_without_a_number_are_unknown(tmp_path):
    changes = {"EXPTIME": ["nan", None], "QUALITY": [None, 0], "DEG_COR": [1.0]}
    path = write_store(tmp_path / "a.zarr", "2012", {"171A": aia_attributes(2, **changes)})
    for reference in sdoml.refer(path):
        (seen,) = sdoml.read(reference)
        assert np.isnan([seen.exposure_time, seen.degradation]).all()
        assert seen.quality == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"QUALITY": ["x"]}, "QUALITY 'x' is no number"),
        ({"EXPTIME": [0.0]}, "EXPTIME is 0 s"),
        ({"RSUN_OBS": [0.27]}, "RSUN_OBS is 0.27 arcsec"),
        ({"PIXLUNIT": ["Gauss"]}, "PIXLUNIT is 'Gauss', which AIA 171 Å is not measured in"),
    ],
)
def test_keywords_that_cannot_be_are_the_reason(tmp_path, changes, reason):
    path = write_store(tmp_path / "a.zarr", "2012", {"171A": aia_attributes(1, **changes)})
    (reference,) = sdoml.refer(path)
    with pytest.raises(RejectedFile, match=reason):
        sdoml.read(reference)


def test_quality_may_be_text(tmp_path):
    path = write_store(tmp_path / "a.zarr", "2012", {"171A": aia_attributes(1, QUALITY=["0x00002000"])})
    assert sdoml.read(*sdoml.refer(path))[0].quality == 1 << 13


def test_times_that_cannot_be_are_named(tmp_path):
    times = ["-4712-01-01T12:00:00.000Z", "1999-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "2013-06-01T00:00:00Z"]
    times += ["2012-06-30T23:59:60.62Z", "2012.07.01_00:00:34.62_TAI"]
    found = sdoml.refer(write_store(tmp_path / "a.zarr", "2012", {"171A": aia_attributes(6, T_OBS=times)}))
    assert [str(one) for one in found[:4]] == [
        "T_OBS -4712-01-01 is JSOC's mark for a missing time.",
        "T_OBS 1999-01-01T00:00:00Z is before SDO's launch (2010-02-11).",
        "T_OBS 2099-01-01T00:00:00Z is in the future.",
        "T_OBS is 2013-06-01T00:00:00, in the folder of 2012.",
    ]
    assert [one.time for one in found[4:]] == [np.datetime64("2012-07-01T00:00:00")] * 2


def test_a_channel_without_frames_is_named_and_a_store_of_none_refused(tmp_path):
    path = write_store(tmp_path / "a.zarr", "2012", {"171A": aia_attributes(0)})
    with pytest.raises(RejectedFile, match=r"^holds no frames\.$"):
        sdoml.refer(path)
    write_store(path, "2012", {"94A": aia_attributes(1)})
    good, empty = sdoml.refer(path)
    assert good.member == "2012/94A/0"
    assert (empty.member, str(empty)) == ("2012/171A", "holds no frames.")


def test_a_missing_chunk_is_no_dark_sun(store):
    (store / "2012" / "171A" / "0.0.0").unlink()
    found = sdoml.refer(store, ("aia171",))
    with pytest.raises(RejectedFile, match="nothing but zeros"):
        sdoml.read(found[0])
    assert sdoml.read(found[15])[0].image.any()


@pytest.mark.parametrize("error", [MemoryError(), OSError(5, "Input/output error")])
def test_what_tells_nothing_of_the_file_is_no_rejection(store, monkeypatch, error):
    def fail(*args, **keywords):
        raise error

    (reference, *_) = sdoml.refer(store, ("aia171",))
    monkeypatch.setattr(sdoml, "_chunk", fail)
    with pytest.raises(type(error)):
        sdoml.read(reference)


def test_a_chunk_is_decompressed_once(store):
    found = sdoml.refer(store, ("aia171", "aia94"))
    first = sdoml.read(found[3])[0].image
    # The frames that follow must come from memory: the chunk is not there any more.
    (store / "2012" / "171A" / "0.0.0").unlink()
    for number in range(1, 15):
        assert sdoml.read(found[3 + number])[0].image.any()
    first[:] = 0
    assert sdoml.read(found[3])[0].image.any(), "what is done to an image does not reach the chunk"


def test_other_stores_are_named(tmp_path):
    cube = tmp_path / "cube.zarr"
    times = np.array(["2012-01-01"], dtype="datetime64[ns]")
    create_cube(cube, channels=["171"], size=8, disk_radius=3.5, intensity_scale="physical", times=times)
    with pytest.raises(RejectedFile, match="a sunaug cube"):
        sdoml.refer(cube)
    zarr.create_group(tmp_path / "three.zarr", zarr_format=3)
    with pytest.raises(RejectedFile, match="a Zarr 3 store; SDOML v2 is in Zarr 2"):
        sdoml.refer(tmp_path / "three.zarr")
    zarr.create_group(tmp_path / "two.zarr", zarr_format=2)
    with pytest.raises(RejectedFile, match="not an SDOML v2 store"):
        sdoml.refer(tmp_path / "two.zarr")
    (tmp_path / "file.zarr").write_text("x")
    with pytest.raises(RejectedFile, match="not a folder"):
        sdoml.refer(tmp_path / "file.zarr")


def test_a_store_behind_a_url_reads_the_same(store):
    remote = UPath("memory://bucket/sdomlv2.zarr")
    for file in store.rglob("*"):
        if file.is_file():
            target = remote / file.relative_to(store).as_posix()
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    here, there = sdoml.refer(store), sdoml.refer(remote)
    assert [(one.member, one.time) for one in there] == [(one.member, one.time) for one in here]
    np.testing.assert_array_equal(sdoml.read(there[7])[0].image, sdoml.read(here[7])[0].image)
