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
