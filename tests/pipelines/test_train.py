import torch

import sunaug
from pipelines.train import train_bundle
from sunaug.bundle import load_bundle
from sunaug.training.checkpoint import load_checkpoint
from sunaug.training.recipe import Recipe
from tests.models import RECIPE, make_cube


def test_a_run_ends_in_a_bundle_that_makes_rare_frames(tmp_path):
    path = train_bundle(make_cube(tmp_path / "c.zarr"), tmp_path / "run", Recipe(**RECIPE), accelerator="cpu")
    bundle = load_bundle(path)
    average = load_checkpoint(tmp_path / "run")["average"]
    assert torch.equal(bundle.generator.const, average["const"].half().float())
    assert bundle.reference["fluxes"].shape == (24, 2)
    assert bundle.reference["hot_emission"].shape == (24,)
    assert bundle.info.training_ranges == [["2012-01-03T00:00:00Z", "2012-01-08T18:00:01Z"]]
    card = (path / "README.md").read_text()
    assert "2012-01-03T00:00:00Z to 2012-01-08T18:00:01Z" in card
    assert "SYNTHETIC" in card
    assert (sunaug.generate(bundle, 3, rare=True)["forecast_flux"] >= 1e-5).all()
