"""Samples of large images, which are made one by one in tiles."""

import numpy as np
import pytest
import torch
from astropy.io import fits

import sunaug
from sunaug.cube import open_cube
from sunaug.generation import Request, Sampler, generate_cube, generate_fits, regenerate
from tests.models import make_bundle


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "tiny")


@pytest.fixture
def tiled(tmp_path):
    made = make_bundle(tmp_path / "tiled")
    made.generator.tile = 4
    return made


def test_tiles_make_the_same_samples(bundle, tiled):
    whole = sunaug.generate(bundle, 5, rare=True, seed=3)["intensity"].values
    made = sunaug.generate(tiled, 5, rare=True, seed=3)["intensity"].values
    np.testing.assert_allclose(made, whole, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_share_the_tiles_and_have_no_part_in_the_bits(tiled, threads):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = sunaug.generate(tiled, 3, rare=True, seed=3)["intensity"].values
        torch.set_num_threads(threads)
        shared = sunaug.generate(tiled, 3, rare=True, seed=3)["intensity"].values
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(shared, alone)


def test_they_come_one_by_one(tiled, monkeypatch):
    """Batches of one, and no more than one ahead of it: their noise alone takes hundreds of megabytes."""
    sampler, drawn, made = Sampler(tiled, Request(4)), [], []
    draw, make = sampler._drawn, sampler._made
    monkeypatch.setattr(sampler, "_drawn", lambda pairs: drawn.append(len(pairs)) or draw(pairs))

    def counted(count, fluxes, normal):
        assert len(normal) == 1
        assert len(drawn) <= len(made) + 2
        made.append(count)
        return make(count, fluxes, normal)

    monkeypatch.setattr(sampler, "_made", counted)
    sampler.sample(0, 4)
    assert made == drawn == [1, 1, 1, 1]


def test_into_a_cube_and_made_again_from_it(tiled, tmp_path):
    cube = open_cube(generate_cube(tmp_path / "c.zarr", tiled, Request(3, seed=7)))
    assert np.ptp(cube["intensity"].values) > 0
    np.testing.assert_array_equal(regenerate(cube, 2, tiled), cube["intensity"].values[2])


def test_into_fits_no_more_at_a_time_than_a_shard_holds(tiled, tmp_path, monkeypatch):
    monkeypatch.setattr("sunaug.cube.store.SHARD_BYTES", 3 * 16 * 16 * 4)
    asked, sample = [], Sampler.sample
    monkeypatch.setattr(Sampler, "sample", lambda self, *range_: asked.append(range_) or sample(self, *range_))
    folder = generate_fits(tmp_path / "fits", tiled, Request(3, seed=7))
    assert asked == [(0, 1), (1, 2), (2, 3)]
    expected = sunaug.generate(tiled, 3, seed=7)["intensity"].values
    files = sorted(folder.glob("*.fits"))
    assert len(files) == 9
    images = {path.name: fits.getdata(path) for path in files}
    assert any(np.array_equal(image, expected[0, 0]) for image in images.values())
