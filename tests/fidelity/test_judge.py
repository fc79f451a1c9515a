import os

import numpy as np
import pytest
from scipy import ndimage

from sunaug.cube import open_cube, select_split
from sunaug.errors import SunaugError, UsageError
from sunaug.fidelity import judge as room
from sunaug.fidelity.backbones import features
from sunaug.fidelity.distribution import distances
from sunaug.fidelity.images import display_images
from sunaug.fidelity.judge import Judge
from tests.models import CHANNELS, make_cube

CONDITIONS = ("nowcast_flux", "forecast_flux")
FIGURES = ["frechet", "kid", "kid_stderr", "precision", "recall", "density", "coverage"]


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    return open_cube(make_cube(tmp_path_factory.mktemp("judge") / "cube.zarr", months=(1, 3, 8), frames=30, size=32))


@pytest.fixture
def counted(monkeypatch):
    """Frames that features were made of."""
    seen = []
    whole = room.image_features

    def spy(batches, backbones):
        kept = list(batches)
        seen.append(sum(len(next(iter(one.values()))) for one in kept))
        return whole(kept, backbones)

    monkeypatch.setattr(room, "image_features", spy)
    return seen


def test_reference_floor_and_fluxes(cube, patches):
    judge = Judge.of(cube, n=24, backbone=patches(8), cache=None, conditions=CONDITIONS)
    assert (judge.label, judge.n, judge.channels, judge.conditions) == ("patches-8", 24, tuple(CHANNELS), CONDITIONS)
    assert judge.fluxes.shape == (24, 2)
    np.testing.assert_allclose(judge.fluxes[:, 1], judge.fluxes[:, 0] * 3)
    validation = select_split(cube, "validation")
    assert np.isin(judge.fluxes[:, 1], validation["forecast_flux"].values).all()
    assert list(judge.floor) == FIGURES
    assert judge.floor["frechet"] > 0


def test_figures_are_those_of_the_frames_against_the_reference(cube, patches):
    backbone = patches(8)
    judge = Judge.of(cube, n=1000, backbone=backbone, cache=None, conditions=())
    assert judge.n == len(select_split(cube, "validation")["time"])
    assert judge.fluxes.shape == (judge.n, 0)
    reference = select_split(cube, "validation")["intensity"].values
    answer = np.random.default_rng(0).uniform(0, 255, reference.shape).astype(np.float32)
    expected = distances(
        *(features(display_images(part, CHANNELS, "browse").values(), backbone) for part in (answer, reference)),
        real_times=select_split(cube, "validation")["time"].values,
    )
    assert judge.judge(answer) == pytest.approx(expected, rel=1e-4)
    same = judge.judge(reference)
    assert same["frechet"] == pytest.approx(0, abs=1e-6)
    assert same["coverage"] == 1
    blurred = judge.judge(ndimage.gaussian_filter(reference, (0, 0, 2, 2)))
    assert blurred["frechet"] > 3 * judge.floor["frechet"]


def test_a_generator_that_diverged_is_judged_and_bad(cube, patches):
    judge = Judge.of(cube, n=24, backbone=patches(8), cache=None, conditions=CONDITIONS)
    found = judge.judge(np.full((24, 3, 32, 32), np.nan, np.float32))
    assert all(np.isfinite(value) for value in found.values())
    assert found["frechet"] > 10 * judge.floor["frechet"]


def test_features_are_kept(cube, patches, tmp_path, counted):
    folder = tmp_path / "new" / "cache"

    def make(**changed):
        asked = {"n": 20, "backbone": patches(8), "cache": folder, "conditions": CONDITIONS} | changed
        return Judge.of(cube, **asked)

    first = make()
    assert counted == [20, 20]
    second = make()
    assert counted == [20, 20]
    assert (second.floor, second.fluxes.tolist()) == (first.floor, first.fluxes.tolist())
    assert second.judge(np.zeros((20, 3, 32, 32), np.float32)) == first.judge(np.zeros((20, 3, 32, 32), np.float32))
    counted.clear()
    for changed in ({"seed": 1}, {"n": 21}, {"backbone": patches(8, 1)}, {"cache": None}):
        make(**changed)
    assert counted == [20, 20, 21, 21, 20, 20, 20, 20]
    assert all(name.startswith("features-") and name.endswith(".safetensors") for name in os.listdir(folder))


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_damaged_features_are_made_again(cube, patches, tmp_path, counted, damage):
    asked = {"n": 20, "backbone": patches(8), "cache": tmp_path, "conditions": CONDITIONS}
    whole = Judge.of(cube, **asked)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    sound = [file.read_bytes() for file in files]
    for file, content in zip(files, sound, strict=True):
        flipped = content[:-5] + bytes([content[-5] ^ 64]) + content[-4:]
        file.write_bytes({"cut": content[:-9], "flipped": flipped, "empty": b"", "text": b"not features"}[damage])
    counted.clear()
    again = Judge.of(cube, **asked)
    assert counted == [20, 20]
    assert again.floor == whole.floor
    assert [file.read_bytes() for file in files] == sound
    assert sorted(tmp_path.iterdir()) == files


def test_a_cache_that_cannot_be_written(cube, patches, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SunaugError, match="cannot be kept"):
        Judge.of(cube, n=20, backbone=patches(8), cache=tmp_path / "file", conditions=())


def test_frames_with_unknown_fluxes_are_not_asked_for(cube, patches):
    flux = cube["forecast_flux"].values.copy()
    flux[-20:] = np.nan
    partly = cube.assign(forecast_flux=("time", flux))
    judge = Judge.of(partly, n=100, backbone=patches(8), cache=None, conditions=("forecast_flux",))
    assert judge.n == 10
    assert np.isfinite(judge.fluxes).all()
    flux[-26:] = np.nan
    with pytest.raises(SunaugError, match="4 validation and"):
        Judge.of(
            cube.assign(forecast_flux=("time", flux)),
            n=100,
            backbone=patches(8),
            cache=None,
            conditions=("forecast_flux",),
        )


def test_bad_requests(cube, patches):
    asked = {"backbone": patches(8), "cache": None}
    with pytest.raises(UsageError, match="give it 6 at least"):
        Judge.of(cube, n=5, conditions=(), **asked)
    with pytest.raises(UsageError, match="give another split"):
        Judge.of(cube, n=20, split="train", conditions=(), **asked)
    with pytest.raises(UsageError, match="has no radio_flux"):
        Judge.of(cube, n=20, conditions=("radio_flux",), **asked)
    judge = Judge.of(cube, n=20, conditions=(), **asked)
    for shape in ((19, 3, 32, 32), (20, 2, 32, 32), (20, 3, 32)):
        with pytest.raises(UsageError, match="wants 20 images of 3 channels"):
            judge.judge(np.zeros(shape, np.float32))
