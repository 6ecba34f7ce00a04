"""Weights from packages are the bytes that were measured, or nothing is computed with them."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.builtin import packaged_weights
from megastyle_cli.models.builtin.packaged_weights import (
    PACKAGES,
    check_packaged_files,
    check_sha256,
    package_folder,
    packaged_file,
)

ROOT = Path(__file__).parents[3]
CONSTRAINTS = (ROOT / "constraints.txt").read_text().splitlines()


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_installed_is_what_was_measured(package: str) -> None:
    assert check_packaged_files(package).is_dir()
    assert PACKAGES[package].requirement in (*CONSTRAINTS, "megastyle")


def test_other_bytes_are_refused_with_the_line_for_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "tokenizers/l2_supercat_tokenizer_config.json"
    package = tmp_path / "wordllama"
    (package / "tokenizers").mkdir(parents=True)
    (package / "__init__.py").touch()
    shutil.copy(packaged_file("wordllama", name), package / name)
    with (package / name).open("r+b") as file:
        file.write(b"x")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "wordllama", raising=False)
    packaged_weights.packaged_file.cache_clear()

    with pytest.raises(MegastyleError, match=re.escape(f"{package / name} has SHA-256 ")) as error:
        packaged_file("wordllama", name)

    expected = "pip install --force-reinstall --no-deps wordllama==0.4.0.post1"
    assert error.value.hint == expected


def test_a_missing_file_is_refused_as_well(tmp_path: Path) -> None:
    with pytest.raises(MegastyleError, match="has SHA-256 nothing, not abc as in x==1"):
        check_sha256(tmp_path / "none", "abc", "x==1")


def test_the_folder_of_a_package_is_found_without_importing_it() -> None:
    assert (package_folder("numpy") / "__init__.py").is_file()
    with pytest.raises(ModuleNotFoundError):
        package_folder("no_such_package")
