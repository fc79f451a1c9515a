import struct
import time

import numpy as np
import pytest
from PIL import Image

from sunaug.sources import RejectedFile, helioviewer
from tests.make_data import disk_image

SIZE = 128
HEADER = {
    "NAXIS1": str(SIZE),
    "NAXIS2": str(SIZE),
    "TELESCOP": "SDO",
    "INSTRUME": "AIA_2",
    "DATE-OBS": "2022-01-01T00:03:52.835",
    "T_OBS": "2022-01-01T00:03:53.835",
    "EXPTIME": "2.0000400",
    "WAVELNTH": "193",
    "LVL_NUM": "1.50000",
    "QUALITY": "1073741824",
    "CUNIT1": "arcsec",
    "CUNIT2": "arcsec",
    "CRVAL1": "0.00000",
    "CRVAL2": "0.00000",
    "CDELT1": "19.2",
    "CDELT2": "19.2",
    "CRPIX1": "61.0",
    "CRPIX2": "67.0",
    "CROTA2": "0.00000",
    "RSUN_OBS": "960.0",
}


def _box(kind, content):
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _xml(header):
    lines = "\n".join(f"<{keyword}>{value}</{keyword}>" for keyword, value in header.items())
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<meta>\n<fits>\n{lines}\n</fits>\n</meta>\n \n'.encode()


def write_jp2(path, header=HEADER, image=None, xml=None):
    """A JPEG 2000 file as Helioviewer has it: the header's XML box before a codestream that reaches to the end."""
    if image is None:
        image = disk_image(SIZE, (60.0, 66.0), 50.0).clip(0, 255)
    Image.fromarray(image.astype(np.uint8)[::-1]).save(path, format="JPEG2000")
    content = path.read_bytes()
    place = content.index(b"jp2c") - 4
    xml = _xml(header) if xml is None else xml
    boxes = _box(b"xml ", xml) if xml else b""
    path.write_bytes(content[:place] + boxes + struct.pack(">I4s", 0, b"jp2c") + content[place + 8 :])
    return path


def _without(*keywords, **changes):
    return {keyword: value for keyword, value in (HEADER | changes).items() if keyword not in keywords}


def test_reads_the_header_and_puts_the_south_first(tmp_path):
    image = np.full((SIZE, SIZE), 80.0)
    image[:20] = 10
    path = write_jp2(tmp_path / "a.jp2", image=image)
    (reference,) = helioviewer.refer(path)
    assert reference.channels == ("aia193",)
    assert reference.time == np.datetime64("2022-01-01T00:03:53.835")
    (seen,) = helioviewer.read(reference)
    assert seen.image.dtype == np.uint8
    np.testing.assert_array_equal(seen.image, image)
    assert seen.geometry.centre == pytest.approx((60.0, 66.0))
    assert seen.geometry.radius == pytest.approx(50.0)
    assert (seen.unit, seen.saturation_level, seen.sun_radius, seen.level) == ("counts", 255.0, 960.0, 1.5)
    assert seen.exposure_time == pytest.approx(2.00004)
    assert seen.quality == 1 << 30


def test_the_roll_turns_the_axes(tmp_path):
    path = write_jp2(tmp_path / "a.jp2", _without(CROTA2="90.0"))
    (seen,) = helioviewer.read(*helioviewer.refer(path))
    np.testing.assert_allclose(seen.geometry.to_pixels @ [1, 0], [0, -50], atol=1e-9)


def test_refer_decodes_no_pixel(tmp_path):
    path = write_jp2(tmp_path / "a.jp2")
    content = bytearray(path.read_bytes())
    start = content.index(b"jp2c") + 4
    content[start:-2] = bytes(len(content) - start - 2)
    path.write_bytes(content)
    (reference,) = helioviewer.refer(path)
    with pytest.raises(RejectedFile, match="damaged JPEG 2000"):
        helioviewer.read(reference)


BOMB = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">%s]><meta><fits><T_OBS>&j;</T_OBS></fits></meta>' % (
    b"".join(b'<!ENTITY %c "%s">' % (ord("b") + n, b"&%c;" % (ord("a") + n) * 10) for n in range(9))
)


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        (b"", "no FITS header"),
        (b"<meta><helioviewer/></meta>", "no FITS header"),
        (b"<meta><fits><T_OBS>2022</fits></meta>", "not well-formed XML"),
        (BOMB, "declares a document type"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><meta/>', "declares a document type"),
        (b"<a>" + b" " * 2**20 + b"</a>", "which no FITS header is"),
    ],
)
def test_headers_that_cannot_be_used_are_named(tmp_path, xml, reason):
    path = write_jp2(tmp_path / "a.jp2", xml=xml)
    began = time.monotonic()
    with pytest.raises(RejectedFile, match=reason):
        helioviewer.refer(path)
    assert time.monotonic() - began < 2, "entities are not expanded"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (_without("T_OBS", "DATE-OBS"), "no readable T_OBS or DATE-OBS"),
        (_without("WAVELNTH"), "no usable WAVELNTH"),
        (_without(WAVELNTH="195"), "unknown channel"),
        (_without(INSTRUME="HMI_FRONT2"), "not an AIA image but one of SDO HMI_FRONT2"),
        (_without("CDELT1"), "no usable CDELT1"),
        (_without("CRPIX2"), "no usable CRPIX2"),
        (_without("RSUN_OBS"), "no usable RSUN_OBS"),
        (_without(CUNIT1="pixel"), "CUNIT1 'pixel'"),
        (_without(CRPIX1="120"), "not full disk"),
        (_without(RSUN_OBS="0.27"), "RSUN_OBS is 0.27 arcsec; from SDO"),
        (_without(QUALITY="good"), "QUALITY 'good' is no number"),
        (_without(EXPTIME="0.0"), "EXPTIME is 0 s"),
        (_without(CDELT1="-19.2"), "mirrors the image"),
        (_without(CDELT1="22", CDELT2="22"), "the limb stands at 1.1"),
        (_without(TIMESYS="TT"), "TIMESYS is 'TT'"),
        (_without("DATE-OBS", T_OBS="-4712-01-01T12:00:00Z"), "JSOC's mark for a missing time"),
        (_without(T_OBS="2099-01-01T00:00:00"), "in the future"),
        (_without(INSTRUME="AIA_3"), "which INSTRUME AIA_3 does not take"),
        (_without(NAXIS1="x"), "NAXIS1 'x' is no number"),
        (_without(NAXIS1="4096"), "has 128 x 128 pixels, and its header 4096 x 128"),
    ],
)
def test_headers_without_what_is_needed_are_named(tmp_path, header, reason):
    path = write_jp2(tmp_path / "a.jp2", header)
    with pytest.raises(RejectedFile, match=reason):
        helioviewer.read(*helioviewer.refer(path))


def test_a_rejection_after_the_time_keeps_it(tmp_path):
    path = write_jp2(tmp_path / "a.jp2", _without(INSTRUME="HMI"))
    with pytest.raises(RejectedFile) as caught:
        helioviewer.refer(path)
    assert caught.value.time == np.datetime64("2022-01-01T00:03:53.835")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda content: b"", "an empty file"),
        (lambda content: b"<!DOCTYPE html><html>", r'not a JPEG 2000 image \(starts with "<!DOCTYPE ht'),
        (lambda content: content[:-100], "truncated: the image has no end"),
        (lambda content: content[: content.index(b"<fits>")], "truncated: .* bytes"),
        (lambda content: content[: content.index(b"jp2c") - 2], "truncated within a box"),
        (lambda content: content[: content.index(b"jp2c") - 4], "truncated: the image has no end"),
        (
            lambda content: content.replace(b"ftyp", b"ftyp", 1)[:12] + b"\0\0\0\3ftyp" + content[20:],
            "a box of 3 bytes",
        ),
    ],
)
def test_damaged_files_are_named(tmp_path, spoil, reason):
    path = write_jp2(tmp_path / "a.jp2")
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(RejectedFile, match=reason):
        helioviewer.refer(path)


def test_colour_images_are_refused(tmp_path):
    path = write_jp2(tmp_path / "a.jp2", image=np.zeros((SIZE, SIZE, 3)))
    with pytest.raises(RejectedFile, match="not an image of 8-bit counts"):
        helioviewer.read(*helioviewer.refer(path))


@pytest.mark.realdata
def test_the_limb_of_a_real_image_lies_where_the_header_says(real_data):
    (path,) = sorted((real_data / "helioviewer_jp2").glob("*.jp2"))
    (seen,) = helioviewer.read(*helioviewer.refer(path))
    assert (seen.channel, seen.image.shape, seen.level) == ("aia193", (4096, 4096), 1.5)
    assert seen.geometry.radius == pytest.approx(1626.67, abs=0.01)
    # The dark rim of the chromosphere ends in a steep rise to the corona; the median of a sector takes out the loops.
    angles = np.deg2rad(np.arange(0, 360, 0.5))
    radii = np.arange(0.99, 1.02, 0.0005) * seen.geometry.radius
    column = np.rint(seen.geometry.centre[0] + radii * np.cos(angles)[:, None]).astype(int)
    row = np.rint(seen.geometry.centre[1] + radii * np.sin(angles)[:, None]).astype(int)
    profiles = np.median(seen.image[row, column].reshape(24, 30, -1), axis=1)
    smooth = np.apply_along_axis(np.convolve, 1, profiles, np.ones(9) / 9, mode="valid")
    edge = radii[4:-5][np.diff(smooth, axis=1).argmax(axis=1)]
    middle = np.deg2rad(np.arange(24) * 15 + 7.25)
    basis = np.stack([np.ones(24), np.cos(middle), np.sin(middle)], axis=1)
    keep = np.abs(edge - np.median(edge)) < 5
    radius, *centre = np.linalg.lstsq(basis[keep], edge[keep], rcond=None)[0]
    assert keep.sum() >= 16
    assert radius / seen.geometry.radius == pytest.approx(1.0064, abs=0.001)
    assert np.hypot(*centre) < 2

    # The active regions 12916 and 12918 were in the south-west: there the image is brightest on the disk.
    x, y = (np.arange(4096) - at for at in seen.geometry.centre)
    bright = (seen.image > 230) & (np.hypot(x, y[:, None]) < 0.9 * seen.geometry.radius)
    south_west = bright[:2048, 2048:].sum()
    assert south_west > 2 * bright[2048:, 2048:].sum()
