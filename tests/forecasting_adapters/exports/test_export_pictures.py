import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forecasting_adapters.exports.pictures import (
    LEVELS_FILE,
    default_levels,
    jpeg_bytes,
    png_bytes,
    put_levels,
    read_levels,
    read_picture,
)
from sunaug.errors import SunaugError
from sunaug.lexicon import CHANNELS

NAMES = ("aia171", "aia94", "hmi_m")


def in_range(shape: tuple[int, ...]) -> np.ndarray:
    """Intensities from end to end of each channel's range."""
    share = np.random.default_rng(0).uniform(0, 1, (len(NAMES), *shape))
    planes = []
    for name, one in zip(NAMES, share, strict=True):
        low, high = CHANNELS[name].clip
        planes.append(low + one * (high - low) if CHANNELS[name].signed else low * (high / low) ** one)
    return np.stack(planes).astype(np.float32)


@pytest.mark.parametrize("bits", [8, 16])
def test_levels_give_intensities_back_within_half_a_level(bits: int) -> None:
    image = in_range((32, 32))
    levels = default_levels(NAMES, "physical", bits)
    back = levels.decode(levels.encode(image))
    half = 0.5 / (2**bits - 1) * 1.01
    for plane, name in enumerate(NAMES[:2]):
        low, high = CHANNELS[name].clip
        assert np.abs(np.log10(back[plane] / image[plane])).max() < half * np.log10(high / low) + 1e-6
    low, high = CHANNELS["hmi_m"].clip
    assert np.abs(back[2] - image[2]).max() < half * (high - low) + 1e-3


def test_display_counts_are_levels_and_north_is_up() -> None:
    counts = np.full((1, 3, 2), 7, np.float32)
    counts[0, 0] = [250.4, np.nan]
    levels = default_levels(["aia171"], "browse").encode(counts)
    assert levels.dtype == np.uint8
    assert levels.tolist() == [[[7, 7], [7, 7], [250, 0]]]


def test_beyond_the_ends_are_the_ends() -> None:
    levels = default_levels(["aia94"], "physical")
    low, high = CHANNELS["aia94"].clip
    back = levels.decode(levels.encode(np.array([[[0, -5, 1e6, np.nan]]], np.float32)))
    np.testing.assert_allclose(back[0, 0], [low, low, high, low], rtol=1e-5)


def test_colours_of_16_bits_survive_a_png(tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 2**16, (5, 4, 3), dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(png_bytes(picture))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), picture)


def test_a_jpeg_is_near_and_says_that_it_is_synthetic() -> None:
    y, x = np.mgrid[:64, :64]
    picture = (127 + 80 * np.sin(x / 9) * np.cos(y / 7)).astype(np.uint8)
    read = Image.open(io.BytesIO(jpeg_bytes(picture)))
    assert read.mode == "L"
    assert read.info["comment"].startswith(b"SYNTHETIC")
    assert np.abs(np.asarray(read).astype(int) - picture).max() <= 4


def test_damaged_files_are_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SunaugError, match=r"levels\.json is missing or damaged"):
        read_levels(tmp_path)
    put_levels(tmp_path, default_levels(["aia171"], "browse"))
    assert read_levels(tmp_path).bits == 8
    (tmp_path / LEVELS_FILE).write_text("{}")
    with pytest.raises(SunaugError, match=r"levels\.json is missing or damaged"):
        read_levels(tmp_path)
    for name in ("a.png", "a.jpg"):
        with pytest.raises(SunaugError, match=f"{name}: missing, or not a whole picture"):
            read_picture(tmp_path / name)
        (tmp_path / name).write_bytes(b"no picture")
        with pytest.raises(SunaugError, match=f"{name}: missing, or not a whole picture"):
            read_picture(tmp_path / name)
