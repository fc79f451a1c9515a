"""Devices by name."""

import pytest
import torch

from sunaug.devices import torch_device
from sunaug.errors import UsageError


def test_a_device_that_works_is_given_back():
    assert torch_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "cpu:x"])
def test_a_device_that_is_not_there_is_one_sentence(name):
    with pytest.raises(UsageError, match=rf"^device {name}: torch cannot use it here \(.+\); choose cpu or another\.$"):
        torch_device(name)
