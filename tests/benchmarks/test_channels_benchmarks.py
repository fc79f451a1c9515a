"""What the benchmarks of many wavelengths make of cubes and figures."""

import numpy as np
import pytest

from benchmarks import missing_channels, multiscale, wavelengths
from sunaug.cube import FrameStatus, open_cube
from sunaug.fidelity.physics import Geometry, tabulate
from tests.models import CHANNELS, make_cube


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    return open_cube(make_cube(tmp_path_factory.mktemp("benchmark") / "c.zarr", frames=200))


def test_three_of_ten_channels_are_taken_out_and_one_stays(cube):
    lacking = missing_channels.lacking(cube, 0.3, seed=3)
    gone = np.isnan(lacking["intensity"].values).all(axis=(2, 3))
    # All three would go in 0.3^3 of the cases; then one of them stays.
    assert gone.mean() == pytest.approx(0.3 - 0.3**3 / 3, abs=0.03)
    assert not gone.all(axis=1).any()
    kept = ~gone
    assert np.array_equal(lacking["intensity"].values[kept], cube["intensity"].values[kept])
    partial = lacking["frame_status"].values == FrameStatus.PARTIAL
    assert np.array_equal(partial, gone.any(axis=1))
    assert (cube["frame_status"].values == FrameStatus.COMPLETE).all()


def test_a_blurred_frame_lacks_fine_structure_and_by_how_much():
    """Noise at a tenth of its strength has a hundredth of the power: two decades."""
    noise = np.random.default_rng(0).normal(0, 20, (8, 3, 64, 64))
    strong, weak = (
        tabulate((128 + share * noise).astype(np.float32), CHANNELS, "browse", Geometry(64, 28.0)) for share in (1, 0.1)
    )
    found = multiscale.deficits(weak, strong)
    assert list(found) == ["disk", "centre", "middle", "rim"]
    for part in found.values():
        assert list(part) == CHANNELS
        for bands in part.values():
            assert bands == pytest.approx({"fine": 2, "middle": 2}, abs=0.02)
    assert multiscale.deficits(strong, strong)["rim"]["aia94"]["fine"] == 0


def test_cases_of_ten_channels_are_recipes():
    groups = [number for group in wavelengths.GROUPS for number in group]
    assert sorted(groups) == list(range(10))
    trainer = wavelengths.trainer_of("10 channels in 3 groups", 16)
    assert trainer.config.channel_groups == wavelengths.GROUPS
    assert wavelengths.cycle(trainer) > 0
