"""The model inside a wrapper for distributed training."""
import pytest
from torch import nn

from crosskd.detectors.unwrapping import unwrapped

pytestmark = pytest.mark.torch_only


def test_a_wrapped_model_and_one_without_a_wrapper():
    model = nn.Linear(1, 1)
    assert unwrapped(model) is unwrapped(nn.DataParallel(model)) is model
