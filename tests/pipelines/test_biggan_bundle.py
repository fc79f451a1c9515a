import numpy as np
import pytest
import torch

import sunaug
from pipelines.train import train_bundle
from sunaug.bundle import load_bundle
from sunaug.generation import Request, Sampler, regenerate
from sunaug.latent.effects import layer_ranges, measure_effects
from sunaug.training.checkpoint import load_checkpoint
from sunaug.training.recipe import Recipe
from tests.models import RECIPE, make_cube


@pytest.fixture(scope="module", params=["plain", pytest.param("deep", marks=pytest.mark.slow)])
def run(request, tmp_path_factory):
    """The folder of a BigGAN that was trained for a moment."""
    folder = tmp_path_factory.mktemp(request.param)
    shape = {"architecture": "biggan", "blocks": request.param, "embedding_dim": 4, "attention_resolution": 8}
    cube = make_cube(folder / "c.zarr")
    train_bundle(cube, folder / "run", Recipe(**{**RECIPE, **shape, "images": 32}), accelerator="cpu")
    return folder / "run"


def test_a_bundle_has_the_weights_in_half_precision_and_the_statistics_whole(run):
    saved = load_checkpoint(run)["trainer"]["averages"]["half_life"]
    bundle = load_bundle(run / "bundle")
    assert bundle.info.architecture == "biggan"
    assert "conditional BigGAN" in (run / "bundle" / "README.md").read_text()
    buffers = dict(bundle.generator.named_buffers())
    assert any(name.endswith(".variance") for name in buffers)
    for name, value in bundle.generator.state_dict().items():
        assert torch.equal(value, saved[name] if name in buffers else saved[name].half().float()), name


def test_rare_samples_are_made_one_by_one_as_in_a_batch(run):
    bundle = load_bundle(run / "bundle")
    made = sunaug.generate(bundle, 9, rare=True, force=True, seed=3, truncation=0.7)
    assert (made["forecast_flux"] >= 1e-5).all()
    assert np.isfinite(made["intensity"]).all()
    sampler = Sampler(bundle, Request(n=9, rare=True, force=True, seed=3, truncation=0.7))
    alone = sampler.sample(8, 9)["intensity"][0]
    assert np.array_equal(alone, made["intensity"].values[8])
    assert np.array_equal(regenerate(made, 8, bundle), alone)
    assert np.abs(made["intensity"].values[0] - made["intensity"].values[1]).max() > 1e-3


def test_directions_live_in_the_part_of_w_that_is_z(run):
    bundle = load_bundle(run / "bundle")
    components, flare = bundle.directions["components"], bundle.directions["flare"]
    z_dim = bundle.info.network.z_dim
    assert components.shape == (z_dim, bundle.info.network.latent_width)
    assert components[:, z_dim:].abs().max() < 1e-4
    torch.testing.assert_close(components.norm(dim=1), torch.ones(z_dim))
    assert flare.shape == (bundle.generator.n_styles, bundle.info.network.latent_width)
    assert flare[:, z_dim:].abs().max() < 1e-4
    steered = [sunaug.generate(bundle, 2, steer={"component=0": steps})["intensity"].values for steps in (0, 2)]
    assert np.abs(steered[0] - steered[1]).max() > 1e-3


def test_effects_of_directions_are_measured(run):
    bundle = load_bundle(run / "bundle")
    effects = measure_effects(bundle, components=1, latents=2)
    assert effects.directions == ["component=0", "flare"]
    assert np.isfinite(effects.change[0, 0]).any()
    assert list(effects.ranges) == ["all", "coarse", "middle", "fine"]
    assert list(layer_ranges(2)) == ["all", "coarse", "middle"]
