"""Compiled functions give what Python would give, and are cached."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from megastyle_cli.compute.jit import compiled

MODULE = """
import sys
from megastyle_cli.compute.jit import compiled

@compiled
def total(values):
    found = 0
    for value in values:
        found += value
    return found

import numpy as np
sys.stdout.write(f"{total(np.arange(5))} {sum(total.stats.cache_hits.values())}")
sys.stdout.write(f" {'scipy.linalg.cython_blas' in sys.modules}")
"""


@compiled
def count_above(values: np.ndarray, limit: float) -> int:
    count = 0
    for value in values:
        count += value > limit
    return count


def test_a_compiled_function_gives_the_result_of_its_source() -> None:
    values = np.random.default_rng(0).normal(size=1000)

    assert count_above(values, 0.5) == (values > 0.5).sum()


def test_the_next_process_finds_the_machine_code(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(MODULE)

    ran = [
        subprocess.run([sys.executable, "module.py"], cwd=tmp_path, capture_output=True, text=True)
        for _ in range(2)
    ]

    assert [one.stdout for one in ran] == ["10 0 False", "10 1 False"], ran[0].stderr
