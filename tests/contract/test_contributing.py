"""Documents for developers name files that exist."""

import re

import pytest

from tests.contract.tree import ROOT

# By example, or relative to a folder that the same sentence names.
NOT_FILES = {"NAME.py", "NAME.md", "options.py", "zip.py", "test_zip.py"}


@pytest.mark.parametrize(
    "document", ["CONTRIBUTING.md", "SECURITY.md", "docs/decisions.md", "docs/limits.md"]
)
def test_files_that_a_document_names_exist(document: str) -> None:
    tops = [top for top in ROOT.iterdir() if not top.name.startswith(".")]  # not environments
    files = {str(path.relative_to(ROOT)) for top in tops for path in (top, *top.rglob("*.*"))}
    text = (ROOT / document).read_text()
    named = set(re.findall(r"[\w/]+\.(?:py|md|sh)\b", text))

    missing = {
        name
        for name in named
        if name.rpartition("/")[2] not in NOT_FILES
        and not any(file == name or file.endswith(f"/{name}") for file in files)
    }

    assert missing == set()
