"""Where a model runs: the device, the floating-point type, and errors for a full memory."""

import pytest
import torch

from megastyle_cli.models.device import is_out_of_memory


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED."), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("unable to mmap 9 bytes from file <a>: Cannot allocate memory (12)"), True),
        (OSError("[Errno 12] Cannot allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("a prompt: can't allocate memory"), False),
    ],
)
def test_only_errors_about_memory_are_out_of_memory(error, expected):
    assert is_out_of_memory(error) is expected
