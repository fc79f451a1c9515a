import gzip

import numpy as np
import pytest

from sunaug.sources import RejectedFile, fits_files
from tests.make_data import write_fits


def test_reads_time_channel_and_pointing(tmp_path):
    path = write_fits(tmp_path / "a.fits", centre=(60.0, 66.0), radius=50.0)
    (reference,) = fits_files.refer(path)
    assert reference.channels == ("aia193",)
    assert reference.time == np.datetime64("2012-03-07T00:00:00")
    (seen,) = fits_files.read(reference)
    assert seen.geometry.centre == pytest.approx((60.0, 66.0))
    assert seen.geometry.radius == pytest.approx(50.0), "R_SUN is in level-1 pixels and must not be used"
    assert seen.exposure_time == 2.0
    assert seen.image.shape == (128, 128)


def _text(path):
    path.write_text("<!DOCTYPE html><html>")


def _empty(path):
    path.write_bytes(b"")


def _truncated(path):
    write_fits(path)
    path.write_bytes(path.read_bytes()[:-6000])


def _plain_text(path):
    path.write_text("hello, no imag")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_text, r'not a FITS file \(starts with "<!DOCTYPE html"\): the archive answered with a web page'),
        (_plain_text, r'not a FITS file \(starts with "hello, no imag"\)'),
        (_empty, "an empty file"),
        (_truncated, "truncated: .* bytes"),
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


def test_a_cut_out_is_not_full_disk(tmp_path):
    path = write_fits(tmp_path / "a.fits", centre=(100.0, 63.0))
    with pytest.raises(RejectedFile, match="not full disk: 128 x 128 pixels of a Sun 100 pixels wide"):
        fits_files.read(*fits_files.refer(path))


def test_a_rejection_after_the_time_keeps_it(tmp_path):
    path = write_fits(tmp_path / "a.fits", wavelength=195)
    with pytest.raises(RejectedFile, match="unknown channel") as caught:
        fits_files.refer(path)
    assert caught.value.time == np.datetime64("2012-03-07T00:00:00")
