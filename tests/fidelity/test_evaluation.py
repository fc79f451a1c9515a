import json

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import ndimage

from sunaug.cube import open_cube, select_split
from sunaug.errors import SunaugError, UsageError
from sunaug.fidelity import evaluate as room
from sunaug.fidelity.evaluate import evaluate
from sunaug.fidelity.frechet import Backbone

SIZE = 32


class _Patches(torch.nn.Module):
    """Sixteen random filters: a feature network without weights to find."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.filters = torch.nn.Conv2d(3, 16, 5, stride=2)

    def forward(self, images):
        return [self.filters(images).relu()]


@pytest.fixture(autouse=True)
def _small_backbone(monkeypatch):
    monkeypatch.setattr(room, "load_backbone", lambda weights: Backbone(_Patches(), 16, "random", "none"))


def days(*months, per_month=20):
    firsts = [np.datetime64(f"2012-{month:02d}-02", "ns") for month in months]
    return np.concatenate([first + np.arange(per_month) * np.timedelta64(1, "D") for first in firsts])


@pytest.fixture
def observed(make_cube, suns):
    times = days(3, 4, 8, 9)
    flux = np.tile([0.0, 3e-7, 2e-6, 1.5e-5], len(times) // 4)
    return make_cube("observed.zarr", suns(len(times), 1, size=SIZE), flux, times)


@pytest.fixture
def rare(make_cube, suns):
    ranges = [["2012-01-01T00:00:00Z", "2012-07-31T23:59:59Z"]]
    return make_cube("rare.zarr", suns(50, 2, size=SIZE), np.full(50, 1e-5), bundle_hash="abc", training_ranges=ranges)


def test_report_has_every_part(rare, observed):
    report = evaluate(rare, observed)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["schema"] == 1
    assert (report["synthetic"], report["against"]) == (str(rare), str(observed))
    assert report["bundle_hash"] == "abc"
    assert report["backbone"].startswith("FID-16 ")
    assert report["fid"]["all"]["n"] == 40
    assert report["fid"]["matched"]["n"] == 10
    for figures in report["fid"].values():
        assert figures["ratio"] == pytest.approx(figures["value"] / figures["floor"])
    assert report["physics_against"] == "matched"
    assert report["physics"]["limb_radius aia171"].keys() == {"synthetic", "real", "distance", "floor", "unit"}
    assert report["conditions"]["synthetic"] == {"M": 50}
    assert report["conditions"]["validation"] == {"quiet": 10, "B": 10, "C": 10, "M": 10}
    assert report["conditions"]["matched"] == {"train": 10, "validation": 10}
    assert report["conditions"]["minimum_forecast_flux"] == pytest.approx(1e-5)
    assert report["training_ranges"] == [["2012-01-01T00:00:00Z", "2012-07-31T23:59:59Z"]]
    assert any("N = 10" in note for note in report["notes"])
    assert not any("leakage" in note for note in report["notes"])


def test_same_seed_same_figures(rare, observed):
    assert evaluate(rare, observed, n=6, seed=3) == evaluate(rare, observed, n=6, seed=3)
    first, second = (evaluate(rare, observed, n=6, seed=seed)["fid"]["all"] for seed in (3, 4))
    assert first["n"] == second["n"] == 6
    assert first["value"] != second["value"]


def test_held_out_frames_as_if_synthetic_are_at_zero(observed):
    cube = open_cube(observed)
    report = evaluate(select_split(cube, "validation"), cube)
    assert report["fid"]["all"]["floor"] > 0
    assert report["fid"]["all"]["ratio"] == pytest.approx(0, abs=1e-6)
    assert all(row["distance"] == pytest.approx(0, abs=1e-9) for row in report["physics"].values())


def test_blurred_frames_score_worse(make_cube, suns, observed):
    frames = ndimage.gaussian_filter(suns(40, 5, size=SIZE), (0, 0, 1, 1))
    blurred = evaluate(make_cube("blurred.zarr", frames, np.zeros(40)), observed)
    sharp = evaluate(make_cube("sharp.zarr", suns(40, 5, size=SIZE), np.zeros(40)), observed)
    assert blurred["fid"]["all"]["ratio"] > 3 * sharp["fid"]["all"]["ratio"]
    assert blurred["physics"]["fine_structure aia171"]["distance"] > 0.5


def test_leakage_is_noted(make_cube, suns, observed):
    leaked = make_cube(
        "leaked.zarr",
        suns(10, 2, size=SIZE),
        np.full(10, 1e-5),
        training_ranges=[["2012-01-01T00:00:00Z", "2012-08-06T00:00:00Z"]],
    )
    notes = evaluate(leaked, observed)["notes"]
    assert any(note.startswith("leakage: 4 of the 40 validation frames") for note in notes)


def test_no_matching_frames(make_cube, suns, observed):
    strongest = evaluate(make_cube("x.zarr", suns(10, 2, size=SIZE), np.full(10, 5e-4)), observed)
    assert strongest["fid"]["matched"] is None
    assert strongest["physics_against"] == "all"
    assert any("X5.0 or more" in note for note in strongest["notes"])
    unknown = evaluate(make_cube("u.zarr", suns(10, 2, size=SIZE), np.full(10, np.nan)), observed)
    assert any("no forecast flux" in note for note in unknown["notes"])
    assert unknown["conditions"]["synthetic"] == {"unknown": 10}


def test_two_channels_give_a_distance_each(make_cube, suns):
    times = days(3, 8)
    two = {"channels": ["aia171", "aia131"]}
    real = make_cube("two.zarr", suns(40, 1, size=SIZE)[:, :2], np.zeros(40), times, **two)
    fake = make_cube("fake.zarr", suns(20, 2, size=SIZE)[:, 1::-1], np.zeros(20), channels=["aia131", "aia171"])
    figures = evaluate(fake, real)["fid"]["all"]
    assert list(figures["channels"]) == ["aia131", "aia171"]
    assert figures["value"] == pytest.approx(np.mean([one["value"] for one in figures["channels"].values()]))
    # Channels are compared by name: swapped planes of a made-up Sun would differ by far more than the floor.
    assert figures["ratio"] < 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"channels": ["aia171", "aia193", "aia94"]}, "different channels"),
        ({"intensity_scale": "physical"}, "different intensity scales"),
        ({"disk_radius": 13.0}, "different disk radii"),
    ],
)
def test_cubes_that_do_not_go_together(make_cube, suns, observed, changed, message):
    other = make_cube("other.zarr", suns(4, 2, size=SIZE), np.zeros(4), **changed)
    with pytest.raises(UsageError, match=message):
        evaluate(other, observed)


def test_other_bad_requests(make_cube, suns, rare, observed, tmp_path):
    small = make_cube("small.zarr", suns(4, 2, size=64), np.zeros(4))
    with pytest.raises(UsageError, match="different frame sizes"):
        evaluate(small, observed)
    with pytest.raises(UsageError, match="2 frames per side"):
        evaluate(rare, observed, n=1)
    with pytest.raises(UsageError, match="no such cube"):
        evaluate(tmp_path / "absent.zarr", observed)
    with pytest.raises(UsageError, match="synthetic cube has no time axis"):
        evaluate(rare, rare)
    with pytest.raises(SunaugError, match="no usable frame in the validation months"):
        evaluate(rare, make_cube("march.zarr", suns(20, 1, size=SIZE), np.zeros(20), days(3)))
    pending = xr.open_zarr(rare, consolidated=False).assign(frame_status=("sample", np.zeros(50, np.int8)))
    with pytest.raises(SunaugError, match="no complete frame"):
        evaluate(pending, observed)
