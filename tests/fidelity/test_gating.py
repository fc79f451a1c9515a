import numpy as np
import pytest

import sunaug
from sunaug.bundle import load_bundle
from sunaug.cube import FrameStatus, open_cube, select_split
from sunaug.errors import SunaugError
from sunaug.fidelity.fitting import add_reference, fit_instruments, fit_reference
from sunaug.fidelity.gate import assess
from sunaug.fidelity.gating import gate_cube, gate_samples, mark_ungated
from sunaug.fidelity.instruments import measure_set
from sunaug.fidelity.policy import Policy
from sunaug.fidelity.stored import FILE, read_reference, write_reference
from sunaug.generation import Request, generate_cube
from tests.models import make_bundle, make_cube, quick_fits

POLICY = Policy(name="test", gating=["frechet *", "limb_*", "copies *"], minimum_frames=12)


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
    first, second = (assess(one.look(measured), one, POLICY) for one in (whole, stored.reference))
    assert (first.n, first.windows) == (second.n, second.windows)
    again = {one.name: one for one in second.checks}
    assert again.keys() == {one.name for one in first.checks}
    table = whole.train.measured.physics
    for one in first.checks:
        other = again[one.name]
        # Histograms and curves are kept by their leading components: of frames of pure noise these are a part only.
        exact = one.name not in table or table[one.name].kind == "scalar"
        if one.known and one.floor and exact:
            assert other.value == pytest.approx(one.value, rel=0.05, abs=0.05 * abs(one.floor) + 1e-4), one.name


def test_a_set_that_is_no_sun_is_refused_and_says_so_for_good(made, bundle):
    found = gate_cube(made, bundle, POLICY)
    assert found.verdict == "refused"
    gate = open_cube(made).attrs["gate"]
    assert gate["verdict"] == "refused"
    assert gate["sentence"] == found.sentence
    assert gate["policy_sha256"] == POLICY.hash
    assert gate["checks"].keys() == {one.name for one in found.checks if one.gating}
    status = open_cube(made)["frame_status"].values
    assert (status == FrameStatus.REJECTED).sum() == found.dropped.sum()
    again = gate_cube(made, bundle, POLICY)
    assert again.sentence == found.sentence
    np.testing.assert_array_equal(open_cube(made)["frame_status"].values, status)


def test_samples_are_judged_alike_in_a_cube_and_before_they_are_written(made, bundle):
    streamed = gate_samples(sunaug.stream(bundle, 20, n=80, seed=4), bundle, POLICY)
    stored = gate_cube(made, bundle, POLICY)
    assert streamed.sentence == stored.sentence
    np.testing.assert_array_equal(streamed.dropped, stored.dropped)


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
