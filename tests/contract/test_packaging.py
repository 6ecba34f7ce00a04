"""What is installed is what stands in the tree."""

import tomllib

from tests.contract.tree import PACKAGE, ROOT


def test_the_package_list_equals_the_tree() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = settings["tool"]["setuptools"]["packages"]
    tree = [
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / PACKAGE).rglob("__init__.py")
    ]

    assert sorted(listed) == sorted([*tree, f"{PACKAGE}.commands"])
