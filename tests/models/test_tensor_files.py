"""Weight files: permissions by the umask, the system's own errors, and no code from pickles."""

import os

import pytest
import torch
from safetensors.torch import load_file

from megastyle_cli.models.tensor_files import write_safetensors

WEIGHTS = {"weight": torch.ones(3)}


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_any_new_file(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_safetensors(WEIGHTS, tmp_path / "a.safetensors")
    finally:
        os.umask(before)

    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o666 & ~mask
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]
    assert torch.equal(load_file(tmp_path / "a.safetensors")["weight"], WEIGHTS["weight"])


def test_a_missing_folder_is_the_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError) as absent:
        write_safetensors(WEIGHTS, tmp_path / "none" / "a.safetensors")

    assert absent.value.filename == str(tmp_path / "none" / "a.safetensors")
