from dataclasses import replace

import numpy as np
import pytest

from sunaug.bundle import load_bundle
from sunaug.cube import FrameStatus, open_cube, select_split
from sunaug.errors import SunaugError
from sunaug.fidelity.fitting import add_reference, fit_instruments, fit_reference
from sunaug.fidelity.gate import assess
from sunaug.fidelity.gating import gate_cube, mark_ungated
from sunaug.fidelity.instruments import measure_set
from sunaug.fidelity.policy import Policy
from sunaug.fidelity.request_verdict import kind_of, verdict_of_request
from sunaug.fidelity.roles import NOT_MADE
from sunaug.fidelity.sample_checks import check_samples
from sunaug.fidelity.stored import FILE, read_reference, write_reference
from sunaug.generation import Request, generate_cube
from tests.models import make_bundle, make_cube, quick_fits

POLICY = Policy(
    name="test", gating=["frechet *", "limb_*", "copies *"], minimum_frames=12, samples=64, enough=48, judges=0
)


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    return open_cube(make_cube(tmp_path_factory.mktemp("real") / "real.zarr", months=tuple(range(1, 10)), frames=40))


@pytest.fixture(scope="module")
def bundle(cube, tmp_path_factory):
    made = make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")
    with quick_fits():
        assert add_reference(made, cube)
    return load_bundle(made.path)


@pytest.fixture
def made(bundle, tmp_path):
    return generate_cube(tmp_path / "made.zarr", bundle, Request(n=80, seed=4))


def test_the_reference_survives_storing(cube, bundle, tmp_path):
    with quick_fits(steps=60):
        instruments = fit_instruments(cube)
    whole = fit_reference(cube, instruments)
    write_reference(tmp_path / "again.safetensors", whole, instruments)
    stored = read_reference(tmp_path / "again.safetensors")
    held_out = np.arange(0, len(whole.validation), 2)
    # Thumbnails of real frames are kept as coordinates only: look at the frames again.
    validation = select_split(cube, "validation").isel(time=held_out)
    measured = measure_set(validation, np.arange(len(held_out)), instruments)
    first, second = (assess(one.look(measured), one, POLICY, NOT_MADE) for one in (whole, stored.reference))
    assert (first.n, first.windows) == (second.n, second.windows)
    again = {one.name: one for one in second.checks}
    assert again.keys() == {one.name for one in first.checks}
    table = whole.train.measured.physics
    for one in first.checks:
        other = again[one.name]
        # Histograms and curves are kept by their leading components: of frames of pure noise these are a part only.
        exact = one.name not in table or table[one.name].kind == "scalar"
        if one.state != "unknown" and one.floor and exact:
            assert other.value == pytest.approx(one.value, rel=0.05, abs=0.05 * abs(one.floor) + 1e-4), one.name


def test_a_measure_that_the_reference_was_stored_without_is_unknown(cube, bundle):
    """References of older bundles have fewer measures than samples do."""
    stored = read_reference(bundle.path / FILE)
    measured = measure_set(select_split(cube, "validation"), np.arange(40), stored.instruments)
    assert "straight_edges aia171" in measured.physics

    def older(side):
        kept = {name: one for name, one in side.measured.physics.items() if not name.startswith("straight_edges")}
        return replace(side, measured=replace(side.measured, physics=kept))

    whole = stored.reference
    old = replace(whole, train=older(whole.train), validation=older(whole.validation))
    found, known = (assess(one.look(measured), one, POLICY, NOT_MADE) for one in (old, whole))
    states = {one.name: one.state for one in found.checks}
    assert states.keys() == {one.name for one in known.checks}
    assert states["straight_edges aia171"] == states["straight_edges_across aia94"] == "unknown"


def test_a_sample_with_a_straight_edge_that_no_real_frame_has_is_rejected(cube, bundle):
    stored = read_reference(bundle.path / FILE)
    measured = measure_set(select_split(cube, "validation"), np.arange(40), stored.instruments)
    name = "straight_edges aia171"
    column = measured.physics[name]
    values = column.values.copy()
    real = [side.measured.physics[name].values for side in (stored.reference.train, stored.reference.validation)]
    values[7] = 10 * np.concatenate(real).max()
    cut = replace(measured, physics=measured.physics | {name: replace(column, values=values)})
    rejected, why = check_samples(stored.reference.look(cut), stored.reference)
    assert rejected[7]
    assert why[name] == 1


def test_a_set_that_is_no_sun_is_refused_and_says_so_for_good(made, bundle):
    found = gate_cube(made, bundle, POLICY)
    assert found.verdict == "refused"
    gate = open_cube(made).attrs["gate"]
    assert gate["verdict"] == "refused"
    assert gate["sentence"] == found.sentence
    assert gate["policy_sha256"] == POLICY.hash
    assert gate["counts"]["failed"] == sum(one["state"] == "failed" for one in gate["checks"].values()) > 0
    assert gate["account"] == found.account.sentence
    assert (gate["made"], gate["pool"]["made"]) == (80, 64)
    status = open_cube(made)["frame_status"].values
    assert (status == FrameStatus.REJECTED).sum() == found.account.rejections.number == gate["rejected"]
    again = gate_cube(made, bundle, POLICY)
    assert again.sentence == found.sentence
    np.testing.assert_array_equal(open_cube(made)["frame_status"].values, status)


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_no_part_of_what_a_refused_generator_makes_passes(n, bundle, tmp_path):
    for seed in range(3):
        part = generate_cube(tmp_path / f"{seed}.zarr", bundle, Request(n=n, seed=seed))
        assert gate_cube(part, bundle, POLICY).verdict == "refused"
        assert open_cube(part).attrs["gate"]["verdict"] == "refused"


def test_a_verdict_is_made_once_for_a_kind_of_request(bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("SUNAUG_CACHE", str(tmp_path))
    made = []
    first = verdict_of_request(bundle, Request(n=3, seed=8), POLICY, report=made.append)
    assert made[-1] == 64
    del made[:]
    again = verdict_of_request(bundle, Request(n=500, seed=1), POLICY, report=made.append)
    assert again.found == first.found
    assert not made
    other = verdict_of_request(bundle, Request(n=3, truncation=0.5), POLICY, report=made.append)
    assert made[-1] == 64
    assert other.kind != first.kind
    stricter = POLICY.model_copy(update={"enough": 65})
    assert verdict_of_request(bundle, Request(n=3), stricter).found["policy_sha256"] == stricter.hash


def test_kinds_differ_by_what_is_drawn_and_not_by_how_often():
    steering = {"flare": 0.0}
    plain = kind_of(Request(n=1), steering)
    assert plain == kind_of(Request(n=9, seed=5), steering)
    assert plain != kind_of(Request(n=1), {"flare": 1.0})
    for other in (
        Request(n=1, rare=True),
        Request(n=1, truncation=0.7),
        Request(n=1, conditions=((1e-6, 1e-5),)),
    ):
        assert kind_of(other, steering) != plain
    assert kind_of(Request(n=1, rare=True, min_class="X1.0"), steering) != kind_of(Request(n=1, rare=True), steering)


def test_a_cube_tells_its_request(bundle, tmp_path):
    request = Request(n=2, seed=3, steer={"component=1": 0.5}, truncation=0.8, conditions=((1e-7, 2e-6), (1e-6, 3e-5)))
    cube = open_cube(generate_cube(tmp_path / "made.zarr", bundle, request))
    told = Request.from_described(cube.attrs["request"])
    assert told.described(told.steering) == cube.attrs["request"]


def test_a_cube_of_another_bundle_is_not_judged(made, bundle):
    other = replace(bundle, hash="0" * 64)
    with pytest.raises(SunaugError, match=r"was made by tiny, SHA-256 .* judge it with the bundle that made it"):
        gate_cube(made, other, POLICY)


def test_nothing_takes_the_mark_of_an_ungated_cube_away(made, bundle):
    mark_ungated(made)
    with pytest.raises(SunaugError, match="was made with --no-gate and stays ungated"):
        gate_cube(made, bundle, POLICY)
    assert open_cube(made).attrs["gate"]["verdict"] == "ungated"


def test_a_bundle_without_a_reference_leaves_its_samples_unjudged(tmp_path):
    plain = make_bundle(tmp_path / "plain")
    path = generate_cube(tmp_path / "made.zarr", plain, Request(n=4))
    assert gate_cube(path, plain, POLICY) is None
    assert "has no real frames" in open_cube(path).attrs["gate"]["sentence"]


def test_a_damaged_reference_is_named(bundle, tmp_path):
    content = (bundle.path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(content[: len(content) // 2])
    with pytest.raises(SunaugError, match=r"fidelity\.safetensors: not a fidelity reference .* get it again"):
        read_reference(tmp_path / FILE)


def test_too_few_frames_give_no_reference(tmp_path):
    made = make_bundle(tmp_path / "tiny")
    assert not add_reference(made, open_cube(make_cube(tmp_path / "few.zarr")))
    assert not (made.path / FILE).exists()
