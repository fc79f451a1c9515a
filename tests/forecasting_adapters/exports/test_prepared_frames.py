import numpy as np
import pytest
import xarray as xr

from forecasting_adapters.exports import Ecosystem
from forecasting_adapters.exports.preparing import prepare
from sunaug.calibrate.stretch import STRETCHES
from tests.suns import RADIUS, SIZE, make_suns


def layout(**wants):
    return Ecosystem(
        name="any",
        title="",
        wants="",
        channels={name: name for name in ("aia94", "aia171", "aia193")},
        write=lambda *_: None,
        read=lambda *_: xr.Dataset(),
        **wants,
    )


def cube(scale="browse", channels=("aia171", "aia131", "aia94")):
    return xr.Dataset(
        {"intensity": (("sample", "channel", "y", "x"), make_suns(1, 0))},
        coords={"channel": list(channels)},
        attrs={"intensity_scale": scale, "solar_radius_pixels": RADIUS},
    )


def limb(image):
    """Radius in pixels at which the mean over a ring falls to half of the disk's."""
    middle = (len(image) - 1) / 2
    y, x = np.indices(image.shape) - middle
    distance = np.hypot(x, y)
    rings = np.array([image[(distance >= r) & (distance < r + 1)].mean() for r in range(int(middle))])
    return np.argmax(rings < rings[: int(middle) // 2].mean() / 2) + 0.5


def test_frames_that_fit_are_handed_over_bit_by_bit():
    opened = cube(channels=("aia171", "aia131", "aia193"))
    how = prepare(opened, layout(), None, "continue", "cube")
    assert how.channels == ("aia171", "aia193")
    np.testing.assert_array_equal(how.apply(opened["intensity"][0].values), opened["intensity"][0, [0, 2]])
    assert how.steps() == []
    assert how.warnings() == []


def test_counts_become_dn_per_second_before_they_are_averaged():
    opened = cube()
    how = prepare(opened, layout(intensity_scale="physical"), SIZE // 2, "continue", "cube")
    (frame, _) = how.apply(opened["intensity"][0].values)
    physical = STRETCHES["aia171"].intensity(opened["intensity"][0, 0].values)
    np.testing.assert_allclose(frame, physical.reshape(SIZE // 2, 2, SIZE // 2, 2).mean((1, 3)), rtol=1e-5)
    assert how.scale == "browse-inverted"
    assert how.warnings() == [
        "display counts turned back into approximate DN/s: aia171 within 0.13 dex rms, aia94 not measured."
    ]


def test_dn_per_second_become_the_counts_that_they_came_from():
    counts = cube()
    physical = counts.copy(deep=True).assign_attrs(intensity_scale="physical")
    names = [str(name) for name in physical["channel"].values]
    physical["intensity"].values[0] = [
        STRETCHES[name].intensity(one) for name, one in zip(names, counts["intensity"].values[0], strict=True)
    ]
    frame = prepare(physical, layout(intensity_scale="browse"), None, "continue", "cube").apply(
        physical["intensity"].values[0]
    )
    np.testing.assert_allclose(frame, counts["intensity"].values[0, [0, 2]], atol=0.01)


@pytest.mark.parametrize("size", [32, 48, 128])
def test_the_disk_gets_the_radius_that_is_asked_for(size):
    opened = cube()
    how = prepare(opened, layout(disk_share=0.4), size, "continue", "cube")
    assert how.radius == 0.4 * size
    frame = how.apply(opened["intensity"][0].values)
    assert frame.shape == (2, size, size)
    assert frame.dtype == np.float32
    assert limb(frame[0]) == pytest.approx(0.4 * size, abs=1.5)
    # Surface brightness: resampling leaves the disk as bright as it was.
    inner = slice(size // 2 - size // 8, size // 2 + size // 8)
    before = opened["intensity"][0, 0, 24:40, 24:40].mean()
    assert frame[0, inner, inner].mean() == pytest.approx(float(before), rel=0.1)


def test_what_lies_beyond_the_cube_is_continued_or_missing():
    opened = cube()
    images = opened["intensity"][0].values
    continued = prepare(opened, layout(disk_share=0.35), None, "continue", "cube")
    missing = prepare(opened, layout(disk_share=0.35), None, "missing", "cube")
    assert not np.isnan(continued.apply(images)).any()
    holes = np.isnan(missing.apply(images)[0])
    # The cube reaches to 32 / 28 radii of 22.4 pixels each: 6.4 pixels are missing on every side.
    assert holes[:6].all()
    assert not holes[7:-7, 7:-7].any()
    np.testing.assert_array_equal(continued.apply(images)[:, ~holes], missing.apply(images)[:, ~holes])
    assert continued.steps()[0]["beyond_the_cube"] == "continue"
    (warning,) = continued.warnings()
    assert warning.startswith("beyond 1.14 solar radii, where the cube ends, its outermost pixels are continued")
    assert "there are no data" in missing.warnings()[0]


def test_enlarged_frames_are_said_to_be():
    (warning,) = prepare(cube(), layout(), 4 * SIZE, "continue", "cube").warnings()
    assert warning == "upsampled 4 times: holds no finer detail than the cube."
