"""Tests of a file run in one process; the longest groups start first."""

import os
import subprocess
import sys

from tests.contract.tree import ROOT
from tests.scheduling import APART, SHARED, group_of, rank_of

CONFTEST = """
import os
from tests.scheduling import GroupScheduling

def pytest_xdist_make_scheduler(config, log):
    return GroupScheduling(config, log)

def pytest_runtest_call(item):
    with open("ran", "a") as file:
        file.write(f"{item.path.name} {os.environ['PYTEST_XDIST_WORKER']}\\n")
"""


def test_the_files_that_are_named_exist():
    files = [*SHARED, *APART]

    assert [name for name in files if not (ROOT / name).exists()] == []


def test_files_that_share_a_fixture_are_one_group_and_launched_tests_are_alone():
    assert group_of("tests/io/test_a.py::test_b[c]") == "tests/io/test_a.py"
    assert group_of("tests/compute/test_ray.py::a") == group_of("tests/contract/test_engines.py::b")
    launched = "tests/contract/test_launchers.py::test_a[x]"
    assert group_of(launched) == launched
    assert rank_of(launched) < rank_of("tests/commands/test_eval.py::a") < rank_of("tests/io/a.py")


def test_xdist_keeps_a_file_in_one_process(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for name in "abcd":
        tests = "".join(f"def test_{number}(): pass\n" for number in range(9))
        (tmp_path / f"test_{name}.py").write_text(tests)

    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "--rootdir", "."],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout.decode()
    ran = (tmp_path / "ran").read_text().splitlines()
    assert len(ran) == 36 and len(set(ran)) == 4  # each file with one process only
    assert len({line.split()[1] for line in ran}) == 2
