"""The estimate of a training's memory against what the kernel counts, in processes of their own."""

import pytest

from benchmarks.memory import MIB, SAVINGS, expected, in_process


@pytest.mark.slow
@pytest.mark.parametrize("saving", SAVINGS)
def test_the_peak_of_a_step_is_as_estimated_within_15_percent(saving):
    size = 512
    measured = in_process("step", size, SAVINGS[saving], 60.0)
    assert expected(size, SAVINGS[saving]).total / MIB == pytest.approx(measured["peak_mib"], rel=0.15)
