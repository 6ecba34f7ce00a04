"""Weight files: permissions by the umask, the system's own errors, and no code from pickles."""

import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from megastyle_cli.models.tensor_files import read_weights, write_safetensors, write_torch

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


def test_equal_weights_and_metadata_give_equal_bytes(tmp_path):
    metadata = {f"megastyle.{n}": f'"{n}" \u00e9' for n in range(8)}
    contents = set()
    for n in range(4):
        path = tmp_path / f"{n}.safetensors"
        write_safetensors(WEIGHTS, path, dict(reversed(metadata.items())) if n % 2 else metadata)
        contents.add(path.read_bytes())

    assert len(contents) == 1
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == metadata
        assert torch.equal(file.get_tensor("weight"), WEIGHTS["weight"])


def test_a_state_that_was_read_back_is_written_as_the_same_bytes(tmp_path):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([{"params": [weight], "name": "a"}])
    weight.sum().backward()
    optimizer.step()
    state = {"optimizer": optimizer.state_dict(), "ema": {"weight": torch.zeros(3)}, "step": 1}
    for name in "ab":
        (tmp_path / name).mkdir()
    write_torch(state, tmp_path / "a" / "training.pt")

    write_torch(read_weights(tmp_path / "a" / "training.pt"), tmp_path / "b" / "training.pt")

    assert (tmp_path / "b" / "training.pt").read_bytes() == (
        tmp_path / "a" / "training.pt"
    ).read_bytes()


class Interrupted(io.BytesIO):
    """A file during whose first large write Ctrl-C is pressed."""

    def write(self, some: Any) -> int:
        if len(some) > 1000:
            raise KeyboardInterrupt
        return super().write(some)


def test_an_interrupted_write_does_not_abort_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "open", lambda *_: Interrupted())

    with pytest.raises(KeyboardInterrupt):
        write_torch({"weight": torch.zeros(10_000)}, tmp_path / "training.pt")


def test_a_full_disk_is_an_error_of_the_file_system() -> None:
    with pytest.raises(OSError) as caught:
        write_torch({"weight": torch.zeros(100_000)}, Path("/dev/full"))

    assert caught.value.errno == errno.ENOSPC
