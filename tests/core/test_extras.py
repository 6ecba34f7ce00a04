"""The table of extras is that of pyproject.toml, and names the line that installs each."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.extras import EXTRAS, is_installed, needed_package, pip_line, require_module
from tests.contract.tree import ROOT


def test_the_table_has_the_extras_and_packages_of_the_project() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = settings["project"]["optional-dependencies"]

    assert set(EXTRAS) == set(declared) - {"builtin", "dev"}
    for extra, modules in EXTRAS.items():
        packages = {canonicalize_name(Requirement(line).name) for line in declared[extra]}
        assert {canonicalize_name(module) for module in modules} == packages


def test_the_extra_of_earlier_versions_stays_valid() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert settings["project"]["optional-dependencies"]["builtin"] == []


def test_a_module_is_installed_through_its_extra_or_by_its_name() -> None:
    assert pip_line("pyarrow") == "pip install 'megastyle[parquet]'"
    assert pip_line("onnx") == "pip install onnx"
    assert is_installed("json") and not is_installed("no_such_package")


def test_the_line_installs_into_the_environment_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.prefix", str(tmp_path / "megastyle"))
    monkeypatch.setattr("megastyle_cli.core.extras._has_pip", lambda: False)
    assert pip_line("ray") == f"uv pip install -p {tmp_path}/megastyle 'megastyle[ray]'"

    (tmp_path / "megastyle").mkdir()
    (tmp_path / "megastyle" / "pipx_metadata.json").touch()
    assert pip_line("ray") == "pipx runpip megastyle install 'megastyle[ray]'"


def test_a_missing_module_is_one_sentence_with_the_line_for_pip() -> None:
    require_module("json", "nothing")
    with pytest.raises(MegastyleError, match="--x needs the package 'none_such'") as error:
        require_module("none_such", "--x")

    assert error.value.hint == "pip install none_such"
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("error", "package"),
    [
        (ModuleNotFoundError("No module named 'none_such'", name="none_such"), "none_such"),
        (ImportError("X requires the None_Such library but it was not found in your"), "none_such"),
        (ImportError("You need to install none-such to use XTokenizer. See https"), "none-such"),
        (ValueError("You need to have none_such or tiktoken installed to convert"), "none_such"),
        (ImportError("X requires the json library but it was not found"), None),
        (ValueError("stat: path should be string"), None),
    ],
)
def test_the_package_that_a_library_lacks_is_found_in_its_message(error, package) -> None:
    assert needed_package(error) == package


def test_a_hint_leaves_distutils_as_it_is() -> None:
    """torch.compile needs that of setuptools, which a look for pip by all finders turns off."""
    code = (
        "from megastyle_cli.core.extras import pip_install; pip_install()\n"
        "import distutils.core; print(distutils.core.__file__)"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "setuptools" in ended.stdout
