import numpy as np
import pytest
from PIL import Image

from sunaug.errors import SunaugError, UsageError
from sunaug.pictures import _titled, compare_sheet, contact_sheet, frame_picture

CHANNELS = ["aia171", "aia131", "aia94"]


@pytest.fixture
def frame() -> np.ndarray:
    y, x = np.mgrid[:32, :32] - 15.5
    disk = np.where(np.hypot(x, y) < 14, 120.0, 2.0).astype(np.float32)
    return np.stack([disk, disk * 0.8, disk * 0.4])


def test_row_zero_is_the_south(frame):
    frame[:, 0] = 255
    picture = np.asarray(frame_picture(frame, CHANNELS, intensity_scale="browse"))
    assert picture[-1, :32].mean() > 200
    assert picture[0, :32].mean() < 50


def test_colours_are_those_of_sunpy(frame):
    import matplotlib as mpl

    picture = np.asarray(frame_picture(frame, CHANNELS, intensity_scale="browse"))
    expected = mpl.colormaps["sdoaia171"](120 / 255, bytes=True)[:3]
    np.testing.assert_array_equal(picture[16, 16], expected)


def test_missing_pixels_are_grey(frame):
    frame[0, :4] = np.nan
    picture = np.asarray(frame_picture(frame, CHANNELS, intensity_scale="browse"))
    assert len(set(picture[-1, 5])) == 1
    assert 120 < picture[-1, 5, 0] < 200


def test_pixels_stay_crisp(frame):
    small = np.asarray(frame_picture(frame[:1], ["171"], intensity_scale="browse"))
    large = np.asarray(frame_picture(frame[:1], ["171"], intensity_scale="browse", width=100))
    np.testing.assert_array_equal(large, small.repeat(3, axis=0).repeat(3, axis=1))


def test_synthetic_is_in_the_title(frame):
    titles = [title for title, _ in _titled([("X2.2", frame), ("SYNTHETIC M1.0", frame), ("C1.0", frame)], [1, 1, 0])]
    assert titles == ["SYNTHETIC X2.2", "SYNTHETIC M1.0", "C1.0"]


def test_contact_sheet_is_a_light_png(frame, tmp_path):
    path = contact_sheet(
        tmp_path / "new" / "sheet.png", [("M1.0", frame)] * 8, CHANNELS, heading="Rare", synthetic=True
    )
    with Image.open(path) as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > sheet.height
        assert sheet.getpixel((0, 0)) == (255, 255, 255)


def test_compare_sheet_holds_both_sides(frame, tmp_path):
    one = contact_sheet(tmp_path / "one.png", [("M1.0", frame)] * 4, CHANNELS, columns=2)
    two = compare_sheet(tmp_path / "two.png", [("M1.0", frame)] * 4, [("X1.0", frame)] * 4, CHANNELS, columns=2)
    with Image.open(one) as left, Image.open(two) as both:
        assert both.width > left.width * 0.9


def test_one_channel_physical_and_magnetogram(frame, tmp_path):
    assert contact_sheet(tmp_path / "a.png", [("quiet", frame[:1])], ["193 Å"]).is_file()
    assert contact_sheet(tmp_path / "b.png", [("quiet", frame[:1] - 60)], ["hmi_m"]).is_file()


def test_what_makes_no_sheet(frame, tmp_path):
    with pytest.raises(UsageError, match="at least one frame"):
        contact_sheet(tmp_path / "a.png", [], CHANNELS)
    with pytest.raises(UsageError, match="does not go with the channels"):
        contact_sheet(tmp_path / "a.png", [("M1.0", frame)], ["aia171"])
    with pytest.raises(UsageError, match="at least one column"):
        contact_sheet(tmp_path / "a.png", [("M1.0", frame)], CHANNELS, columns=0)
    with pytest.raises(UsageError, match="one mark per frame"):
        contact_sheet(tmp_path / "a.png", [("M1.0", frame)], CHANNELS, synthetic=[True, False])
    (tmp_path / "file").write_text("")
    with pytest.raises(SunaugError, match="cannot be written"):
        contact_sheet(tmp_path / "file" / "a.png", [("M1.0", frame)], CHANNELS)
