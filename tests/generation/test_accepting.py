"""Rare samples are those that the critic accepts."""

from dataclasses import replace

import numpy as np
import pytest

import sunaug
from sunaug.bundle import load_bundle, write_critic
from sunaug.cube import open_cube
from sunaug.errors import SunaugError
from sunaug.generation import Request, Sampler, generate_cube, regenerate
from tests.models import make_bundle, make_critic

REQUEST = {"rare": True, "seed": 4}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A bundle whose critic finds nothing far and accepts about half of what is drawn, by what it reads."""
    path = make_bundle(tmp_path_factory.mktemp("bundle") / "tiny").path
    critic = make_critic()
    critic = replace(critic, witnesses=tuple(replace(one, far=1e6) for one in critic.witnesses))
    write_critic(path, critic)
    _, reading, _ = Sampler(load_bundle(path), Request(1, **REQUEST)).once(0, 64)
    middle = np.median(reading.flux[:, 1])
    write_critic(path, replace(critic, real_reading=np.full_like(critic.real_reading, middle)))
    return load_bundle(path)


def test_only_what_reads_strong_enough_is_kept(bundle):
    cube = sunaug.generate(bundle, 60, **REQUEST)
    weakest = bundle.critic.weakest_reading("forecast_flux", 1e-5, 0.05)
    assert (cube["forecast_reading"] >= weakest).all()
    assert (cube["critic_distance"] <= 1).all()
    rate = 60 / (cube["attempt"].values + 1).sum()
    assert 0.3 < rate < 0.75
    everything = sunaug.generate(bundle, 60, critic=False, **REQUEST)
    assert (everything["attempt"] == 0).all()
    assert np.isnan(everything["critic_distance"]).all()


def test_a_sample_is_the_first_accepted_attempt_however_many_are_made(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("sunaug.cube.store.MAX_SHARD_FRAMES", 20)
    whole = sunaug.generate(bundle, 50, **REQUEST)
    for batch in (1, 7, 50):
        cube = open_cube(generate_cube(tmp_path / f"{batch}.zarr", bundle, Request(50, **REQUEST), batch_size=batch))
        for name in ("intensity", "attempt", "forecast_flux", "forecast_reading", "critic_distance"):
            np.testing.assert_array_equal(cube[name].values, whole[name].values)
    late = int(whole["attempt"].values.argmax())
    assert whole["attempt"][late] > 0
    np.testing.assert_array_equal(regenerate(cube, late, bundle), whole["intensity"].values[late])


def test_a_bundle_that_cannot_make_what_is_asked_says_so(tmp_path):
    path = make_bundle(tmp_path / "tiny").path
    write_critic(path, make_critic())  # of frames with a disk, which an untrained generator does not make
    with pytest.raises(SunaugError, match=r"of 5\d\d samples of M1.0 or more its critic accepted 0; it cannot make"):
        sunaug.generate(load_bundle(path), 16, **REQUEST)
    assert len(sunaug.generate(load_bundle(path), 4, **REQUEST, critic=False)["sample"]) == 4


def test_plain_samples_are_not_judged(bundle):
    cube = sunaug.generate(bundle, 8)
    assert np.isnan(cube["forecast_reading"]).all()
