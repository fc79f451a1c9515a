"""Archives other than folders of FITS files, all the way into a cube."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from numcodecs import Blosc

from forecasting_adapters.sdoml import write_sdoml
from pipelines.ingest import ingest
from sunaug.cube import FrameStatus, open_cube
from sunaug.errors import UsageError
from tests.make_data import disk_image, write_fits, write_rgb
from tests.sources.test_suryabench import write_nc

COUNT = 17
QUANTITIES = ("EXPTIME", "QUALITY", "DEG_COR", "PIXLUNIT")


@pytest.fixture(scope="module")
def sdoml(tmp_path_factory) -> Path:
    """An SDOML v2 store as its authors describe it: two channels, 17 frames an hour apart, over a year's end."""
    path = tmp_path_factory.mktemp("sdoml") / "sdomlv2.zarr"
    root, random = zarr.create_group(path, zarr_format=2), np.random.default_rng(0)
    sun = disk_image(512, (255.5, 255.5), 976 / 4.8, seed=5).astype(np.float32)
    times = np.datetime64("2012-12-31T08:00:00.34") + np.arange(COUNT) * np.timedelta64(1, "h")
    for year, span in (("2012", slice(0, 16)), ("2013", slice(16, 17))):
        group = root.create_group(year)
        for name, factor in (("171A", 1.0), ("94A", 0.03)):
            moments = times[span]
            array = group.create_array(
                name,
                shape=(len(moments), 512, 512),
                chunks=(15, 512, 512),
                dtype="f4",
                compressors=Blosc(cname="zstd", clevel=5, shuffle=Blosc.BITSHUFFLE),
            )
            noise = np.repeat(random.normal(1, 0.05, (len(moments), 512, 64)), 8, axis=2)
            array[:] = (sun * factor * noise).astype(np.float32)
            array.attrs.put(
                {
                    "T_OBS": [f"{text[:-1]}Z" for text in np.datetime_as_string(moments, unit="ms")],
                    "EXPTIME": random.uniform(1, 3, len(moments)).astype(np.float32).tolist(),
                    "QUALITY": [0] * len(moments),
                    "DEG_COR": random.uniform(0.5, 1, len(moments)).tolist(),
                    "PIXLUNIT": ["DN/s"] * len(moments),
                    "WAVELNTH": [int(name[:-1])] * len(moments),
                }
            )
    return path


def test_an_sdoml_store_comes_back_as_it_was(sdoml, tmp_path):
    result = ingest([sdoml], tmp_path / "cube.zarr", size=512, disk_radius="keep", rounding="none")
    assert result.frames == {"complete": COUNT}
    assert (result.files_used, result.files_rejected) == (2 * COUNT, 0)
    cube = open_cube(result.cube)
    assert cube["source"].values[3, 0] == "sdomlv2.zarr#2012/94A/3"
    np.testing.assert_allclose(cube["disk_radius"].values, 976 / 4.8, rtol=1e-6)
    write_sdoml(cube, tmp_path / "back.zarr")
    before, after = (zarr.open_group(path, mode="r", zarr_format=2) for path in (sdoml, tmp_path / "back.zarr"))
    for year in ("2012", "2013"):
        for name in ("94A", "171A"):
            ours, theirs = after[year][name], before[year][name]
            np.testing.assert_array_equal(ours[:], theirs[:])
            times = [np.array([text[:-1] for text in one.attrs["T_OBS"]], "datetime64[ns]") for one in (ours, theirs)]
            np.testing.assert_array_equal(*times)
            for quantity in QUANTITIES:
                assert ours.attrs[quantity] == pytest.approx(theirs.attrs[quantity]), quantity


def test_sdoml_is_not_corrected_for_degradation_twice(sdoml, tmp_path, real_data):
    tables = real_data / "aia_degradation_v9"
    plain = open_cube(ingest([sdoml], tmp_path / "a.zarr", size=64, channels=["94"]).cube)
    again = open_cube(ingest([sdoml], tmp_path / "b.zarr", size=64, channels=["94"], degradation=tables).cube)
    np.testing.assert_array_equal(plain["intensity"].values, again["intensity"].values)
    assert plain["degradation_factor"].notnull().all()


def test_suryabench_files_become_frames_of_all_their_channels(tmp_path):
    for hour in range(6):
        write_nc(tmp_path / f"20120307_{hour:02d}00.nc")
    result = ingest([tmp_path], tmp_path / "cube.zarr", size=64, channels=["aia171", "hmi_m"])
    assert result.frames == {"complete": 6}
    cube = open_cube(result.cube)
    assert list(cube["channel"].values) == ["aia171", "hmi_m"]
    assert cube.attrs["intensity_scale"] == "physical"
    with pytest.raises(UsageError, match="corrected for degradation already"):
        ingest([tmp_path], tmp_path / "other.zarr", size=64, channels=["aia171"], degradation="aiapy")


@pytest.mark.realdata
def test_a_helioviewer_image_is_a_browse_frame(real_data, tmp_path):
    result = ingest([real_data / "helioviewer_jp2"], tmp_path / "cube.zarr", size=128)
    cube = open_cube(result.cube)
    assert result.frames == {"complete": 1}
    assert cube.attrs["intensity_scale"] == "browse"
    frame = cube["intensity"].values[0, 0]
    y, x = np.indices(frame.shape) - 63.5
    assert np.nanmean(frame[np.hypot(x, y) < 56]) > 3 * np.nanmean(frame[np.hypot(x, y) > 63])


def test_the_stretch_of_browse_images_can_be_undone(tmp_path):
    sun = disk_image(472, (235.5, 235.5), 200.0, seed=1)
    for hour in range(3):
        write_rgb(tmp_path / f"20120601_{hour:02d}00.jpg", (sun, sun * 0.8, sun * 0.5))
    counts = open_cube(ingest([tmp_path], tmp_path / "counts.zarr", size=64).cube)
    undone = open_cube(ingest([tmp_path], tmp_path / "undone.zarr", size=64, undo_stretch=True).cube)
    assert (counts.attrs["intensity_scale"], undone.attrs["intensity_scale"]) == ("browse", "browse-inverted")
    assert undone["intensity"].attrs["units"] == "DN s-1"
    (step,) = [step for step in undone.attrs["processing"] if step["step"] == "stretch"]
    assert "aia171" in str(step)
    # 171 Å is a square root: its level is linear in sqrt(DN/s), so brighter stays brighter.
    levels, intensity = counts["intensity"].values[0, 0], undone["intensity"].values[0, 0]
    assert np.corrcoef(levels.ravel() ** 2, intensity.ravel())[0, 1] > 0.99
    fits = write_fits(tmp_path / "x.fits")
    with pytest.raises(UsageError, match="only browse images"):
        ingest([fits], tmp_path / "no.zarr", size=32, undo_stretch=True)


def test_the_saturation_mask_shows_where_counts_were_clipped(tmp_path):
    image = disk_image(128, (63.5, 63.5), 50.0)
    image[80:84, 60:64] = 16383
    write_fits(tmp_path / "a.fits", image=image)
    cube = open_cube(ingest([tmp_path], tmp_path / "cube.zarr", size=64, saturation_mask=True).cube)
    share = cube["saturated_share"].values[0, 0]
    assert float(cube["saturated_fraction"][0, 0]) == pytest.approx(16 / 128**2)
    area = float(cube["pixel_area"][0, 0])
    assert share.sum() * area == pytest.approx(16, rel=1e-3)
    assert cube["intensity"].values[0, 0].max() > 16383 / 2 * 0.9, "nothing is clipped"


def test_what_lacks_a_channel_is_partial_or_left_out(tmp_path):
    folder = tmp_path / "fits"
    folder.mkdir()
    for day in (1, 2, 3):
        write_fits(folder / f"{day}a.fits", wavelength=171, time=f"2012-03-0{day}T00:00:00.00")
    write_fits(folder / "1b.fits", wavelength=193, time="2012-03-01T00:00:40.00")
    write_fits(folder / "2b.fits", wavelength=193, time="2012-03-02T00:00:05.00", quality=1)
    kept = ingest([folder], tmp_path / "kept.zarr", size=32)
    assert kept.frames == {"complete": 1, "partial": 2}
    dropped = ingest([folder], tmp_path / "dropped.zarr", size=32, keep_partial=False)
    assert dropped.frames == {"complete": 1, "rejected": 1}
    assert (dropped.files_used, dropped.files_rejected) == (2, 3)
    text = dropped.rejected_csv.read_text()
    assert "its frame lacks aia193, and partial frames are left out" in text
    assert open_cube(dropped.cube)["intensity"].isel(time=1).isnull().all()
    close = ingest([folder], tmp_path / "close.zarr", size=32, tolerance=10)
    assert open_cube(close.cube).sizes["time"] == 4, "40 s apart is another moment"


def test_appending_adds_later_frames_and_knows_the_others(tmp_path):
    folder = tmp_path / "fits"
    folder.mkdir()
    for day in (2, 3, 4):
        write_fits(folder / f"{day}.fits", time=f"2012-03-0{day}T00:00:00.00", seed=day)
    write_fits(folder / "eclipse.fits", time="2012-03-02T12:00:00.00", quality=1 << 13)
    ingest([folder], tmp_path / "cube.zarr", size=32)
    before = open_cube(tmp_path / "cube.zarr")
    expected = before["intensity"].values.copy()
    write_fits(folder / "1.fits", time="2012-03-01T00:00:00.00")
    write_fits(folder / "5.fits", time="2012-03-05T00:00:00.00", seed=5)
    (folder / "page.fits").write_text("<html>")
    added = ingest([folder], tmp_path / "cube.zarr", append=True)
    assert (added.files_used, added.files_known, added.files_rejected) == (1, 4, 2)
    assert added.frames == {"complete": 4, "rejected": 1}
    np.testing.assert_array_equal(before["intensity"].values, expected)
    cube = open_cube(tmp_path / "cube.zarr")
    assert list(cube["source"].values[:, 0]) == ["2.fits", "eclipse.fits", "3.fits", "4.fits", "5.fits"]
    assert cube.attrs["statistics"]["frames"] == 4
    table = added.rejected_csv.read_text()
    assert all(name in table for name in ("eclipse.fits", "1.fits", "page.fits"))
    assert "before the cube's last frame" in table
    again = ingest([folder], tmp_path / "cube.zarr", append=True)
    assert "nothing was appended" in again.notes[-1]
    assert (again.files_used, again.files_known) == (0, 5)
    assert again.rejected_csv.read_text() == table
    assert open_cube(tmp_path / "cube.zarr").identical(cube)
    with pytest.raises(UsageError, match="was made with --size 32, not 64"):
        ingest([folder], tmp_path / "cube.zarr", append=True, size=64)
    with pytest.raises(UsageError, match="no such cube to append to"):
        ingest([folder], tmp_path / "none.zarr", append=True)
    assert open_cube(tmp_path / "cube.zarr")["frame_status"].values[-1] == FrameStatus.COMPLETE
