import errno
import math
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
import sunpy.map
from astropy.coordinates import SkyCoord
from astropy.io import fits
from sunpy.coordinates import Helioprojective
from sunpy.map.maputils import contains_full_disk

from forecasting_adapters.published_splits import PUBLISHED_SPLITS
from sunaug import synthetic_fits
from sunaug.errors import SunaugError
from sunaug.lexicon import CHANNELS
from sunaug.sources import RejectedFile, fits_files
from sunaug.synthetic_fits import NOMINAL_DATE, SyntheticSample, read_provenance, write_sample

SIZE, RADIUS = 64, 28.0
# No short decimal form: one bit lost shows.
NOWCAST = float(np.nextafter(1.2345678901234567e-05, 1))
RANGES = [["2012-01-01T00:00:00Z", "2012-01-30T02:00:01Z"], ["2012-01-31T12:00:00Z", "2012-05-25T20:00:01Z"]]
GATE = (
    "passed: FID 12.3 (limit 15), it's within 3 × σ of the real frames & \\ no copy found; 'nearest' 0.41 Å-free " * 3
)


def _sample(channels=("aia171", "aia131", "hmi_m"), **changes):
    y, x = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2
    image = np.where(np.hypot(x, y) < RADIUS, 1000.0, 3.0) + np.random.default_rng(0).random(
        (len(channels), SIZE, SIZE)
    )
    known = {
        "number": 12,
        "intensity": image.astype(np.float32),
        "channels": channels,
        "intensity_scale": "physical",
        "disk_radius": RADIUS,
        "bundle_name": "sdo2012-128",
        "bundle_hash": "0123456789abcdef" * 4,
        "training_ranges": RANGES,
        "seed": 2**63 - 1,
        "draw": 70_000,
        "attempt": 2,
        "nowcast_flux": NOWCAST,
        "forecast_flux": math.nan,
        "steering": {"flare": np.float32(2.3), "limb darkening": np.float32(-1 / 3)},
        "truncation": 0.7,
        "rare": True,
        "min_class": "M1.0",
        "label": "forecast",
        "gate": GATE,
    }
    return SyntheticSample(**(known | changes))


@pytest.fixture
def strict():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("scale", ["physical", "browse"])
@pytest.mark.parametrize("name", CHANNELS)
def test_sunpy_opens_every_channel_without_a_warning(tmp_path, name, scale):
    (path,) = write_sample(tmp_path, _sample([name], intensity_scale=scale))
    opened = sunpy.map.Map(path)
    assert type(opened) is sunpy.map.GenericMap
    assert isinstance(opened.coordinate_frame, Helioprojective)
    assert opened.observer_coordinate.radius.to_value("AU") == pytest.approx(1)
    assert contains_full_disk(opened)
    assert opened.wavelength == CHANNELS[name].wavelength * u.angstrom
    expected = {"DN s-1": u.DN / u.s, "gauss": u.gauss, "m s-1": u.m / u.s}[CHANNELS[name].unit]
    assert opened.unit == (expected if scale == "physical" else None)
    for radius in (opened.rsun_obs, sunpy.map.solar_angular_radius(opened.center)):
        assert radius.to_value("arcsec") == pytest.approx(959.63, abs=0.01)


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize(("size", "radius"), [(64, 28.0), (128, 56.0), (96, 37.123456789012345)])
def test_the_limb_is_where_the_disk_ends(tmp_path, size, radius):
    (path,) = write_sample(
        tmp_path, _sample(["aia171"], intensity=np.zeros((1, size, size), np.float32), disk_radius=radius)
    )
    opened = sunpy.map.Map(path)
    limb = opened.rsun_obs
    centre = (size - 1) / 2
    for east, north in [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]:
        at = opened.world_to_pixel(SkyCoord(east * limb, north * limb, frame=opened.coordinate_frame))
        found = (at.x.value - centre, at.y.value - centre)
        # The tangent projection is all that keeps them apart.
        assert found == pytest.approx((east * radius, north * radius), abs=0.01)


@pytest.mark.usefixtures("strict")
def test_north_is_up_and_west_is_right(tmp_path):
    image = np.zeros((1, SIZE, SIZE), np.float32)
    image[0, 50, 40] = 7
    (path,) = write_sample(tmp_path, _sample(["aia171"], intensity=image))
    opened = sunpy.map.Map(path)
    spot = opened.pixel_to_world(*np.argwhere(opened.data == 7)[0][::-1] * u.pix)
    scale = 959.63 / RADIUS
    assert spot.Ty.to_value("arcsec") == pytest.approx((50 - 31.5) * scale, rel=1e-4)
    assert spot.Tx.to_value("arcsec") == pytest.approx((40 - 31.5) * scale, rel=1e-4)


@pytest.mark.usefixtures("strict")
def test_the_files_are_valid_fits_and_hold_every_bit(tmp_path):
    sample = _sample()
    sample.intensity[1, 3, 4] = np.nan
    paths = write_sample(tmp_path / "new" / "folder", sample)
    names = ["sample-0000012_aia171.fits", "sample-0000012_aia131.fits", "sample-0000012_hmi_m.fits"]
    assert [path.name for path in paths] == names
    assert sorted(one.name for one in paths[0].parent.iterdir()) == sorted(names)
    for path, image in zip(paths, sample.intensity, strict=True):
        with fits.open(path) as (unit,):
            unit.verify("exception")
            assert unit.data.astype(np.float32).tobytes() == image.tobytes()
            assert all(card.comment for card in unit.header.cards)
            assert not any("SDO" in str(unit.header.get(one, "")).upper() for one in ("TELESCOP", "INSTRUME"))
            assert not any("AIA" in str(unit.header.get(one, "")).upper() for one in ("TELESCOP", "INSTRUME"))
            assert "OBSERVAT" not in unit.header
            assert "DETECTOR" not in unit.header
            assert unit.header["SYNTHET"] is True
            assert unit.header["DATENOM"] is True
            assert unit.header["DATE-OBS"] == NOMINAL_DATE
        assert path.stat().st_size % 2880 == 0


@pytest.mark.usefixtures("strict")
def test_provenance_comes_back_exactly(tmp_path):
    sample = _sample()
    for path, name in zip(write_sample(tmp_path, sample), sample.channels, strict=True):
        found = read_provenance(path)
        assert found.pop("channel") == name
        assert math.isnan(found.pop("forecast_flux"))
        expected = {key: value for key, value in vars(sample).items() if key in found}
        assert found == expected
        assert {*found, "forecast_flux", "intensity", "channels"} == set(vars(sample))
        assert found["nowcast_flux"].hex() == NOWCAST.hex()
        assert [np.float32(one).tobytes() for one in found["steering"].values()] == [
            one.tobytes() for one in sample.steering.values()
        ]
        assert found["training_ranges"] == RANGES


@pytest.mark.usefixtures("strict")
def test_what_was_not_asked_for_and_numpy_values_come_back(tmp_path):
    asked = {"truncation": None, "min_class": None, "label": None, "steering": {}, "gate": ""}
    (path,) = write_sample(
        tmp_path,
        _sample(
            ["aia171"],
            **asked,
            rare=np.bool_(False),
            seed=np.int64(5),
            nowcast_flux=np.float64(0.0),
            forecast_flux=np.float64(1e-4),
            disk_radius=np.float32(27.3),
        ),
    )
    found = read_provenance(path)
    assert {key: found[key] for key in asked} == asked
    assert (found["rare"], found["seed"], found["nowcast_flux"], found["forecast_flux"]) == (False, 5, 0.0, 1e-4)
    assert found["disk_radius"] == float(np.float32(27.3))


@pytest.mark.usefixtures("strict")
def test_random_numbers_and_texts_of_every_length_come_back(tmp_path):
    random = np.random.default_rng(1)
    letters = list("ab '&\\/=Å\n")
    for length in range(150):
        flux = float(10 ** random.uniform(-300, 300))
        text = "".join(random.choice(letters, length))
        (path,) = write_sample(tmp_path, _sample(["aia171"], nowcast_flux=flux, gate=text, bundle_name=text[::-1]))
        found = read_provenance(path)
        assert (found["nowcast_flux"], found["gate"], found["bundle_name"]) == (flux, text, text[::-1])


@pytest.mark.usefixtures("strict")
def test_a_file_that_sunpy_saved_again_still_tells_its_origin(tmp_path):
    (path,) = write_sample(tmp_path, _sample(["aia171"], gate="passed"))
    again = tmp_path / "again.fits"
    sunpy.map.Map(path).save(again)
    found, before = read_provenance(again), read_provenance(path)
    # astropy cuts numbers to 20 characters.
    assert found.pop("nowcast_flux") == pytest.approx(before.pop("nowcast_flux"), rel=1e-13)
    assert math.isnan(found.pop("forecast_flux"))
    before.pop("forecast_flux")
    assert found == before


@pytest.mark.usefixtures("strict")
def test_compressed_files_are_read(tmp_path):
    (path,) = write_sample(tmp_path, _sample(["aia171"]))
    with fits.open(path) as (unit,):
        packed = fits.CompImageHDU(unit.data, unit.header, compression_type="GZIP_2", quantize_level=0)
        packed.writeto(tmp_path / "packed.fits")
    assert read_provenance(tmp_path / "packed.fits")["bundle_hash"] == "0123456789abcdef" * 4


def test_the_same_sample_gives_the_same_bytes(tmp_path):
    first = [path.read_bytes() for path in write_sample(tmp_path, _sample())]
    assert first == [path.read_bytes() for path in write_sample(tmp_path, _sample())]
    assert len(list(tmp_path.iterdir())) == 3


def test_many_training_ranges_are_kept(tmp_path):
    start = np.datetime64("2010-05-01T00:00:00") + np.arange(1500) * np.timedelta64(2, "D")
    ranges = [[f"{one}Z", f"{one + np.timedelta64(1, 'D')}Z"] for one in start]
    (path,) = write_sample(tmp_path, _sample(["aia171"], training_ranges=ranges))
    assert read_provenance(path)["training_ranges"] == ranges


@pytest.mark.parametrize("ranges", [RANGES, [["2010-05-13", "2026-01-01"]]])
def test_the_date_is_that_of_no_observation(tmp_path, ranges):
    (path,) = write_sample(tmp_path, _sample(["aia171"], training_ranges=ranges))
    date = fits.getheader(path)["DATE-OBS"]
    assert np.datetime64(date) < np.datetime64("2010-02-11")  # SDO's launch
    for split in PUBLISHED_SPLITS.values():
        assert not split.holds(np.array([date], "datetime64[ns]")).any()
    sunpy.map.Map(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training_ranges": []}, "does not say what it was trained on"),
        ({"training_ranges": [["2012-13-01", "2012-14-01"]]}, "not a pair of ISO times"),
        ({"training_ranges": [["2012-02-01", "2012-01-01"]]}, "does not end after its start"),
        ({"training_ranges": [["2012-02-01"]]}, "not a pair of ISO times"),
        ({"nowcast_flux": math.inf}, "NOWFLUX: inf cannot be written"),
        ({"steering": {str(one): 0.0 for one in range(1000)}}, "STDIR1000: more of them"),
        ({"channels": ["aia171"]}, "for 1 channels"),
        ({"intensity_scale": "counts"}, "choose physical, browse"),
        ({"disk_radius": 0.0}, "give one above 0"),
    ],
)
def test_refuses_what_cannot_be_told(tmp_path, changes, message):
    with pytest.raises(SunaugError, match=message):
        write_sample(tmp_path, replace(_sample(), **changes))
    assert not list(tmp_path.iterdir())


def test_our_own_reader_refuses_it_as_an_observation(tmp_path):
    (path,) = write_sample(tmp_path, _sample(["aia171"]))
    with pytest.raises(RejectedFile, match=r"a synthetic image \(SYNTHET = T\), not an observation"):
        fits_files.refer(synthetic_fits.location(path))
    # Nor does it where somebody has named an instrument since.
    fits.setval(path, "TELESCOP", value="SDO/AIA")
    with pytest.raises(RejectedFile, match="a synthetic image"):
        fits_files.refer(synthetic_fits.location(path))


def test_provenance_of_another_file_is_refused(tmp_path):
    observed, page, whole = tmp_path / "a.fits", tmp_path / "b.fits", tmp_path / "c.fits"
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(observed)
    page.write_text("<!DOCTYPE html>")
    with pytest.raises(SunaugError, match="not a synthetic image of sunaug"):
        read_provenance(observed)
    with pytest.raises(SunaugError, match="not a FITS file"):
        read_provenance(page)
    with pytest.raises(FileNotFoundError):
        read_provenance(whole)
    (path,) = write_sample(tmp_path, _sample(["aia171"]))
    fits.delval(path, "SEED")
    with pytest.raises(SunaugError, match="has lost its SEED"):
        read_provenance(path)


@pytest.fixture
def small_disk(tmp_path):
    """A file system that holds two of the three files, and no more."""
    folder = tmp_path / "small"
    folder.mkdir()
    # tmpfs counts in pages of 4 KiB: a file of 64 x 64 pixels takes 6 or 7 of them.
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def _assert_full(folder):
    with pytest.raises(SunaugError, match="the disk is full, sample 12 could not be written; free space and give"):
        write_sample(folder, _sample())
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["sample-0000012_aia131.fits", "sample-0000012_aia171.fits"]
    for name in left:
        assert read_provenance(folder / name)["number"] == 12


def test_a_full_disk_leaves_whole_files_only(small_disk):
    _assert_full(small_disk)
    subprocess.run(["mount", "-o", "remount,size=1m", small_disk], check=True)
    assert len(write_sample(small_disk, _sample())) == 3
    assert len(list(small_disk.iterdir())) == 3


def test_a_full_disk_that_is_only_told_of(tmp_path, monkeypatch):
    # The same without the right to mount: the third file's bytes end in the middle.
    def write_bytes(path, content):
        with open(path, "wb") as file:
            file.write(content[: 5000 if "hmi_m" in path.name else None])
            if "hmi_m" in path.name:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(type(synthetic_fits.location(tmp_path)), "write_bytes", write_bytes)
    _assert_full(tmp_path)


def test_another_error_of_the_disk_is_not_called_a_full_one(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write_sample(tmp_path / "file", _sample())


WRITER = """
import sys, time
from pathlib import Path
from sunaug import synthetic_fits
from tests.test_synthetic_fits import _sample
def write_bytes(path, content):
    with open(path, "wb") as file:
        file.write(content[:5000])
        file.flush()
        Path(sys.argv[1], "started").touch()
        time.sleep(60)
type(synthetic_fits.location(sys.argv[1])).write_bytes = write_bytes
synthetic_fits.write_sample(sys.argv[1], _sample())
"""


def test_a_killed_writer_leaves_no_half_file(tmp_path):
    root = Path(__file__).parents[1]
    with subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], cwd=root) as writer:
        for _ in range(600):
            if (tmp_path / "started").exists() or writer.poll() is not None:
                break
            time.sleep(0.1)
        writer.send_signal(signal.SIGKILL)
    left = [path.name for path in tmp_path.iterdir() if path.name != "started"]
    assert len(left) == 1
    assert left[0].endswith(".partial")
    assert not list(tmp_path.glob("*.fits"))
    assert len(write_sample(tmp_path, _sample())) == 3
