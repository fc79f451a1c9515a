import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from astropy.io import fits
from scipy.ndimage import gaussian_filter1d, map_coordinates

from pipelines.ingest import ingest
from sunaug.cube import FrameStatus, open_cube
from sunaug.errors import SunaugError, UsageError
from sunaug.flares import parse_goes_class
from tests.make_data import disk_image, write_fits, write_rgb


def _rejected(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {Path(row["file"]).name: row for row in csv.DictReader(file)}


@pytest.fixture
def folder(tmp_path) -> Path:
    """Six good files, one of them in another size, and every kind of bad one."""
    folder = tmp_path / "fits"
    folder.mkdir()
    for day in range(1, 7):
        write_fits(folder / f"good{day}.fits", time=f"2012-03-0{day}T00:00:00.00", seed=day, size=128 + 2 * (day == 6))
    write_fits(folder / "eclipse.fits", time="2012-03-07T00:00:00.00", quality=1 << 13)
    write_fits(folder / "exposure.fits", time="2012-03-08T00:00:00.00", exposure=None)
    write_fits(folder / "twin.fits", time="2012-03-01T00:00:00.00")
    (folder / "page.fits").write_text("<!DOCTYPE html><html>")
    (folder / "empty.fits").write_bytes(b"")
    return folder


def test_every_file_is_in_the_cube_or_rejected(folder, tmp_path):
    result = ingest([folder], tmp_path / "cube.zarr", size=32)
    assert result.frames == {"complete": 6, "rejected": 2}
    assert (result.files_used, result.files_rejected) == (6, 5)
    rejected = _rejected(result.rejected_csv)
    assert str(result.rejected_csv) == str(tmp_path / "cube.rejected.csv")
    assert set(rejected) == {"eclipse.fits", "exposure.fits", "twin.fits", "page.fits", "empty.fits"}
    assert "eclipse" in rejected["eclipse.fits"]["reason"]
    assert rejected["eclipse.fits"]["time"] == "2012-03-07T00:00:00.000"
    assert rejected["page.fits"]["time"] == ""
    cube = open_cube(result.cube)
    assert list(cube["frame_status"].values) == [FrameStatus.COMPLETE] * 6 + [FrameStatus.REJECTED] * 2
    assert cube["intensity"].isel(time=[6, 7]).isnull().all()
    assert cube["source"].values[0, 0] == "good1.fits"


def test_intensity_is_counts_per_second_of_the_source(folder, tmp_path):
    cube = open_cube(ingest([folder], tmp_path / "cube.zarr", size=32).cube)
    with fits.open(folder / "good2.fits") as units:
        image = units[1].data.astype(float) / 2.0
    y, x = np.indices(image.shape)
    on_disk = np.hypot(x - 63.5, y - 63.5) < 50
    frame = cube.isel(time=1, channel=0)
    inside = np.hypot(frame["x"], frame["y"]) < 959.63
    flux = float((frame["intensity"] * frame["pixel_area"]).where(inside).sum())
    assert flux == pytest.approx(image[on_disk].sum(), rel=0.02)
    steps = [step["step"] for step in cube.attrs["processing"]]
    assert steps == ["quality", "saturation", "registration", "exposure", "consistency", "encoding"]
    assert float(frame["exposure_time"]) == 2.0


def test_channels_of_one_moment_become_one_frame(tmp_path):
    for channel, second in ((171, 0), (193, 4), (304, 7)):
        write_fits(tmp_path / f"a{channel}.fits", wavelength=channel, time=f"2012-03-01T00:00:0{second}.00")
    write_fits(tmp_path / "b.fits", wavelength=171, time="2012-03-01T00:00:12.00")
    cube = open_cube(ingest([tmp_path], tmp_path / "cube.zarr", size=32).cube)
    assert list(cube["channel"].values) == ["aia171", "aia193", "aia304"]
    assert list(cube["frame_status"].values) == [FrameStatus.COMPLETE, FrameStatus.PARTIAL]
    np.testing.assert_array_equal(np.isnan(cube["pixel_area"].values[1]), [False, True, True])


def test_a_cube_of_other_inputs_is_refused_and_kept(folder, tmp_path):
    ingest([folder], tmp_path / "cube.zarr", size=32)
    with pytest.raises(SunaugError, match="exists and was made of other inputs"):
        ingest([folder], tmp_path / "cube.zarr", size=40)
    assert open_cube(tmp_path / "cube.zarr").sizes["x"] == 32


def test_nothing_usable_leaves_no_cube(tmp_path):
    cut_out = write_fits(tmp_path / "a.fits", centre=(110.0, 63.0))
    with pytest.raises(SunaugError, match=r"a\.fits: not full disk"):
        ingest([cut_out], tmp_path / "cube.zarr", size=32)
    assert not (tmp_path / "cube.zarr").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 4}, "holds no Sun"),
        ({"disk_radius": 99.0}, "does not fit"),
        ({"channels": ["aia195"]}, "unknown channel"),
        ({"scheduler": "nowhere"}, "unknown scheduler"),
        ({"flares": "none.csv"}, "no such file"),
    ],
)
def test_senseless_requests_are_refused(folder, tmp_path, settings, message):
    with pytest.raises(UsageError, match=message):
        ingest([folder], tmp_path / "cube.zarr", **{"size": 32, **settings})
    assert not (tmp_path / "cube.zarr").exists()


def test_browse_images_get_labels_and_faulty_ones_are_found(tmp_path):
    folder = tmp_path / "browse"
    folder.mkdir()
    day = disk_image(472, (235.5, 235.5), 200.0, seed=1)
    other = disk_image(472, (235.5, 235.5), 200.0, seed=2)
    for number in range(24):
        first = other if number == 11 else day
        write_rgb(folder / f"20120601_{number:02d}00.jpg", (first, day * 0.9, day * 0.5))
    (tmp_path / "flares.csv").write_text(
        "Flare Class,Start Time,Peak Time,End Time,Active Region Number\n"
        "C1.0,2012-05-30T00:00Z,2012-05-30T00:10Z,2012-05-30T00:20Z,1\n"
        "M2.0,2012-06-01T12:30Z,2012-06-01T12:40Z,2012-06-01T13:00Z,1\n"
        "C1.0,2012-06-05T00:00Z,2012-06-05T00:10Z,2012-06-05T00:20Z,1\n"
    )
    result = ingest([folder], tmp_path / "cube.zarr", size=64, flares=tmp_path / "flares.csv")
    assert result.frames == {"complete": 23, "rejected": 1}
    assert "channels disagree" in _rejected(result.rejected_csv)["20120601_1100.jpg"]["reason"]
    cube = open_cube(result.cube)
    assert cube.attrs["intensity_scale"] == "browse"
    assert cube["intensity"].isel(time=11).isnull().all()
    np.testing.assert_allclose(cube["forecast_flux"].values[[0, 12, 13]], [2e-5, 2e-5, 0])
    np.testing.assert_allclose(cube["nowcast_flux"].values[[12, 13, 14]], [0, 2e-5, 0])


def _limb(frame: np.ndarray, expected: float | None = None) -> tuple[float, float, float]:
    """Centre and radius of a circle through the steepest fall of the brightness, outliers left out."""
    middle = (frame.shape[0] - 1) / 2
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)[:, None]
    radii = np.linspace(0.9, 1.1, 400)[None] * (expected or frame.shape[0] * 7 / 16)
    profile = map_coordinates(frame, [middle + radii * np.sin(angles), middle + radii * np.cos(angles)], order=1)
    edge = radii[0, gaussian_filter1d(profile, 12, axis=1, order=1).argmin(axis=1)]
    x, y = middle + edge * np.cos(angles[:, 0]), middle + edge * np.sin(angles[:, 0])
    keep = np.ones(len(x), bool)
    for _ in range(8):
        design = np.stack([2 * x, 2 * y, np.ones_like(x)], axis=1)
        a, b, c = np.linalg.lstsq(design[keep], (x**2 + y**2)[keep], rcond=None)[0]
        radius = np.sqrt(c + a**2 + b**2)
        away = np.abs(np.hypot(x - a, y - b) - radius)
        keep = away < 2.5 * 1.4826 * np.median(away[keep])
    return a, b, radius


@pytest.mark.realdata
def test_synoptic_fits_keep_flux_centre_and_radius(real_data, tmp_path):
    folder = real_data / "aia193_synoptic_fits"
    result = ingest([folder], tmp_path / "cube.zarr", size=256)
    assert result.frames == {"complete": 20}
    cube = open_cube(result.cube).load()
    assert set(xr.open_zarr(result.cube, consolidated=False)) == set(cube)
    assert cube["intensity"].attrs["units"] == "DN s-1"
    # Share of each frame pixel that is on the disk, by a fine grid of points.
    fine = (np.arange(256 * 8) + 0.5) / 8 - 128
    on_frame = (np.hypot(fine[:, None], fine) < 112).reshape(256, 8, 256, 8).mean(axis=(1, 3))
    errors, limbs, stretch = [], [], []
    for number in range(20):
        frame = cube.isel(time=number, channel=0)
        with fits.open(folder / str(frame["source"].values)) as units:
            units[1].verify("silentfix")
            header, image = units[1].header, units[1].data.astype(float)
        radius = header["RSUN_OBS"] / header["CDELT1"]
        fine = (np.arange(1024 * 4) + 0.5) / 4 - 0.5
        away = np.hypot(fine[:, None] - (header["CRPIX2"] - 1), fine - (header["CRPIX1"] - 1))
        on_source = (away < radius).reshape(1024, 4, 1024, 4).mean(axis=(1, 3))
        expected = (image * on_source).sum() / header["EXPTIME"]
        found = float((frame["intensity"].values * on_frame).sum(dtype=float) * frame["pixel_area"])
        errors.append(abs(found / expected - 1))
        limbs.append(_limb(frame["intensity"].values))
        stretch.append(limbs[-1][2] / 112 / (_limb(image, radius)[2] / radius))
    assert max(errors) < 0.005
    centre = np.array([limb[:2] for limb in limbs])
    assert np.abs(centre - 127.5).max() < 0.5
    # The 193 Å limb stands about 2.7 % outside the photosphere, on the frame as on the file.
    assert np.array([limb[2] for limb in limbs]) == pytest.approx(112 * 1.027, rel=0.004)
    assert np.array(stretch) == pytest.approx(1, abs=0.003)


@pytest.mark.realdata
def test_flare_cut_outs_are_not_full_disk(real_data, tmp_path):
    with pytest.raises(SunaugError, match="not full disk"):
        ingest([real_data / "aia_flare_cutouts_fits"], tmp_path / "cube.zarr", size=64)
    assert not (tmp_path / "cube.zarr").exists()


@pytest.mark.realdata
def test_browse_2012_agrees_with_its_index(real_data, tmp_path):
    with (real_data / "sdo2012" / "index.csv").open(newline="") as file:
        listed = {Path(row["file"]).name: row for row in csv.DictReader(file) if "201203" in row["file"]}
    files = [real_data / "sdo2012" / "images" / name for name in listed]
    catalogue = real_data / "flares" / "goes_flares_1996_2022.csv"
    result = ingest(files, tmp_path / "cube.zarr", size=64, flares=catalogue)
    cube = open_cube(result.cube)
    assert sum(result.frames.values()) == len(listed) == cube.sizes["time"]
    labels = dict(zip(cube["source"].values[:, 0], cube["forecast_flux"].values, strict=True))
    for name, row in listed.items():
        if row["goes_peak_next_24h"]:
            assert labels[name] == pytest.approx(parse_goes_class(row["goes_peak_next_24h"])), name
    rejected = _rejected(result.rejected_csv)
    assert {name for name, row in listed.items() if row["dark"] == "1"} <= set(rejected)
    assert "channels disagree" in rejected["20120308_0200.jpg"]["reason"]
    assert not {f"20120307_0{hour}00.jpg" for hour in range(5)} & set(rejected), "the X5.4 flare is no fault"


def test_nothing_usable_keeps_every_reason(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        write_fits(folder / f"cut{number}.fits", time=f"2012-03-0{1 + number}T00:00:00.00", centre=(110.0, 63.0))
    write_fits(folder / "eclipse.fits", quality=1 << 13)
    (folder / "page.fits").write_text("<!DOCTYPE html><html>")
    with pytest.raises(SunaugError, match="no usable frame in 5 inputs") as caught:
        ingest([folder], tmp_path / "cube.zarr", size=32)
    message = str(caught.value)
    assert "3 inputs: not full disk" in message
    assert f"1 input: QUALITY is 8192 (bit 13: eclipse) ({folder / 'eclipse.fits'})" in message
    assert message.endswith(f"the reasons are listed in {tmp_path / 'cube.rejected.csv'}.")
    assert not (tmp_path / "cube.zarr").exists()
    assert set(_rejected(tmp_path / "cube.rejected.csv")) == {one.name for one in folder.iterdir()}

    # The next run is not misled by what was left behind.
    write_fits(folder / "good.fits", time="2012-03-09T00:00:00.00")
    result = ingest([folder], tmp_path / "cube.zarr", size=32)
    assert (result.files_used, result.files_rejected) == (1, 5)
    assert len(_rejected(result.rejected_csv)) == 5


def test_nothing_usable_leaves_another_cubes_table_alone(folder, tmp_path):
    table = ingest([folder], tmp_path / "cube.zarr", size=32).rejected_csv
    before = table.read_bytes()
    with pytest.raises(SunaugError, match="web page"):
        ingest([folder / "page.fits"], tmp_path / "cube.zarr", size=32)
    assert table.read_bytes() == before


def test_infinite_pixels_make_a_frame_partial_or_none(tmp_path):
    sun = disk_image(128, (63.5, 63.5), 50.0)
    for day, width in ((1, 0), (2, 1), (3, 6), (4, 60)):
        image = sun.copy()
        image[:, 64 : 64 + width] = np.inf
        name, time = f"{width}.fits", f"2012-03-0{day}T00:00:00.00"
        write_fits(tmp_path / name, time=time, image=image, dtype=np.float32, compression=None)
    result = ingest([tmp_path], tmp_path / "cube.zarr", size=128, disk_radius=50.0)
    cube = open_cube(result.cube).load()
    expected = [FrameStatus.COMPLETE, FrameStatus.PARTIAL, FrameStatus.PARTIAL, FrameStatus.REJECTED]
    assert list(cube["frame_status"].values) == expected
    assert not np.isinf(cube["intensity"]).any()
    assert np.isfinite(cube["mean_intensity"].values[:3]).all()
    assert "of the disk is missing" in _rejected(result.rejected_csv)["60.fits"]["reason"]
    dropped = ingest([tmp_path / f"{width}.fits" for width in (0, 6)], tmp_path / "b.zarr", size=64, keep_partial=False)
    assert dropped.frames == {"complete": 1, "rejected": 1}
    assert "its frame lacks aia193" in _rejected(dropped.rejected_csv)["6.fits"]["reason"]


def test_what_is_passed_over_is_told(folder, tmp_path):
    (folder / "index.csv").write_text("x")
    (folder / "a.png").write_bytes(b"x")
    (folder / "b.PNG").write_bytes(b"x")
    result = ingest([folder], tmp_path / "cube.zarr", size=32)
    assert "passed over in folders, as not of a kind that is read: 3 (2 .png, 1 .csv)" in result.notes


def test_compressed_files_are_inputs(tmp_path):
    good = write_fits(tmp_path / "a.fits", time="2012-03-01T00:00:00.00")
    (tmp_path / "b.fits.fz").write_bytes(write_fits(tmp_path / "b", time="2012-03-02T00:00:00.00").read_bytes())
    (tmp_path / "c.fts.gz").write_bytes(
        gzip.compress(write_fits(tmp_path / "c", time="2012-03-03T00:00:00.00").read_bytes())
    )
    (tmp_path / "d.fits.zip").write_bytes(b"PK\x03\x04" + good.read_bytes())
    result = ingest([tmp_path], tmp_path / "cube.zarr", size=32)
    assert (result.files_used, result.files_rejected) == (3, 1)
    assert "compressed with zip" in _rejected(result.rejected_csv)["d.fits.zip"]["reason"]


@pytest.mark.parametrize("tolerance", [float("inf"), float("nan"), -1.0, 1e300])
def test_a_tolerance_is_a_number_of_seconds(folder, tmp_path, tolerance):
    with pytest.raises(UsageError, match="give a number of seconds from 0 to 86400"):
        ingest([folder], tmp_path / "cube.zarr", size=32, tolerance=tolerance)


def test_a_tilde_is_the_home_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(folder)
    (tmp_path / "flares.csv").write_text(
        "Flare Class,Start Time,Peak Time,End Time,Active Region Number\n"
        "C1.0,2012-03-01T00:00Z,2012-03-01T00:10Z,2012-03-01T00:20Z,1\n"
        "C1.0,2012-04-01T00:00Z,2012-04-01T00:10Z,2012-04-01T00:20Z,1\n"
    )
    result = ingest(["~/fits"], "~/cube.zarr", size=32, flares="~/flares.csv")
    assert str(result.cube) == str(tmp_path / "cube.zarr")
    assert open_cube(tmp_path / "cube.zarr").sizes["time"] == 8
    assert not list(folder.glob("~*"))
