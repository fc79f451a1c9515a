import dataclasses
import shutil

import pytest
import torch

import sunaug
from pipelines.train import train_bundle
from sunaug.bundle import load_bundle
from sunaug.cube import open_cube
from sunaug.errors import SunaugError, UsageError
from sunaug.latent.encoding import encode_frames
from sunaug.networks.growing import Stage
from sunaug.training.checkpoint import load_checkpoint
from sunaug.training.frames import load_frames
from sunaug.training.recipe import Recipe
from tests.models import RECIPE, make_bundle, make_cube, make_frames, make_trainer

ALAE = {"architecture": "stylealae", "loss": "non_saturating"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A cube, and a run on it that begins to grow at 8 pixels."""
    folder = tmp_path_factory.mktemp("alae")
    cube = make_cube(folder / "c.zarr")
    recipe = Recipe(**{**RECIPE, **ALAE, "growth_images": 16, "growth_from": 8, "sample_images": 64})
    return open_cube(cube), load_bundle(train_bundle(cube, folder / "run", recipe, accelerator="cpu"))


@pytest.fixture
def copy(trained, tmp_path):
    return shutil.copytree(trained[1].path, tmp_path / "copy")


def frames_of(cube, bundle):
    return load_frames(cube, bundle.info.scaling, bundle.info.network.labels, 0).images


def test_the_bundle_holds_the_averaged_encoder(trained):
    _, bundle = trained
    average = load_checkpoint(bundle.path.parent)["trainer"]["encoder_averages"]["half_life"]
    assert bundle.image_encoder.state_dict().keys() == average.keys()
    for name, value in bundle.image_encoder.state_dict().items():
        assert torch.equal(value, average[name].half().float()), name
    assert bundle.image_encoder.stage == bundle.generator.stage == Stage(16)
    assert not any(parameter.requires_grad for parameter in bundle.image_encoder.parameters())
    assert "A conditional StyleALAE" in (bundle.path / "README.md").read_text()


def test_rare_frames_are_made(trained):
    _, bundle = trained
    made = sunaug.generate(bundle, 3, rare=True, force=True)
    assert (made["forecast_flux"] >= 1e-5).all()
    assert made["intensity"].std() > 1


def test_directions_are_fitted_in_w(trained):
    _, bundle = trained
    assert bundle.directions["components"].shape[1] == bundle.info.network.latent_width
    assert bundle.directions["flare"].shape == (bundle.generator.n_styles, bundle.info.network.latent_width)


def test_the_hash_covers_the_encoder(trained, copy):
    _, bundle = trained
    assert load_bundle(copy).hash == bundle.hash
    (copy / "encoder.safetensors").unlink()
    assert load_bundle(copy).hash != bundle.hash
    assert load_bundle(copy).image_encoder is None


def test_a_damaged_encoder_is_one_sentence(copy, tmp_path):
    (copy / "encoder.safetensors").write_bytes((copy / "model.safetensors").read_bytes())
    with pytest.raises(SunaugError, match=r"encoder\.safetensors: does not fit bundle\.json"):
        load_bundle(copy)
    other = make_bundle(tmp_path / "other")
    (other.path / "encoder.safetensors").write_bytes((copy / "model.safetensors").read_bytes())
    with pytest.raises(SunaugError, match="stylegan2 has no encoder"):
        load_bundle(other.path)


def test_a_frame_is_made_again_from_what_the_encoder_reads(trained):
    cube, bundle = trained
    frames = frames_of(cube, bundle)
    w, images = encode_frames(bundle, frames)
    assert w.shape == (len(frames), bundle.info.network.latent_width)
    assert images.shape == frames.shape
    torch.testing.assert_close(w[:3], bundle.image_encoder(frames[:3]), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(images[:3], bundle.generator.synthesize(w[:3]), rtol=1e-3, atol=1e-3)


def test_reconstructions_are_better_after_training_than_before(trained):
    """At the stage of 4 pixels, where a training is quick."""
    _, bundle = trained
    rates = {"generator_rate": 6e-3, "discriminator_rate": 6e-3, "rate_decay": 0}
    trainer = make_trainer(make_frames(channels=3), **ALAE, **rates, augment=(), images=3_000, growth_images=3_000)

    def error():
        generator, encoder = (one.networks["half_life"] for one in (trainer.averages, trainer.encoder_averages))
        frames = trainer.batches.at_stage(trainer.frames.images)
        held = dataclasses.replace(bundle, generator=generator, image_encoder=encoder)
        return (encode_frames(held, frames).images - frames).square().mean()

    trainer.step()
    before = error()
    for _ in range(60):
        trainer.step()
    assert error() < before / 3


def test_what_cannot_be_reconstructed_is_one_sentence(trained, tmp_path):
    cube, bundle = trained
    frames = frames_of(cube, bundle)
    with pytest.raises(UsageError, match=r"encodes frames of \(n, 3, 16, 16\).*these are \(48, 3, 8, 8\)"):
        encode_frames(bundle, frames[:, :, ::2, ::2].repeat(2, 1, 1, 1))
    with pytest.raises(UsageError, match="a stylegan2 bundle without an encoder; train a stylealae for one"):
        encode_frames(make_bundle(tmp_path / "plain"), frames)
