"""Everything that brings synthetic samples into a training knows what their generator was trained on."""

from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import Dataset

from forecasting_adapters import LeakageError, MixedSolarDataset, SolarDataset, SyntheticSolarDataset
from forecasting_adapters.exports import export
from pipelines.train import train_bundle
from sunaug.training.recipe import Recipe
from tests.loader_cubes import make_synthetic
from tests.models import RECIPE, make_bundle, make_cube, quick_fits

JANUARY = [["2012-01-01T00:00:00Z", "2012-02-01T00:00:00Z"]]
AUGUST = [["2012-02-01T00:00:00Z", "2012-09-01T00:00:00Z"]]


@pytest.fixture(scope="module")
def real(observed: Path) -> SolarDataset:
    """March, with August and October held out."""
    return SolarDataset(observed, "train")


def test_a_cube_that_overlaps(real: SolarDataset, tmp_path: Path) -> None:
    seen = SyntheticSolarDataset(make_synthetic(tmp_path / "rare.zarr", training_ranges=AUGUST))
    with pytest.raises(LeakageError, match=r"2012-02-01T00:00:00 to 2012-09-01T00:00:00 \(6 of the times\)"):
        MixedSolarDataset(real, seen, 0.5)
    with pytest.raises(LeakageError):
        MixedSolarDataset(real, seen)  # whatever a sampler would take of it


def test_an_exported_folder_that_overlaps_when_it_is_read_back(real: SolarDataset, tmp_path: Path) -> None:
    origin = {"training_ranges": AUGUST, "bundle_name": "tiny", "request": {"seed": 0, "rare": False}}
    cube = make_synthetic(tmp_path / "rare.zarr", **origin)
    export(cube, "fits", tmp_path / "exported")
    back = SyntheticSolarDataset(tmp_path / "exported")
    assert (back.training_ranges, len(back)) == (SyntheticSolarDataset(cube).training_ranges, 20)
    np.testing.assert_allclose(back[7]["image"], SyntheticSolarDataset(cube)[7]["image"], atol=1e-4)
    with pytest.raises(LeakageError, match=r"2012-02-01T00:00:00 to 2012-09-01T00:00:00 \(6 of the times\)"):
        MixedSolarDataset(real, back, 0.5)


def test_a_bundle_that_was_later_trained_on_other_times(tmp_path: Path) -> None:
    first = make_bundle(tmp_path / "first")
    cube = make_cube(tmp_path / "real.zarr", months=(3, 8))
    recipe = Recipe(**{**RECIPE, "images": 8}, start=str(first.path))
    with quick_fits():
        path = train_bundle(cube, tmp_path / "run", recipe, accelerator="cpu")
    later = SyntheticSolarDataset(path, n=4, allow_ungated=True)
    january = np.array(["2012-01-15"], "datetime64[ns]")
    with pytest.raises(LeakageError, match=r"2012-01-01T00:00:00 to 2012-08-01T00:00:00 \(1 of the times\)"):
        MixedSolarDataset(SolarDataset(cube, "train"), later, 0.1, evaluation=january)


def test_a_generator_of_january_and_sdo_fms_validation(real: SolarDataset, tmp_path: Path) -> None:
    seen = SyntheticSolarDataset(make_synthetic(tmp_path / "rare.zarr", training_ranges=JANUARY))
    assert MixedSolarDataset(real, seen, 0.5).leakage is None
    for evaluation in ("sdofm", ["sdofm", real.held_out_times]):
        with pytest.raises(
            LeakageError, match=r"held out by SDO-FM, .* 2012-01-01T00:00:00 to 2012-02-01T00:00:00 \(31 days\)"
        ):
            MixedSolarDataset(real, seen, 0.5, evaluation=evaluation)


def test_samples_made_on_the_fly(real: SolarDataset, tmp_path: Path) -> None:
    made = SyntheticSolarDataset(make_bundle(tmp_path / "tiny"), n=4, allow_ungated=True)

    class Elsewhere(Dataset):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> dict:
            return {**made[index], "label": 0}

    with pytest.raises(LeakageError, match=r"SYNTHETIC/tiny: .* 2012-08-01T00:00:00"):
        MixedSolarDataset(Elsewhere(), made, evaluation=real.times)


def test_what_was_allowed_is_written_down(real: SolarDataset, tmp_path: Path) -> None:
    gate = {"verdict": "refused", "sentence": "Refused: grey."}
    cube = make_synthetic(tmp_path / "rare.zarr", training_ranges=[*JANUARY, *AUGUST], gate=gate)
    rare = SyntheticSolarDataset(cube, allow_ungated=True)
    evaluation = [real.held_out_times, "sdofm"]
    kept = MixedSolarDataset(real, rare, 0.5, evaluation=evaluation, allow_leakage=True).provenance()
    assert kept["leakage_allowed"] is kept["ungated_allowed"] is True
    assert kept["gate"] == "refused"
    for found in ("2012-02-01T00:00:00 to 2012-09-01T00:00:00 (6 of the times)", "(31 days)"):
        assert found in kept["leakage"]
    clean = MixedSolarDataset(real, SyntheticSolarDataset(make_synthetic(tmp_path / "clean.zarr")), 0.5).provenance()
    assert (clean["leakage"], clean["leakage_allowed"], clean["ungated_allowed"]) == (None, False, False)
