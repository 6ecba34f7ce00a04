"""Where a model runs: the device and the floating-point type."""

import pytest
import torch

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.device import chosen_device, chosen_dtype


def test_a_device_that_torch_does_not_know_is_an_error():
    assert chosen_device("cpu") == torch.device("cpu")
    with pytest.raises(MegastyleError, match="'abacus' cannot be used"):
        chosen_device("abacus")


def test_the_default_type_depends_on_the_device():
    assert chosen_dtype(None, torch.device("cpu")) == torch.float32
    assert chosen_dtype(None, torch.device("cuda")) == torch.bfloat16
    assert chosen_dtype("float16", torch.device("cpu")) == torch.float16
