"""Missing packages are listed with the pip line that installs them."""

import sys

import pytest

from megastyle_cli.core.check import is_complete
from megastyle_cli.core.extras import EXTRAS, pip_line
from megastyle_cli.doctor.machine import USES, check_machine, check_packages


def test_the_machine_has_cores_memory_and_a_gpu_or_none() -> None:
    checks = {check.name: check for check in check_machine()}

    assert int(checks["cores"].text) >= 1
    assert checks["memory"].text.endswith(" free")
    assert checks["GPU"].text


def test_every_extra_says_what_it_is_for() -> None:
    assert set(USES) == set(EXTRAS)


def test_a_missing_extra_is_named_with_its_line_and_is_not_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    checks = {check.name: check for check in check_packages()}

    assert (checks["parquet"].status, checks["parquet"].fix) == ("-", pip_line("pyarrow"))
    assert is_complete([checks["parquet"]])


def test_a_package_that_is_not_installed_is_named_as_pip_takes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = ["numpy>=2.0", "no-such-package>=3,<4", "left-out>=1; extra == 'x'"]
    monkeypatch.setattr("megastyle_cli.doctor.machine.requires", lambda name: wanted)

    (check,) = (check for check in check_packages() if check.name == "installed")

    assert check.status == "missing"
    assert check.fix == "pip install 'no-such-package<4,>=3'"
