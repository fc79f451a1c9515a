import numpy as np
import pytest

from sunaug.cube import open_cube
from sunaug.fidelity import images as room
from sunaug.fidelity.images import display_images, image_batches


def test_three_channels_make_one_image():
    frames = np.full((2, 3, 4, 4), 100.4, np.float32)
    frames[0, 1] = np.nan
    frames[1, 2] = 300
    images = display_images(frames, ["aia171", "aia131", "aia94"], "browse")
    assert list(images) == ["aia171+aia131+aia94"]
    only = images["aia171+aia131+aia94"]
    assert only.dtype == np.uint8
    assert (only[0, 0] == 100).all()
    assert (only[0, 1] == 0).all()
    assert (only[1, 2] == 255).all()


def test_other_channels_make_an_image_each():
    frames = np.full((2, 2, 4, 4), 9800, np.float32)
    images = display_images(frames, ["aia193", "aia211"], "physical")
    assert list(images) == ["aia193", "aia211"]
    assert images["aia193"].shape == (2, 3, 4, 4)
    assert (images["aia193"] == 255).all()


@pytest.mark.parametrize("observed", [True, False])
def test_images_of_some_frames_of_a_cube(make_cube, suns, monkeypatch, observed):
    monkeypatch.setattr(room, "BATCH", 2)
    frames = suns(5, 0, size=32)
    times = np.datetime64("2012-03-02", "ns") + np.arange(5) * np.timedelta64(1, "D") if observed else None
    cube = open_cube(make_cube("cube.zarr", frames, np.zeros(5), times))
    found = list(image_batches(cube, np.array([0, 2, 4])))
    assert [len(batch["aia171+aia131+aia94"]) for batch in found] == [2, 1]
    whole = np.concatenate([batch["aia171+aia131+aia94"] for batch in found])
    np.testing.assert_array_equal(
        whole,
        display_images(cube["intensity"].values[[0, 2, 4]], list(cube["channel"].values), "browse")[
            "aia171+aia131+aia94"
        ],
    )
    assert list(image_batches(cube, np.empty(0, np.int64))) == []
