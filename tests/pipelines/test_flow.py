"""How a scheduled step is tried again."""

import pytest

pytest.importorskip("prefect")

from prefect.states import Failed

from pipelines.flow import may_pass, waits
from pipelines.sections import RetrySection
from sunaug.errors import SunaugError, UsageError


def test_the_wait_before_each_attempt_is_doubled():
    assert waits(RetrySection(attempts=4, wait="30s")) == [30, 60, 120]
    assert waits(RetrySection(attempts=1)) == []
    assert max(waits(RetrySection(attempts=20, wait="10min"))) == 3600


def test_a_recipe_that_makes_no_sense_is_not_tried_again():
    assert may_pass(None, None, Failed(data=SunaugError("the archive did not answer.")))
    assert not may_pass(None, None, Failed(data=UsageError("no such catalogue.")))
