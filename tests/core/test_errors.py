"""Errors: which of them mean that memory is full."""

import errno
import pickle

import pytest
import torch

from megastyle_cli.core.errors import BadRecord, is_out_of_memory


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA: tried to allocate 2 GiB"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED."), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("unable to mmap 9 bytes from file <a>: Cannot allocate memory (12)"), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory is a phrase of a prompt"), False),
    ],
)
def test_only_full_memory_counts_as_out_of_memory(error: Exception, is_memory: bool) -> None:
    assert is_out_of_memory(error) is is_memory


def test_a_bad_record_can_be_sent_to_another_process() -> None:
    sent = pickle.loads(pickle.dumps(BadRecord("bad_image", "a.png is cut off", "file_name")))

    assert vars(sent) == {"kind": "bad_image", "message": "a.png is cut off", "key": "file_name"}
    assert str(sent) == "a.png is cut off"
