from collections import Counter

import numpy as np
import pytest

from sunaug.cube import FrameStatus, open_cube, write_frames
from sunaug.errors import SunaugError, UsageError
from sunaug.judging import choose, judge_name, trials_of
from tests.judging.experiments import make_samples
from tests.models import make_cube


@pytest.fixture(scope="module")
def cubes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cubes")
    return open_cube(make_samples(folder / "rare.zarr")), open_cube(make_cube(folder / "real.zarr"))


@pytest.mark.parametrize(("mode", "wanted"), [("single", 4), ("pair", 8)])
def test_no_frame_is_chosen_twice(cubes, mode, wanted):
    choice = choose(*cubes, mode=mode, n=8)
    assert len(set(choice.samples)) == len(set(choice.times)) == wanted
    trials = trials_of(choice, "Ada", 0)
    assert [one.number for one in trials] == list(range(1, 9))
    assert sorted(one.sample for one in trials if one.sample is not None) == list(choice.samples)
    assert sorted(one.time for one in trials if one.time is not None) == list(choice.times)
    assert set(Counter(one.truth for one in trials).values()) == {4}


def test_sides_of_a_pair(cubes):
    for one in trials_of(choose(*cubes, mode="pair", n=8), "Ada", 0):
        other = "right" if one.truth == "left" else "left"
        assert one.shown(one.truth) == one.time
        assert one.shown(other) == one.sample


def test_seed_and_name_decide(cubes):
    choice = choose(*cubes, n=8)
    assert choose(*cubes, n=8) == choice
    assert choose(*cubes, n=8, seed=1).samples != choice.samples
    ours = trials_of(choice, "Ada", 0)
    assert trials_of(choice, "  ada ", 0) == ours
    assert trials_of(choice, "Grace", 0) != ours
    assert trials_of(choice, "Ada", 1) != ours


def test_odd_number_of_trials(cubes):
    choice = choose(*cubes, n=7)
    counts = [Counter(one.truth for one in trials_of(choice, name, 0)) for name in "abcdefgh"]
    assert {tuple(sorted(one.values())) for one in counts} == {(3, 4)}
    assert {one["real"] for one in counts} == {3, 4}


def test_truth_is_not_in_the_order(cubes):
    choice = choose(*cubes, mode="pair", n=8)
    first = Counter(trials_of(choice, f"judge {number}", 0)[0].truth for number in range(200))
    assert 70 < first["left"] < 130


def test_real_frames_are_spread_and_matched(cubes):
    samples, real = cubes
    choice = choose(samples, real, n=8)
    assert choice.matched
    chosen = np.array([one.rstrip("Z") for one in choice.times], "datetime64[ns]")
    flux = real["forecast_flux"].sel(time=chosen).values
    low, high = (getattr(samples["forecast_flux"].values, end)() for end in ("min", "max"))
    assert (flux >= low).all()
    assert (flux <= high).all()
    assert "M1.0 to M9.0" in choice.note
    # 24 frames 6 h apart.
    for n, hours in ((4, 24), (16, 6)):
        everything = choose(samples, real, n=n, matched=False)
        gaps = np.diff(np.array([one.rstrip("Z") for one in everything.times], "datetime64[h]")).astype(int)
        assert len(gaps) == n // 2 - 1
        assert gaps.min() >= hours
    assert set(real["time"].dt.month.sel(time=chosen).values) == {8}


def test_too_few_matched_frames(cubes):
    samples, real = cubes
    matching = int(((real["forecast_flux"] >= 1e-5) & (real["time"].dt.month == 8)).sum())
    with pytest.raises(UsageError, match="matched validation frames"):
        choose(samples, real, mode="pair", n=matching + 1, matched=True)
    choice = choose(samples, real, mode="pair", n=matching + 1)
    assert not choice.matched
    assert "of any flux" in choice.note


def test_what_makes_no_experiment(cubes, tmp_path):
    samples, real = cubes
    for wrong, reason in (
        ({"mode": "triple"}, "unknown mode"),
        ({"n": 0}, "one trial"),
        ({"n": 1000}, "samples, 1000 trials need 500"),
        ({"split": "winter"}, "unknown split"),
    ):
        with pytest.raises(UsageError, match=reason):
            choose(samples, real, **wrong)
    with pytest.raises(UsageError, match="observed cube"):
        choose(real, real)
    with pytest.raises(UsageError, match="synthetic cube"):
        choose(samples, samples)
    with pytest.raises(SunaugError, match="test months"):
        choose(samples, real, split="test")
    pending = make_samples(tmp_path / "pending.zarr")
    write_frames(pending, 0, {"frame_status": np.full(16, FrameStatus.PENDING, np.int8)})
    with pytest.raises(SunaugError, match="no complete sample"):
        choose(open_cube(pending), real)


def test_unfinished_samples_are_left_out(cubes, tmp_path):
    path = make_samples(tmp_path / "part.zarr")
    write_frames(path, 4, {"frame_status": np.full(12, FrameStatus.PENDING, np.int8)})
    assert choose(open_cube(path), cubes[1], n=8).samples == (0, 1, 2, 3)


def test_names():
    assert judge_name("  Ada \n Lovelace ") == "Ada Lovelace"
    assert judge_name("e\u0301") == "é"
    for wrong in ("", "  ", "x" * 41, "a\u202eb", "a\x00b"):
        with pytest.raises(UsageError):
            judge_name(wrong)
