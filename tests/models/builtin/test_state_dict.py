"""A state dict of torch's old format is read as torch reads it, and nothing else is."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.builtin.state_dict import read_state_dict


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "weight": torch.randn(4, 3, 2, generator=generator),
        "permuted": torch.randn(5, 2, 3, generator=generator).permute(2, 0, 1),
        "part": torch.arange(10, dtype=torch.float32)[3:7],
        "steps": torch.tensor(12),
    }


def test_arrays_are_those_that_torch_reads(tmp_path: Path, tensors: Any) -> None:
    path = saved(tmp_path / "a.pth", tensors)

    arrays = read_state_dict(path)

    expected = torch.load(path, weights_only=True)
    assert list(arrays) == list(expected)
    for name, array in arrays.items():
        assert array.dtype == expected[name].numpy().dtype
        assert np.array_equal(array, expected[name].numpy())


def test_only_the_arrays_that_are_asked_for_are_read(tmp_path: Path, tensors: Any) -> None:
    path = saved(tmp_path / "a.pth", tensors)

    arrays = read_state_dict(path, ("p", "steps"))

    assert list(arrays) == ["permuted", "part", "steps"]
    for name, array in arrays.items():
        assert np.array_equal(array, tensors[name].numpy())


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "made"),)

    path = saved(tmp_path / "a.pth", {"weight": Attack()})

    with pytest.raises(MegastyleError, match="nothing in it was executed"):
        read_state_dict(path)

    assert not (tmp_path / "made").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "made").exists()  # the file was an attack


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, tensors: Any) -> None:
    path = saved(tmp_path / "a.pth", tensors)
    content = path.read_bytes()

    for length in (0, 20, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(MegastyleError, match="damaged"):
            read_state_dict(path)


@pytest.mark.parametrize("content", [{"half": torch.zeros(2).half()}, {"flag": 1}, [1, 2]])
def test_other_contents_are_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(MegastyleError, match="no state dict"):
        read_state_dict(saved(tmp_path / "a.pth", content))


def test_a_zip_archive_of_later_versions_is_refused(tmp_path: Path, tensors: Any) -> None:
    torch.save(tensors, tmp_path / "a.pth")

    with pytest.raises(MegastyleError, match=r"torch 1\.5"):
        read_state_dict(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("start", "stride", "is_inside"),
    [(1, 1, True), (0, -1, False), (-1, 1, False), (2, 1, False), (0, 100, False)],
)
def test_a_tensor_outside_of_its_storage_is_refused(
    tmp_path: Path, start: int, stride: int, is_inside: bool
) -> None:
    class Tensor:
        def __reduce__(self) -> Any:
            arguments = "storage 7", start, (3,), (stride,), False, {}
            return torch._utils._rebuild_tensor_v2, arguments

    class Pickler(pickle._Pickler):
        def persistent_id(self, value: Any) -> Any:
            named = ("storage", torch.FloatStorage, "7", "cpu", 4, None)
            return named if value == "storage 7" else None

    path = tmp_path / "a.pth"
    with path.open("wb") as file:
        for header in (0x1950A86A20F9469CFC6C, 1001, {}):
            pickle.dump(header, file, 2)
        Pickler(file, 2).dump({"a": Tensor()})
        pickle.dump(["7"], file, 2)
        file.write((4).to_bytes(8, "little") + np.arange(4, dtype="<f4").tobytes())

    if is_inside:
        assert read_state_dict(path)["a"].tolist() == [1, 2, 3]
    else:
        with pytest.raises(MegastyleError, match="damaged"):
            read_state_dict(path)
