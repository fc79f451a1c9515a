import dataclasses

import numpy as np
import pytest
import torch

from sunaug.generation import Sampler
from sunaug.generation.calibration import STEPS, calibrate
from sunaug.generation.request import Request
from tests.models import make_bundle, make_critic


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    made = make_bundle(tmp_path_factory.mktemp("calibration") / "tiny")
    critic = make_critic()
    # Accepts everything, and has read every second real rare frame as rare.
    reading = np.where(np.arange(critic.real_reading.size).reshape(critic.real_reading.shape) % 4 < 2, 1e-9, 1e-4)
    near = tuple(dataclasses.replace(one, far=1e9) for one in critic.witnesses)
    made.critic = dataclasses.replace(critic, witnesses=near, real_reading=reading)
    return made


def test_the_calibrated_step_is_where_the_share_of_real_rare_frames_is_met(bundle):
    directions = dict(bundle.directions)
    found = calibrate(bundle, directions, pictures=48)
    curve, steps = found["flare_share_curve"], float(found["flare_calibration"])
    column = bundle.critic.labels.index("forecast_flux")
    rare = bundle.critic.real_flux[:, column] >= 1e-5
    target = float((bundle.critic.real_reading[rare, column] >= 1e-5).mean())
    assert 0.2 < target < 0.8
    assert torch.isfinite(curve).all()
    assert 0 <= steps <= 3
    if 0 < steps < 3 and steps < float(found["flare_limit"]):
        below = curve[steps >= STEPS]
        assert (below < target).all()
    elif steps == 0:
        assert curve[0] >= target
    else:
        assert not (curve[steps > STEPS] >= target).any()


def test_curves_are_of_the_samples_that_a_rare_request_delivers(bundle):
    found = calibrate(bundle, bundle.directions, seed=3, pictures=24)
    sampler = Sampler(bundle, Request(n=24, rare=True, seed=3, steer={"flare": 1.0}, force=True))
    _, reading, accepted = sampler.once(0, 24)
    at = STEPS.tolist().index(1.0)
    assert accepted.all()
    assert found["flare_kept_curve"][at] == pytest.approx(float((reading.distance <= 1).mean()))


def test_without_a_critic_hot_emission_decides(bundle):
    deaf = dataclasses.replace(bundle, critic=None)
    found = calibrate(deaf, bundle.directions, pictures=16)
    assert torch.isfinite(found["flare_hot_curve"]).all()
    assert torch.isnan(found["flare_share_curve"]).all()
    assert torch.isnan(found["flare_limit"]).all()
    target = float(bundle.reference["hot_emission"][bundle.reference["fluxes"][:, 1] >= 1e-5].mean())
    below = found["flare_hot_curve"][float(found["flare_calibration"]) > STEPS]
    assert (below < target).all()


def test_a_bundle_that_saw_nothing_rare_is_not_steered(bundle):
    quiet = dataclasses.replace(bundle, reference={**bundle.reference, "fluxes": bundle.reference["fluxes"] * 1e-3})
    found = calibrate(quiet, bundle.directions, pictures=16)
    assert found["flare_calibration"] == 0
    assert torch.isnan(found["flare_hot_curve"]).all()
