"""The gate of the bundled model, on real frames that had no part in it: damaged, repeated, copied, and as they are."""

from dataclasses import replace
from fnmatch import fnmatch

import numpy as np
import pytest

import sunaug
from benchmarks.damage import DAMAGES, collapsed
from forecasting_adapters import SyntheticSolarDataset
from pipelines.ingest import ingest
from sunaug.bundle import BUNDLED, load_bundle
from sunaug.cube import open_cube
from sunaug.errors import GateRefused
from sunaug.fidelity.fitting import known_rows
from sunaug.fidelity.gate import assess
from sunaug.fidelity.gating import gate_cube
from sunaug.fidelity.instruments import measure_set
from sunaug.fidelity.policy import load_policy
from sunaug.fidelity.request_verdict import open_reference
from sunaug.fidelity.roles import NOT_MADE, Roles, roles_of
from sunaug.generation import Request, generate_cube

pytestmark = pytest.mark.realdata

NOTICED = {
    "blur of 1 px": ("fine_structure *", "frechet solar-texture"),
    "2 % noise": ("corner_structure *", "frechet solar-texture"),
    "shift of 2 px": ("limb_offset *",),
    "swapped channels": ("conditional_mean *", "joint *"),
    "channel 0 × 1.1": ("saturated_share *", "total *", "conditional_mean *"),
    "channel 1 × 1.1": ("saturated_share *", "conditional_mean *", "energy_budget_peak *", "peak *"),
    "channel 2 × 1.1": ("peak *", "conditional_mean *", "off_limb_fall *"),
    "no active regions": ("region_*",),
    "checkerboard of 1 %": ("checkerboard *",),
}
"""The figures of which one at least has to fail."""


@pytest.fixture(scope="module")
def stored():
    return open_reference(load_bundle(BUNDLED))


@pytest.fixture(scope="module")
def frames(real_data, stored, tmp_path_factory):
    """October 2012, and half as many frames of the train months, in one cube like the bundle's."""
    folder = tmp_path_factory.mktemp("october")
    files = sorted((real_data / "sdo2012").rglob("*.jpg"))
    october = [file for file in files if "201210" in file.name]
    train = [file for file in files if "20120" in file.name and file.name < "20120801"][::14]
    assert len(october) > 100
    assert len(train) > 100
    ingest(
        [*october, *train],
        folder / "cube.zarr",
        size=stored.instruments.geometry.size,
        flares=real_data / "flares" / "goes_flares_1996_2022.csv",
        xrs=real_data / "sdo2012" / "goes_xrs_5min.csv.gz",
    )
    return open_cube(folder / "cube.zarr")


def side(frames, later):
    chosen = frames.isel(time=np.flatnonzero((frames["time"].values >= np.datetime64("2012-09-01")) == later))
    return chosen.isel(time=known_rows(chosen)).load()


def judged(stored, measured):
    return assess(stored.reference.look(measured), stored.reference, load_policy(), NOT_MADE)


@pytest.fixture(scope="module")
def october(frames, stored):
    cube = side(frames, True)
    return cube, measure_set(cube, np.arange(cube.sizes["time"]), stored.instruments)


def test_real_frames_of_an_unseen_month_pass(october, stored):
    found = judged(stored, october[1])
    assert found.verdict == "passed", found.sentence
    # An ingest of few frames overlooks some whose channels are of different days; so does no gate.
    assert found.rejected.mean() < 0.05
    assert len(found.gating("passed")) > 60
    assert "EffNet-Lite2" in found.sentence


def test_few_real_frames_are_too_few_to_judge(october, stored):
    found = judged(stored, october[1].take(np.arange(64)))
    assert found.verdict == "unknown", found.sentence
    assert found.sentence.startswith("Unknown: too few to judge: 64 samples, 256 are needed")


def test_without_a_judge_real_frames_do_not_pass(october, stored):
    # As where a generator was trained on every network that could be asked.
    taught = Roles({"EffNet-Lite2": "trained on it", "solar-*": "trained on it"})
    found = assess(stored.reference.look(october[1]), stored.reference, load_policy(), taught)
    assert found.verdict == "unknown", found.sentence
    assert "0 had no part in the samples" in found.sentence


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_frames_are_refused_for_what_is_wrong_with_them(damage, october, stored):
    cube = october[0].isel(time=slice(None, None, 2))
    changed = DAMAGES[damage](cube["intensity"].values.astype(np.float32), stored.instruments.geometry)
    damaged = cube.assign(intensity=(cube["intensity"].dims, changed))
    # Single frames are kept: what is asked here is whether the set's figures notice.
    policy = load_policy().model_copy(update={"drop": False, "drop_share": 1.0})
    measured = measure_set(damaged, np.arange(cube.sizes["time"]), stored.instruments)
    found = assess(stored.reference.look(measured), stored.reference, policy, NOT_MADE)
    failed = [one.name for one in found.failed]
    assert any(fnmatch(name, pattern) for name in failed for pattern in NOTICED[damage]), found.sentence


def test_a_collapsed_set_is_refused(october, stored):
    rows = collapsed(len(october[1]), 50)
    failed = [one.name for one in judged(stored, replace(october[1].take(rows), times=None)).failed]
    assert "spread solar-content" in failed


def test_copies_of_training_frames_are_refused(frames, stored):
    cube = side(frames, False)
    found = judged(stored, measure_set(cube, np.arange(cube.sizes["time"]), stored.instruments))
    assert found.verdict == "refused"
    assert found.why_rejected["copy of a training frame"] > 0.9 * len(found.rejected)
    policy = load_policy().model_copy(update={"drop": False, "drop_share": 1.0})
    measured = measure_set(cube, np.arange(cube.sizes["time"]), stored.instruments)
    failed = [one.name for one in assess(stored.reference.look(measured), stored.reference, policy, NOT_MADE).failed]
    assert "copies features" in failed


@pytest.mark.slow
@pytest.mark.parametrize("rare", [False, True])
def test_no_split_of_what_the_refused_bundle_makes_passes(rare, tmp_path):
    bundle, policy = load_bundle(BUNDLED), load_policy()
    whole = generate_cube(tmp_path / "whole.zarr", bundle, Request(n=512, rare=rare))
    assert gate_cube(whole, bundle, policy).verdict == "refused"
    for n in (1, 16, 64, 128):
        for seed in range(3):
            part = generate_cube(tmp_path / f"{n}-{seed}.zarr", bundle, Request(n=n, rare=rare, seed=seed))
            found = gate_cube(part, bundle, policy)
            assert found.verdict == "refused", found.sentence
            with pytest.raises(GateRefused):
                SyntheticSolarDataset(part)
    with pytest.raises(GateRefused):
        SyntheticSolarDataset(BUNDLED, n=64, rare=rare)


@pytest.mark.slow
def test_no_part_of_its_samples_passes_as_a_set(stored):
    # What `sunaug evaluate` would say of such parts, without the verdict of their kind of request.
    bundle, policy = load_bundle(BUNDLED), load_policy()
    samples = sunaug.generate(bundle, 512, rare=True)
    measured = measure_set(samples, np.arange(512), stored.instruments)
    looked, baselines = stored.reference.look(measured), {}
    for size in (16, 32, 64, 128, 256):
        for start in range(0, 512, size):
            part = looked.take(np.arange(start, start + size))
            found = assess(part, stored.reference, policy, roles_of(bundle), baselines=baselines)
            assert found.verdict != "passed", (size, start, found.sentence)
