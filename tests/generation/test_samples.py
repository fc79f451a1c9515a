import numpy as np
import pytest
import torch

import sunaug
from sunaug.cube import FrameStatus, open_cube
from sunaug.errors import SunaugError, UsageError
from sunaug.generation import Request, Sampler, generate_cube, regenerate, stream, tail_rows
from tests.models import make_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr("sunaug.cube.store.MAX_SHARD_FRAMES", 20)


def test_rare_samples_are_all_different_and_in_the_tail(bundle, tmp_path):
    cube = open_cube(generate_cube(tmp_path / "r.zarr", bundle, Request(50, rare=True, min_class="M1.0")))
    assert cube.sizes["sample"] == 50
    assert (cube["forecast_flux"] >= 1e-5).all()
    assert (cube["frame_status"] == FrameStatus.COMPLETE).all()
    flat = cube["intensity"].values.reshape(50, -1)
    assert len(np.unique(flat, axis=0)) == 50
    assert cube.attrs["synthetic"]
    assert cube.attrs["bundle_hash"] == bundle.hash
    assert cube.attrs["training_ranges"] == bundle.info.training_ranges


@pytest.mark.parametrize("batch_size", [1, 3, 7, 50])
def test_bits_do_not_depend_on_the_batch_size(bundle, tmp_path, small_shards, batch_size):
    request = Request(50, rare=True, seed=5)
    cube = open_cube(generate_cube(tmp_path / "r.zarr", bundle, request, batch_size=batch_size))
    whole = sunaug.generate(bundle, 50, rare=True, seed=5)
    for name in ("intensity", "forecast_flux", "nowcast_flux", "steering", "draw", "seed"):
        np.testing.assert_array_equal(cube[name].values, whole[name].values)


@pytest.mark.parametrize(
    "asked",
    [
        {"rare": True},
        {"rare": True, "tail": "power-law", "steer": {"component=1@2-4": 0.7, "flare": 0.1}},
        {"truncation": 0.6, "steer": {"component=0": -1.3}},
    ],
)
def test_one_sample_alone_is_made_again_from_what_the_cube_says(bundle, tmp_path, asked):
    cube = open_cube(generate_cube(tmp_path / "r.zarr", bundle, Request(40, seed=9, **asked)))
    for sample in (0, 13, 29):
        np.testing.assert_array_equal(regenerate(cube, sample, bundle), cube["intensity"].values[sample])
    with pytest.raises(UsageError, match="not the bundle that made this sample"):
        regenerate(cube.assign_attrs(bundle_hash="other"), 0, bundle)


def test_another_seed_gives_other_samples(bundle):
    first, second = (sunaug.generate(bundle, 4, seed=seed)["intensity"].values for seed in (0, 1))
    assert not np.isclose(first, second).all(axis=(1, 2, 3)).any()


def test_a_stopped_run_is_completed_to_the_same_bits(bundle, tmp_path, small_shards):
    request = Request(50, seed=3)

    class Killed(BaseException):
        pass

    def kill(done):
        if done > 30:
            raise Killed

    with pytest.raises(Killed):
        generate_cube(tmp_path / "r.zarr", bundle, request, batch_size=10, report=kill)
    halfway = open_cube(tmp_path / "r.zarr")["frame_status"].values
    assert (halfway[:20] == FrameStatus.COMPLETE).all()
    assert (halfway[20:] == FrameStatus.PENDING).all()
    cube = open_cube(generate_cube(tmp_path / "r.zarr", bundle, request))
    np.testing.assert_array_equal(cube["intensity"].values, sunaug.generate(bundle, 50, seed=3)["intensity"].values)


def test_a_cube_of_another_request_is_left_alone(bundle, tmp_path):
    generate_cube(tmp_path / "r.zarr", bundle, Request(8, seed=3))
    with pytest.raises(SunaugError, match="made by another request"):
        generate_cube(tmp_path / "r.zarr", bundle, Request(8, seed=4))


def test_steering_moves_along_the_flare_direction(bundle):
    plain, steered = (sunaug.generate(bundle, 8, steer=steps) for steps in (0.0, 2.0))
    assert not np.allclose(plain["intensity"], steered["intensity"])
    sampler = Sampler(bundle, Request(8, steer=2.0))
    _, normal = sampler._numbers(0, 0)
    z = torch.from_numpy(normal[: bundle.info.network.z_dim])[None].expand(8, -1)
    from sunaug.networks.conditions import encode_flux

    condition = torch.from_numpy(
        encode_flux(np.stack([steered["nowcast_flux"].values[0], steered["forecast_flux"].values[0]]))
    )[None].expand(8, -1)
    noise = torch.from_numpy(normal[bundle.info.network.z_dim :])[None].expand(8, -1)
    with torch.inference_mode():
        w = bundle.generator.mapping(z, condition)[:, None] + 2.0 * bundle.directions["flare"]
        image = bundle.info.scaling.unscale(bundle.generator.synthesize(w, noise))[0].clamp(0, 255)
    np.testing.assert_allclose(steered["intensity"].values[0], image.numpy(), rtol=1e-4, atol=1e-2)


def test_without_rare_conditions_come_from_all_frames(bundle):
    cube = sunaug.generate(bundle, 200)
    assert (cube["forecast_flux"] < 1e-6).any()
    assert (cube["forecast_flux"] > 1e-5).any()
    assert (cube["steering"] == 0).all()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"n": 0}, "--n 0: ask for at least one sample"),
        ({"n": -3}, "--n -3"),
        ({"n": 1, "seed": -1}, "--seed -1"),
        ({"n": 1, "label": "hindcast"}, "choose forecast or nowcast"),
        ({"n": 1, "min_class": "Z3"}, "'Z3' is not a GOES class"),
        ({"n": "many"}, "n: 'many' is not a whole number"),
        ({"n": 2.0}, "n: 2.0 is not a whole number"),
        ({"n": 1, "seed": True}, "seed: True is not a whole number"),
        ({"n": 1, "truncation": "half"}, "truncation: 'half' is not a number"),
        ({"n": 1, "rare": "yes"}, "rare: 'yes' is neither true nor false"),
        ({"n": 1, "tail": 3}, "tail: 3 is not text"),
        ({"n": 1, "steer": "flare:1"}, "steer: flare: 'flare:1' is not a number"),
        ({"n": 1, "steer": {"flare": None}}, "steer: flare: None is not a number"),
        ({"n": 1, "conditions": 3}, "conditions: not a list of rows"),
        ({"n": 1, "conditions": (("M1", 0.0),)}, "conditions: not a list of rows"),
        ({"n": 1, "conditions": ()}, "conditions: not a list of rows"),
        ({"n": 1, "min_class": "M5"}, "--min-class goes with --rare"),
        ({"n": 1, "label": "nowcast"}, "--label goes with --rare"),
        ({"n": 1, "tail": "power-law"}, "--tail goes with --rare"),
        ({"n": 1, "tail": "guess"}, "choose empirical or power-law"),
        ({"n": 1, "truncation": -0.1}, "--truncation -0.1"),
        ({"n": 1, "steer": {"component=x": 1.0}}, "--steer component=x:1"),
        ({"n": 1, "steer": 50.0}, "--steer flare:50"),
        ({"n": 1, "rare": True, "conditions": ((1e-5, 1e-5),)}, "omit it or --condition-file"),
    ],
)
def test_bad_requests(request_, message):
    with pytest.raises(UsageError, match=message):
        Request(**request_)


def test_a_class_that_the_bundle_never_saw_is_refused(bundle):
    with pytest.raises(
        SunaugError, match=r"trained on no frame with forecast_flux of X50 or more \(its strongest is X3"
    ):
        tail_rows(bundle, Request(1, rare=True, min_class="X50"))


def test_rare_needs_a_conditioned_bundle(tmp_path):
    with pytest.raises(UsageError, match="conditioned on nothing"):
        tail_rows(make_bundle(tmp_path / "u", conditions=()), Request(1, rare=True))


def test_steering_some_layers_alone_changes_only_what_they_do(bundle):
    """The finest layers leave the coarse image as it is."""
    last = bundle.generator.n_styles - 1
    plain, fine, coarse = (
        sunaug.generate(bundle, 8, steer=steer)["intensity"].values
        for steer in (None, {f"component=0@{last}-{last}": 3.0}, {"component=0@0-1": 3.0})
    )
    assert 0 < np.abs(fine - plain).mean() < np.abs(coarse - plain).mean()


@pytest.mark.parametrize(
    ("steer", "message"),
    [({"component=8": 1.0}, "has components 0 to 7"), ({"component=0@3-9": 1.0}, "has layers 0 to 5")],
)
def test_directions_that_do_not_exist(bundle, steer, message):
    with pytest.raises(UsageError, match=message):
        Sampler(bundle, Request(1, steer=steer))


def test_truncation_pulls_samples_together(bundle):
    given = ((1e-6, 3e-6),)
    spread = [
        sunaug.generate(bundle, 24, truncation=psi, conditions=given)["intensity"].values.std(axis=0).mean()
        for psi in (0.0, 0.5, 1.0)
    ]
    assert spread[0] < spread[1] < spread[2]


def test_conditions_that_are_given_are_taken_in_turn(bundle):
    cube = sunaug.generate(bundle, 5, conditions=((1e-6, 2e-6), (3e-5, 4e-5)))
    assert cube["forecast_flux"].values.tolist() == [2e-6, 4e-5, 2e-6, 4e-5, 2e-6]
    with pytest.raises(UsageError, match="conditions need 2 fluxes each: nowcast_flux, forecast_flux"):
        sunaug.generate(bundle, 1, conditions=((1e-6,),))


def test_a_stream_gives_the_samples_of_a_cube_without_writing_any(bundle):
    whole = sunaug.generate(bundle, 20, rare=True, seed=2)["intensity"].values
    parts = [part["intensity"].values for part in stream(bundle, 6, 20, rare=True, seed=2)]
    assert [len(part) for part in parts] == [6, 6, 6, 2]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    endless = stream(bundle, 4, rare=True, seed=2, start=8)
    np.testing.assert_array_equal(next(endless)["intensity"].values, whole[8:12])
    assert next(endless)["draw"].values.tolist() == [12, 13, 14, 15]


def test_display_counts_stay_in_their_range(bundle):
    images = sunaug.generate(bundle, 16, steer=20.0)["intensity"].values
    assert images.max() == 255
    assert images.min() >= 0
