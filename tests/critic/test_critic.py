import numpy as np
import pytest
import torch

from sunaug.bundle import load_bundle, write_critic
from sunaug.critic import Critic, fit_critic
from sunaug.critic.fit import held_out, near
from sunaug.errors import SunaugError
from tests.models import make_bundle, make_critic, spotted_frames


def test_fluxes_are_read_off_frames_that_it_has_not_seen():
    critic = make_critic()
    skill = critic.skill()["forecast_flux"]
    assert skill["rank_correlation"] > 0.8
    images, fluxes, _ = spotted_frames(seed=9)
    reading = critic.read(images)
    assert reading.flux.shape == fluxes.shape
    assert np.corrcoef(np.log10(reading.flux[:, 1]), np.log10(fluxes[:, 1]))[0, 1] > 0.8


def test_what_is_no_sun_is_far_from_all_frames():
    critic = make_critic()
    images, _, _ = spotted_frames(seed=9)
    assert (critic.read(images).distance <= 1).mean() > 0.9
    assert (critic.read(torch.rand_like(images) * 2 - 1).distance > 1).all()


def test_bits_of_a_reading_do_not_depend_on_the_others():
    critic = make_critic()
    images, _, _ = spotted_frames(seed=9)
    whole, alone = critic.read(images), critic.read(images[13:14])
    np.testing.assert_array_equal(whole.flux[13], alone.flux[0])
    np.testing.assert_array_equal(whole.distance[13], alone.distance[0])


def test_every_frame_is_held_out_once_with_its_neighbours():
    times = np.datetime64("2012-01-01", "ns") + np.arange(0, 60 * 24, 6) * np.timedelta64(1, "h")
    folds = np.stack([held_out(times, fold) for fold in range(3)])
    assert (folds.sum(axis=0) == 1).all()
    kept = ~near(times, folds[1])
    gaps = np.abs(times[kept][:, None] - times[folds[1]][None]).min(axis=1)
    assert gaps.min() > np.timedelta64(1, "D")
    assert near(times, np.zeros(len(times), bool)).sum() == 0


def test_the_weakest_reading_is_a_quantile_of_real_frames_of_the_class():
    critic = make_critic()
    strong = critic.real_flux[:, 1] >= 1e-5
    assert strong.sum() >= 20
    weakest = critic.weakest_reading("forecast_flux", 1e-5, 0.1)
    assert (critic.real_reading[strong, 1] < weakest).mean() == pytest.approx(0.1, abs=0.03)
    assert critic.weakest_reading("forecast_flux", 1e-2, 0.1) is None


def test_too_few_frames_give_no_critic():
    images, fluxes, times = spotted_frames()
    weights = torch.full((len(images),), 1 / len(images), dtype=torch.float64)
    labels = ("nowcast_flux", "forecast_flux")
    assert fit_critic(images[:40], fluxes[:40], times[:40], labels, weights[:40]) is None
    assert fit_critic(images, fluxes[:, :0], times, (), weights) is None


def test_a_critic_travels_with_its_bundle(tmp_path):
    path = make_bundle(tmp_path / "tiny").path
    before = load_bundle(path)
    assert before.critic is None
    critic = make_critic()
    write_critic(path, critic)
    after = load_bundle(path)
    assert isinstance(after.critic, Critic)
    assert after.hash != before.hash
    images, _, _ = spotted_frames(seed=9)
    np.testing.assert_array_equal(after.critic.read(images).flux, critic.read(images).flux)
    (path / "critic.safetensors").write_bytes((path / "reference.safetensors").read_bytes())
    with pytest.raises(SunaugError, match="not a critic"):
        load_bundle(path)
