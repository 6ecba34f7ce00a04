"""Weight files: permissions by the umask, the system's own errors, and no code from pickles."""

import errno
import io
import json
import os
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.tensor_files import (
    read_folder_weights,
    read_weights,
    weight_files,
    write_safetensors,
    write_torch,
)

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


class Settings:
    """Pickles itself as whatever it is told: a call of `function`, then a state."""

    def __init__(self, function, arguments=(), state=None):
        self.reduced = (function, arguments, *([] if state is None else [state]))

    def __reduce__(self):
        return self.reduced


def test_settings_beside_the_tensors_are_dropped(tmp_path):
    settings = Namespace(lr=0.1, folder=tmp_path, best=np.float64(0.5), more=SimpleNamespace(x=1))
    torch.save({"a": torch.ones(2), "args": settings}, tmp_path / "x.pth")

    content = read_weights(tmp_path / "x.pth")

    assert content["a"].tolist() == [1, 1] and not vars(content["args"])


@pytest.mark.parametrize(
    "evil",
    [
        Settings(exec, ("from pathlib import Path; Path('went-off').touch()",)),
        Settings(os.mkdir, ("went-off",)),
        Settings(Namespace, (), {"x": Settings(os.mkdir, ("went-off",))}),
        Settings(getattr, (Path("went-off"), "touch")),
        Settings(eval, ("open('went-off', 'w')",)),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, monkeypatch, evil, zipped):
    monkeypatch.chdir(tmp_path)
    content = {"a": torch.ones(2), "args": evil}
    torch.save(content, "x.pth", _use_new_zipfile_serialization=zipped)

    with pytest.raises(MegastyleError, match="nothing in it was executed"):
        read_weights(Path("x.pth"))

    assert not Path("went-off").exists()


def test_a_state_cannot_turn_settings_into_a_call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # A plain object of which `__setstate__` is set by a first state would call it with a second.
    first = Settings(Namespace, (), {"__setstate__": torch._utils._rebuild_tensor_v2})
    torch.save({"a": torch.ones(1), "args": first}, "x.pth")

    assert not vars(read_weights(Path("x.pth"))["args"])


def test_a_folder_is_read_as_transformers_does(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    save_file({"visual.a": torch.zeros(1)}, tmp_path / "open_clip_model.safetensors")

    assert [file.name for file in weight_files(tmp_path)] == ["model.safetensors"]
    assert list(read_folder_weights(tmp_path)) == ["a"]


def test_a_folder_in_parts_is_read_by_its_index_and_a_missing_part_is_named(tmp_path):
    for part in (1, 2):
        save_file({f"w{part}": torch.zeros(1)}, tmp_path / f"model-{part}.safetensors")
    index = {"weight_map": {"w1": "model-1.safetensors", "w2": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    save_file({"other": torch.zeros(1)}, tmp_path / "flax.safetensors")
    whole = list(read_folder_weights(tmp_path))
    (tmp_path / "model-2.safetensors").unlink()

    with pytest.raises(MegastyleError, match="1 of 2 files of weights: it lacks model-2.safetens"):
        read_folder_weights(tmp_path)

    assert whole == ["w1", "w2"]


@pytest.mark.parametrize("index", ["", "[]", "{}", '{"weight_map": 3}'])
def test_a_damaged_index_is_one_sentence(tmp_path, index):
    (tmp_path / "model.safetensors.index.json").write_text(index)

    with pytest.raises(MegastyleError, match="does not say which files hold the weights"):
        weight_files(tmp_path)
