"""Vectors in .npy files: written atomically, read through a memory map, and nothing else read."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.io.npy import MappedVectors, VectorWriter, check_vector_options

ROWS = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)


def test_written_rows_stay_where_a_path_is_given(tmp_path: Path) -> None:
    with VectorWriter(tmp_path / "v.npy") as writer:
        mapped = writer.write(7, iter([ROWS[:5], ROWS[5:]]))
        assert np.array_equal(mapped[:], ROWS)

    assert np.array_equal(np.load(tmp_path / "v.npy"), ROWS)


def test_a_temporary_file_is_deleted(tmp_path: Path) -> None:
    with VectorWriter(None, tmp_path) as writer:
        writer.write(7, iter([ROWS]))
        assert len(list(tmp_path.iterdir())) == 1

    assert list(tmp_path.iterdir()) == []


def test_no_rows_make_an_empty_file(tmp_path: Path) -> None:
    with VectorWriter(tmp_path / "v.npy") as writer:
        assert writer.write(0, iter([])).shape == (0, 1)


def test_mapped_vectors_are_pickled_by_name(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", ROWS.astype(np.float16))
    mapped = MappedVectors(tmp_path / "v.npy")

    again = pickle.loads(pickle.dumps(mapped))

    assert len(pickle.dumps(mapped)) < 500
    assert np.array_equal(again[2:4], mapped[2:4]) and again.shape == (7, 3)


def test_fingerprints_tell_vectors_apart(tmp_path: Path) -> None:
    fingerprints = set()
    for number, rows in enumerate([ROWS, ROWS + 1, ROWS[:6], ROWS.astype(np.float64), ROWS.copy()]):
        np.save(tmp_path / f"{number}.npy", rows)
        fingerprints.add(MappedVectors(tmp_path / f"{number}.npy").fingerprint)

    assert len(fingerprints) == 4


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (np.zeros(3, np.float32), "float32 of shape"),
        (np.zeros((2, 3), np.int64), "int64 of shape"),
        (np.array([[{}]]), "is not a .npy file"),
    ],
)
def test_other_arrays_are_an_error(tmp_path: Path, rows: np.ndarray, why: str) -> None:
    np.save(tmp_path / "v.npy", rows, allow_pickle=True)

    with pytest.raises(MegastyleError, match=why):
        MappedVectors(tmp_path / "v.npy")


@pytest.mark.parametrize("content", [b"no array", b"\x93NUMPY\1\0\2\0(\n"])
def test_a_missing_or_foreign_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.npy").write_bytes(content)

    with pytest.raises(MegastyleError, match="is not a .npy file"):
        MappedVectors(tmp_path / "v.npy")
    with pytest.raises(MegastyleError, match="No such file"):
        MappedVectors(tmp_path / "none.npy")


def test_vectors_are_either_read_or_written_and_named_npy() -> None:
    check_vector_options(Path("a.npy"), None)
    check_vector_options(None, Path("b"))
    with pytest.raises(MegastyleError, match="b and --vectors a.npy are both given"):
        check_vector_options(Path("a.npy"), Path("b"))
    with pytest.raises(MegastyleError, match="does not end in .npy"):
        check_vector_options(Path("a.bin"), None)


def test_fingerprints_see_rows_all_over_a_long_array(tmp_path: Path) -> None:
    vectors = np.zeros((3000, 4), dtype=np.float32)
    fingerprints = set()
    for row in (0, 1500, 2997):
        vectors[row] += 1
        np.save(tmp_path / f"{row}.npy", vectors)
        fingerprints.add(MappedVectors(tmp_path / f"{row}.npy").fingerprint)

    assert len(fingerprints) == 3
