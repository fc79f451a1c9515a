"""The gate of the bundled model, on real frames that had no part in it: damaged, repeated, copied, and as they are."""

from dataclasses import replace
from fnmatch import fnmatch

import numpy as np
import pytest

from benchmarks.damage import DAMAGES, collapsed
from pipelines.ingest import ingest
from sunaug.bundle import BUNDLED, load_bundle
from sunaug.cube import open_cube
from sunaug.fidelity.fitting import known_rows
from sunaug.fidelity.gate import assess
from sunaug.fidelity.instruments import measure_set
from sunaug.fidelity.policy import load_policy
from sunaug.fidelity.stored import FILE, read_reference

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
    return read_reference(load_bundle(BUNDLED).path / FILE)


@pytest.fixture(scope="module")
def frames(real_data, stored, tmp_path_factory):
    """Every second frame of October 2012, and as many of the train months, in one cube like the bundle's."""
    folder = tmp_path_factory.mktemp("october")
    files = sorted((real_data / "sdo2012").rglob("*.jpg"))
    october = [file for file in files if "201210" in file.name][::2]
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
    return assess(stored.reference.look(measured), stored.reference, load_policy())


@pytest.fixture(scope="module")
def october(frames, stored):
    cube = side(frames, True)
    return cube, measure_set(cube, np.arange(cube.sizes["time"]), stored.instruments)


def test_real_frames_of_an_unseen_month_pass(october, stored):
    found = judged(stored, october[1])
    assert found.verdict == "passed", found.sentence
    # An ingest of few frames overlooks some whose channels are of different days; so does no gate.
    assert found.dropped.mean() < 0.05
    assert sum(one.gating and one.known for one in found.checks) > 60


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_frames_are_refused_for_what_is_wrong_with_them(damage, october, stored):
    cube, _ = october
    changed = DAMAGES[damage](cube["intensity"].values.astype(np.float32), stored.instruments.geometry)
    damaged = cube.assign(intensity=(cube["intensity"].dims, changed))
    # Single frames are kept: what is asked here is whether the set's figures notice.
    policy = load_policy().model_copy(update={"drop": False, "drop_share": 1.0})
    measured = measure_set(damaged, np.arange(cube.sizes["time"]), stored.instruments)
    found = assess(stored.reference.look(measured), stored.reference, policy)
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
    assert found.why_dropped["copy of a training frame"] > 0.9 * len(found.dropped)
    policy = load_policy().model_copy(update={"drop": False, "drop_share": 1.0})
    measured = measure_set(cube, np.arange(cube.sizes["time"]), stored.instruments)
    failed = [one.name for one in assess(stored.reference.look(measured), stored.reference, policy).failed]
    assert "copies features" in failed
