import numpy as np
import pytest
import torch

import sunaug
from sunaug.errors import SunaugError, UsageError
from sunaug.generation import Request, parse_steer, read_conditions, support
from sunaug.generation.conditions import Conditions, distinct_events
from tests.models import make_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


def with_frames(bundle, fluxes, times=None):
    """The bundle as if it had been trained on frames with these fluxes."""
    bundle.reference = {"fluxes": torch.tensor(fluxes, dtype=torch.float64)}
    if times is not None:
        bundle.reference["times"] = torch.from_numpy(np.asarray(times, "datetime64[ns]").astype(np.int64))
    return bundle


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("flare:+1.5", ("flare", 1.5)),
        ("1.5", ("flare", 1.5)),
        ("component=3:-2", ("component=3", -2.0)),
        ("component=3@4-7:+2.5", ("component=3@4-7", 2.5)),
    ],
)
def test_steering_is_parsed(text, found):
    assert parse_steer(text) == found


@pytest.mark.parametrize("text", ["component=3", "component=:1", "flare:much", "x:1", "flare:nan", "component=1@4:2"])
def test_steering_that_means_nothing(text):
    with pytest.raises(UsageError, match=r"--steer .*: give flare:\+1.5"):
        parse_steer(text)


def test_conditions_from_a_file(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("note,forecast_flux,nowcast_flux\na,M1.0,2e-6\nb,X2.5,C3\n")
    assert read_conditions(path, ["nowcast_flux", "forecast_flux"]) == ((2e-6, 1e-5), (3e-6, 2.5e-4))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("forecast_flux\nM1\n", "no column nowcast_flux"),
        ("forecast_flux,nowcast_flux\nM1,\n", "line 2"),
        ("forecast_flux,nowcast_flux\n1e-5,1e-6\n-1e-5,1e-6\n", "line 3: -1e-5 is no flux"),
        ("forecast_flux,nowcast_flux\n", "holds no condition"),
    ],
)
def test_bad_condition_files_are_one_sentence(tmp_path, text, message):
    path = tmp_path / "c.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_conditions(path, ["nowcast_flux", "forecast_flux"])
    with pytest.raises(UsageError, match="cannot be read"):
        read_conditions(tmp_path / "none.csv", ["nowcast_flux"])


def test_events_of_a_forecast_are_flares():
    day = np.datetime64("2012-03-01", "ns")
    hours = np.array([0, 2, 4, 6, 400, 402, 404])
    flux = np.array([5e-5, 5e-5, 2e-5, 5e-5, 5e-5, 5e-5, 2e-5])
    events = distinct_events(day + hours * np.timedelta64(1, "h"), flux, "forecast_flux")
    assert sorted(sorted(event.tolist()) for event in events) == [[0, 1, 3], [2], [4, 5], [6]]
    assert len(distinct_events(None, flux, "forecast_flux")) == 2


def test_events_of_a_nowcast_are_times_of_activity():
    day = np.datetime64("2012-03-01", "ns")
    hours = np.array([0, 2, 4, 30, 32])
    flux = np.array([5e-5, 3e-5, 2e-5, 5e-5, 4e-5])
    events = distinct_events(day + hours * np.timedelta64(1, "h"), flux, "nowcast_flux")
    assert [event.tolist() for event in events] == [[0, 1, 2], [3, 4]]


@pytest.mark.parametrize(("frames", "events", "few"), [(60, 6, False), (40, 8, True), (60, 3, True)])
def test_support_says_what_a_bundle_has_seen(tmp_path, frames, events, few):
    flux = 1e-5 * (1 + np.arange(frames) % events)
    times = np.datetime64("2012-01-01", "ns") + np.arange(frames) * np.timedelta64(1, "h")
    bundle = with_frames(make_bundle(tmp_path / "b"), np.stack([flux / 3, flux], axis=1), times)
    found = support(bundle, Request(1, rare=True))
    assert (found.frames, found.events, found.few) == (frames, events, few)


@pytest.mark.parametrize(("frames", "events"), [(19, 5), (60, 1)])
def test_what_a_bundle_cannot_know_is_refused_unless_forced(tmp_path, frames, events):
    flux = 1e-5 * (1 + np.arange(frames) % events)
    times = np.datetime64("2012-01-01", "ns") + np.arange(frames) * np.timedelta64(1, "h")
    bundle = with_frames(make_bundle(tmp_path / "b"), np.stack([flux / 3, flux], axis=1), times)
    with pytest.raises(SunaugError, match=rf"has seen only {frames} frames of {events} event.* or add --force"):
        sunaug.generate(bundle, 2, rare=True)
    assert len(sunaug.generate(bundle, 2, rare=True, force=True, critic=False)["sample"]) == 2


def test_the_power_law_is_that_of_the_events(tmp_path):
    """Pareto events of exponent 1, each seen in a few frames; the tail of what is drawn has that exponent."""
    random = np.random.default_rng(0)
    peaks = 1e-5 / (1 - random.random(400))
    flux = np.repeat(peaks, random.integers(1, 6, 400))
    times = np.datetime64("2012-01-01", "ns") + np.arange(len(flux)) * np.timedelta64(1, "h")
    bundle = with_frames(make_bundle(tmp_path / "b"), np.stack([flux / 3, flux], axis=1), times)
    conditions = Conditions(bundle, Request(1, rare=True, tail="power-law"))
    drawn = np.array([conditions.draw(0, np.random.default_rng(seed)) for seed in range(3_000)])
    forecast = drawn[:, 1]
    assert forecast.min() >= 1e-5
    assert forecast.max() <= peaks.max() * (1 + 1e-9)
    assert (forecast >= 1e-4).mean() == pytest.approx(0.1, abs=0.03)
    assert np.median(drawn[:, 0] / forecast) == pytest.approx(1 / 3, rel=0.1)


def test_the_empirical_tail_keeps_the_joint_distribution(bundle):
    conditions = Conditions(bundle, Request(1, rare=True))
    drawn = np.array([conditions.draw(0, np.random.default_rng(seed)) for seed in range(500)])
    assert drawn[:, 1].min() >= 1e-5
    assert np.median(drawn[:, 0] / drawn[:, 1]) == pytest.approx(1 / 3, rel=0.1)
