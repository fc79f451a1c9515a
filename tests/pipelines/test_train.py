import numpy as np
import pytest
import torch

import sunaug
from pipelines import train as pipeline
from pipelines.train import _ranges, train_bundle
from sunaug.bundle import load_bundle
from sunaug.errors import SunaugError, UsageError
from sunaug.training.checkpoint import load_checkpoint
from sunaug.training.recipe import Recipe
from tests.models import RECIPE, make_bundle, make_cube, quick_fits


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with quick_fits():
        yield


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    return make_cube(tmp_path_factory.mktemp("cube") / "c.zarr")


def bundle_of(cube, out, **options):
    extra = {name: options.pop(name) for name in ("resume", "say") if name in options}
    return train_bundle(cube, out, Recipe(**{**RECIPE, **options}), accelerator="cpu", **extra)


def test_a_run_ends_in_a_bundle_that_makes_rare_frames(cube, tmp_path):
    path = bundle_of(cube, tmp_path / "run")
    bundle = load_bundle(path)
    average = load_checkpoint(tmp_path / "run")["trainer"]["averages"]["half_life"]
    assert torch.equal(bundle.generator.const, average["const"].half().float())
    assert bundle.reference["fluxes"].shape == (24, 2)
    assert bundle.reference["hot_emission"].shape == (24,)
    assert bundle.info.training_ranges == [["2012-01-03T00:00:00Z", "2012-01-09T00:00:00Z"]]
    assert bundle.info.training["images"] == 64
    card = (path / "README.md").read_text()
    assert "2012-01-03T00:00:00Z to 2012-01-09T00:00:00Z" in card
    assert "SYNTHETIC" in card
    assert "| chosen | the last weights |" in card
    assert "| started from | random weights |" in card
    assert (sunaug.generate(bundle, 3, rare=True, force=True)["forecast_flux"] >= 1e-5).all()


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        ({"conditions": (), "class_conditions": ("forecast_flux",)}, ("forecast_flux",)),
        (
            {"conditions": ("nowcast_flux",), "class_conditions": ("forecast_flux",)},
            ("nowcast_flux", "forecast_flux"),
        ),
        ({"conditions": ()}, ()),
    ],
    ids=["class", "both", "unconditional"],
)
def test_other_conditions_make_a_bundle_too(cube, tmp_path, options, labels):
    bundle = load_bundle(bundle_of(cube, tmp_path / "run", images=16, **options))
    assert bundle.info.network.labels == labels
    made = sunaug.generate(bundle, 2, rare="forecast_flux" in labels, force=True)
    assert np.isfinite(made["intensity"]).all()
    if "forecast_flux" in labels:
        assert (made["forecast_flux"] >= 1e-5).all()


class FakeJudge:
    label = "FID-9"
    floor = {"frechet": 0.125}  # noqa: RUF012
    fluxes = np.full((5, 2), 1e-6)

    def __init__(self, distances):
        self.distances = list(distances)

    def judge(self, images):
        return {"frechet": self.distances.pop(0)}


def test_the_weights_that_the_judge_liked_best_are_packed(cube, tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(pipeline, "inception_backbone", lambda weights: ("inception", weights))
    monkeypatch.setattr(pipeline.Judge, "of", lambda cube, **options: asked.update(options) or FakeJudge([3, 1, 2, 4]))
    path = bundle_of(
        cube, tmp_path / "run", evaluate_images=16, evaluate_samples=7, checkpoint_images=16, keep_checkpoints=9, seed=3
    )
    assert asked["n"] == 7
    assert asked["seed"] == 3
    assert asked["conditions"] == ("nowcast_flux", "forecast_flux")
    # The validation months: the test months are for the last measurement only.
    assert asked.get("split", "validation") == "validation"
    bundle = load_bundle(path)
    saved = torch.load(tmp_path / "run" / "checkpoint-000000032.pt", weights_only=True)["trainer"]
    assert torch.equal(bundle.generator.const, saved["averages"]["half_life"]["const"].half().float())
    assert bundle.info.training["images"] == 32
    assert bundle.info.training["chosen_by"]["frechet"] == 1
    assert bundle.info.training["chosen_by"]["floor"] == {"frechet": 0.125}
    card = (path / "README.md").read_text()
    assert "the weights with the smallest FID-9 to 5 validation frames: 1.000" in card
    assert "(real frames of the train months: 0.125)" in card


def test_a_run_may_start_from_a_bundle(cube, tmp_path):
    small = make_bundle(tmp_path / "small")
    path = bundle_of(cube, tmp_path / "run", start=str(small.path), images=8, generator_rate=1e-12)
    torch.testing.assert_close(load_bundle(path).generator.const, small.generator.const, rtol=0, atol=1e-3)
    assert f"| started from | {small.path} |" in (path / "README.md").read_text()


def test_what_the_first_bundle_was_trained_on_stays_with_all_that_start_from_it(cube, tmp_path):
    small = make_bundle(tmp_path / "small")
    own = load_bundle(bundle_of(cube, tmp_path / "own", images=8)).info.training_ranges
    first = bundle_of(cube, tmp_path / "run", start=str(small.path), images=8)
    second = load_bundle(bundle_of(cube, tmp_path / "next", start=str(first), images=8))
    # The small bundle's half year holds the week of the cube.
    assert own != small.info.training_ranges
    assert second.info.training_ranges == small.info.training_ranges


def test_a_bundle_to_start_from_that_does_not_fit_is_refused_in_one_sentence(cube, tmp_path):
    small = make_bundle(tmp_path / "small")
    with pytest.raises(UsageError, match=r"start: .*small cannot be started from: \d+ of its layers") as caught:
        bundle_of(cube, tmp_path / "run", start=str(small.path), max_width=8)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_run_that_goes_wrong_for_good_leaves_no_bundle(cube, tmp_path):
    with pytest.raises(SunaugError, match="no longer finite"):
        bundle_of(cube, tmp_path / "run", discriminator_rate=1e30)
    assert not (tmp_path / "run" / "bundle").exists()


def test_a_resumed_run_does_not_need_the_bundle_that_it_started_from(cube, tmp_path):
    small = make_bundle(tmp_path / "small")
    bundle_of(cube, tmp_path / "run", start=str(small.path), images=8)
    small.path.rename(tmp_path / "moved")
    bundle = load_bundle(bundle_of(cube, tmp_path / "run", start=str(small.path), images=16, resume=True))
    assert bundle.info.training["images"] == 16
    assert small.info.training_ranges[0] in bundle.info.training_ranges


def test_a_run_on_patches_ends_in_an_ordinary_bundle_without_directions(cube, tmp_path, monkeypatch):
    """With tiles of 4 pixels, 16 are a large image."""
    monkeypatch.setattr("sunaug.networks.patches.TILE", 4)
    said = []
    path = bundle_of(cube, tmp_path / "run", patch=8, images=32, say=said.append)
    assert any("no directions" in sentence for sentence in said)
    bundle = load_bundle(path)
    assert not bundle.directions
    made = sunaug.generate(bundle, 2, seed=4)["intensity"].values
    monkeypatch.undo()
    np.testing.assert_allclose(sunaug.generate(load_bundle(path), 2, seed=4)["intensity"].values, made, atol=1e-2)


def test_a_card_lists_its_ranges_or_says_how_many_more_there_are():
    ranges = [[f"2012-01-{day:02d}T00:00:00Z", f"2012-01-{day + 1:02d}T00:00:00Z"] for day in range(1, 28, 2)]
    assert _ranges(ranges[:12]).count(" to ") == 12
    assert _ranges(ranges).endswith("; and 2 more until 2012-01-28T00:00:00Z (all in `bundle.json`)")
