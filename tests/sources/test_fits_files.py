import bz2
import gzip
import lzma

import numpy as np
import pytest
from astropy.io import fits
from upath import UPath

from sunaug.calibrate.chain import Calibration, calibrate
from sunaug.sources import FileReference, RejectedFile, fits_files
from tests.make_data import disk_image, write_fits, write_magnetogram

TIME = np.datetime64("2012-03-07T00:00:00")
WAVELENGTHS = (94, 131, 171, 193, 211, 304, 335, 1600, 1700, 4500)


def _read(path):
    (reference,) = fits_files.refer(path)
    (seen,) = fits_files.read(reference)
    return seen


@pytest.mark.parametrize("wavelength", WAVELENGTHS)
def test_reads_time_channel_and_pointing(tmp_path, wavelength):
    path = write_fits(tmp_path / "a.fits", centre=(60.0, 66.0), radius=50.0, wavelength=wavelength)
    (reference,) = fits_files.refer(path)
    assert reference.channels == (f"aia{wavelength}",)
    assert reference.time == np.datetime64("2012-03-07T00:00:00")
    (seen,) = fits_files.read(reference)
    assert seen.geometry.centre == pytest.approx((60.0, 66.0))
    assert seen.geometry.radius == pytest.approx(50.0), "R_SUN is in level-1 pixels and must not be used"
    assert seen.exposure_time == 2.0
    assert seen.unit == "DN"
    assert seen.sun_radius == 960.0
    assert seen.saturation_level == 15000
    assert seen.image.shape == (128, 128)


@pytest.mark.parametrize("compression", [None, "RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1"])
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_reads_every_layout_of_pixels(tmp_path, compression, dtype):
    expected = disk_image(128, (63.5, 63.5), 50.0).round()
    seen = _read(write_fits(tmp_path / "a.fits", image=expected, compression=compression, dtype=dtype))
    whole = np.issubdtype(dtype, np.integer)
    assert seen.image.dtype == (dtype if whole else np.float32)
    # Tile compression of floats is lossy: it leaves out what lies below their noise.
    np.testing.assert_allclose(seen.image, expected, atol=0 if whole or compression is None else 1.0)


def test_whole_numbers_come_with_their_blank_and_scaled_ones_as_floats(tmp_path):
    image = disk_image(128, (63.5, 63.5), 50.0).round()
    image[3, 4] = -32768
    seen = _read(write_fits(tmp_path / "a.fits", image=image, dtype=np.int16, keywords={"BLANK": -32768}))
    assert (seen.image.dtype, seen.blank, seen.image[3, 4]) == (np.int16, -32768, -32768)
    seen = _read(
        write_fits(tmp_path / "b.fits", image=image, dtype=np.int16, keywords={"BLANK": -32768, "BSCALE": 0.0625})
    )
    assert (seen.image.dtype, seen.blank) == (np.float32, None)
    assert np.isnan(seen.image[3, 4])
    np.testing.assert_array_equal(seen.image[64], image[64] / 16)


def test_an_image_with_a_third_axis_of_one_is_an_image(tmp_path):
    image = disk_image(128, (63.5, 63.5), 50.0).round()
    seen = _read(write_fits(tmp_path / "a.fits", image=image[None], compression=None, dtype=np.int16))
    np.testing.assert_array_equal(seen.image, image)


@pytest.mark.parametrize("name", ["a.fits.gz", "a.fits"])
def test_gzip_is_known_by_its_content(tmp_path, name):
    plain = write_fits(tmp_path / "plain.fits")
    (tmp_path / name).write_bytes(gzip.compress(plain.read_bytes()))
    np.testing.assert_array_equal(_read(tmp_path / name).image, _read(plain).image)


def test_reads_what_is_not_on_a_disk(tmp_path):
    content = write_fits(tmp_path / "a.fits").read_bytes()
    place = UPath("memory://sunaug-fits/a.fits")
    place.write_bytes(content)
    (reference,) = fits_files.refer(place)
    assert reference.path == place
    np.testing.assert_array_equal(_read(place).image, _read(tmp_path / "a.fits").image)


def test_only_the_header_is_read_to_refer(tmp_path):
    image = np.random.default_rng(0).integers(0, 4000, (1024, 1024))
    path = write_fits(tmp_path / "a.fits", size=1024, radius=400.0, image=image, compression=None)
    content = path.read_bytes()
    # Same length, no pixels: whoever reads them would notice.
    path.write_bytes(content[:28800])
    with path.open("r+b") as file:
        file.truncate(len(content))
    assert fits_files.refer(path)[0].channels == ("aia193",)


def test_a_magnetogram_is_signed_upside_down_and_missing_off_the_disk(tmp_path):
    y, x = np.indices((128, 128))
    field = 300 * np.exp(-((x - 50) ** 2 + (y - 60) ** 2) / 20) - 123.4
    seen = _read(write_magnetogram(tmp_path / "m.fits", field, centre=(61.0, 66.0), radius=50.0, roll=179.9))
    assert (seen.channel, seen.unit, seen.saturation_level) == ("hmi_m", "gauss", np.inf)
    assert seen.time == np.datetime64("2012-03-07T00:00:00")  # TAI was 34 s ahead
    assert seen.geometry.to_pixels[0, 0] == pytest.approx(-50, rel=1e-4)
    assert seen.image[66, 61] == pytest.approx(field[66, 61], abs=0.051)
    assert np.isnan(seen.image[0, 0])
    frame, facts = calibrate(seen, Calibration(32, 14.0), "physical")
    assert np.nanmin(frame) < -100
    assert facts["saturated_fraction"] == 0


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("DN", "DN"),
        ("ct", "DN"),
        ("counts", "DN"),
        ("DN / pixel", "DN"),
        ("DN/s", "DN s-1"),
        ("ct / s", "DN s-1"),
        ("DN s-1", "DN s-1"),
        ("DN / (pix s)", "DN s-1"),
    ],
)
def test_units_under_their_many_names(tmp_path, unit, expected):
    seen = _read(write_fits(tmp_path / "a.fits", keywords={"BUNIT": unit}))
    assert seen.unit == expected
    assert seen.saturation_level == (15000 if expected == "DN" else 7500)
    assert _read(write_fits(tmp_path / "b.fits", keywords={"PIXLUNIT": unit})).unit == expected


def test_the_radius_follows_from_the_distance(tmp_path):
    seen = _read(write_fits(tmp_path / "a.fits", keywords={"RSUN_OBS": None}))
    assert seen.sun_radius == pytest.approx(960.0)
    assert seen.geometry.radius == pytest.approx(50.0)


def test_date_obs_serves_where_t_obs_is_missing(tmp_path):
    assert _read(write_fits(tmp_path / "a.fits", keywords={"T_OBS": "MISSING"})).time == np.datetime64("2012-03-07")


def _text(path):
    path.write_text("<!DOCTYPE html><html>")


def _empty(path):
    path.write_bytes(b"")


def _truncated(path):
    write_fits(path)
    path.write_bytes(path.read_bytes()[:-6000])


def _plain_text(path):
    path.write_text("hello, no imag")


def _no_image(path):
    write_fits(path)
    path.write_bytes(path.read_bytes()[:2880])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_text, r'not a FITS file \(starts with "<!DOCTYPE html"\): the archive answered with a web page'),
        (_plain_text, r'not a FITS file \(starts with "hello, no imag"\)'),
        (_empty, "an empty file"),
        (_truncated, "truncated: .* bytes"),
        (_no_image, "holds no image with two axes"),
    ],
)
def test_damaged_files_are_named(tmp_path, spoil, reason):
    path = tmp_path / "bad.fits"
    spoil(path)
    with pytest.raises(RejectedFile, match=reason):
        fits_files.refer(path)


def test_a_damaged_gzip_is_a_rejection(tmp_path):
    path = tmp_path / "bad.fits.gz"
    path.write_bytes(gzip.compress(write_fits(tmp_path / "a.fits").read_bytes())[:-300])
    with pytest.raises(RejectedFile, match=r"damaged FITS|cut off"):
        fits_files.read(*fits_files.refer(path))


@pytest.mark.parametrize("compression", ["GZIP_1", "HCOMPRESS_1"])
def test_corrupt_compressed_pixels_are_a_rejection(tmp_path, compression):
    path = write_fits(tmp_path / "a.fits", compression=compression)
    content = bytearray(path.read_bytes())
    content[-9000:-3000] = b"\xff" * 6000
    path.write_bytes(content)
    with pytest.raises(RejectedFile, match="damaged FITS"):
        _read(path)


@pytest.mark.parametrize(
    ("keywords", "reason"),
    [
        ({"T_OBS": None, "DATE-OBS": None}, "no readable T_OBS or DATE-OBS"),
        ({"WAVELNTH": None}, "no usable WAVELNTH"),
        ({"CDELT1": None}, "no usable CDELT1"),
        ({"CDELT2": 0.0}, r"plate scale \(CDELT\) of zero"),
        ({"CRPIX2": None}, "no usable CRPIX2"),
        ({"RSUN_OBS": None, "DSUN_OBS": None}, "no usable RSUN_OBS or DSUN_OBS"),
        ({"BUNIT": "K"}, "BUNIT 'K' is not DN, DN/s or Gauss"),
        ({"PIXLUNIT": "Gauss"}, "its unit is gauss, which AIA 193 Å is not measured in"),
        ({"CUNIT1": "m"}, "CUNIT1 'm' is neither arcsec nor deg"),
        ({"TELESCOP": "SOHO", "INSTRUME": "EIT"}, "not an AIA or HMI image"),
    ],
)
def test_headers_that_lack_something_are_named(tmp_path, keywords, reason):
    path = write_fits(tmp_path / "a.fits", keywords=keywords)
    with pytest.raises(RejectedFile, match=reason):
        _read(path)


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        ({"exposure": None}, "no usable EXPTIME"),
        ({"quality": 1 << 13}, "bit 13: eclipse"),
    ],
)
def test_faults_that_calibration_finds(tmp_path, spoilt, reason):
    seen = _read(write_fits(tmp_path / "a.fits", **spoilt))
    with pytest.raises(RejectedFile, match=reason):
        calibrate(seen, Calibration(32, 14.0), "physical")


@pytest.mark.parametrize(
    ("image", "dtype", "reason"),
    [
        (np.zeros((128, 128)), np.int16, "nothing but zeros"),
        (np.full((128, 128), np.nan), np.float32, r"every pixel is missing \(NaN or BLANK\)"),
        (np.full((128, 128), -32768), np.int16, r"every pixel is missing \(NaN or BLANK\)"),
        (np.ones((128, 140)), np.int16, "wrong shape: 140 x 128 pixels"),
        (np.ones(128), np.int16, "wrong shape: an image of 128 pixels"),
        (np.ones((3, 128, 128)), np.int16, "wrong shape: an image of 128 x 128 x 3 pixels"),
    ],
)
def test_images_that_show_no_sun_are_named(tmp_path, image, dtype, reason):
    keywords = {"BLANK": -32768} if dtype is np.int16 else {}
    path = write_fits(tmp_path / "a.fits", image=image, dtype=dtype, compression=None, keywords=keywords)
    with pytest.raises(RejectedFile, match=reason):
        _read(path)


def test_a_cut_out_is_not_full_disk(tmp_path):
    path = write_fits(tmp_path / "a.fits", centre=(100.0, 63.0))
    with pytest.raises(RejectedFile, match="not full disk: 128 x 128 pixels of a Sun 100 pixels wide"):
        fits_files.read(*fits_files.refer(path))


def test_other_images_of_hmi_are_named_by_their_content(tmp_path):
    path = write_magnetogram(
        tmp_path / "m.fits",
        np.ones((128, 128)),
        centre=(63.5, 63.5),
        radius=50.0,
        keywords={"CONTENT": "CONTINUUM INTENSITY"},
    )
    with pytest.raises(RejectedFile, match="an HMI file with CONTENT 'CONTINUUM INTENSITY'"):
        fits_files.refer(path)


def test_a_rejection_after_the_time_keeps_it(tmp_path):
    path = write_fits(tmp_path / "a.fits", wavelength=195)
    with pytest.raises(RejectedFile, match="unknown channel") as caught:
        fits_files.refer(path)
    assert caught.value.time == np.datetime64("2012-03-07T00:00:00")


@pytest.mark.realdata
def test_real_cut_outs_are_not_full_disk(real_data):
    path = sorted((real_data / "aia_flare_cutouts_fits").glob("*.fits"))[0]
    with pytest.raises(RejectedFile, match="not full disk: 371 x 501 pixels"):
        _read(path)


@pytest.mark.parametrize("compression", ["RICE_1", None])
def test_a_byte_that_changed_on_its_way_is_found(tmp_path, compression):
    path = write_fits(tmp_path / "a.fits", compression=compression)
    with fits.open(path, disable_image_compression=True) as units:
        units.writeto(tmp_path / "summed.fits", checksum=True)
        last = units[-1].fileinfo()
    (reference,) = fits_files.refer(tmp_path / "summed.fits")
    (whole,) = fits_files.read(reference)
    np.testing.assert_array_equal(whole.image, fits_files.read(*fits_files.refer(path))[0].image)
    content = bytearray((tmp_path / "summed.fits").read_bytes())
    content[len(content) - last["datSpan"] // 2] ^= 0x10
    (tmp_path / "summed.fits").write_bytes(content)
    with pytest.raises(RejectedFile, match="DATASUM"):
        fits_files.read(reference)


@pytest.mark.parametrize(
    ("name", "pack"), [("a.fits.bz2", bz2.compress), ("a.fts.gz", gzip.compress), ("a.fit.xz", lzma.compress)]
)
def test_whole_files_may_be_compressed(tmp_path, name, pack):
    plain = write_fits(tmp_path / "plain.fits")
    (tmp_path / name).write_bytes(pack(plain.read_bytes()))
    np.testing.assert_array_equal(_read(tmp_path / name).image, _read(plain).image)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PK\x03\x04" + bytes(40), "compressed with zip; sunaug reads gzip"),
        (b"\x1f\x9d\x90" + bytes(40), r"compressed with compress \(\.Z\)"),
        (b"\x28\xb5\x2f\xfd" + bytes(40), "compressed with Zstandard"),
        (gzip.compress(gzip.compress(b"SIMPLE")), "compressed twice"),
        (bz2.compress(b"hello, no image"), "not a FITS file"),
        (bz2.compress(b"SIMPLE" * 999)[:-20], "damaged FITS"),
    ],
    # Names, since gzip writes the time into its bytes: two test workers would collect different tests.
    ids=["zip", "compress", "zstandard", "gzip-twice", "no-image", "cut"],
)
def test_other_compressions_are_named(tmp_path, content, reason):
    path = tmp_path / "a.fits"
    path.write_bytes(content)
    for look in (fits_files.refer, lambda path: fits_files.read(FileReference(path, "fits", TIME, ("aia193",)))):
        with pytest.raises(RejectedFile, match=reason):
            look(path)


@pytest.mark.parametrize("keywords", [{}, {"BSCALE": 0.5}])
def test_the_smallest_number_is_missing_where_blank_is(tmp_path, keywords):
    image = disk_image(128, (63.5, 63.5), 50.0).round()
    image[60, 60] = -32768
    seen = _read(write_fits(tmp_path / "a.fits", image=image, dtype=np.int16, compression=None, keywords=keywords))
    missing = np.isnan(seen.image) if seen.blank is None else seen.image == seen.blank
    assert np.argwhere(missing).tolist() == [[60, 60]]


@pytest.mark.parametrize(
    ("keywords", "reason"),
    [
        ({"BSCALE": 0.0}, "BSCALE is 0"),
        ({"BSCALE": -1.0}, "BSCALE is -1"),
        ({"EXPTIME": -2.0}, "EXPTIME is -2 s"),
        ({"QUALITY": "bad"}, "QUALITY 'bad' is no number"),
        ({"RSUN_OBS": 0.27}, "disagrees with DSUN_OBS"),
        ({"T_OBS": "-4712-01-01T12:00:00.000Z", "DATE-OBS": None}, "JSOC's mark for a missing time"),
        ({"CDELT1": 9.6, "CDELT2": 9.6}, "not full disk"),
        ({"CDELT1": 22.0, "CDELT2": 22.0}, "the limb stands at 1.1"),
        ({"TELESCOP": "SDO/HMI"}, "TELESCOP is 'SDO/HMI', and INSTRUME 'AIA_2'"),
    ],
)
def test_headers_of_what_cannot_be_are_named(tmp_path, keywords, reason):
    image = disk_image(128, (63.5, 63.5), 50.0)
    with pytest.raises(RejectedFile, match=reason):
        _read(write_fits(tmp_path / "a.fits", image=image, dtype=np.float32, compression=None, keywords=keywords))


def test_quality_as_text_is_read(tmp_path):
    assert _read(write_fits(tmp_path / "a.fits", keywords={"QUALITY": "0x00002000"})).quality == 1 << 13


def test_rows_of_another_length_than_naxis_are_found(tmp_path):
    path = write_fits(tmp_path / "a.fits", compression=None)
    content = path.read_bytes()
    for axis in (b"1", b"2"):
        content = content.replace(b"NAXIS%b  =                  128" % axis, b"NAXIS%b  =                  127" % axis)
    path.write_bytes(content)
    with pytest.raises(RejectedFile, match="holds more data than its header's 127 x 127 pixels"):
        _read(path)


@pytest.mark.parametrize("error", [MemoryError(), AssertionError("a fault of ours"), OSError(5, "Input/output error")])
def test_what_tells_nothing_of_the_file_is_no_rejection(tmp_path, monkeypatch, error):
    def fail(*args, **keywords):
        raise error

    (reference,) = fits_files.refer(write_fits(tmp_path / "a.fits"))
    monkeypatch.setattr(fits_files, "observe", fail)
    with pytest.raises(type(error)):
        fits_files.read(reference)


@pytest.mark.parametrize("error", [MemoryError(), OSError(5, "Input/output error")])
def test_a_decoder_without_memory_or_disk_damages_no_file(tmp_path, monkeypatch, error):
    def fail(*args, **keywords):
        raise error

    (reference,) = fits_files.refer(write_fits(tmp_path / "a.fits"))
    monkeypatch.setattr(fits_files, "read_stored", fail)
    with pytest.raises(type(error)):
        fits_files.read(reference)
