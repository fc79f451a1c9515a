from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sunaug.sources import RejectedFile, browse
from tests.make_data import disk_image, write_rgb


@pytest.mark.parametrize(
    ("name", "time", "channels"),
    [
        ("20120307_0040.jpg", "2012-03-07T00:40", ("aia171", "aia131", "aia94")),
        ("20100914_123342_SDO_AIA_193_512.jpg", "2010-09-14T12:33:42", ("aia193",)),
        ("20170101_222517_1024_0193.jpg", "2017-01-01T22:25:17", ("aia193",)),
    ],
)
def test_file_names_tell_time_and_channels(name, time, channels):
    (reference,) = browse.refer(Path(name), None)
    assert reference.time == np.datetime64(time)
    assert reference.channels == channels


@pytest.mark.parametrize("name", ["sun.jpg", "20121301_0000.jpg", "20120101_000000_SDO_AIA_195_512.jpg"])
def test_other_names_are_rejected(name):
    with pytest.raises(RejectedFile):
        browse.refer(Path(name), None)


def test_rgb_planes_are_channels_with_the_south_first(tmp_path):
    planes = [np.full((472, 472), level, float) for level in (200, 100, 50)]
    planes[0][:100] = 20
    seen = browse.read(*browse.refer(write_rgb(tmp_path / "20120701_0000.jpg", tuple(planes)), None))
    assert [one.channel for one in seen] == ["aia171", "aia131", "aia94"]
    assert seen[0].image[:90].mean() == pytest.approx(20, abs=3)
    assert seen[1].image.mean() == pytest.approx(100, abs=2)
    assert seen[0].geometry.radius == pytest.approx(943.6 / 4.8, abs=0.1), "the aphelion Sun is 943.6 arcsec"


def test_colour_table_is_inverted_and_the_caption_masked(tmp_path):
    import matplotlib as mpl
    import sunpy.visualization.colormaps  # noqa: F401

    level = disk_image(512, (255.5, 255.5), 200).clip(0, 255).astype(np.uint8)
    coloured = mpl.colormaps["sdoaia193"](level, bytes=True)[::-1, :, :3]
    path = tmp_path / "20100914_123342_SDO_AIA_193_512.jpg"
    Image.fromarray(coloured).save(path, quality=98, subsampling=0)
    (seen,) = browse.read(*browse.refer(path, None))
    assert np.isnan(seen.image[:15, :250]).all()
    assert np.nanmedian(np.abs(seen.image - level)) <= 3


@pytest.mark.parametrize(("content", "reason"), [(b"", "empty"), (b"<html>no</html>", "not a JPEG image")])
def test_damaged_files_are_named(tmp_path, content, reason):
    path = tmp_path / "20120701_0000.jpg"
    path.write_bytes(content)
    with pytest.raises(RejectedFile, match=reason):
        browse.read(*browse.refer(path, None))


def _sun(size, radius):
    return disk_image(size, ((size - 1) / 2, (size - 1) / 2), radius)


# On 2012-07-01 the Sun's radius is 943.6 arcsec: 196.6 pixels of 4.8 arcsec.
RADIUS = 943.6 / 4.8


@pytest.mark.parametrize(("size", "scale"), [(472, 1), (944, 2), (512, 1), (1024, 2)])
def test_the_plate_scale_follows_from_the_size(tmp_path, size, scale):
    planes = [_sun(size, RADIUS * scale) * share for share in (1.0, 0.8, 0.5)]
    seen = browse.read(*browse.refer(write_rgb(tmp_path / "20120701_0000.jpg", tuple(planes)), None))
    assert seen[0].geometry.radius == pytest.approx(RADIUS * scale, abs=0.1)


def _write_single(path, size=512, radius=RADIUS, table="sdoaia193", width=None, **options):
    import matplotlib as mpl
    import sunpy.visualization.colormaps  # noqa: F401

    levels = (_sun(size, radius).clip(0, 255)).astype(np.uint8)[::-1]
    pixels = levels if table is None else mpl.colormaps[table](levels, bytes=True)[..., :3]
    picture = Image.fromarray(pixels[:, : width or size])
    picture.save(path, **({"quality": 98, "subsampling": 0} | options))
    return path


def _grey_rgb(path):
    return write_rgb(path, (_sun(512, RADIUS),) * 3)


def _turned(path):
    exif = Image.Exif()
    exif[0x0112] = 3
    return _write_single(path, exif=exif)


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        (
            "20120701_0000.jpg",
            lambda path: write_rgb(path, (_sun(500, 192.0),) * 2 + (_sun(500, 192.0) / 2,)),
            "500 x 500",
        ),
        (
            "20120701_0000.jpg",
            lambda path: write_rgb(path, (_sun(256, 98.0),) * 2 + (_sun(256, 98.0) / 2,)),
            "256 x 256",
        ),
        (
            "20120701_0000.jpg",
            lambda path: write_rgb(path, (_sun(512, 218.0),) * 2 + (_sun(512, 218.0) / 2,)),
            "the limb",
        ),
        (
            "20120701_0000.jpg",
            lambda path: write_rgb(path, (_sun(472, 181.2),) * 2 + (_sun(472, 181.2) / 2,)),
            "the limb",
        ),
        ("20120701_0000.jpg", _grey_rgb, "a grey picture"),
        ("20120701_0000.jpg", lambda path: _write_single(path, table=None), "a grey picture"),
        ("20120701_0000.jpg", _write_single, "a picture in the colour table of AIA 193 Å, and its name says three"),
        ("20120701_000000_512_0193.jpg", lambda path: _write_single(path, table=None), "a grey picture"),
        ("20120701_000000_512_0193.jpg", _grey_rgb, "a grey picture"),
        ("20120701_000000_512_0171.jpg", _write_single, "not those of the colour table of AIA 171 Å"),
        ("20120701_000000_1024_0193.jpg", _write_single, "512 pixels wide, and its name says 1024"),
        ("20120701_000000_SDO_AIA_193_256.jpg", _write_single, "512 pixels wide, and its name says 256"),
        ("20120701_000000_512_0193.jpg", lambda path: _write_single(path, radius=150.0), "the limb stands at 0.76"),
        ("20120701_000000_512_0193.jpg", lambda path: _write_single(path, width=500), "wrong shape: 500 x 512"),
        ("20120701_000000_512_0193.jpg", lambda path: Image.new("CMYK", (512, 512), (9, 99, 50, 0)).save(path), "CMYK"),
        ("20120701_000000_512_0193.jpg", _turned, "its EXIF turns"),
        ("20120701_000000_512_0193.jpg", lambda path: Image.new("RGB", (512, 512)).save(path, "PNG"), "the kind PNG"),
    ],
)
def test_pictures_of_another_kind_than_their_name_are_named(tmp_path, name, make, reason):
    make(tmp_path / name)
    with pytest.raises(RejectedFile, match=reason):
        browse.read(*browse.refer(tmp_path / name, None))


@pytest.mark.parametrize("name", ["19991231_0000.jpg", "29991231_0000.jpg", "20090101_000000_512_0193.jpg"])
def test_times_that_are_not_of_sdo_are_rejected(name):
    with pytest.raises(RejectedFile, match="the time in the file name"):
        browse.refer(Path(name), None)


@pytest.mark.realdata
def test_real_pictures_are_of_their_kind(real_data):
    folders = (
        "sdo2012/images",
        "aia193_browse_2017",
        "aia193_browse_2017_daily/images",
        "aia211_browse_2010_2014/images",
    )
    for folder in folders:
        files = sorted((real_data / folder).glob("*.jpg"))
        for path in files[:: len(files) // 10]:
            assert browse.read(*browse.refer(path, None))
