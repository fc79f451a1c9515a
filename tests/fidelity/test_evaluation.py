import json

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from sunaug.cube import open_cube, select_split
from sunaug.errors import SunaugError, UsageError
from sunaug.fidelity import evaluate as room
from sunaug.fidelity import instruments
from sunaug.fidelity.backbones import features
from sunaug.fidelity.distribution import distances
from sunaug.fidelity.evaluate import evaluate
from sunaug.fidelity.images import display_images

SIZE = 32


LABEL = "patches-16"
MEASURES = ["frechet", "kid", "precision", "recall", "density", "coverage"]


@pytest.fixture(autouse=True)
def _small_backbones(monkeypatch, patches):
    monkeypatch.setattr(room, "load_backbones", lambda weights: ([patches(16), patches(8)], ["a note of the networks"]))


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
    assert report["schema"] == 3
    assert (report["synthetic"], report["against"]) == (str(rare), str(observed))
    assert report["bundle_hash"] == "abc"
    assert report["backbones"] == {"patches-16": "random filters 0", "patches-8": "random filters 0"}
    assert report["distribution"].keys() == report["backbones"].keys()
    for selections in report["distribution"].values():
        assert list(selections) == ["all", "matched", "classes"]
        assert selections["all"]["n"] == 40
        assert selections["matched"]["n"] == 10
        assert selections["classes"] == {}
        for figures in (selections["all"], selections["matched"]):
            assert list(figures) == ["n", *MEASURES]
            assert all(figures[measure].keys() >= {"value", "floor", "ratio"} for measure in MEASURES)
            frechet = figures["frechet"]
            assert frechet["ratio"] == pytest.approx(frechet["value"] / frechet["floor"])
            assert figures["kid"]["stderr"] > 0
            assert 0 <= figures["coverage"]["value"] <= 1
            low, high = frechet["floor_interval"]
            assert low <= frechet["floor"] <= high
    assert report["gate"]["verdict"] == "unknown"
    assert "sets of 1 frames at most can be compared" in report["gate"]["sentence"]
    assert report["notes"][0] == "a note of the networks"
    assert any(note.startswith("forecast class M has no figures of its own: 50 synthetic") for note in report["notes"])
    assert report["physics_against"] == "matched"
    assert report["physics"]["limb_radius aia171"].keys() == {"synthetic", "real", "distance", "floor", "unit"}
    assert report["conditions"]["synthetic"] == {"M": 50}
    assert report["conditions"]["validation"] == {"quiet": 10, "B": 10, "C": 10, "M": 10}
    assert report["conditions"]["matched"] == {"train": 10, "validation": 10}
    assert report["conditions"]["minimum_forecast_flux"] == pytest.approx(1e-5)
    assert report["training_ranges"] == [["2012-01-01T00:00:00Z", "2012-07-31T23:59:59Z"]]
    assert any("patches-16: N (matched 10) is below twice the 16 dimensions" in note for note in report["notes"])
    assert not any("leakage" in note for note in report["notes"])


def test_same_seed_same_figures(rare, observed):
    assert evaluate(rare, observed, n=6, seed=3) == evaluate(rare, observed, n=6, seed=3)
    first, second = (evaluate(rare, observed, n=6, seed=seed)["distribution"][LABEL]["all"] for seed in (3, 4))
    assert first["n"] == second["n"] == 6
    assert first["frechet"]["value"] != second["frechet"]["value"]


def test_held_out_frames_as_if_synthetic_are_at_zero(observed):
    cube = open_cube(observed)
    report = evaluate(select_split(cube, "validation"), cube)
    figures = report["distribution"][LABEL]["all"]
    assert figures["frechet"]["floor"] > 0
    assert figures["frechet"]["ratio"] == pytest.approx(0, abs=1e-6)
    assert [figures[name]["value"] for name in ("precision", "recall", "coverage")] == [1, 1, 1]
    assert all(row["distance"] == pytest.approx(0, abs=1e-9) for row in report["physics"].values())


def test_blurred_frames_score_worse(make_cube, suns, observed):
    frames = ndimage.gaussian_filter(suns(40, 5, size=SIZE), (0, 0, 1, 1))
    blurred = evaluate(make_cube("blurred.zarr", frames, np.zeros(40)), observed)
    sharp = evaluate(make_cube("sharp.zarr", suns(40, 5, size=SIZE), np.zeros(40)), observed)
    blurred_figures, sharp_figures = (report["distribution"][LABEL]["all"] for report in (blurred, sharp))
    assert blurred_figures["frechet"]["ratio"] > 3 * sharp_figures["frechet"]["ratio"]
    assert blurred_figures["kid"]["value"] > sharp_figures["kid"]["value"] + 3 * blurred_figures["kid"]["stderr"]
    assert blurred_figures["coverage"]["ratio"] < 0.5 < sharp_figures["coverage"]["ratio"]
    assert blurred["physics"]["fine_structure aia171"]["distance"] > 0.5


def test_leakage_is_noted(make_cube, suns, observed):
    leaked = make_cube(
        "leaked.zarr",
        suns(10, 2, size=SIZE),
        np.full(10, 1e-5),
        training_ranges=[["2012-01-01T00:00:00Z", "2012-08-06T00:00:00Z"]],
    )
    notes = evaluate(leaked, observed)["notes"]
    assert any(note.startswith("leakage: 5 of the 40 validation frames") for note in notes)


def test_no_matching_frames(make_cube, suns, observed):
    strongest = evaluate(make_cube("x.zarr", suns(10, 2, size=SIZE), np.full(10, 5e-4)), observed)
    assert strongest["distribution"][LABEL]["matched"] is None
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
    figures = evaluate(fake, real)["distribution"][LABEL]["all"]
    assert list(figures["images"]) == ["aia131", "aia171"]
    for measure in MEASURES:
        each = [one[measure]["value"] for one in figures["images"].values()]
        assert figures[measure]["value"] == pytest.approx(np.mean(each))
    # Channels are compared by name: swapped planes of a made-up Sun would differ by far more than the floor.
    assert figures["frechet"]["ratio"] < 3


@pytest.fixture
def by_class(make_cube, suns):
    """52 frames of the train months (8 quiet, 40 B, 4 C) and 52 of the validation months (4 quiet, 40 B, 8 C)."""
    times = days(3, 4, 8, 9, per_month=26)
    train, validation = [0.0] * 4 + [2e-7] * 20 + [3e-6] * 2, [0.0] * 2 + [3e-7] * 20 + [2e-6] * 4
    return make_cube("classes.zarr", suns(len(times), 1, size=SIZE), np.array(train * 2 + validation * 2), times)


def test_figures_of_each_forecast_class(make_cube, suns, by_class, patches):
    flux = np.array([0.0] * 5 + [9e-8] * 2 + [4e-7] * 30 + [1e-6] * 30 + [1.5e-4])
    samples = make_cube("samples.zarr", suns(len(flux), 2, size=SIZE), flux)
    report = evaluate(samples, by_class)
    classes = report["distribution"][LABEL]["classes"]
    assert list(classes) == ["quiet+A+B"]
    assert any(note.startswith("forecast classes quiet, A, B are measured as one") for note in report["notes"])
    assert any(
        note.startswith("forecast class C has no figures of its own: 30 synthetic, 4 train, 8 validation")
        for note in report["notes"]
    )
    assert any("class X" in note for note in report["notes"])
    assert not any("class M" in note for note in report["notes"])


def test_figures_of_a_class_are_those_of_its_frames(make_cube, suns, patches):
    times, each = days(3, 4, 8, 9), np.tile([2e-7, 5e-6], 40)
    frames = suns(80, 1, size=SIZE)
    frames[each > 1e-6] *= 1.3
    real = make_cube("real.zarr", frames, each, times)
    made = suns(44, 2, size=SIZE)
    fake = make_cube("fake.zarr", made, np.repeat([3e-7, 2e-6], 22))
    report = evaluate(fake, real)
    selections = report["distribution"][LABEL]
    assert list(selections["classes"]) == ["B", "C"]
    assert not any("forecast class" in note for note in report["notes"])
    # All 20 frames of the validation months and of the train months are taken; of the samples 20 of 22.
    stored = open_cube(real)["intensity"].values
    network = patches(16)

    def of(numbers):
        return features(display_images(stored[numbers], ["aia171", "aia131", "aia94"], "browse").values(), network)

    for name, rows in (("B", each < 1e-6), ("C", each > 1e-6)):
        validation, train = (np.flatnonzero(rows & part) for part in (times >= days(8)[0], times < days(8)[0]))
        floor = distances(of(train), of(validation), synthetic_times=times[train], real_times=times[validation])
        figures = selections["classes"][name]
        assert figures["n"] == 20
        for measure in MEASURES:
            assert figures[measure]["floor"] == pytest.approx(floor[measure], rel=1e-4, abs=1e-7)
    # Samples which are not brighter in their class fail there, and only there.
    assert selections["classes"]["C"]["frechet"]["ratio"] > 3 * selections["classes"]["B"]["frechet"]["ratio"]


def test_each_frame_goes_through_a_network_once(rare, observed, monkeypatch, tmp_path):
    seen = {}
    whole = instruments.features

    def counted(batches, backbone):
        kept = list(batches)
        # Groups are filled up with copies of their last image.
        different = sum(len(np.unique(one, axis=0)) for one in kept)
        seen[backbone.label] = seen.get(backbone.label, 0) + different
        return whole(kept, backbone)

    monkeypatch.setattr(instruments, "features", counted)
    first = evaluate(rare, observed, cache=tmp_path / "kept")
    # 40 frames of each real side and 50 samples serve every selection.
    assert seen == {"patches-16": 130, "patches-8": 130}
    assert evaluate(rare, observed, cache=tmp_path / "kept") == first
    assert seen == {"patches-16": 130, "patches-8": 130}


def test_a_floor_at_zero_gives_no_ratio():
    figures = dict.fromkeys(["frechet", "kid", "kid_stderr", "precision", "recall", "density", "coverage"], 0.5)
    beside = room._beside_floor(figures, figures | {"coverage": 0.0, "kid": 0.9, "kid_stderr": 0.5})
    assert beside["coverage"] == {"value": 0.5, "floor": 0.0, "ratio": None}
    assert beside["kid"] == {"value": 0.5, "floor": 0.9, "ratio": None, "stderr": 0.5, "floor_stderr": 0.5}
    assert beside["frechet"]["ratio"] == 1


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


@pytest.mark.parametrize(
    ("flux", "note"),
    [
        (np.nan, "no train frame has known labels: there is no solar encoder, no regressor and no gate."),
        (1e-6, "its validation frames all lie within 14 days of the train frames, too near to tell"),
    ],
)
def test_a_cube_of_three_days_gives_figures_and_no_gate(make_cube, suns, rare, flux, note):
    """Neither without labels nor with them is there a frame that others can be compared with."""
    times = np.datetime64("2012-07-30", "ns") + np.arange(27) * np.timedelta64(2, "h")
    real = make_cube("short.zarr", suns(27, 1, size=SIZE), np.full(27, flux), times)
    report = evaluate(rare, real)
    assert report["gate"] is None
    assert any(note in one for one in report["notes"]), report["notes"]
    assert report["distribution"][LABEL]["all"]["n"] == 3
