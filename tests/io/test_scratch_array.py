"""Temporary arrays on disk: zeros at first, deleted with the array, or an error."""

import errno
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.io.npy import VectorWriter
from megastyle_cli.io.scratch_array import scratch_array


def test_rows_come_back_and_no_file_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)

    made = scratch_array(5, 4)
    made[1:4] = rows

    assert np.array_equal(made[1:4], rows) and not made[0].any() and made.dtype == np.float32
    assert list(tmp_path.iterdir()) == []
    assert scratch_array(0, 4).shape == (0, 4)


def test_a_full_disk_is_an_error_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(file: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)

    with pytest.raises(MegastyleError, match=r"no room for 1,000 vectors of 256 numbers") as error:
        scratch_array(1000, 256)
    assert error.value.exit_code == 1
    blocks = iter([np.ones((2, 8), np.float32)])
    with VectorWriter(None) as whole, pytest.raises(MegastyleError, match="no room for 2 vectors"):
        whole.write(2, blocks)


def test_scratch_vectors_are_deleted_with_their_block(tmp_path: Path) -> None:
    with VectorWriter(None, tmp_path) as whole:
        rows = whole.write(3, iter([np.ones((2, 4), np.float32), np.zeros((1, 4), np.float32)]))
        assert rows.path.parent == tmp_path and rows[:].sum() == 8

    assert list(tmp_path.iterdir()) == []
