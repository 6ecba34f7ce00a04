"""Tests mirror the sources by name: the tests of `megastyle_cli/a/b.py` are `tests/a/test_b.py`."""

from pathlib import Path

import pytest

from tests.contract.tree import PACKAGE, ROOT, sources

# Nothing to test on their own: types, constants, tables and one-line glue.
EXEMPT: set[str] = {
    "benchmark/options.py",
    "captioning/options.py",
    "captioning/wordlists.py",
    "cluster/options.py",
    "core/choices.py",
    "dedup/options.py",
    "doctor/options.py",
    "evaluate/options.py",
    "generate/options.py",
    "io/pyarrow.py",
    "models/options.py",
    "models/protocols.py",
    "pair/options.py",
    "paper_protocols/options.py",
    "retrieval/options.py",
    "runner/options.py",
    "status/options.py",
}


def source_name(path: Path) -> str:
    """A source's path as the tests mirror it: `io/images.py`, `commands/pair.py`."""
    return str(path.relative_to(ROOT)).removeprefix(f"{PACKAGE}/")


def mirror(path: Path) -> Path:
    """The test file of a source."""
    name = Path(source_name(path))
    return ROOT / "tests" / name.parent / f"test_{name.name}"


@pytest.mark.parametrize("path", sources(), ids=source_name)
def test_a_source_has_tests_of_its_name(path: Path) -> None:
    if source_name(path) in EXEMPT:
        assert not mirror(path).exists(), "has its tests: take it off the list"
    else:
        assert mirror(path).exists(), f"write {mirror(path).relative_to(ROOT)}"


def test_every_file_on_the_lists_exists() -> None:
    assert {source_name(path) for path in sources()} >= EXEMPT


def test_every_test_package_can_be_imported() -> None:
    for folder in {path.parent for path in (ROOT / "tests").rglob("test_*.py")}:
        assert (folder / "__init__.py").exists(), folder
