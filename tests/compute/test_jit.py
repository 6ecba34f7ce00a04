"""Compiled functions give what Python would give, and their machine code is found again."""

import os
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest

from megastyle_cli.compute import jit
from megastyle_cli.compute.jit import MAX_PLAIN_RECORDS, choose_by_size, compiled

MODULE = """
import sys
import numpy as np
from megastyle_cli.compute.jit import compiled

@compiled
def plus(one, other):
    return one + 1 * other

@compiled
def total(values):
    found = 0
    for value in values:
        found = plus(found, value)
    return found

sys.stdout.write(f"{total(np.arange(5))} {sum(total.compile()._cache_hits.values())}")
sys.stdout.write(f" {'scipy.linalg.cython_blas' in sys.modules}")
"""


@compiled
def count_above(values: np.ndarray, limit: float) -> int:
    count = 0
    for value in values:
        count += value > limit
    return count


def ran(folder: Path, cache: Path) -> list[str]:
    """What MODULE prints in a new process, and the names in its cache folder."""
    ended = subprocess.run(
        [sys.executable, "module.py"],
        cwd=folder,
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return [ended.stdout, *sorted(path.name for path in cache.iterdir())]


def test_a_compiled_function_gives_the_result_of_its_source() -> None:
    values = np.random.default_rng(0).normal(size=1000)

    assert count_above(values, 0.5) == (values > 0.5).sum()


def test_few_records_are_worked_on_without_a_compiler() -> None:
    choose_by_size(MAX_PLAIN_RECORDS)
    assert jit.is_plain()
    assert count_above(np.arange(5), 2.0) == 2
    choose_by_size(MAX_PLAIN_RECORDS + 1)
    assert not jit.is_plain()


def test_machine_code_is_found_by_another_process_at_another_time_and_place(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "module.py").write_text(MODULE)
    os.utime(tmp_path / "two" / "module.py", (1, 1))
    cache = tmp_path / "cache"
    cache.mkdir()

    first = ran(tmp_path / "one", cache)
    cache.chmod(0o555)
    second = ran(tmp_path / "two", cache)
    cache.chmod(0o755)

    assert first[0] == "10 0 False"
    assert second == ["10 1 False", *first[1:]]
    assert all((cache / name).stat().st_mode & 0o004 for name in first[1:])


def test_machine_code_of_another_source_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(MODULE)
    cache = tmp_path / "cache"
    cache.mkdir()
    ran(tmp_path, cache)

    (tmp_path / "module.py").write_text(MODULE.replace("1 * other", "2 * other"))  # of a callee

    assert ran(tmp_path, cache)[0] == "20 0 False"


def test_a_function_that_moved_to_another_module_is_compiled_anew() -> None:
    source: FunctionType = count_above.function  # type: ignore[attr-defined]
    moved = FunctionType(source.__code__, source.__globals__)
    moved.__module__ = "elsewhere"

    assert compiled(moved).hashed() != count_above.hashed()  # type: ignore[attr-defined]


def test_the_folder_is_the_first_that_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = Path(jit.__file__).parent / "__pycache__"
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    writable = {beside, tmp_path / "megastyle" / "compiled", tmp_path / "named"}
    monkeypatch.setattr(jit, "_can_write", writable.__contains__)

    assert jit.cache_folder() == beside
    writable.discard(beside)
    assert jit.cache_folder() == tmp_path / "megastyle" / "compiled"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "named"))
    assert jit.cache_folder() == tmp_path / "named"
    writable.clear()
    assert jit.cache_folder() is None


def test_importing_what_is_compiled_compiles_nothing() -> None:
    package = Path(jit.__file__).parents[1]
    paths = [path for path in package.rglob("*.py") if "\n@compiled\n" in path.read_text()]
    names = [path.relative_to(package.parent).with_suffix("") for path in paths]
    modules = [".".join(name.parts) for name in names]

    code = f"import sys, {', '.join(modules)}; sys.exit('numba' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert len(modules) > 5
    assert ended.returncode == 0, ended.stderr
